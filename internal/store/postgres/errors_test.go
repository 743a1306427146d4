package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/internal/store/batch"
)

// A statement that was prepared before a migration, or that a pooler has discarded, is no
// fault of the operation. Refusing the operation would refuse what works once the statement
// is prepared again.
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
