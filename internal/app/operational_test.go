package app

import (
	"slices"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// The filter of an operational endpoint is checked inside the transaction of each change, so
// the types are not made anew for each of its entries.
func TestCheckingAFilterOfAlertsCostsLittle(t *testing.T) {
	e := &hook.Endpoint{Operational: true, Types: slices.Repeat(hook.Filter{"posthorn.endpoint.*"}, maxTypes)}
	if n := testing.AllocsPerRun(1, func() {
		if err := checkAlertTypes(e); err != nil {
			t.Fatal(err)
		}
	}); n > 1000 {
		t.Errorf("%v allocations for %d entries", n, maxTypes)
	}
	e.Types = append(e.Types[:1:1], "posthorn.threshold.*")
	if err := checkAlertTypes(e); hook.CodeOf(err) != hook.CodeTypeUnknown {
		t.Errorf("a type that only the operator gets: %v", err)
	}
	if e.Scope.Tenant = hook.OperatorTenant; checkAlertTypes(e) != nil {
		t.Error("control: the operator gets it")
	}
}
