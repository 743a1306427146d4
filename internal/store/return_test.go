package store

import (
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqlite"
)

// A process that can no longer open a secret gives the endpoint's jobs back, because no
// sweep was ordered that would take their rows.
func TestWhatCannotBeReadAnyMoreGoesBackToTheTable(t *testing.T) {
	f, scope, e := oneEndpoint(t)
	f.say(scope, 1)
	if _, err := f.core.Engine.(*sqlite.DB).Conn().Exec("UPDATE secrets SET sealed = x'00'"); err != nil {
		t.Fatal(err)
	}
	var told hook.Commit
	f.opts.Committed = func(c hook.Commit) { told = c }
	if err := f.do(t.Context(), "test", 1, func(t *tx) error { return t.reread(scope, nil) }); err != nil {
		t.Fatal(err)
	}
	if len(told.Returned) != 1 || told.Returned[0].ID != e.ID || len(told.Changed) != 0 {
		t.Fatalf("told of %d returned and %d changed endpoints, want the one returned", len(told.Returned), len(told.Changed))
	}
	skipped := hook.Settlement{Job: f.jobs[0], Outcome: hook.Outcome{Skipped: true}}
	if _, err := f.Settle(t.Context(), []hook.Settlement{skipped}); err != nil {
		t.Fatalf("give back: %v", err)
	}
	row, err := f.DeliveryRow(t.Context(), scope, f.jobs[0].Delivery.ID)
	if err != nil || row.Owner != 0 {
		t.Fatalf("the row is still owned by %d: %v", row.Owner, err)
	}
}
