package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/alerts"
	"github.com/posthorn/posthorn/internal/store/pgtest"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// doomed is a store with a tenant that is erased, beside one that is not. It is opened
// again and again on the same database.
type doomed struct {
	*Store
	t    *testing.T
	o    Options
	mu   sync.Mutex
	jobs []hook.Job
	refs []hook.ErasureRef
}

// canaries are texts of the tenant that must not be found in any file afterwards.
var canaries = []string{"canary-name", "canary-data", "canary-host.example", "canary-title", "canary-description", "canary-key-name", "canary-user", "canary-once", "canary-reason", "canary-tag", "canary-page"}

const doomedTenant = "canary-tenant"

func newDoomed(t *testing.T, o Options) *doomed {
	d := &doomed{t: t, o: o}
	d.o.Keys, d.o.Reserve, d.o.Room, d.o.TenantBacklog = testKeys(t), -1, func(*hook.Endpoint) int { return 100 }, 1_000_000
	d.o.Committed = func(c hook.Commit) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.jobs, d.refs = append(d.jobs, c.Jobs...), append(d.refs, c.Erasures...)
	}
	d.open()
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func (d *doomed) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *doomed) open() {
	d.t.Helper()
	var err error
	d.Store, err = Open(d.t.Context(), d.o)
	d.must(err)
	_, _, err = d.Recover(d.t.Context())
	d.must(err)
}

// taken returns the jobs that were handed over since the last call.
func (d *doomed) taken() []hook.Job {
	d.mu.Lock()
	defer d.mu.Unlock()
	jobs := d.jobs
	d.jobs = nil
	return jobs
}

// actor returns a context that names who acts.
func (d *doomed) actor(mode hook.Mode, kind string) context.Context {
	return hook.WithActor(d.t.Context(), hook.Actor{Mode: mode, Kind: kind, ID: "k", Address: "192.0.2." + kind[:1], Request: "request-of-" + kind})
}

// fill creates rows of a tenant in every table, with texts that begin with a word.
func (d *doomed) fill(tenant, word string, events int) {
	t := d.t
	t.Helper()
	ctx := d.actor(hook.Live, "operator")
	once := &hook.Once{Scope: hook.Scope{Tenant: tenant, Mode: hook.Live}, Route: "POST /", Key: word + "-once", Answer: func(any) (int, []byte) { return 200, []byte(word + "-answer") }}
	_, _, err := d.CreateTenant(ctx, hook.Tenant{ID: tenant, Name: word + "-name"}, nil)
	d.must(err)
	for i, mode := range []hook.Mode{hook.Test, hook.Live} {
		ctx, scope := d.actor(mode, "operator"), hook.Scope{Tenant: tenant, Mode: mode}
		key, _, err := d.CreateKey(ctx, hook.Key{Kind: hook.TenantKey, Mode: mode, Tenant: tenant, Name: word + "-key-name", Hash: [32]byte{byte(i), word[0]}}, nil)
		d.must(err)
		d.must(d.CreateToken(d.actor(mode, "tenant"), scope, hook.Token{Hash: [32]byte{byte(i), word[0], 1}, Key: key.ID, ExpiresAt: time.Now().Add(time.Hour)}))
		_, _, err = d.CreatePartnerUser(ctx, hook.PartnerUser{Mode: mode, Partner: tenant, User: word + "-user", Tenant: tenant}, nil)
		d.must(err)
		var ids []hook.ID
		for range 2 {
			e, _, err := d.CreateEndpoint(ctx, hook.Endpoint{Scope: scope, URL: "https://" + word + "-host.example/hook?token=" + word, Types: []string{"*"}, Title: word + "-title",
				Description: word + "-description", Profile: "standard", Headers: []hook.Header{{Name: "X-Token", Value: word + "-header"}},
				Secrets: []hook.Secret{{Text: "whsec_" + word, Encoding: hook.EncodingWhsec}}}, nil)
			d.must(err)
			ids = append(ids, e.ID)
		}
		_, err = d.UpdateEndpoint(ctx, scope, ids[0], func(e hook.Endpoint) (hook.Endpoint, error) { e.Title += "-2"; return e, nil }, false)
		d.must(err)
		for n := range events {
			d.taken()
			out, _, err := d.Publish(ctx, []hook.NewEvent{{Scope: scope, Type: "a.b", PublicID: hook.ID{byte(mode), word[0], byte(n), byte(n >> 8)},
				Data: fmt.Appendf(nil, `{"text":"%s-data","pad":%q}`, word, strings.Repeat("x", n*37%3000)), Tags: hook.Tags{{Name: "order", Value: word + "-tag"}}}}, func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{1} }, once)
			d.must(err)
			if once != nil && len(out) != 1 {
				t.Fatal("not stored")
			}
			once = nil
			for i, j := range d.taken() {
				status := []int{200, 500}[(n+i)%2]
				_, err = d.Settle(t.Context(), []hook.Settlement{{Job: j, Outcome: hook.Outcome{StartedAt: time.Now(), Duration: time.Millisecond, Status: status, Success: status == 200, Class: hook.ClassStatus,
					Enablings: j.Target.Enablings, Message: word + "-reason", ResponseBody: []byte(word + "-answer"), ResponseHeaders: []byte("X: " + word + "-answer-header"),
					Policy: &hook.Policy{Trip: hook.Trip{Count: hook.TripAttempts, N: 1000}, Retry: hook.Retry{Steps: []time.Duration{time.Hour}}}}}})
				d.must(err)
			}
		}
		_, _, err = d.CreateReplay(ctx, hook.NewReplay{Scope: scope, Endpoint: ids[0], Source: hook.FromAll, Rate: 1}, nil)
		d.must(err)
		_, _, err = d.CreatePortalSession(ctx, hook.NewPortalSession{WebSession: hook.WebSession{Mode: mode, Tenant: tenant, ExpiresAt: time.Now().Add(time.Hour),
			EnterBy: time.Now().Add(time.Hour), Settings: hook.PortalSettings{Page: word + "-page"}}, Link: [32]byte{byte(i), word[0], 2}}, nil)
		d.must(err)
		list, _, err := d.Deliveries(t.Context(), hook.DeliveryQuery{Scope: scope})
		d.must(err)
		_, _, err = d.RetryDelivery(ctx, scope, list[0].ID, nil)
		d.must(err)
		d.must(d.Audit(d.actor(mode, "tenant"), hook.AuditEntry{Mode: mode, Tenant: tenant, Act: hook.ActEventRead, Object: "event", ObjectID: list[0].PublicID.String(), Outcome: hook.AuditOK}))
		d.must(d.Audit(ctx, hook.AuditEntry{Mode: mode, Act: hook.ActCallRefused, Object: "call", ObjectID: "PATCH /v1/tenants/" + tenant, Outcome: "not_found"}))
	}
	// Alerts about the tenant are events of the operator, or wait for a digest.
	d.must(d.do(t.Context(), "test", 1, func(t *tx) error {
		about := fmt.Sprintf(`{"type":"posthorn.endpoint.failing","tenant":%q,"url":"https://%s-host.example/"}`, tenant, word)
		event := t.newEvent(&hook.NewEvent{Scope: alerts.OperatorOf(hook.Live), Type: "posthorn.endpoint.failing", Data: []byte(about)})
		id := t.s.core.IDs.Next()
		_, err := t.Exec("test", "INSERT INTO alert_sums (id, mode, tenant, type, n, at, example) VALUES (?, 2, ?, 't', 1, 1, ?)", id[:], hook.OperatorTenant, about)
		return errors.Join(err, t.storeEvent(event))
	}))
	d.must(d.do(t.Context(), "test", 1, func(t *tx) error {
		for _, mode := range []hook.Mode{hook.Test, hook.Live} {
			if _, err := t.Exec("test", "INSERT INTO retention_marks (class, mode, tenant, keep, mark) VALUES (0, ?, ?, 1, ?)", int64(mode), tenant, []byte{1}); err != nil {
				return err
			}
		}
		_, err := t.Exec("test", "INSERT INTO retention_due (class, event, due, keep) SELECT 0, id, 1, -1 FROM events WHERE tenant = ?", tenant)
		return err
	}))
	d.must(d.SetRetention(ctx, hook.Scope{Tenant: tenant, Mode: hook.Live}, hook.Retention{Payloads: hook.NotSet, Answers: time.Hour, Events: hook.NotSet}))
	d.must(d.upkeep.WriteDisk(t.Context()))
	// Some of the statistics are added up already, the rest is as it was counted.
	d.must(d.do(t.Context(), "test", 1, func(t *tx) error {
		return t.Insert("test", sqltext.Stats, int64(3600), int64(0), int64(hook.Live), tenant, []byte{}, t.StatID(), []byte{0})
	}))
}

// rows counts the rows of a tenant in every table that has a column for it, and those of
// the log of statistics that count something of it.
func (d *doomed) rows(tenant string) map[string]int {
	d.t.Helper()
	name := func(row sqltext.Scanner) (s string, err error) { err = row.Scan(&s); return s, err }
	list := "SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c ON c.name = 'tenant' WHERE m.type = 'table' ORDER BY 1"
	if d.core.Peers.Shared() {
		list = `SELECT c.relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant'
			WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace ORDER BY 1`
	}
	tables, err := sqltext.Collect(d.t.Context(), d.core.Read, name, list)
	d.must(err)
	counts := map[string]int{}
	for _, table := range append(tables, "tenants") {
		column := "tenant"
		if table == "tenants" {
			column = "id"
		}
		var n int
		d.must(d.core.Read.QueryRowContext(d.t.Context(), "SELECT count(*) FROM "+table+" WHERE "+column+" = ?", tenant).Scan(&n))
		counts[table] = n
	}
	var links int // those that lead to a session of the tenant, or to none
	d.must(d.core.Read.QueryRowContext(d.t.Context(), "SELECT count(*) FROM web_links l WHERE NOT EXISTS (SELECT 1 FROM web_sessions s WHERE s.id = l.session AND s.tenant <> ?)", tenant).Scan(&links))
	counts["web_links"] = links
	var due int // of events of the tenant, or of none
	d.must(d.core.Read.QueryRowContext(d.t.Context(), "SELECT count(*) FROM retention_due r WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.id = r.event AND e.tenant <> ?)", tenant).Scan(&due))
	counts["retention_due"] = due
	for table, text := range map[string]string{"alert_sums": "SELECT example FROM alert_sums", "alerts": "SELECT data FROM events WHERE tenant = '" + hook.OperatorTenant + "'"} {
		list, err := sqltext.Collect(d.t.Context(), d.core.Read, func(row sqltext.Scanner) (b []byte, err error) { err = row.Scan(&b); return b, err }, text)
		d.must(err)
		for _, data := range list {
			counts[table] += bytes.Count(data, []byte(tenant))
		}
	}
	logs, err := sqltext.Collect(d.t.Context(), d.core.Read, func(row sqltext.Scanner) (b []byte, err error) { err = row.Scan(&b); return b, err }, "SELECT data FROM stat_log")
	d.must(err)
	for _, data := range logs {
		counts["stat_log"] += bytes.Count(data, []byte(tenant))
	}
	return counts
}

// found returns the canaries that are in the files of a directory.
func (d *doomed) found() (list []string) {
	d.t.Helper()
	files, err := filepath.Glob(filepath.Join(d.o.Dir, "posthorn.db*"))
	d.must(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		d.must(err)
		for _, canary := range canaries {
			if bytes.Contains(text, []byte(canary)) {
				list = append(list, filepath.Base(file)+": "+canary)
			}
		}
	}
	return list
}

// finish makes the steps of the erasure that was asked for last. every is how many steps
// one process makes.
func (d *doomed) finish(every int) (steps int) {
	d.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); steps++ {
		d.mu.Lock()
		ref := d.refs[len(d.refs)-1]
		d.mu.Unlock()
		step, err := d.StepErasure(d.t.Context(), ref)
		d.must(err)
		if step.Over {
			return steps
		}
		if step.Waiting {
			d.must(d.sweepAll(d.t.Context()))
		} else if every > 0 && steps%every == every-1 {
			d.must(d.Close())
			d.open()
		}
	}
	d.t.Fatal("the erasure does not end")
	return 0
}

// An erased tenant has no row in any table, and on SQLite no byte in any file. Its audit
// log can still be verified. Another tenant keeps every row. Processes end on the way.
func TestErasureOfATenant(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			d := newDoomed(t, o)
			d.fill("other", "other", 8)
			d.fill(doomedTenant, "canary", 8)
			before, others := d.rows(doomedTenant), d.rows("other")
			for table := range before { // whoever adds a table adds it to the list
				if known := append(sqltext.ErasedTables(), "erasures", "news", "alerts"); !slices.Contains(known, table) {
					t.Errorf("an erasure leaves the rows of %s", table)
				}
			}
			for _, table := range sqltext.ErasedTables() {
				if before[table] == 0 && table != "event_ids" {
					t.Errorf("control: the tenant has nothing in %s", table)
				}
			}
			if o.Dir != "" {
				if found := d.found(); len(found) < len(canaries) {
					t.Errorf("control: only %v are found before", found)
				}
			}
			made, _, err := d.Erase(d.actor(hook.Live, "operator"), hook.NewErasure{Mode: hook.Live, Tenant: doomedTenant}, nil)
			d.must(err)
			again, _, err := d.Erase(t.Context(), hook.NewErasure{Mode: hook.Live, Tenant: doomedTenant}, nil)
			if err != nil || again.ID != made.ID {
				t.Errorf("asked for twice: %v, %v", again.ID, err)
			}
			refused, _, err := d.Publish(t.Context(), []hook.NewEvent{{Scope: hook.Scope{Tenant: doomedTenant, Mode: hook.Live}, Type: "a.b", Data: []byte("{}"), CreateTenant: true}}, nil, nil)
			if err != nil || hook.CodeOf(refused[0].Err) != hook.CodeTenantNotFound {
				t.Errorf("published while it is erased: %+v, %v", refused, err)
			}
			_, _, err = d.CreateTenant(t.Context(), hook.Tenant{ID: doomedTenant}, nil)
			if hook.CodeOf(err) != hook.CodeTenantExists {
				t.Errorf("created while it is erased: %v", err)
			}
			if steps := d.finish(6); steps < 8 {
				t.Errorf("only %d steps", steps)
			}
			d.must(d.upkeep.WriteDisk(t.Context()))
			after := d.rows(doomedTenant)
			delete(after, "erasures") // the receipt
			delete(after, "news")     // notices between nodes, for ten minutes
			for table, n := range after {
				if n != 0 {
					t.Errorf("%d rows are left in %s", n, table)
				}
			}
			for table, n := range d.rows("other") {
				if n != others[table] && table != "stat_log" && table != "stats" && table != "news" && table != "oneshots" && table != "disk_usage" {
					t.Errorf("the other tenant had %d rows in %s, and has %d", others[table], table, n)
				}
			}
			if o.Dir != "" {
				if found := d.found(); len(found) != 0 {
					t.Errorf("found afterwards: %v", found)
				}
			}
			d.audited()
			receipt, err := d.Erasure(t.Context(), hook.Live, made.ID)
			if err != nil || receipt.State != hook.ErasureDone || receipt.EndedAt.IsZero() || receipt.By.Kind != "operator" {
				t.Errorf("%+v, %v", receipt, err)
			}
			for _, table := range []string{"events", "deliveries", "attempts", "oneshots", "endpoints", "secrets", "endpoint_revisions", "health", "keys", "oauth_tokens",
				"partner_users", "idempotency", "replays", "event_tags", "web_sessions", "web_links", "audit", "tenants"} {
				if table == "events" {
					before[table] += before["alerts"]
				}
				if int(receipt.Counts[table]) != before[table] && table != "oneshots" && table != "health" && table != "secrets" && table != "endpoint_revisions" && table != "audit" {
					t.Errorf("%s: %d in the receipt, %d before", table, receipt.Counts[table], before[table])
				}
			}
			if again, _, err = d.Erase(t.Context(), hook.NewErasure{Mode: hook.Live, Tenant: doomedTenant}, nil); err != nil || again.ID != made.ID || again.State != hook.ErasureDone {
				t.Errorf("asked for afterwards: %+v, %v", again, err)
			}
			_, _, err = d.Erase(t.Context(), hook.NewErasure{Mode: hook.Live, Tenant: "nobody"}, nil)
			if hook.CodeOf(err) != hook.CodeTenantNotFound {
				t.Errorf("unknown: %v", err)
			}
			_, _, err = d.CreateTenant(t.Context(), hook.Tenant{ID: doomedTenant}, nil)
			d.must(err) // the id is free
			if next, _, err := d.Erase(t.Context(), hook.NewErasure{Mode: hook.Live, Tenant: doomedTenant}, nil); err != nil || next.ID == made.ID {
				t.Errorf("the next tenant of the id: %v, %v", next.ID, err)
			}
		})
	}
}

// audited verifies the chains of both modes and that no entry says anything of the tenant,
// apart from the erased ones that it counts.
func (d *doomed) audited() {
	d.t.Helper()
	erased := 0
	for _, mode := range []hook.Mode{hook.Test, hook.Live} {
		_, err := sqltext.CheckAudit(d.t.Context(), d.core.Read, mode, 0)
		d.must(err)
		list, _, err := d.AuditEntries(d.t.Context(), hook.AuditQuery{Scope: hook.Scope{Mode: mode}, Page: hook.Page{Limit: 250}})
		d.must(err)
		for _, a := range list {
			if text := fmt.Sprint(a); strings.Contains(text, doomedTenant) {
				d.t.Errorf("%+v", a)
			}
			if a.Erased() && a.Act != hook.ActAuditErased {
				erased++
			}
		}
		// Control: an erased entry that is changed afterwards is found.
		for _, spoil := range []string{"act = 'event.resent'", "actor = 'x'", "detail = 'erased'", "request = '" + hex.EncodeToString(make([]byte, 32)) + "'"} {
			undone := fmt.Errorf("undone")
			err := d.do(d.t.Context(), "test", 1, func(t *tx) error {
				if _, err := t.Exec("test", "UPDATE audit SET "+spoil+" WHERE seq = (SELECT max(seq) FROM audit WHERE mode = ? AND detail LIKE 'erased %' AND act <> 'audit.erased') AND mode = ?", int64(mode), int64(mode)); err != nil {
					return err
				}
				if _, err := sqltext.CheckAudit(background, t.Conn, mode, 0); err == nil {
					d.t.Errorf("control: %s is not found", spoil)
				}
				return &hook.Error{Code: hook.CodeConflict, Message: "undone", Err: undone}
			})
			if hook.CodeOf(err) != hook.CodeConflict {
				d.t.Fatal(err)
			}
		}
	}
	if erased < 10 {
		d.t.Errorf("only %d entries are erased", erased)
	}
}

// SQLite leaves copies of rows in pages that they were moved out of. The control looks at the
// file before the last step. Not every sequence of writes leaves copies, so several are tried.
func TestErasureReachesMovedRows(t *testing.T) {
	const sequences = 20
	for seed := range uint64(sequences) {
		if d, left := movedRows(t, seed); left {
			d.reachesMovedRows()
			return
		}
	}
	t.Errorf("control: none of %d files has copies of rows that were moved", sequences)
}

// movedRows erases a tenant whose rows were moved, up to the step that cleans the file. left
// reports whether the file has copies of its rows; otherwise the store is closed.
func movedRows(t *testing.T, seed uint64) (d *doomed, left bool) {
	t.Helper()
	d = newDoomed(t, Options{Dir: t.TempDir(), Synchronous: "off"})
	d.fill("other", "other", 1)
	d.fill(doomedTenant, "canary", 1)
	random := rand.New(rand.NewPCG(seed, 7))
	var ids []hook.ID
	for range 60 {
		var events []hook.NewEvent
		for range 100 {
			tenant, word := "other", "other"
			if random.IntN(4) == 0 {
				tenant, word = doomedTenant, "canary"
			}
			events = append(events, hook.NewEvent{Scope: hook.Scope{Tenant: tenant, Mode: hook.Live}, Type: "a.b", Data: fmt.Appendf(nil, `{"text":%q}`, strings.Repeat(word+"-data", random.IntN(200)))})
		}
		out, _, err := d.Publish(t.Context(), events, func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{1} }, nil)
		d.must(err)
		for _, p := range out {
			if p.Tenant == "other" && random.IntN(5) > 0 {
				ids = append(ids, p.Event)
			}
		}
	}
	random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	d.must(d.do(t.Context(), "test", 1, func(t *tx) error {
		for _, id := range ids {
			if _, err := t.Exec("test", "DELETE FROM events WHERE id = ?", id[:]); err != nil {
				return err
			}
		}
		return nil
	}))
	made, _, err := d.Erase(t.Context(), hook.NewErasure{Mode: hook.Live, Tenant: doomedTenant}, nil)
	d.must(err)
	for {
		e, err := d.Erasure(t.Context(), hook.Live, made.ID)
		d.must(err)
		if e.Step == "disk" {
			break
		}
		if step, err := d.StepErasure(t.Context(), hook.ErasureRef{ID: made.ID, Fence: e.Fence}); err != nil {
			t.Fatal(err)
		} else if step.Waiting {
			d.must(d.sweepAll(t.Context()))
		}
	}
	log, err := sql.Open("sqlite", filepath.Join(d.o.Dir, "posthorn.db"))
	d.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for busy, frames, copied := 1, 0, 0; busy != 0 || copied < frames; { // while the store checkpoints, or a reader is at an earlier state
		d.must(log.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &frames, &copied))
	}
	d.must(log.Close())
	if left = slices.Contains(d.found(), "posthorn.db: canary-data"); !left {
		d.must(d.Close())
	}
	return d, left
}

// reachesMovedRows finishes the erasure of movedRows and looks at the file.
func (d *doomed) reachesMovedRows() {
	t := d.t
	t.Helper()
	d.finish(0)
	if found := d.found(); len(found) > 0 {
		t.Errorf("found: %v", found)
	}
	var size int64
	for left := int64(1); left > 0; {
		before := size
		out, err := d.Reclaim(d.actor(hook.Live, "operator"), 1<<20)
		d.must(err)
		if left, size = out.Left, out.Size; before != 0 && size >= before || out.Freed == 0 {
			t.Fatalf("%d bytes before, %+v", before, out)
		}
	}
	if info, err := os.Stat(filepath.Join(d.o.Dir, "posthorn.db")); err != nil || info.Size() != size {
		t.Errorf("%v, want %d bytes: %v", info.Size(), size, err)
	}
	d.must(d.Close())
	db, err := sqlite.OpenUnchanged(filepath.Join(d.o.Dir, "posthorn.db"))
	d.must(err)
	defer func() { _ = db.Close() }()
	d.must(sqlite.CheckIntegrity(t.Context(), db))
}

// An erased event is gone from every table and file, and its open deliveries are dropped.
// The others of the tenant stay.
func TestErasureOfAnEvent(t *testing.T) {
	for name, o := range bothStores(t) {
		t.Run(name, func(t *testing.T) {
			d := newDoomed(t, o)
			d.fill("other", "other", 3)
			scope := hook.Scope{Tenant: "other", Mode: hook.Live}
			out, _, err := d.Publish(t.Context(), []hook.NewEvent{{Scope: scope, Type: "a.b", PublicID: hook.ID{9}, Data: []byte(`{"text":"canary-data"}`)}},
				func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{1} }, nil)
			d.must(err)
			jobs := d.taken()
			before := d.rows("other")
			_, _, err = d.Erase(t.Context(), hook.NewErasure{Mode: hook.Test, PublicID: hook.ID{9}}, nil)
			if hook.CodeOf(err) != hook.CodeNotFound {
				t.Errorf("an event of the other mode: %v", err)
			}
			made, _, err := d.Erase(d.actor(hook.Live, "operator"), hook.NewErasure{Mode: hook.Live, PublicID: hook.ID{9}}, nil)
			d.must(err)
			d.finish(0)
			if step, err := d.StepErasure(t.Context(), d.refs[0]); err != nil || !step.Over {
				t.Errorf("a step of an erasure that is done: %+v, %v", step, err)
			}
			receipt, err := d.Erasure(t.Context(), hook.Live, made.ID)
			if err != nil || receipt.Tenant != "other" || receipt.Counts["events"] != 1 || receipt.Counts["deliveries"] != 2 || receipt.Counts["event_ids"] != 1 {
				t.Errorf("%+v, %v", receipt, err)
			}
			// An outcome that arrives later is not recorded.
			_, err = d.Settle(t.Context(), []hook.Settlement{{Job: jobs[len(jobs)-1], Outcome: hook.Outcome{StartedAt: time.Now(), Status: 200, Success: true, Policy: &hook.Policy{}, ResponseBody: []byte("canary-data")}}})
			d.must(err)
			after := d.rows("other")
			if after["events"] != before["events"]-1 || after["deliveries"] != before["deliveries"]-2 || after["attempts"] != before["attempts"] || after["endpoints"] != before["endpoints"] {
				t.Errorf("before %v, after %v", before, after)
			}
			var n int
			d.must(d.core.Read.QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM events WHERE id = ?) + (SELECT count(*) FROM deliveries WHERE event = ?) + (SELECT count(*) FROM attempts WHERE event = ?) + (SELECT count(*) FROM event_ids WHERE event = ?)",
				out[0].Event[:], out[0].Event[:], out[0].Event[:], out[0].Event[:]).Scan(&n))
			if n != 0 {
				t.Errorf("%d rows are left", n)
			}
			if found := d.found(); o.Dir != "" && len(found) != 0 {
				t.Errorf("found: %v", found)
			}
			if again, _, err := d.Erase(t.Context(), hook.NewErasure{Mode: hook.Live, PublicID: hook.ID{9}}, nil); err != nil || again.ID != made.ID {
				t.Errorf("asked for afterwards: %v, %v", again.ID, err)
			}
			_, _, err = d.Erase(t.Context(), hook.NewErasure{Mode: hook.Live, PublicID: hook.ID{8}}, nil)
			if hook.CodeOf(err) != hook.CodeNotFound {
				t.Errorf("unknown: %v", err)
			}
		})
	}
}

// An event whose row is packed on PostgreSQL while its erasure waits for it is erased.
func TestErasureOfARowThatIsPacked(t *testing.T) {
	d := newDoomed(t, Options{Postgres: pgtest.Database(t)})
	d.fill("other", "other", 1)
	out, _, err := d.Publish(t.Context(), []hook.NewEvent{{Scope: hook.Scope{Tenant: "other", Mode: hook.Live}, Type: "a.b", PublicID: hook.ID{9}, Data: []byte(`{}`)}},
		func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{1} }, nil)
	d.must(err)
	_, _, err = d.Erase(d.actor(hook.Live, "operator"), hook.NewErasure{Mode: hook.Live, PublicID: hook.ID{9}}, nil)
	d.must(err)
	other, err := node(d.Store).Control().BeginTx(t.Context(), nil)
	d.must(err)
	defer func() { _ = other.Rollback() }()
	_, err = other.ExecContext(t.Context(), "WITH old AS (DELETE FROM events WHERE id = $1 RETURNING *) INSERT INTO events SELECT * FROM old", out[0].Event[:])
	d.must(err)
	var stepped sync.WaitGroup
	stepped.Go(func() {
		if _, err := d.StepErasure(context.WithoutCancel(t.Context()), d.refs[0]); err != nil {
			t.Error(err)
		}
	})
	within(t, 5*time.Second, "the erasure waits for the row", func() bool {
		var waiting int
		d.must(d.core.Read.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE FROM events WHERE%'").Scan(&waiting))
		return waiting == 1
	})
	d.must(other.Commit())
	stepped.Wait()
	d.finish(0)
	if n := d.rows("other")["events"]; n != 2 {
		t.Errorf("%d events are left, want the one of each mode", n)
	}
}
