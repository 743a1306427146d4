package upkeep

import "testing"

// At most statSums sums are in memory at once.
func TestStatisticsAreAddedUpInPages(t *testing.T) {
	var group []logHead
	for i := range 100 {
		group = append(group, logHead{id: int64(i), fresh: i > 45, subjects: 500, bytes: 50_000})
	}
	if page := pageToSum(group[:40]); page != nil {
		t.Errorf("%d rows without a fresh one", len(page))
	}
	if page := pageToSum(group[40:60]); len(page) != 20 {
		t.Errorf("%d of 20 rows that fit", len(page))
	}
	if page := pageToSum(group); len(page) != statSums/500 || !page[0].fresh {
		t.Errorf("%d rows, want the first fresh ones", len(page))
	}
}
