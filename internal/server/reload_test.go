package server_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/webhook"
)

var ownSpec = webhook.Spec{Header: "X-Sig", Algorithm: webhook.HMACSHA256, Signed: "{body}", Output: "sha256={signature}",
	Digest: webhook.Hex, Key: webhook.KeyText}

// A broken file changes nothing and the log says why; a good one is in force for
// new deliveries, while those accepted before keep their bytes, also over
// restarts, and follow the new policy.
func TestReloadOfProfiles(t *testing.T) {
	dir := t.TempDir()
	servertest.WriteFile(t, dir, "own.yaml", servertest.OwnProfile)
	l := startLive(t, "--dev", "--profile-dir", dir)
	l.Answers(servertest.Always(http.StatusServiceUnavailable))
	e := l.Endpoint(client.NewEndpoint{Profile: "own"})
	verifier, err := webhook.NewVerifier(ownSpec, e.Secret)
	if err != nil {
		t.Fatal(err)
	}
	latest := func(of string) (last servertest.Arrival, times int) {
		for _, a := range l.Arrivals() {
			if bytes.Contains(a.Body, []byte(of)) {
				last, times = a, times+1
			}
		}
		return last, times
	}
	again := func(of, want string) {
		t.Helper()
		_, before := latest(of)
		l.Until("the next attempt for "+of, func() bool { _, n := latest(of); return n > before })
		if a, _ := latest(of); string(a.Body) != want || verifier.Verify(a.Header, a.Body) != nil {
			t.Errorf("%s: sent %s, want %s, signature %v", of, a.Body, want, verifier.Verify(a.Header, a.Body))
		}
	}
	l.Publish("a.b", `{"event": "A"}`)
	again("A", `{"text":"FIRST","data":{"event": "A"}}`)

	old, _ := l.Node.Profiles().Get("own")
	for name, text := range map[string]string{
		"unknown name":           strings.Replace(servertest.OwnProfile, "timeout: 10s", "timeuot: 10s", 1),
		"the name of a built-in": strings.Replace(servertest.OwnProfile, "name: own", "name: standard", 1),
		"no YAML":                "name: [",
		"not even text":          "\x00\xff",
		"empty":                  "",
	} {
		servertest.WriteFile(t, dir, "own.yaml", text)
		l.Node.ReloadProfiles(t.Context())
		if now, _ := l.Node.Profiles().Get("own"); now != old {
			t.Fatalf("%s: a broken file changed the profile", name)
		}
	}
	for _, said := range []string{"everything stays as it was", "own.yaml", "line=12", `unknown name \"timeuot\"`, `name: \"standard\" is taken by a built-in profile`} {
		if !strings.Contains(l.Log.String(), said) {
			t.Errorf("the log does not say %q:\n%s", said, l.Log)
		}
	}
	l.Publish("a.b", `{"event": "B"}`)
	again("B", `{"text":"FIRST","data":{"event": "B"}}`)

	servertest.WriteFile(t, dir, "own.yaml", strings.Replace(servertest.OwnProfile, "FIRST", "SECOND", 1))
	l.Node.ReloadProfiles(t.Context())
	l.Publish("a.b", `{"event": "C"}`)
	again("C", `{"text":"SECOND","data":{"event": "C"}}`)
	again("A", `{"text":"FIRST","data":{"event": "A"}}`)

	servertest.WriteFile(t, dir, "own.yaml", strings.Replace(servertest.OwnProfile, "FIRST", "THIRD", 1))
	l.Node.ReloadProfiles(t.Context())
	l.Stop()
	l.Start()
	again("A", `{"text":"FIRST","data":{"event": "A"}}`)
	again("C", `{"text":"SECOND","data":{"event": "C"}}`)

	// The policy is the current one, for deliveries of earlier texts too.
	servertest.WriteFile(t, dir, "own.yaml", strings.NewReplacer("FIRST", "FOURTH", "success: 2xx", "success: [2xx, 503]").Replace(servertest.OwnProfile))
	l.Node.ReloadProfiles(t.Context())
	l.Until("what is open succeeds by the new rule", func() bool {
		page, err := l.API.Deliveries(t.Context(), client.DeliveryQuery{})
		if err != nil {
			t.Fatal(err)
		}
		done := 0
		for _, d := range page.Data {
			if d.State == hook.Succeeded.String() {
				done++
			}
		}
		return done == 3
	})
}

func TestReloadOfDirectories(t *testing.T) {
	dir := t.TempDir()
	servertest.WriteFile(t, dir, "own.yaml", servertest.OwnProfile)
	l := startLive(t, "--dev", "--profile-dir", dir)
	old, _ := l.Node.Profiles().Get("own")
	// Another file with the same name is a mistake; a new profile beside it is not.
	servertest.WriteFile(t, dir, "zwei.yaml", strings.Replace(servertest.OwnProfile, "FIRST", "SECOND", 1))
	l.Node.ReloadProfiles(t.Context())
	if now, _ := l.Node.Profiles().Get("own"); now != old || !strings.Contains(l.Log.String(), "own.yaml") {
		t.Errorf("two files of one name: %s", l.Log)
	}
	servertest.WriteFile(t, dir, "zwei.yaml", strings.Replace(servertest.OwnProfile, "name: own", "name: zwei", 1))
	l.Node.ReloadProfiles(t.Context())
	e := l.Endpoint(client.NewEndpoint{Profile: "zwei"})
	if e.Secret == "" {
		t.Error("an endpoint of the new profile has no secret")
	}
	// A file that is gone leaves its profile in force.
	if err := os.Remove(filepath.Join(dir, "own.yaml")); err != nil {
		t.Fatal(err)
	}
	l.Node.ReloadProfiles(t.Context())
	if now, _ := l.Node.Profiles().Get("own"); now != old || !strings.Contains(l.Log.String(), "profiles=[own]") {
		t.Errorf("a file that is gone: %s", l.Log)
	}
	// An empty directory is a mistake, not the end of all profiles.
	if err := os.Remove(filepath.Join(dir, "zwei.yaml")); err != nil {
		t.Fatal(err)
	}
	l.Node.ReloadProfiles(t.Context())
	if _, ok := l.Node.Profiles().Get("zwei"); !ok || !strings.Contains(l.Log.String(), "no *.yaml files") {
		t.Errorf("an empty directory: %s", l.Log)
	}
}
