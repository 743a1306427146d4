package unit

import (
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// A row of the log has at most StatSubjects subjects, and at most statSums sums are in
// there are.
func TestStatisticsAreBounded(t *testing.T) {
	sums := &Sums{}
	for _, n := range []int{1, StatSubjects, 3*StatSubjects + 1, keptTallies + 1, 1} {
		sums.Reset()
		for i := range n {
			sums.of(sqltext.Subject{Endpoint: hook.ID{byte(i >> 16), byte(i >> 8), byte(i), 1}}).Accepted = int64(i)
		}
		rows, all := 0, 0
		if err := sums.Rows(true, func(subjects int, data []byte) error {
			rows, all = rows+1, all+subjects
			if subjects > StatSubjects {
				t.Errorf("%d subjects in a row", subjects)
			}
			return sqltext.ReadLog(data, func(s sqltext.Subject, _ bool, tally []byte) error {
				var got hook.Tally
				err := sqltext.AddTally(&got, tally)
				if i := int(s.Endpoint[0])<<16 | int(s.Endpoint[1])<<8 | int(s.Endpoint[2]); got.Accepted != int64(i) {
					t.Errorf("subject %d has %d", i, got.Accepted)
				}
				return err
			})
		}); err != nil || all != n || rows != (n+StatSubjects-1)/StatSubjects {
			t.Errorf("%d subjects: %d in %d rows, %v", n, all, rows, err)
		}
	}
}
