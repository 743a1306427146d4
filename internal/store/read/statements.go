package read

import (
	"slices"
	"time"

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
	state := hook.Failed
	q := hook.DeliveryQuery{Scope: scope, Endpoint: endpoint, State: &state}
	last := []hook.ID{{0xff}, {0xff}}
	of := sourceOf(&q, last)
	var low, high hook.ID
	high[0] = 0xff
	failed, args := deliveriesPage(&q, last, of, span{low: low, high: high})
	log, logArgs := logFrom(&hook.EndpointLog{Scope: scope, Endpoint: endpoint, Type: "a.b"})
	recent := []any{endpoint[:], scope.Mode, scope.Tenant, scope.Mode, scope.Tenant, statsEvents - 1, statsRows}
	page := []any{endpoint[:], scope.Mode, scope.Tenant, low[:], high[:], firstRows}
	all := map[string]Statement{
		"stats of":       {sqltext.In(statRowsOf, 2), []any{0, 1, 1, 2, scope.Mode, sqltext.SpanMinute, endpoint[:], endpoint[:]}},
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
		"tries of":       {triesOf, []any{endpoint[:], hook.OpenCap}},
		"tries of all":   {triesOfTenant, []any{scope.Mode, scope.Tenant, hook.OpenCap}},
		"tries in":       {triesIn, []any{hook.OpenCap}},
		"failures of":    {failedOfTenant, []any{scope.Mode, scope.Tenant, hook.FewCap}},
		"failures in":    {failedIn, []any{hook.FewCap}},
		"open of some":   {sqltext.In(openOf, 2), []any{hook.OpenCap, hook.OpenCap, endpoint[:], endpoint[:], scope.Mode, scope.Tenant, scope.Tenant}},
		"recent":         {recentDeliveries, recent},
		"tries":          {sqltext.In(recentAttempts, 16), append(append([]any{endpoint[:]}, slices.Repeat([]any{low[:]}, 16)...), statsTries)},
		"open in":        {pendingIn, []any{hook.StatsCap, scope.Mode}},
		"history":        {historyRows, []any{scope.Mode, scope.Tenant, maxHistory + 1, 1, 1}},
		"log":            {"SELECT count(*)" + log, logArgs},
		"failed":         {failed, args},
		"failed of":      {of.query(), append(slices.Clone(of.args), low[:], high[:], 9)},
	}
	tag := &hook.Tag{Name: "order", Value: "o-1"}
	for name, scope := range map[string]hook.Scope{" of mode": {Mode: scope.Mode}, " of tenant": scope} {
		for name, tag := range map[string]*hook.Tag{name: nil, " with tag" + name: tag} {
			eq := hook.EventQuery{Scope: scope, Tag: tag}
			query, args := eventsPage(&eq, eventsWith(scope, tag), span{low: low, high: high})
			all["events"+name] = Statement{query, args}
			q := hook.DeliveryQuery{Scope: scope, Tag: tag}
			from := sourceOf(&q, last)
			query, args = deliveriesPage(&q, last, from, span{low: low, high: high})
			all["deliveries"+name] = Statement{query, args}
			all["bound"+name] = Statement{from.query(), append(slices.Clone(from.args), low[:], high[:], 9)}
		}
	}
	for of, scope := range map[string]hook.Scope{" of mode": {Mode: scope.Mode}, " of tenant": scope} {
		q := hook.IDQuery{Scope: scope, IsPrefix: true, Low: low, High: high, Administers: true}
		for i, f := range finders(&q) {
			name := "find " + string(f.kind) + of
			if i == 1 {
				name = "find given event" + of
			}
			query, args := f.query(span{low: low, high: high})
			all[name] = Statement{query, args}
		}
		query, args := portalSessions(&hook.WebSessionQuery{Scope: scope}, high, time.Unix(1, 0))
		all["sessions"+of] = Statement{query, args}
		all["find request"+of] = Statement{requestNamed, []any{scope.Mode, "3w5e-1z", 10, scope.Tenant, scope.Tenant}}
	}
	all["find tenant"] = Statement{tenantsNamed, []any{"0193", "0193g", 21}}
	return all
}
