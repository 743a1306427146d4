package proof_test

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// exampleProfiles are the files that operators are advised to copy.
const exampleProfiles = "../examples/profiles"

// TestExampleProfiles verifies what the running server sends with the example profiles by
// the steps that Stripe and GitHub publish. Their documented example shows that the verifier
// implements GitHub's steps. The control is in the same run: one flipped bit in body or
// signature must be refused.
func TestExampleProfiles(t *testing.T) {
	n := startNode(t, "--profile-dir", exampleProfiles)
	documented := claim{Scheme: "github", Secret: "It's a Secret to Everybody", what: "the documented example", genuine: true,
		Headers: map[string]string{"x-acme-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
		Body:    base64.StdEncoding.EncodeToString([]byte("Hello, World!"))}
	for _, s := range []scheme{
		{"stripe", "stripe-like", true, []string{"x-acme-signature"}},
		{"github", "github-like", true, []string{"x-acme-signature-256", "x-acme-signature"}},
	} {
		t.Run(s.profile, func(t *testing.T) {
			secret, got := capture(t, n, s)
			var claims []claim
			if s.name == "github" {
				claims = append(claims, documented)
				claims = append(claims, forgeries(scheme{signed: []string{"x-acme-signature-256"}}, documented, 1<<20)...)
			}
			for name, r := range got {
				genuine := newClaim(s, secret, r, name)
				claims = append(claims, genuine)
				limit := 20
				if len(r.body) > 100_000 {
					limit = 3
				}
				claims = append(claims, forgeries(s, genuine, limit)...)
			}
			accepted, refused := 0, 0
			for i, ok := range runNode(t, "node/profiles.js", claims) {
				switch c := claims[i]; {
				case ok != c.genuine:
					t.Errorf("%s: accepted %v, want %v", c.what, ok, c.genuine)
				case ok:
					accepted++
				default:
					refused++
				}
			}
			if accepted < len(bodies()) || refused == 0 {
				t.Errorf("%d accepted and %d refused: the judge saw only one side", accepted, refused)
			}
			t.Logf("FIGURE verifier node, %s: %d genuine requests accepted, %d forged ones refused", s.profile, accepted, refused)
		})
	}
}

// seen records the received bodies, whatever the response.
type seen struct {
	mu     sync.Mutex
	bodies []string
	status int
}

func (s *seen) answer(r receipt) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies = append(s.bodies, string(r.body))
	return s.status
}

// of returns the bodies that contain the text.
func (s *seen) of(text string) (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, body := range s.bodies {
		if strings.Contains(body, text) {
			found = append(found, body)
		}
	}
	return found
}

// TestHangUpReloadsProfiles edits a profile under the running server and sends it SIGHUP. A
// broken file is reported with its line and changes nothing, a valid one applies to new
// deliveries, and a retry still sends the original bytes.
func TestHangUpReloadsProfiles(t *testing.T) {
	dir := t.TempDir()
	example, err := os.ReadFile(filepath.Join(exampleProfiles, "standard-ed25519.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(old, new string) {
		text := strings.Replace(string(example), old, new, 1)
		if old != new && text == string(example) {
			t.Fatalf("the example has no %q", old)
		}
		if err := os.WriteFile(filepath.Join(dir, "own.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("", "")
	n := startNode(t, "--profile-dir", dir)
	s := &seen{status: http.StatusInternalServerError}
	r := newReceiver(t, s.answer)
	n.tenant("hup")
	n.endpoint("hup", r.url, object{"profile": "standard-ed25519", "retry": object{"steps": []string{"1s"}, "then": "repeat"}})
	hangUp := func(says string) {
		t.Helper()
		if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "the log says "+says, func() bool { return strings.Contains(n.logTail(), says) })
	}
	attempt := func(event, want string) {
		t.Helper()
		before := len(s.of(event))
		eventually(t, 15*time.Second, "an attempt for "+event, func() bool { return len(s.of(event)) > before })
		if got := s.of(event)[before]; !strings.HasPrefix(got, want) {
			t.Errorf("%s: sent %s, want it to begin %s", event, got, want)
		}
	}
	n.publish("hup", "a.b", `{"event":"first"}`)
	attempt("first", `{"type":"a.b",`)

	write("timeout: 20s", "timeout: never")
	hangUp("timeout: must be a duration")
	line := 1 + strings.Count(string(example[:strings.Index(string(example), "timeout: 20s")]), "\n")
	if log := n.logTail(); !strings.Contains(log, "own.yaml") || !strings.Contains(log, `"line":`+strconv.Itoa(line)) {
		t.Errorf("the log does not name file and line %d:\n%s", line, log)
	}
	n.publish("hup", "a.b", `{"event":"second"}`)
	attempt("second", `{"type":"a.b",`)

	write("  type: $event.type", "  kind: $event.type")
	hangUp("profiles reloaded")
	n.publish("hup", "a.b", `{"event":"third"}`)
	attempt("third", `{"kind":"a.b",`)
	attempt("first", `{"type":"a.b",`)
	attempt("second", `{"type":"a.b",`)
}
