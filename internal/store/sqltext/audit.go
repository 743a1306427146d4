package sqltext

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
)

// auditPage is how many entries one query reads.
const auditPage = 1000

// CheckAudit reads the audit log of a mode, newest first, and checks its chains. most
// bounds the number of entries read; 0 means all, and only then does it also check the
// beginning of the chains. A fault is returned as a hook.AuditFault.
func CheckAudit(ctx context.Context, q Querier, mode hook.Mode, most int) (*hook.AuditCheck, error) {
	check := &hook.AuditCheck{}
	var before hook.ID
	for i := range before {
		before[i] = 0xff
	}
	for {
		rows, err := Collect(ctx, q, ScanAudit, "SELECT "+Audit.Columns+" FROM audit WHERE mode = ? AND id < ? ORDER BY id DESC LIMIT ?", int64(mode), before[:], auditPage)
		if err != nil {
			return check, Wrap("read audit log", err)
		}
		for _, e := range rows {
			if err := check.Add(e); err != nil {
				return check, err
			}
			if before = e.ID; most > 0 && check.Checked >= most {
				return check, nil
			}
		}
		if len(rows) < auditPage {
			return check, check.End()
		}
	}
}
