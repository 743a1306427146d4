package cli

import (
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// The filters of the lists are flags.
func TestFlagsOfLists(t *testing.T) {
	s := newShell(t)
	s.OK("tenant", "create", "--id", "acme", "--name", "Acme Ltd")
	s.OK("tenant", "create", "--id", "other")
	s.OK("key", "create", "--kind", "tenant", "--tenant", "acme", "--name", "a")
	s.OK("key", "create", "--kind", "publisher")
	s.OK("endpoint", "create", "--tenant", "acme", "--url", "https://example.com/", "--event-types", "*", "--disabled")
	s.OK("send", "--tenant", "acme", "--type", "a.b", "--data", "{}", "--tag", "order:o-1", "--tag", "note:a: b")
	for _, c := range []struct {
		rows int
		args []string
	}{
		{2, []string{"tenant", "list"}}, {1, []string{"tenant", "list", "--name", "Acme Ltd"}},
		{1, []string{"key", "list", "--kind", "tenant"}}, {1, []string{"key", "list", "--tenant", "acme", "--name", "a"}}, {0, []string{"key", "list", "--name", "b"}},
		{1, []string{"endpoint", "list", "--disabled-reason", "by_hand", "--profile", "standard"}}, {0, []string{"endpoint", "list", "--profile", "paysway"}},
		{1, []string{"event", "list", "--test", "false"}}, {0, []string{"event", "list", "--test", "true"}},
		{1, []string{"event", "list", "--tag", "order:o-1"}}, {1, []string{"event", "list", "--tag", "note:a: b"}}, {0, []string{"event", "list", "--tag", "order:o-2"}},
		{0, []string{"delivery", "list", "--tag", "order:o-1", "--state", "failed,held", "--status-class", "4xx,5xx", "--status", "503"}}, {0, []string{"audit", "list", "--request-id", "none"}},
		{0, []string{"delivery", "list", "--event-type", "a.b", "--error", "timeout_response"}},
	} {
		if rows, _ := s.JSON(c.args...)["data"].([]any); len(rows) != c.rows {
			t.Errorf("%v: %d rows, want %d", c.args, len(rows), c.rows)
		}
	}
	s.Refused(exit.Refused, "older name", "delivery", "list", "--event-type", "a", "--type", "a")
	s.Refused(exit.Refused, "disabled_reason", "endpoint", "list", "--disabled-reason", "no")
}

// An id is found by its first digits, and the answer names the command that shows it.
func TestSearch(t *testing.T) {
	s := newShell(t)
	s.OK("tenant", "create", "--id", "acme")
	s.OK("event-type", "create", "--name", "order.paid", "--searchable", "order: /order/id")
	id := s.JSON("send", "--tenant", "acme", "--type", "order.paid", "--data", `{"order":{"id":"o-1"}}`)["id"].(string)
	out, errOut, code := invoke(t, "", "search", id[:13], "--server", s.URL, "--key", servertest.Key)
	if code != exit.OK || !strings.Contains(out, id) || !strings.Contains(out, "order.paid") || !strings.Contains(errOut, "posthorn event get "+id+" --tenant acme") {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	if got := s.OK("event", "get", id, "--tenant", "acme"); !strings.Contains(got, "tags.order") || !strings.Contains(got, "o-1") {
		t.Errorf("%s", got)
	}
	if found := s.JSON("search", "acme")["data"].([]any); len(found) != 1 {
		t.Errorf("%v", found)
	}
	s.Refused(exit.Failed, "nothing", "search", "ffffffff")
	s.Refused(exit.Refused, "8 hexadecimal digits", "search", "a b")
	s.Refused(exit.Usage, "one ID", "search")
	s.Refused(exit.Usage, "--tag", "send", "--tenant", "acme", "--type", "a", "--data", "{}", "--tag", "order")
	s.Refused(exit.Usage, "--tag", "send", "--tenant", "acme", "--type", "a", "--data", "{}", "--tag", "order:1", "--tag", "order:2")
	s.Refused(exit.Refused, "tag", "event", "list", "--tag", "order")
}

// A key that goes over plain http to another machine is warned of, once, and goes: networks
// of containers have no TLS. The address of all interfaces is none of loopback's to the
// commands, and leads to this machine.
func TestPlainHTTPIsWarnedOf(t *testing.T) {
	s := newShell(t)
	const warning = "the key is sent unencrypted to 0.0.0.0:"
	remote := strings.Replace(s.URL, "127.0.0.1", "0.0.0.0", 1)
	for _, c := range []struct {
		name, server, key, allowed string
		args                       []string
		warnings, code             int
	}{
		{name: "another machine", server: remote, key: servertest.Key, args: []string{"tenant", "list"}, warnings: 1},
		{name: "all pages", server: remote, key: servertest.Key, args: []string{"key", "list", "--all", "--limit", "1"}, warnings: 1},
		{name: "flag", server: remote, key: servertest.Key, args: []string{"tenant", "list", "--allow-plain-http"}},
		{name: "variable", server: remote, key: servertest.Key, allowed: "true", args: []string{"tenant", "list"}},
		{name: "loopback", server: s.URL, key: servertest.Key, args: []string{"tenant", "list"}},
		{name: "listen", server: remote, key: "none", args: []string{"listen", "--name", "dev", "--forward", "http://127.0.0.1:3000/"}, warnings: 1, code: exit.KeyRevoked},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("POSTHORN_ALLOW_PLAIN_HTTP", c.allowed)
			_, errOut, code := invoke(t, "", append(c.args, "--server", c.server, "--key", c.key)...)
			if strings.Count(errOut, warning) != c.warnings || code != c.code || strings.Contains(errOut, servertest.Key) {
				t.Errorf("code %d, want %d and %d warnings: %s", code, c.code, c.warnings, errOut)
			}
		})
	}
}
