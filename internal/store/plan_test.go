package store

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/alerts"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/upkeep"
)

// The queries over deliveries are cheap only while the planner uses the index made for
// them. No other test would detect that it does not.
func TestQueriesUseTheirIndex(t *testing.T) {
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Keys: testKeys(t), Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	searches := read.Statements(hook.Scope{Tenant: "acme", Mode: hook.Live}, hook.ID{1})
	kept := upkeep.Statements()
	search := func(name string) string { return searches[name].Query }
	maySort := map[string]bool{"secrets": true,
		"history": true, // sorts the endpoints of one tenant
		"tries":   true, // sorts the attempts of statsRows deliveries
	}
	for name, c := range map[string]struct{ query, want string }{
		"claim":    {sqlite.ClaimText, "deliveries_open (owner=? AND endpoint=? AND due<?)"},
		"earliest": {sqltext.EarliestDue, "deliveries_open (owner=? AND endpoint=?)"},
		"shots":    {claimShotRows, "oneshots_owner (owner=? AND endpoint=? AND requested_at<?)"},
		"first":    {sqltext.EarliestDue, "COVERING INDEX oneshots_owner (owner=? AND endpoint=?)"},
		"waiting":  {summaryRows, "COVERING INDEX oneshots_owner (owner=?)"},
		"shots of": {sqltext.CountOpen, "COVERING INDEX oneshots_endpoint (endpoint=?)"},
		"disown":   {disownRows("owner > 0 AND owner < 9"), "deliveries_open (owner>? AND owner<?)"},
		"summary":  {summaryRows, "deliveries_open (owner=?)"},
		"hold":     {holdRows, "deliveries_open (owner=? AND endpoint=?)"},
		"cancel":   {cancelPendingRows, "deliveries_open (owner=? AND endpoint=?)"},
		"held":     {moveHeldRows, "deliveries_stopped (endpoint=? AND state=?)"},
		"expire":   {expireRows, "deliveries_stopped (endpoint=? AND state=? AND event>? AND event<?)"},
		"old held": {heldPageEnd, "COVERING INDEX deliveries_stopped (endpoint=? AND state=? AND event>? AND event<?)"},
		"holders":  {endpointsWithOldHeld, "COVERING INDEX deliveries_stopped (endpoint=? AND state=? AND event<?)"},
		"moved":    {moveHeldRows, "deliveries USING PRIMARY KEY (event=? AND endpoint=?)"},
		"backlog":  {sqltext.CountOpen, "deliveries_open (owner=? AND endpoint=?)"},
		"few":      {sqltext.CountFewOpen, "deliveries_open (owner=? AND endpoint=?)"},
		"few held": {sqltext.CountFewOpen, "deliveries_stopped (endpoint=? AND state=?)"},
		"few ones": {sqltext.CountFewOpen, "COVERING INDEX oneshots_endpoint (endpoint=?)"},
		"of held":  {sqltext.CountOpen, "deliveries_stopped (endpoint=? AND state=?)"},
		"stats of": {search("stats of"), "s USING PRIMARY KEY (span=? AND start=? AND mode=? AND tenant=? AND endpoint=?)"},
		"their id": {search("stats of"), "endpoints_1 (id=?)"},
		"stats":    {search("stats"), "s USING PRIMARY KEY (span=? AND start=? AND mode=? AND tenant=? AND endpoint=?)"},
		"open of":  {search("open of"), "COVERING INDEX deliveries_open (owner=? AND endpoint=?)"},
		"open in":  {search("open in"), "COVERING INDEX deliveries_open (owner=?)"},
		"held of":  {search("held of"), "deliveries_stopped (endpoint=? AND state=?)"},
		"pending":  {search("pending"), "COVERING INDEX deliveries_open (owner=? AND endpoint=?)"},
		"failures": {search("failures"), "COVERING INDEX deliveries_stopped (endpoint=? AND state=?)"},
		"recent":   {search("recent"), "COVERING INDEX events_scope (mode=? AND tenant=? AND id>?)"},
		"tries":    {search("tries"), "a USING PRIMARY KEY (event=? AND endpoint=?)"},
		"t of":     {search("tries of"), "deliveries_open (owner=? AND endpoint=?)"},
		"t of all": {search("tries of all"), "deliveries_open (owner=? AND endpoint=?)"},
		"t in":     {search("tries in"), "deliveries_open (owner=?)"},
		"f of":     {search("failures of"), "COVERING INDEX deliveries_stopped (endpoint=? AND state=?)"},
		"f in":     {search("failures in"), "COVERING INDEX deliveries_stopped"},
		"o open":   {search("open of some"), "COVERING INDEX deliveries_open (owner=? AND endpoint=?)"},
		"o held":   {search("open of some"), "COVERING INDEX deliveries_stopped (endpoint=? AND state=?)"},
		"o id":     {search("open of some"), "endpoints_1 (id=?)"},
		"history":  {search("history"), "r USING PRIMARY KEY (endpoint=? AND revision>?)"},
		"find":     {sqltext.FindDelivery, "PRIMARY KEY (event>? AND event<?)"},
		"scope":    {directory.EndpointsWhere(directory.LiveOfScope), "endpoints_scope (mode=? AND tenant=?)"},
		"endpoint": {directory.EndpointsWhere(directory.WithID), "(id=?)"},
		"secrets":  {directory.SecretsWhere(directory.LiveOfScope), "s USING PRIMARY KEY (endpoint=?)"},
		"secret":   {directory.SecretsWhere(directory.WithID), "s USING PRIMARY KEY (endpoint=?)"},
		"log":      {search("log"), "events_scope (mode=? AND tenant=?)"},
		"log rows": {search("log"), "PRIMARY KEY (event=? AND endpoint=?)"},
		"old page": {kept["old page"], "events_1 (id>? AND id<?)"},
		"old rows": {kept["old rows"], "PRIMARY KEY (event>? AND event<?)"},
		"old ids":  {kept["old ids"], "event_ids USING PRIMARY KEY (mode=? AND public_id=? AND tenant=?)"},
		"k all":    {sqltext.KeptOfAll, "events_1 (id>? AND id<?)"},
		"k of":     {sqltext.KeptOfTenant, "events_scope (mode=? AND tenant=? AND id>? AND id<?)"},
		"k rows":   {sqltext.In(sqltext.KeptDeliveries, 256), "PRIMARY KEY (event=?)"},
		"k shots":  {sqltext.In(sqltext.KeptShots, 256), "PRIMARY KEY (event=?)"},
		"k data":   {sqltext.In(sqltext.RemovePayloads, 256), "events_1 (id=?)"},
		"k old":    {sqltext.In(sqltext.OldAnswers, 256), "a USING PRIMARY KEY (event=?)"},
		"k answer": {sqltext.In(sqltext.RemoveAnswers, 256), "attempts USING PRIMARY KEY (event=? AND endpoint=? AND number=?)"},
		"k newer":  {sqltext.In(sqltext.NewerAnswers, 256), "a USING PRIMARY KEY (event=?)"},
		"k due":    {sqltext.DueEvents, "retention_due_at (class=? AND due<?)"},
		"k next":   {sqltext.NextDue, "retention_due_at (class=?)"},
		"k ids":    {sqltext.In(sqltext.DropKept[2], 256), "event_ids USING PRIMARY KEY (mode=? AND public_id=? AND tenant=?)"},
		"r failed": {search("replay failed"), "deliveries_stopped (endpoint=? AND state=? AND event>? AND event<?)"},
		"r newest": {search("replay newest"), "deliveries_stopped (endpoint=? AND state=? AND event>? AND event<?)"},
		"r all":    {search("replay all"), "events_scope (mode=? AND tenant=? AND id>? AND id<?)"},
		"r rows":   {search("replay missing"), "d USING PRIMARY KEY (event=? AND endpoint=?)"},
		"r shots":  {search("replay waiting"), "oneshots_endpoint (endpoint=?)"},
		"r due":    {search("replay waiting"), "deliveries_open (owner=? AND endpoint=? AND due<?)"},
		"failed":   {search("failed"), "deliveries_stopped (endpoint=? AND state=?"},
		"bound":    {search("failed of"), "COVERING INDEX deliveries_stopped (endpoint=? AND state=? AND event>? AND event<?)"},

		"mode events":     {search("events of mode"), "e USING INDEX events_mode (mode=? AND id>? AND id<?)"},
		"mode bound":      {search("bound of mode"), "COVERING INDEX events_mode (mode=? AND id>? AND id<?)"},
		"mode deliveries": {search("deliveries of mode"), "events_mode (mode=? AND id>? AND id<?)"},
		"mode rows":       {search("deliveries of mode"), "d USING PRIMARY KEY (event=?"},
		"tenant rows":     {search("deliveries of tenant"), "events_scope (mode=? AND tenant=? AND id>? AND id<?)"},
		"mode tag":        {search("events with tag of mode"), "COVERING INDEX event_tags_mode (mode=? AND name=? AND value=? AND event>? AND event<?)"},
		"tenant tag":      {search("events with tag of tenant"), "COVERING INDEX event_tags_tenant (mode=? AND tenant=? AND name=? AND value=? AND event>? AND event<?)"},
		"mode tag d":      {search("deliveries with tag of mode"), "event_tags_mode (mode=? AND name=? AND value=? AND event>? AND event<?)"},
		"tenant tag d":    {search("deliveries with tag of tenant"), "event_tags_tenant (mode=? AND tenant=? AND name=? AND value=? AND event>? AND event<?)"},
		"tag bound":       {search("bound with tag of tenant"), "COVERING INDEX event_tags_tenant (mode=? AND tenant=? AND name=? AND value=? AND event>? AND event<?)"},
		"tags of event":   {search("events of mode"), "t USING PRIMARY KEY (event=?)"},
		"find event":      {search("find event of mode"), "events_mode (mode=? AND id>? AND id<?)"},
		"find own event":  {search("find event of tenant"), "events_scope (mode=? AND tenant=? AND id>? AND id<?)"},
		"find given":      {search("find given event of mode"), "PRIMARY KEY (mode=? AND public_id>? AND public_id<?)"},
		"find delivery":   {search("find delivery of mode"), "events_mode (mode=? AND id>? AND id<?)"},
		"find its row":    {search("find delivery of tenant"), "d USING PRIMARY KEY (event=?)"},
		"find endpoint":   {search("find endpoint of mode"), "endpoints_1 (id>? AND id<?)"},
		"find their own":  {search("find endpoint of tenant"), "endpoints_scope (mode=? AND tenant=? AND id>? AND id<?)"},
		"find key":        {search("find key of mode"), "keys_1 (id>? AND id<?)"},
		"find replay":     {search("find replay of mode"), "replays_1 (id>? AND id<?)"},
		"find tenant":     {search("find tenant"), "tenants_1 (id>? AND id<?)"},
		"find request":    {search("find request of tenant"), "audit_request (mode=? AND request=?)"},
		"old tags":        {kept["old tags"], "event_tags USING PRIMARY KEY (event>? AND event<?)"},
		"drop tags":       {kept["drop tags"], "event_tags USING PRIMARY KEY (event=?)"},

		"sessions":     {search("sessions of mode"), "web_sessions_mode (kind=? AND mode=? AND id<?)"},
		"own sessions": {search("sessions of tenant"), "web_sessions_scope (kind=? AND mode=? AND tenant=? AND id<?)"},
		"summed":       {alerts.Statements()["summed"], "COVERING INDEX alert_sums_scope"},
		"sums":         {alerts.Statements()["sums"], "COVERING INDEX alert_sums_scope (mode=? AND tenant=?)"},

		"events": {"SELECT e.id FROM events e WHERE e.mode = ? AND e.tenant = ? AND e.id < ? ORDER BY e.id DESC", "events_scope (mode=? AND tenant=? AND id<?)"},
	} {
		plan := litePlan(t, s, c.query)
		if !strings.Contains(plan, c.want) {
			t.Errorf("%s: want %s in\n%s", name, c.want, plan)
		}
		if strings.Contains(plan, sorts) && !maySort[name] {
			t.Errorf("%s sorts what it finds:\n%s", name, plan)
		}
	}
	if plan := litePlan(t, s, "SELECT d.event FROM deliveries d WHERE d.state = 0 AND {anybody} AND d.endpoint = ? ORDER BY d.created_at LIMIT ?"); !strings.Contains(plan, sorts) {
		t.Errorf("control: an order that no index has is not sorted:\n%s", plan)
	}
}

// An erasure removes rows page by page on the writer, so no page may read a whole table.
// Only the small tables of tokens and of partners' users have no index for it.
func TestErasureUsesIndexes(t *testing.T) {
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Keys: testKeys(t), Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	scanned := map[string]bool{}
	for _, table := range slices.Concat(sqltext.ErasedByEvent, sqltext.ErasedByEndpoint, sqltext.ErasedByTenant) {
		if plan := litePlan(t, s, table.Delete); strings.Contains(plan, "SCAN ") {
			scanned[table.Name] = true
			t.Logf("%s is read as a whole:\n%s", table.Name, plan)
		}
	}
	if want := map[string]bool{"oauth_tokens": true, "partner_users": true}; !maps.Equal(scanned, want) {
		t.Errorf("read as a whole: %v, want %v", scanned, want)
	}
}

// sorts is SQLite's notice that it reads all rows before it returns the first.
const sorts = "USE TEMP B-TREE FOR ORDER BY"

func litePlan(t *testing.T, s *Store, query string) string {
	t.Helper()
	args := make([]any, strings.Count(query, "?"))
	for i := range args {
		args[i] = 1
	}
	lines, err := sqltext.Collect(context.Background(), s.core.Read, func(row sqltext.Scanner) (string, error) {
		var id, parent, unused int
		var detail string
		err := row.Scan(&id, &parent, &unused, &detail)
		return detail, err
	}, "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatalf("%v in %s", err, query)
	}
	return strings.Join(lines, "\n")
}
