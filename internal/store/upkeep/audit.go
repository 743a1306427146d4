package upkeep

import (
	"context"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

const (
	// auditPage bounds the entries that one operation removes.
	auditPage = 500
	// auditSlack is how far the oldest entry must exceed the retention before entries are
	// removed. It keeps the number of anchors small.
	auditSlack = 24 * time.Hour

	oldestAudit = "SELECT chain FROM audit WHERE mode = ? AND id < ? ORDER BY id LIMIT 1"
	pageOfAudit = "SELECT seq, hash FROM audit WHERE chain = ? AND mode = ? AND id < ? ORDER BY seq LIMIT ?{lock}"
	dropAudit   = "DELETE FROM audit WHERE chain = ? AND mode = ? AND seq <= ?"
)

// retainAudit removes entries older than Options.AuditRetention, oldest first. For each
// page it adds an entry with the hash of the last one removed, so the rest can still be
// verified.
func (s *Keeper) retainAudit(ctx context.Context) error {
	if s.opts.AuditRetention == 0 {
		return nil
	}
	now, err := s.duties().TrustedNow(ctx)
	if err != nil {
		return err
	}
	until := now.Add(-s.opts.AuditRetention)
	below, due := sqltext.FirstID(until), sqltext.FirstID(until.Add(-auditSlack))
	for _, mode := range []hook.Mode{hook.Test, hook.Live} {
		var chain int64
		more, err := sqltext.ReadRow(ctx, s.core.Read, oldestAudit, []any{int64(mode), due[:]}, &chain)
		if err != nil {
			return s.core.ReadError("read oldest audit entry", err)
		}
		for more {
			err := s.core.Submit(ctx, &unit.Op{Name: "drop audit entries", Rows: auditPage, Stays: true, Hot: true, Detail: &unit.Lookups{Audits: true},
				Apply: s.on(func(t *tx) error { return t.dropAudit(mode, chain, below) })})
			if err != nil {
				return fmt.Errorf("drop audit entries: %w", err)
			}
			if err := sqltext.Pause(ctx, unit.PagePause); err != nil {
				return err
			}
			if more, err = sqltext.ReadRow(ctx, s.core.Read, oldestAudit, []any{int64(mode), below[:]}, &chain); err != nil {
				return s.core.ReadError("read oldest audit entry", err)
			}
		}
	}
	return nil
}

// dropAudit removes one page of the oldest entries of a chain.
func (t *tx) dropAudit(mode hook.Mode, chain int64, below hook.ID) error {
	if _, err := t.AuditHead(mode); err != nil { // before its entry is deleted
		return err
	}
	var last unit.AuditHead
	rows, err := sqltext.Collect(background, t.Conn, func(row sqltext.Scanner) (int64, error) {
		err := row.Scan(&last.Sequence, sqltext.Blob(last.Hash[:]))
		return last.Sequence, err
	}, pageOfAudit, chain, int64(mode), below[:], int64(auditPage))
	if err != nil || len(rows) == 0 {
		return sqltext.Wrap("read old audit entries", err)
	}
	if n, err := t.Exec("drop audit entries", dropAudit, chain, int64(mode), last.Sequence); err != nil || n == 0 {
		return err
	}
	t.Audit(hook.AuditEntry{Actor: hook.Actor{Kind: hook.ActorItself, ID: hook.ActorItself}, Act: hook.ActAuditTrimmed, Object: "chain", ObjectID: itoa(chain), Mode: mode,
		Outcome: hook.AuditOK, Detail: hook.AuditAnchor(last.Sequence, last.Hash)})
	return nil
}
