package app

import (
	"log/slog"

	"github.com/posthorn/posthorn/internal/hook"
)

// levelAudit is that of lines about what somebody did with a secret. They stay in
// the log unless the operator wants errors only.
const levelAudit = slog.LevelWarn

// audit says who did something to an endpoint. The bootstrap keys have no id.
func (c Caller) audit(ep *hook.Endpoint) []slog.Attr {
	key := c.KeyID.String()
	if c.KeyID.IsZero() {
		key = "bootstrap"
	}
	return []slog.Attr{slog.String("endpoint", ep.ID.String()), slog.String("tenant", ep.Scope.Tenant),
		slog.String("mode", ep.Scope.Mode.String()), slog.String("key", key), slog.String("kind", string(c.Kind))}
}
