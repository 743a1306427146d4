package upkeep

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// The steps of an erasure that look for the tenant in what belongs to others: alerts of the
// operator, statistics and the audit log.

// eraseAlerts bounds the alerts of the operator that a page examines.
const eraseAlerts = 500

// alerts removes the operator's alerts about the tenant, with their deliveries, and those
// that wait for a digest. The cursor is that of byIDs.
func (e *eraser) alerts(ctx context.Context) (func(*tx) (bool, error), error) {
	at := e.Cursor
	if len(at) != 17 {
		at = append([]byte{byte(hook.Test)}, make([]byte, 16)...)
	}
	about := []byte(`"tenant":"` + e.Tenant + `"`) // ids of tenants need no escaping
	type row struct {
		id hook.ID
		of bool
	}
	scan := func(from sqltext.Scanner) (r row, err error) {
		var data []byte
		err = from.Scan(sqltext.Blob(r.id[:]), &data)
		r.of = bytes.Contains(data, about)
		return r, err
	}
	rows, err := sqltext.Collect(ctx, e.core.Read, scan, "SELECT id, data FROM events WHERE mode = ? AND tenant = ? AND id > ? ORDER BY id LIMIT ?",
		int64(at[0]), hook.OperatorTenant, at[1:], eraseAlerts)
	if err != nil {
		return nil, e.core.ReadError("read alerts", err)
	}
	waiting, err := sqltext.Collect(ctx, e.core.Read, func(from sqltext.Scanner) (r row, err error) {
		var tenant, example string
		err = from.Scan(sqltext.Blob(r.id[:]), &tenant, &example)
		r.of = tenant == e.Tenant || strings.Contains(example, string(about))
		return r, err
	}, "SELECT id, tenant, example FROM alert_sums WHERE tenant = ? OR example LIKE ? LIMIT ?", e.Tenant, "%"+string(about)+"%", eraseRows)
	if err != nil {
		return nil, e.core.ReadError("read alerts", err)
	}
	var ids []hook.ID
	next := append([]byte{byte(hook.Live)}, make([]byte, 16)...)
	more := hook.Mode(at[0]) == hook.Test
	for _, r := range rows {
		if r.of {
			ids = append(ids, r.id)
		}
		if next, more = append([]byte{at[0]}, r.id[:]...), true; len(ids) == sqltext.ErasePage {
			break
		}
	}
	return func(t *tx) (bool, error) {
		e.next = next
		for _, r := range waiting {
			if !r.of { // an underscore in the id matches any character
				continue
			}
			n, err := t.Exec("erase alert", "DELETE FROM alert_sums WHERE id = ?", r.id[:])
			if err != nil {
				return true, err
			}
			e.Counts["alert_sums"] += n
		}
		if len(ids) == 0 {
			return more, nil
		}
		left, err := t.eraseIDs(e, sqltext.ErasedByEvent, ids)
		if left {
			e.next = at
		}
		return true, err
	}, nil
}

const (
	// eraseStats bounds the spans of statistics, and the rows of the log, that a page examines.
	eraseStats = 50
	statsOf    = "SELECT span, start FROM stats WHERE tenant = ? AND (span, start) > (?, ?) GROUP BY span, start ORDER BY span, start LIMIT ?"
)

var dropStatsOf = `DELETE FROM stats WHERE (span, start, mode, tenant, endpoint, part) IN (SELECT span, start, mode, tenant, endpoint, part FROM stats
	WHERE (span, start) IN (VALUES (CAST(? AS bigint), CAST(? AS bigint))` + strings.Repeat(", (CAST(? AS bigint), CAST(? AS bigint))", eraseStats-1) + `)
	AND mode IN (1, 2) AND tenant = ? LIMIT ?)`

// stats removes the tenant's sums. Those of the whole mode stay.
func (e *eraser) stats(ctx context.Context) (func(*tx) (bool, error), error) {
	type span struct{ span, start int64 }
	spans, err := sqltext.Collect(ctx, e.core.Read, func(row sqltext.Scanner) (s span, err error) { err = row.Scan(&s.span, &s.start); return s, err },
		statsOf, e.Tenant, int64(-1), int64(0), eraseStats)
	if err != nil {
		return nil, e.core.ReadError("list statistics to erase", err)
	}
	return func(t *tx) (bool, error) {
		if len(spans) == 0 {
			return false, nil
		}
		args := []any{}
		for i := range eraseStats {
			s := spans[min(i, len(spans)-1)]
			args = append(args, s.span, s.start)
		}
		n, err := t.Exec("erase statistics", dropStatsOf, append(args, e.Tenant, int64(eraseRows))...)
		e.Counts["stats"] += n
		return true, err
	}, nil
}

// statLog rewrites the rows of the log of statistics that count something of the tenant.
// The sums of the whole mode stay. The cursor is the last row that was examined, and a mark
// that this pass has rewritten one: then another pass follows.
func (e *eraser) statLog(ctx context.Context) (func(*tx) (bool, error), error) {
	var after int64
	again := false
	if _, err := fmt.Sscan(string(e.Cursor), &after, &again); err != nil {
		after, again = -1, false
	}
	type entry struct {
		id   int64
		of   bool
		data []byte
	}
	rows, err := sqltext.Collect(ctx, e.core.Read, func(row sqltext.Scanner) (r entry, err error) {
		if err = row.Scan(&r.id, &r.data); err == nil {
			err = sqltext.ReadLog(r.data, func(s sqltext.Subject, _ bool, _ []byte) error { r.of = r.of || s.Tenant == e.Tenant; return nil })
		}
		r.data = nil
		return r, err
	}, "SELECT id, data FROM stat_log WHERE id > ? ORDER BY id LIMIT ?", after, eraseStats)
	if err != nil {
		return nil, e.core.ReadError("read log of statistics", err)
	}
	return func(t *tx) (bool, error) {
		redo := again
		for _, r := range rows {
			if !r.of {
				continue
			}
			redo = true
			if err := t.eraseStatRow(e, r.id); err != nil {
				return true, err
			}
		}
		if len(rows) == 0 {
			e.next = []byte("-1 false")
			return redo, nil
		}
		e.next = fmt.Append(nil, rows[len(rows)-1].id, redo)
		return true, nil
	}, nil
}

// eraseStatRow replaces a row of the log by one without the tenant. The new row has another
// id, so that whoever is adding up the old one finds it gone and does it again.
func (t *tx) eraseStatRow(e *eraser, id int64) error {
	var h logHead
	var fresh int64
	var data []byte
	found, err := t.Row("read log of statistics", "SELECT span, start, fresh, data FROM stat_log WHERE id = ?{lock}", []any{id}, &h.span, &h.start, &fresh, &data)
	if err != nil || !found {
		return err // it was added up meanwhile
	}
	sums, raw := &unit.Sums{}, &unit.Sums{}
	sums.Reset()
	raw.Reset()
	if err := sums.AddLog(data, raw); err != nil {
		return err
	}
	sums.AddRaw(raw)
	all := len(sums.List)
	sums.List = slices.DeleteFunc(sums.List, func(s unit.SubjectTally) bool { return s.Subject.Tenant == e.Tenant })
	e.Counts["stat_log"] += int64(all - len(sums.List))
	if n, err := t.Exec("erase statistics", "DELETE FROM stat_log WHERE id = ?", id); err != nil || n == 0 {
		return err
	}
	return sums.Rows(false, func(subjects int, data []byte) error {
		return t.LogRow(h.span, h.start, fresh == 1, subjects, data)
	})
}

const (
	// eraseAudit bounds the entries of the audit log that a page examines, and
	// eraseAuditRows those that it changes.
	eraseAudit, eraseAuditRows = 1000, 100
	auditAfter                 = "SELECT chain, seq, id, tenant, act, object_id, detail FROM audit WHERE mode = ? AND id > ? ORDER BY id LIMIT ?"
)

// auditLog removes from the audit log what says whom its entries are about. The cursor is
// that of byIDs.
func (e *eraser) auditLog(ctx context.Context) (func(*tx) (bool, error), error) {
	at := e.Cursor
	if len(at) != 17 {
		at = append([]byte{byte(hook.Test)}, make([]byte, 16)...)
	}
	rows, err := sqltext.Collect(ctx, e.core.Read, func(row sqltext.Scanner) (a hook.AuditEntry, err error) {
		err = row.Scan(&a.Chain, &a.Sequence, sqltext.Blob(a.ID[:]), &a.Tenant, &a.Act, &a.ObjectID, &a.Detail)
		return a, err
	}, auditAfter, int64(at[0]), at[1:], eraseAudit)
	if err != nil {
		return nil, e.core.ReadError("read audit log", err)
	}
	next := append([]byte{byte(hook.Live)}, make([]byte, 16)...)
	more := hook.Mode(at[0]) == hook.Test
	var these []hook.AuditEntry
	for i := range rows {
		if rows[i].About(e.Tenant) {
			these = append(these, rows[i])
		}
		if next, more = append([]byte{at[0]}, rows[i].ID[:]...), true; len(these) == eraseAuditRows {
			break
		}
	}
	return func(t *tx) (bool, error) {
		e.next = next
		for _, chain := range chainsOf(these) {
			if err := t.eraseAudit(e, hook.Mode(at[0]), chain); err != nil {
				return true, err
			}
		}
		return more, nil
	}, nil
}

// chainsOf groups entries by chain, oldest first.
func chainsOf(list []hook.AuditEntry) (groups [][]hook.AuditEntry) {
	of := map[int64][]hook.AuditEntry{}
	for _, a := range list {
		of[a.Chain] = append(of[a.Chain], a)
	}
	for _, chain := range slices.Sorted(maps.Keys(of)) {
		slices.SortFunc(of[chain], func(a, b hook.AuditEntry) int { return int(a.Sequence - b.Sequence) })
		groups = append(groups, of[chain])
	}
	return groups
}

// eraseAudit erases entries of a chain, oldest first, and adds the entry that vouches for
// them.
func (t *tx) eraseAudit(e *eraser, mode hook.Mode, list []hook.AuditEntry) error {
	if _, err := t.AuditHead(mode); err != nil {
		return err
	}
	group, sum, n := list[0].ID, [32]byte{}, int64(0)
	for _, a := range list {
		found, err := sqltext.Collect(background, t.Conn, sqltext.ScanAudit, "SELECT "+sqltext.Audit.Columns+" FROM audit WHERE chain = ? AND mode = ? AND seq = ?{lock}", a.Chain, int64(mode), a.Sequence)
		if err != nil {
			return sqltext.Wrap("read audit entry", err)
		}
		if len(found) == 0 || found[0].Erased() {
			continue // the retention was faster
		}
		now := found[0]
		sum = now.Erase(group, sum)
		if _, err := t.Exec("erase audit entry", "UPDATE audit SET tenant = '', address = '', request = ?, object_id = '', detail = ? WHERE chain = ? AND mode = ? AND seq = ?",
			now.Actor.Request, now.Detail, a.Chain, int64(mode), a.Sequence); err != nil {
			return err
		}
		n++
	}
	if n == 0 {
		return nil
	}
	e.Counts["audit"] += n
	t.Audit(hook.AuditEntry{Actor: hook.Actor{Kind: hook.ActorItself, ID: hook.ActorItself}, Act: hook.ActAuditErased, Object: "chain", ObjectID: itoa(list[0].Chain), Mode: mode,
		Outcome: hook.AuditOK, Detail: hook.AuditErased(group, sum)})
	return nil
}
