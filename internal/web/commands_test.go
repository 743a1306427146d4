package web_test

import (
	"html"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/doctor"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/internal/web"
)

var command = regexp.MustCompile(`<code class="cmd"[^>]*>([^<]*)</code>`)

// unknownCommand returns the part of a command that the command line does not know.
func unknownCommand(t *testing.T, text string) string {
	t.Helper()
	words := strings.Fields(regexp.MustCompile(`"[^"]*"|'[^']*'`).ReplaceAllString(text, "x"))
	root := cli.Root()
	root.AddCommand(doctor.Command(), &cobra.Command{Use: "config", Run: func(*cobra.Command, []string) {}}) // as cmd/posthorn does
	audit, _, err := root.Find([]string{"audit"})
	if err != nil {
		t.Fatal(err)
	}
	audit.AddCommand(doctor.AuditVerify())
	found, rest, err := root.Find(words[1:])
	if err != nil || words[0] != "posthorn" || !found.Runnable() {
		return "there is no such command"
	}
	if err := found.ParseFlags(rest); err != nil {
		return err.Error()
	}
	if found.Args != nil {
		if err := found.Args(found, found.Flags().Args()); err != nil {
			return err.Error()
		}
	}
	return ""
}

// The commands that pages show exist, with their flags and arguments, both on full pages and
// on the empty pages of a new server.
func TestCommandsOnPagesExist(t *testing.T) {
	full := newWorld(t)
	empty := &world{Live: servertest.Start(t)}
	seen := map[string]bool{}
	for _, w := range []*world{full, empty} {
		b := w.browser(w.Config.OperatorKey)
		for _, r := range web.Routes() {
			if !r.Show || w == empty && strings.Contains(r.Path, "{id}") && !strings.HasPrefix(r.Path, "tenants/") {
				continue
			}
			for _, found := range command.FindAllStringSubmatch(b.get(w.path("live", r)).body, -1) {
				seen[html.UnescapeString(found[1])] = true
			}
		}
	}
	for text := range seen {
		if why := unknownCommand(t, text); why != "" {
			t.Errorf("%s: %s", text, why)
		}
	}
	if len(seen) < 15 {
		t.Errorf("only %d commands were found", len(seen))
	}
	// The control.
	for _, text := range []string{"posthorn fly", "posthorn tenant get", "posthorn tenant create --wings 2"} {
		if unknownCommand(t, text) == "" {
			t.Errorf("%s passes", text)
		}
	}
}
