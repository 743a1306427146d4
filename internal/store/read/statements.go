package read

import (
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Statement is a search with its arguments.
type Statement struct {
	Query string
	Args  []any
}

// Statements returns the searches for an endpoint that depend on an index, for tests that
// check their plans. The scope is the endpoint's.
func Statements(scope hook.Scope, endpoint hook.ID) map[string]Statement {
	failed := hook.Failed
	q := hook.DeliveryQuery{Scope: scope, Endpoint: endpoint, State: &failed}
	last := []hook.ID{{0xff}, {0xff}}
	where, args := conditions(&q, last)
	of := heldOrFailedOf(&q)
	var low, high hook.ID
	high[0] = 0xff
	log, logArgs := logFrom(&hook.EndpointLog{Scope: scope, Endpoint: endpoint, Type: "a.b"})
	recent := []any{endpoint[:], scope.Mode, scope.Tenant, scope.Mode, scope.Tenant, statsEvents - 1, statsRows}
	page := []any{endpoint[:], scope.Mode, scope.Tenant, low[:], high[:], firstRows}
	return map[string]Statement{
		"stats":          {statRows, []any{0, 1, 1, 2, sqltext.SpanMinute, scope.Mode, scope.Tenant, endpoint[:]}},
		"open of":        {pendingOfTenant, []any{scope.Mode, scope.Tenant, hook.StatsCap}},
		"held of":        {heldOfTenant, []any{scope.Mode, scope.Tenant, hook.StatsCap}},
		"replay failed":  {replayPage(hook.FromFailed, false), page},
		"replay newest":  {replayPage(hook.FromFailed, true), page},
		"replay all":     {replayPage(hook.FromAll, false), page},
		"replay missing": {replayPage(hook.FromMissing, true), page},
		"replay waiting": {replayWaiting, []any{endpoint[:], hook.ReplayPending, endpoint[:], 1, hook.ReplayPending}},
		"pending":        {pendingOf, []any{endpoint[:], hook.StatsCap}},
		"failures":       {failedOf, []any{endpoint[:], hook.StatsCap}},
		"recent":         {recentDeliveries, recent},
		"tries":          {recentAttempts, append(recent, endpoint[:], statsTries)},
		"history":        {historyRows, []any{scope.Mode, scope.Tenant, maxHistory + 1, 1, 1}},
		"log":            {"SELECT count(*)" + log, logArgs},
		"failed":         {"SELECT d.id FROM deliveries d WHERE " + where + " ORDER BY d.event DESC, d.endpoint DESC LIMIT 50", args},
		"failed of":      {of.query(), append(of.args, low[:], high[:], 9)},
	}
}
