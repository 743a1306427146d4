package cli

import (
	"testing"

	"github.com/posthorn/posthorn/internal/exit"
)

// The filters of the lists are flags, and a key does not leave over plain http.
func TestFlagsOfLists(t *testing.T) {
	s := newShell(t)
	s.OK("tenant", "create", "--id", "acme", "--name", "Acme Ltd")
	s.OK("tenant", "create", "--id", "other")
	s.OK("key", "create", "--kind", "tenant", "--tenant", "acme", "--name", "a")
	s.OK("key", "create", "--kind", "publisher")
	s.OK("endpoint", "create", "--tenant", "acme", "--url", "https://example.com/", "--event-types", "*", "--disabled")
	s.OK("send", "--tenant", "acme", "--type", "a.b", "--data", "{}")
	for _, c := range []struct {
		rows int
		args []string
	}{
		{2, []string{"tenant", "list"}}, {1, []string{"tenant", "list", "--name", "Acme Ltd"}},
		{1, []string{"key", "list", "--kind", "tenant"}}, {1, []string{"key", "list", "--tenant", "acme", "--name", "a"}}, {0, []string{"key", "list", "--name", "b"}},
		{1, []string{"endpoint", "list", "--disabled-reason", "by_hand", "--profile", "standard"}}, {0, []string{"endpoint", "list", "--profile", "paysway"}},
		{1, []string{"event", "list", "--test", "false"}}, {0, []string{"event", "list", "--test", "true"}},
		{0, []string{"delivery", "list", "--event-type", "a.b", "--error", "timeout_response"}},
	} {
		if rows, _ := s.JSON(c.args...)["data"].([]any); len(rows) != c.rows {
			t.Errorf("%v: %d rows, want %d", c.args, len(rows), c.rows)
		}
	}
	s.Refused(exit.Refused, "older name", "delivery", "list", "--event-type", "a", "--type", "a")
	s.Refused(exit.Refused, "disabled_reason", "endpoint", "list", "--disabled-reason", "no")
	s.Refused(exit.Usage, "--allow-plain-http", "tenant", "list", "--server", "http://hooks.example.com")
	s.Refused(exit.Usage, "--allow-plain-http", "listen", "--name", "dev", "--forward", "http://127.0.0.1:1/", "--server", "http://hooks.example.com")
	s.OK("tenant", "list", "--server", s.URL, "--allow-plain-http")
}
