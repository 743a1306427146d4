package store

import (
	"context"
	"fmt"
	"testing"

	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Queries stay prepared on SQLite's connection that writes. Each run sees its own arguments
// and the rows that were written before it, also after a run that failed, and also if there
// are more queries than are kept.
func TestPreparedQueriesSeeTheirArgumentsAndRows(t *testing.T) {
	a := newAging(t, Options{Dir: t.TempDir()})
	err := a.do(t.Context(), "test", 1, func(t *tx) error {
		number := func(query string, args ...any) (n int, err error) {
			_, err = sqltext.ReadRow(context.Background(), t.Conn, query, args, &n)
			return n, err
		}
		for round := range 3 {
			for i := range 150 {
				if n, err := number(fmt.Sprint("SELECT ? + ", i), round); err != nil || n != round+i {
					return fmt.Errorf("%d + %d is %d, %v", round, i, n, err)
				}
			}
			if _, err := number("SELECT abs(?)", int64(-1<<63)); err == nil {
				return fmt.Errorf("control: no error of an overflow")
			}
			if n, err := number("SELECT abs(?)", -round); err != nil || n != round {
				return fmt.Errorf("after an error: %d, %v", n, err)
			}
			if n, err := number("SELECT count(*) FROM meta WHERE key LIKE ?", "test-%"); err != nil || n != round {
				return fmt.Errorf("%d rows were written, %d read, %v", round, n, err)
			}
			if _, err := t.Exec("write", "INSERT INTO meta (key, value) VALUES (?, ?)", fmt.Sprint("test-", round), int64(1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
