package scaffold

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

func invoke(t *testing.T, args ...string) (out, errOut string, code int) {
	t.Helper()
	return servertest.Run(t, cli.Root(Command()), "", append([]string{"init", "receiver"}, args...)...)
}

// A generated handler runs, accepts a signed event and refuses one signed with another
// secret. Every language is tested, and every format in one of them.
func TestReceiversRun(t *testing.T) {
	for _, c := range []struct{ lang, profile string }{{"go", "standard"}, {"node", "paysway"}, {"python", "paywise"}, {"node", "standard"}} {
		t.Run(c.lang+" "+c.profile, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			out, errOut, code := invoke(t, "--lang", c.lang, "--profile", c.profile, dir)
			if code != exit.OK {
				t.Fatalf("code %d: %s%s", code, out, errOut)
			}
			servertest.Contains(t, out, "the handler verified it and responded with 200", "with another secret with 401", "cd "+dir+" && PROFILE="+c.profile)
		})
	}
}

// A handler that accepts everything, or does not start, is reported as a failure. This is
// the control of the test above.
func TestBadHandlersAreNoticed(t *testing.T) {
	for says, source := range map[string]string{
		"did not reject a wrong signature": `import { createServer } from "node:http";
createServer((_, r) => { console.log("handled a b"); r.end(); }).listen(process.env.PORT, "127.0.0.1");`,
		"the handler exited": `console.log("no more"); process.exit(1);`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "receiver.mjs"), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		p := &plan{lang: "node", profile: "standard", dir: dir}
		if err := p.try(t.Context(), os.Stderr, languages["node"]); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

func TestReceiverFiles(t *testing.T) {
	for _, lang := range languageNames {
		dir := t.TempDir()
		out, errOut, code := invoke(t, "--lang", lang, "--no-run", dir)
		if code != exit.OK || !strings.Contains(out, "Wrote ") {
			t.Errorf("%s: %d %s%s", lang, code, out, errOut)
		}
		all := ""
		files, err := os.ReadDir(dir)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", lang, len(files), err)
		}
		for _, f := range files {
			text, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if all += string(text); strings.HasSuffix(f.Name(), ".go") {
				if _, err := parser.ParseFile(token.NewFileSet(), f.Name(), text, parser.AllErrors); err != nil {
					t.Error(err)
				}
			}
		}
		for _, part := range []string{"webhook-signature", "paysway-signature", "paywise-signature", "handled", "duplicate"} {
			if !strings.Contains(strings.ToLower(all), part) {
				t.Errorf("%s: nothing about %s", lang, part)
			}
		}
		if strings.Contains(all, "github.com/") {
			t.Errorf("%s: it needs more than its language", lang)
		}
		if _, errOut, code := invoke(t, "--lang", lang, "--no-run", dir); code != exit.Usage || !strings.Contains(errOut, "is not empty") {
			t.Errorf("%s again: %d %s", lang, code, errOut)
		}
	}
	for says, args := range map[string][]string{
		"--lang: ": {"--lang", "cobol", t.TempDir()}, "--profile: ": {"--lang", "go", "--profile", "own", t.TempDir()}, "takes one DIR": {"--lang", "go"},
	} {
		if _, errOut, code := invoke(t, args...); code != exit.Usage || !strings.Contains(errOut, says) {
			t.Errorf("%v: %d %s", args, code, errOut)
		}
	}
}
