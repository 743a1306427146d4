package upkeep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Erasures. A row is a job and, once it is done, a receipt.
//
// The transaction that creates the erasure of a tenant also marks the tenant as deleted, so
// that nothing is published to it any more. After that a job works through the steps. Each
// page of a step reads outside the writer, and then removes rows and records its progress
// in one transaction. So however the process ends, the next one goes on where it was. The
// fence decides who runs the job, as with replays.
//
// Endpoints are deleted as usual, which cancels their deliveries, before any event is
// removed. From then on nothing can create a row of the tenant. The row of the tenant is
// removed last, so its id is in use until everything else is gone.

// eraser is an erasure during one step.
type eraser struct {
	*Keeper
	hook.Erasure
	next []byte // where the step goes on, set by the function that makes a page
}

// eraseStep is a step of an erasure. Its page reads what is next, and returns the operation
// that removes it. more reports that the step is not over after that. A nil operation means
// that the step waits for somebody else.
type eraseStep struct {
	name string
	page func(e *eraser, ctx context.Context) (remove func(t *tx) (more bool, err error), err error)
}

// The steps by name, in their order.
var (
	tenantSteps = []eraseStep{
		{"endpoints and keys", (*eraser).stop}, {"events", (*eraser).events}, {"endpoints", (*eraser).endpoints}, {"rows", (*eraser).rows}, {"alerts", (*eraser).alerts},
		{"statistics log", (*eraser).statLog}, {"statistics", (*eraser).stats}, {"audit log", (*eraser).auditLog}, {"tenant", (*eraser).tenantRow},
		{"disk", (*eraser).disk},
	}
	eventSteps = []eraseStep{{"events", (*eraser).events}, {"disk", (*eraser).disk}}
)

const (
	// eraseRows bounds the rows that a page of an erasure removes.
	eraseRows = 2000
	// deletePage bounds the endpoints and the keys that a page deletes.
	deletePage = 50
)

// Erase creates an erasure, to be run by this process. If the same tenant or event is being
// erased, or is gone and has a receipt, Erase returns that. It returns CodeTenantNotFound or
// CodeNotFound if there never was one, and CodeErasureLimit if too many erasures run.
func (s *Keeper) Erase(ctx context.Context, n hook.NewErasure, once *hook.Once) (hook.Erasure, *hook.Replay, error) {
	var made hook.Erasure
	var replay *hook.Replay
	event := hook.ID{}
	if !n.PublicID.IsZero() {
		found, err := s.lists.EventByPublicID(ctx, hook.Scope{Tenant: n.Tenant, Mode: n.Mode}, n.PublicID)
		if err == nil {
			event, n.Tenant = found.ID, found.Scope.Tenant
		} else if hook.CodeOf(err) != hook.CodeNotFound {
			return made, nil, err
		}
	}
	err := s.do(ctx, "create erasure", 3, func(t *tx) (err error) {
		replay, err = t.Once(once, func() (any, bool, error) {
			made = hook.Erasure{Mode: n.Mode, Tenant: n.Tenant, Event: event, PublicID: n.PublicID, Counts: map[string]int64{}}
			err := t.createErasure(&made)
			return made, true, err
		})
		return err
	})
	if err != nil {
		return hook.Erasure{}, nil, err
	}
	return made, replay, nil
}

func (t *tx) createErasure(e *hook.Erasure) error {
	gone := hook.NotFound("event")
	there := false
	var err error
	if e.PublicID.IsZero() {
		gone = unit.NoTenant()
		var deleted int64
		if there, err = t.Row("read tenant", "SELECT deleted_at FROM tenants WHERE id = ?{lock}", []any{e.Tenant}, &deleted); err != nil {
			return err
		}
		if there && deleted == 0 {
			if _, err := t.Exec("delete tenant", "UPDATE tenants SET deleted_at = ? WHERE id = ?", sqltext.Micros(t.Now), e.Tenant); err != nil {
				return err
			}
			if err := t.ReloadTenant(e.Tenant); err != nil {
				return err
			}
		}
	} else if !e.Event.IsZero() {
		var one int
		if there, err = t.Row("read event", "SELECT 1 FROM events WHERE id = ?{lock}", []any{e.Event[:]}, &one); err != nil {
			return err
		}
	}
	old, found, err := t.erasureBefore(e)
	switch {
	case err != nil:
		return err
	case found && (!there || old.State == hook.ErasureRunning):
		*e = old
		return nil
	case !there:
		return gone
	}
	var running int
	if _, err := t.Row("count erasures", "SELECT count(*) FROM erasures WHERE state = 0", nil, &running); err != nil {
		return err
	}
	if running >= hook.MaxErasures {
		return &hook.Error{Code: hook.CodeErasureLimit, Message: fmt.Sprintf("%d erasures run already, and no more are allowed. Wait until one is done.", running)}
	}
	e.ID, e.CreatedAt, e.UpdatedAt, e.Owner, e.Fence, e.Step, e.Cursor = t.s.core.IDs.Next(), t.Now, t.Now, t.s.core.Peers.Epoch(), 1, stepsOf(e)[0].name, []byte{}
	if t.Actor() != nil {
		e.By = hook.Actor{Kind: t.Actor().Kind, ID: t.Actor().ID}
	}
	if _, err := t.Exec("insert erasure", "INSERT INTO erasures ("+read.ErasureColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, '{}', ?, ?, ?, ?, ?, ?, 0)",
		e.ID[:], int64(e.Mode), e.Tenant, e.Event[:], e.PublicID[:], int64(e.State), e.Step, e.Cursor, e.By.Kind, e.By.ID, e.Owner, e.Fence,
		sqltext.Micros(t.Now), sqltext.Micros(t.Now)); err != nil {
		return err
	}
	t.Erasures = append(t.Erasures, hook.ErasureRef{ID: e.ID, Fence: e.Fence})
	t.Audited(hook.ActErasureCreated, "erasure", e.ID.String(), hook.Scope{Mode: e.Mode}) // without the tenant, which the receipt names
	return nil
}

// erasureBefore returns the newest erasure of the same tenant or event.
func (t *tx) erasureBefore(e *hook.Erasure) (hook.Erasure, bool, error) {
	where, args := "tenant = ? AND event = ?", []any{e.Tenant, e.Event[:]}
	if !e.PublicID.IsZero() {
		where, args = "mode = ? AND public_id = ? AND (? = '' OR tenant = ?)", []any{int64(e.Mode), e.PublicID[:], e.Tenant, e.Tenant}
	}
	found, err := sqltext.Collect(background, t.Conn, read.ScanErasure, "SELECT "+read.ErasureColumns+" FROM erasures WHERE "+where+" ORDER BY id DESC LIMIT 1", args...)
	if err != nil || len(found) == 0 {
		return hook.Erasure{}, false, sqltext.Wrap("read erasure", err)
	}
	return found[0], true, nil
}

func stepsOf(e *hook.Erasure) []eraseStep {
	if e.PublicID.IsZero() {
		return tenantSteps
	}
	return eventSteps
}

// TakeErasures makes this process run the erasures of an ended process.
func (d Duties) TakeErasures(ctx context.Context, dead string) error {
	core := d.keeper.core
	return core.Recover(ctx, "take over erasures", hook.MaxErasures, func(t *unit.Tx) error {
		left, err := unit.Returning(t, read.ScanErasure, "UPDATE erasures SET owner = ?, fence = fence + 1 WHERE state = 0 AND "+dead+
			" RETURNING "+read.ErasureColumns, core.Peers.Epoch())
		for i := range left {
			t.Erasures = append(t.Erasures, hook.ErasureRef{ID: left[i].ID, Fence: left[i].Fence})
		}
		return sqltext.Wrap("take over erasures", err)
	})
}

// errErasureMoved undoes a page of an erasure that another process took over.
var errErasureMoved = &hook.Error{Code: hook.CodeConflict, Message: "The erasure was taken over by another process."}

// StepErasure removes the next page of an erasure.
func (s *Keeper) StepErasure(ctx context.Context, ref hook.ErasureRef) (hook.ReplayStep, error) {
	found, err := sqltext.Collect(ctx, s.core.Read, read.ScanErasure, "SELECT "+read.ErasureColumns+" FROM erasures WHERE id = ? AND state = 0 AND fence = ?", ref.ID[:], ref.Fence)
	if err != nil {
		return hook.ReplayStep{}, s.core.ReadError("read erasure", err)
	}
	if len(found) == 0 { // it is done, or another process runs it
		return hook.ReplayStep{Over: true}, nil
	}
	steps := stepsOf(&found[0])
	at := slices.IndexFunc(steps, func(step eraseStep) bool { return step.name == found[0].Step })
	if at < 0 { // it was created by a newer release
		return hook.ReplayStep{Over: true}, fmt.Errorf("erasure %s: unknown step %q", ref.ID, found[0].Step)
	}
	e := &eraser{Keeper: s, Erasure: found[0]}
	remove, err := steps[at].page(e, ctx)
	if err != nil || remove == nil {
		return hook.ReplayStep{Waiting: true}, err
	}
	over := false
	err = s.core.Submit(ctx, &unit.Op{Name: "erase", Rows: eraseRows, Stays: true, Detail: &unit.Lookups{Audits: true}, Apply: s.on(func(t *tx) error {
		e.Erasure, over = found[0], false
		e.Counts = maps.Clone(e.Counts)
		more, err := remove(t)
		if err != nil {
			return err
		}
		if e.Cursor = append([]byte{}, e.next...); !more {
			if e.Cursor, over = []byte{}, at+1 == len(steps); !over {
				e.Step = steps[at+1].name
			}
		}
		return t.saveErasure(e, over)
	})})
	if errors.Is(err, errErasureMoved) {
		return hook.ReplayStep{Over: true}, nil
	}
	return hook.ReplayStep{Over: over}, err
}

func (t *tx) saveErasure(e *eraser, over bool) error {
	if over {
		e.State, e.Step, e.EndedAt = hook.ErasureDone, "", t.Now
		t.Audit(hook.AuditEntry{Actor: hook.Actor{Kind: hook.ActorItself, ID: hook.ActorItself}, Act: hook.ActErasureDone, Object: "erasure", ObjectID: e.ID.String(),
			Mode: e.Mode, Outcome: hook.AuditOK, Detail: fmt.Sprintf("%d rows", e.Rows())})
	}
	counts, err := json.Marshal(e.Counts)
	if err != nil {
		return err
	}
	n, err := t.Exec("move erasure", "UPDATE erasures SET state = ?, step = ?, progress = ?, counts = ?, updated_at = ?, ended_at = ? WHERE id = ? AND state = 0 AND fence = ?",
		int64(e.State), e.Step, e.Cursor, string(counts), sqltext.Micros(t.Now), sqltext.Micros(e.EndedAt), e.ID[:], e.Fence)
	if err == nil && n == 0 {
		err = errErasureMoved
	}
	return err
}

// stop deletes the tenant's endpoints and revokes its keys, a page at a time, and then
// waits until the deliveries are cancelled.
func (e *eraser) stop(ctx context.Context) (func(*tx) (bool, error), error) {
	ids, err := sqltext.Collect(ctx, e.core.Read, sqltext.ScanID, "SELECT id FROM endpoints WHERE mode IN (1, 2) AND tenant = ? AND status <> ? LIMIT ?", e.Tenant, hook.Deleted, deletePage)
	if err != nil {
		return nil, e.core.ReadError("list endpoints to erase", err)
	}
	if len(ids) == 0 {
		var one int
		if sweeping, err := sqltext.ReadRow(ctx, e.core.Read, "SELECT 1 FROM endpoints WHERE mode IN (1, 2) AND tenant = ? AND sweep <> '' LIMIT 1", []any{e.Tenant}, &one); err != nil || sweeping {
			return nil, err
		}
	}
	return func(t *tx) (bool, error) {
		for _, id := range ids {
			var scope hook.Scope
			if ok, err := t.Row("find endpoint", "SELECT mode, tenant FROM endpoints WHERE id = ?", []any{id[:]}, &scope.Mode, &scope.Tenant); err != nil || !ok {
				return true, err
			}
			target, err := t.Endpoint(scope, id)
			if err == nil && target != nil {
				err = t.s.opts.DeleteEndpoint(t.Tx, target)
			}
			if err != nil {
				return true, err
			}
		}
		keys, err := t.Exec("revoke keys", `UPDATE keys SET revoked_at = ? WHERE id IN
			(SELECT id FROM keys WHERE mode IN (1, 2) AND tenant = ? AND revoked_at = 0 LIMIT ?)`, sqltext.Micros(t.Now), e.Tenant, int64(deletePage))
		if keys > 0 {
			t.KeysChanged()
		}
		return len(ids) > 0 || keys == deletePage, err
	}, nil
}

// events removes the next events with their rows.
func (e *eraser) events(ctx context.Context) (func(*tx) (bool, error), error) {
	if !e.Event.IsZero() {
		return func(t *tx) (bool, error) { return t.eraseIDs(e, sqltext.ErasedByEvent, []hook.ID{e.Event}) }, nil
	}
	return e.byIDs(ctx, "events", sqltext.ErasedByEvent)
}

// endpoints removes the next endpoints, which are deleted, with their rows.
func (e *eraser) endpoints(ctx context.Context) (func(*tx) (bool, error), error) {
	return e.byIDs(ctx, "endpoints", sqltext.ErasedByEndpoint)
}

// byIDs removes the rows that the next ids of a table lead to. The cursor is the mode and
// the last id of the page before.
func (e *eraser) byIDs(ctx context.Context, from string, tables []sqltext.Erased) (func(*tx) (bool, error), error) {
	at := e.Cursor
	if len(at) != 17 {
		at = append([]byte{byte(hook.Test)}, make([]byte, 16)...)
	}
	ids, err := sqltext.Collect(ctx, e.core.Read, sqltext.ScanID, "SELECT id FROM "+from+" WHERE mode = ? AND tenant = ? AND id > ? ORDER BY id LIMIT ?",
		int64(at[0]), e.Tenant, at[1:], sqltext.ErasePage)
	if err != nil {
		return nil, e.core.ReadError("list rows to erase", err)
	}
	last := hook.Mode(at[0]) == hook.Live
	return func(t *tx) (bool, error) {
		if len(ids) == 0 {
			e.next = append([]byte{byte(hook.Live)}, make([]byte, 16)...)
			return !last, nil
		}
		end := ids[len(ids)-1]
		e.next = append([]byte{at[0]}, end[:]...)
		left, err := t.eraseIDs(e, tables, ids)
		if left {
			e.next = at
		}
		return true, err
	}, nil
}

// eraseIDs removes the rows of a list of tables that the ids lead to, at most eraseRows, and
// reports whether there may be more.
func (t *tx) eraseIDs(e *eraser, tables []sqltext.Erased, ids []hook.ID) (more bool, err error) {
	args := make([]any, 0, 2*sqltext.ErasePage+1)
	for range 2 {
		for i := range sqltext.ErasePage {
			args = append(args, ids[min(i, len(ids)-1)][:])
		}
	}
	left := int64(eraseRows)
	for i := range tables {
		table := &tables[i]
		these, most := args[:table.Args*sqltext.ErasePage], left
		if !table.Few {
			these = append(these[:len(these):len(these)], left)
		}
		n, err := t.eraseFrom(table, these)
		if err != nil {
			return true, err
		}
		e.Counts[table.Name] += n
		if left -= n; !table.Few && n == most {
			return true, nil
		}
	}
	// A deletion on PostgreSQL that waits for a row while the row is packed does not find it.
	found, err := listed(t, sqltext.ScanID, sqltext.ErasedLast(tables), ids)
	return len(found) > 0, sqltext.Wrap("look for what is left", err)
}

// eraseFrom runs the statement of a table. Open work is taken from the dispatcher that has
// it in memory.
func (t *tx) eraseFrom(table *sqltext.Erased, args []any) (int64, error) {
	act := "erase " + table.Name
	if table.Name == "oneshots" {
		n, err := unit.Returning(t.Tx, func(row sqltext.Scanner) (id hook.ID, err error) { return scanOpen(t, row, true) }, table.Delete+" RETURNING event, endpoint, mode, tenant, 0, owner, replay", args...)
		for _, replay := range n {
			t.CountReplay(replay, unit.ReplayCounts{Dropped: 1})
		}
		return int64(len(n)), sqltext.Wrap(act, err)
	}
	if table.Name == "deliveries" {
		n, err := unit.Returning(t.Tx, func(row sqltext.Scanner) (id hook.ID, err error) { return scanOpen(t, row, false) }, table.Delete+" RETURNING event, endpoint, mode, tenant, state, owner, event", args...)
		return int64(len(n)), sqltext.Wrap(act, err)
	}
	return t.Exec(act, table.Delete, args...)
}

// scanOpen reads a row that was removed. If it was open work, it is no longer counted, and
// nobody attempts it any more.
func scanOpen(t *tx, row sqltext.Scanner, shot bool) (last hook.ID, err error) {
	var ref hook.Ref
	var scope hook.Scope
	var state hook.State
	var owner int64
	if err := row.Scan(sqltext.Blob(ref.Event[:]), sqltext.Blob(ref.Endpoint[:]), &scope.Mode, &scope.Tenant, &state, &owner, sqltext.Blob(last[:])); err != nil {
		return last, err
	}
	if !shot && !state.Open() {
		return last, nil
	}
	t.AddOpen(scope, -1)
	t.Dropped = append(t.Dropped, ref)
	if owner != 0 && owner != t.s.core.Peers.Epoch() {
		t.TellNodes(sqltext.DroppedJob, scope, ref)
	}
	return last, nil
}

// rows removes the rows that need only the tenant to be found.
func (e *eraser) rows(context.Context) (func(*tx) (bool, error), error) {
	return func(t *tx) (bool, error) {
		left := int64(eraseRows)
		for i := range sqltext.ErasedByTenant {
			table := &sqltext.ErasedByTenant[i]
			args := []any{}
			for range table.Args {
				args = append(args, e.Tenant)
			}
			n, err := t.Exec("erase "+table.Name, table.Delete, append(args, left)...)
			if err != nil {
				return true, err
			}
			e.Counts[table.Name] += n
			if n == left {
				return true, nil
			}
			left -= n
		}
		t.KeysChanged()
		return false, nil
	}, nil
}

// tenantRow removes the tenant, whose id is free from then on.
func (e *eraser) tenantRow(context.Context) (func(*tx) (bool, error), error) {
	return func(t *tx) (bool, error) {
		n, err := t.Exec("erase tenant", "DELETE FROM tenants WHERE id = ? AND deleted_at > 0", e.Tenant)
		if err != nil {
			return false, err
		}
		e.Counts["tenants"] += n
		return false, t.ReloadTenant(e.Tenant)
	}, nil
}

// disk removes what the database files still have of the rows. It waits while another
// process reads them.
func (e *eraser) disk(ctx context.Context) (func(*tx) (bool, error), error) {
	done, err := e.scrub(ctx)
	if err != nil || !done {
		return nil, err
	}
	return func(*tx) (bool, error) { return false, nil }, nil
}

// scrub removes from the files what is left there of deleted rows. Several that wait share
// the next one.
func (s *Keeper) scrub(ctx context.Context) (done bool, err error) {
	asked := s.scrubs.begun.Load()
	select {
	case s.scrubs.turn <- struct{}{}:
		defer func() { <-s.scrubs.turn }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if s.scrubs.done > asked {
		return true, nil
	}
	number := s.scrubs.begun.Add(1)
	done, err = s.core.Engine.Scrub(ctx, sqltext.ErasedTables(), func(rows int, do func(sqltext.Conn) error) error {
		return s.maintain(ctx, "scrub", rows, func(t *tx) error {
			t.Rows++
			return do(t.Conn)
		})
	})
	if done && err == nil {
		s.scrubs.done = number
	}
	return done, err
}

// scrubs lets one scrub run at a time. Whoever asked before one began need not have another.
type scrubs struct {
	turn  chan struct{} // contains a value while one runs
	begun atomic.Int64  // number of the latest
	done  int64         // number of the latest that ended well; only with the turn
}

// erasuresKept is how long a receipt is kept.
const erasuresKept = 5 * 365 * 24 * time.Hour

// dropErasures drops receipts past their retention.
func (s *Keeper) dropErasures(ctx context.Context) error {
	_, err := s.core.InPages(ctx, "drop receipts of erasures", "DELETE FROM erasures WHERE id IN (SELECT id FROM erasures WHERE ended_at > 0 AND ended_at <= "+
		itoa(sqltext.Micros(s.core.Now().Add(-erasuresKept)))+" LIMIT ?)", unit.HousekeepPage)
	return err
}

// Reclaim gives free space of the database back to the file system, about most bytes, in
// small steps between other writes. The caller calls it again while Left is not 0.
func (s *Keeper) Reclaim(ctx context.Context, most int64) (hook.Reclaimed, error) {
	var out hook.Reclaimed
	for more := true; more; {
		var page hook.Reclaimed
		err := s.do(ctx, "reclaim", 1, func(t *tx) (err error) {
			t.Rows++
			page, err = s.core.Engine.Shrink(t.Conn)
			return err
		})
		if err != nil {
			return out, err
		}
		step := page.Freed
		page.Freed += out.Freed
		out = page
		if more = step > 0 && out.Left > 0 && out.Freed < most; more {
			if err := sqltext.Pause(ctx, unit.PagePause); err != nil {
				return out, err
			}
		}
	}
	err := s.do(ctx, "reclaim", 1, func(t *tx) error {
		t.Audited(hook.ActReclaimed, "store", "database", t.AuditScope(""), fmt.Sprintf("%d bytes", out.Freed))
		return nil
	})
	if err == nil {
		_, err = s.core.Engine.Scrub(ctx, nil, nil)
	}
	return out, err
}
