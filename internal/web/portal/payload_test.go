package portal_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// The payload of an event and the answers of a receiver are shown when the audit log has the
// view, and otherwise not.
func TestPayloadsAreShownWithTheAuditLog(t *testing.T) {
	w := newWorld(t, "canary")
	b, it := w.open(nordlicht, all), w.of[nordlicht]
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.dir, "posthorn.db")+"?_pragma=busy_timeout(30000)") // the store writes meanwhile
	w.must(err)
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(w.ctx, "CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END")
	w.must(err)
	event, delivery := "events/"+it.event.String(), "deliveries/"+it.delivery.String()
	secrets := map[string][]string{event: {"canary"}, delivery: {"canary", "X-Odd", "sorry"}, event + "/data": {"canary"}}
	for range 2 { // nor the second time
		for path, all := range secrets {
			a := b.get(path)
			for _, secret := range all {
				if strings.Contains(a.Body.String(), secret) {
					t.Errorf("%s shows %s without an entry in the audit log: %d", path, secret, a.Code)
				}
			}
			if path != event+"/data" && !strings.Contains(a.Body.String(), "cannot be recorded just now") {
				t.Errorf("%s does not say why: %d", path, a.Code)
			}
		}
	}
	_, err = db.ExecContext(w.ctx, "DROP TRIGGER no_audit")
	w.must(err)
	for path, all := range secrets { // the control
		body := b.get(path).Body.String()
		for _, secret := range all {
			if !strings.Contains(body, secret) {
				t.Errorf("control: %s does not show %s", path, secret)
			}
		}
	}
	entries, _, err := w.app.AuditEntries(w.ctx, w.admins[hook.Live], hook.AuditQuery{Scope: nordlicht})
	w.must(err)
	views := map[hook.Act]int{}
	for _, e := range entries {
		if e.Actor.Kind == string(hook.PortalUser) {
			views[e.Act]++
		}
	}
	if views[hook.ActEventRead] != 1 || views[hook.ActDeliveryRead] != 1 {
		t.Errorf("%v, want each view once", views)
	}
}
