package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/internal/store/batch"
)

// A statement that was prepared before a migration, or that a pooler has forgotten, is no
// fault of the operation: refusing that would refuse what works once it is prepared anew.
func TestOutdatedStatementsAreNoFaultOfTheOperation(t *testing.T) {
	for _, state := range []string{planChanged, notPrepared} {
		if got := Class(&pgconn.PgError{Code: state}); got != batch.Again {
			t.Errorf("%s is of class %d", state, got)
		}
	}
	if got := Class(&pgconn.PgError{Code: "22003"}); got != batch.OwnFault { // the control
		t.Errorf("a number out of range is of class %d", got)
	}
}
