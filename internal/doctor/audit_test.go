package doctor

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// The three ways to verify the log agree, and each detects changes to the table.
func TestAuditIsVerified(t *testing.T) {
	s := newShell(t)
	for _, id := range []string{"a", "b", "c", "d"} {
		s.OK("tenant", "create", "--id", id)
	}
	database := filepath.Join(s.Data, "posthorn.db")
	verify := func(args ...string) (string, int) {
		out, errOut, code := servertest.Run(t, root(), "", append([]string{"audit", "verify"}, args...)...)
		return out + errOut, code
	}
	ways := map[string]func() (string, int){
		"api":    func() (string, int) { return verify("--server", s.URL, "--key", servertest.Key) },
		"file":   func() (string, int) { return verify("--data", s.Data) },
		"doctor": func() (string, int) { lines, code := doctor(t, "--data", s.Data, "--all"); return lines["audit"], code },
	}
	for name, way := range ways {
		if out, code := way(); code != exit.OK || name != "doctor" && !strings.Contains(out, "live: checked 5 entries, back to 20") {
			t.Errorf("%s: %d %s", name, code, out)
		}
	}
	for name, spoil := range map[string][2]string{
		"changed": {"UPDATE audit SET object_id = 'x' WHERE seq = 3", "UPDATE audit SET object_id = 'b' WHERE seq = 3"},
		"swapped": {"UPDATE audit SET object_id = CASE object_id WHEN 'a' THEN 'b' ELSE 'a' END WHERE seq IN (2, 3)",
			"UPDATE audit SET object_id = CASE object_id WHEN 'a' THEN 'b' ELSE 'a' END WHERE seq IN (2, 3)"},
		"removed":            {"UPDATE audit SET mode = 7 WHERE seq = 3", "UPDATE audit SET mode = 2 WHERE seq = 3"},
		"the oldest removed": {"UPDATE audit SET mode = 7 WHERE seq = 1", "UPDATE audit SET mode = 2 WHERE seq = 1"},
	} {
		servertest.Alter(t, database, spoil[0])
		for way, check := range ways {
			if out, code := check(); code != exit.Failed || way != "doctor" && !strings.Contains(out, "sequence ") {
				t.Errorf("%s, %s: %d %s", name, way, code, out)
			}
		}
		servertest.Alter(t, database, spoil[1])
	}
	if out, code := verify("--data", s.Data, "--json"); code != exit.OK || !strings.Contains(out, `"checked":5`) {
		t.Errorf("%d %s", code, out)
	}
	for _, args := range [][]string{{"--data", t.TempDir()}, {"--store", "mysql://x"}, {"--server", s.URL, "--key", s.OK("key", "create", "--kind", "publisher", "--json")}} {
		if out, code := verify(args...); code == exit.OK {
			t.Errorf("%v: %s", args, out)
		}
	}
}
