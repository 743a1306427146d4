package store

import (
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// A row that another node is changing during a sweep is not missed. It is held with a fence
// above the one that the other node wrote.
func TestASweepTakesARowThatAnotherNodeIsChanging(t *testing.T) {
	a := newPeer(t, pgtest.Database(t), 0, nil)
	e := a.endpoint()
	a.publish()
	job := a.take()[0]
	other, err := node(a.Store).Control().BeginTx(t.Context(), nil)
	a.must(err)
	defer func() { _ = other.Rollback() }()
	_, err = other.ExecContext(t.Context(), "UPDATE deliveries SET owner = 0, fence = 7, due = 5 WHERE event = $1", job.Delivery.Event[:])
	a.must(err)
	a.status(e, hook.Disabled, false)
	within(t, 5*time.Second, "the sweep waits for the row", func() bool {
		var waiting int
		a.must(a.core.Read.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE deliveries SET state%'").Scan(&waiting))
		return waiting == 1
	})
	a.must(other.Commit())
	within(t, 5*time.Second, "held", func() bool { return a.row(job).State == hook.Held })
	if row := a.row(job); row.Fence != 8 || row.Owner != 0 || !row.Due.IsZero() {
		t.Errorf("held with fence %d, owner %d, due %v; want the fence of the other node and one more", row.Fence, row.Owner, row.Due)
	}
}
