package profile_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// laughs returns a file of nine lines that expands to a billion values.
func laughs() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	return b.String()
}

// Malicious files are refused immediately, with a line and a reason.
func TestHostileFiles(t *testing.T) {
	for name, test := range map[string]struct{ text, reason string }{
		"bomb":                  {laughs(), "anchors and aliases"},
		"bomb in the envelope":  {replace(base, "envelope: raw\n", "envelope:\n  "+strings.ReplaceAll(strings.TrimSpace(laughs()), "\n", "\n  ")+"\n"), "anchors and aliases"},
		"loop":                  {replace(base, "envelope: raw", "envelope: &e\n  a: *e"), "anchors and aliases"},
		"loop of two":           {replace(base, "envelope: raw", "envelope: &e\n  a: &f\n    b: *e\n  c: *f"), "anchors and aliases"},
		"alias as a name":       {replace(base, "name: base", "name: &n base\n*n : x"), "anchors and aliases"},
		"alias into nowhere":    {replace(base, "name: base", "name: *gone"), "not YAML"},
		"merge":                 {replace(base, "retry: {", "retry: {<<: {cap: 1h}, "), "plain text"},
		"tag on a mapping":      {replace(base, "secret: {", "secret: !secret {"), "tags"},
		"tag on a text":         {replace(base, "name: base", "name: !!str base"), "tags"},
		"binary":                {replace(base, "name: base", "name: !!binary YmFzZQ=="), "tags"},
		"deep":                  {replace(base, "envelope: raw", "envelope:\n  a: "+strings.Repeat("[", 9000)+strings.Repeat("]", 9000)), "nested more than"},
		"deeper":                {replace(base, "envelope: raw", "envelope:\n  a: "+strings.Repeat("[", 200_000)), "not YAML"},
		"wide":                  {replace(base, "envelope: raw", "envelope:\n  a: "+strings.Repeat("x", 70<<10)), "bytes of its own"},
		"many headers":          {base + "headers:\n" + numbered("  X-%d: a\n", 33), "at most 32"},
		"long header":           {base + "headers: {X-A: " + strings.Repeat("a", 5000) + "}\n", "up to 4096"},
		"long header name":      {base + "headers: {" + strings.Repeat("a", 65) + ": a}\n", "cannot be a header name"},
		"many signatures":       {replace(base, "success", numbered("  - {header: X-%d, algorithm: hmac-sha1, signed: \"{body}\", output: \"{signature}\", digest: hex}\n", 8)+"success"), "at most 8"},
		"line break in a name":  {base + "headers: {\"X-A\\r\\nHost\": a}\n", "cannot be a header name"},
		"line break in a value": {base + "headers: {X-A: \"a\\r\\nHost: b\"}\n", "printable ASCII"},
		"framing":               {base + "headers: {Transfer-Encoding: chunked}\n", "not the profile's"},
		"framing, spelt oddly":  {base + "headers: {tRANSFER-eNCODING: chunked}\n", "not the profile's"},
		"coding":                {base + "headers: {Content-Encoding: gzip}\n", "not the profile's"},
		"proxy":                 {base + "headers: {Proxy-Connection: a}\n", "not the profile's"},
		"control characters":    {replace(base, "name: base", "name: \"base\\x00\""), "must be 1 to 63"},
		"path as a name":        {replace(base, "name: base", "name: ../../etc/passwd"), "must be 1 to 63"},
		"no encoding":           {replace(base, "{\"test\": true}", "{\"test\": \"\\xff\"}"), "JSON object"},
	} {
		begin := time.Now()
		_, err := profile.Load("bad.yaml", []byte(test.text))
		bad, ok := errors.AsType[*profile.FileError](err)
		if !ok || bad.Line < 1 || !strings.Contains(bad.Reason, test.reason) {
			t.Errorf("%s: %.200v, want %q", name, err, test.reason)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
	// The control: the library alone accepts the file that Load refuses.
	var into struct{ Envelope map[string]any }
	if err := yaml.Unmarshal([]byte("x: &x {a: 1}\nenvelope:\n  b: *x\n"), &into); err != nil || into.Envelope["b"] == nil {
		t.Errorf("control: %v, %v", into, err)
	}
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

const second = `  - {header: X-Sig, algorithm: hmac-sha512, signed: "{body}", output: "sha512={signature}", joiner: " ", digest: hex}
`

// Which signatures may share a header, and which secrets they require.
func TestSharedHeadersAndSecrets(t *testing.T) {
	joined := replace(base, "digest: hex\nsuccess", "digest: hex\n    joiner: \" \"\n"+second+"success")
	load(t, joined)
	for _, test := range []struct{ old, new, reason string }{
		{`joiner: " ", `, "", "need the same joiner"},
		{`joiner: " ", `, `joiner: ",", `, "need the same joiner"},
		{"sha512={signature}", "sha256={signature}", "begin differently"},
		{"sha512={signature}", "{signature}", "begin differently"},
		{"sha512={signature}", "sha256=x{signature}", "begin differently"},
		{"sha512={signature}", "sha512={signature} end", "outputs of one element"},
		{"X-Sig, algorithm", "x-sig, algorithm", "set twice"},
		{"hmac-sha512", "ed25519", "does not sign with keys of encoding text"},
		{"secret: {characters: 40, encoding: text, import: {min: 24, max: 64}}", "secret: {encoding: whsk_}", "does not sign with keys of encoding whsk_"},
		{"import: {min: 24, max: 64}", "import: {min: 24, max: 64, encodings: [whsec_, text]}", "text alone"},
		{"import: {min: 24, max: 64}", "import: {min: 24, max: 64, encodings: [base64]}", "text alone"},
		{"import: {min: 24, max: 64}", "import: {min: 24, max: 64, encodings: []}", "at least one"},
		{"import: {min: 24, max: 64}", "import: {min: 24, max: 63, encodings: [whsk_]}", "leave out"},
		{"import: {min: 24, max: 64}", "import: {min: 24, max: 64, encodings: [whsec_, whsec_]}", "twice"},
		{"characters: 40, encoding: text", "bytes: 32, encoding: whsk_", "its length is fixed"},
	} {
		if _, err := profile.Load("bad.yaml", []byte(replace(joined, test.old, test.new))); err == nil || !strings.Contains(err.Error(), test.reason) {
			t.Errorf("%s: %v, want %q", test.new, err, test.reason)
		}
	}
	// Secrets that are issued must be able to sign.
	edOnly := replace(joined, "hmac-sha256", "ed25519", "hmac-sha512", "ed25519", "encoding: text, import: {min: 24, max: 64}",
		"encoding: text, import: {min: 24, max: 64, encodings: [whsk_]}")
	if _, err := profile.Load("bad.yaml", []byte(edOnly)); err == nil || !strings.Contains(err.Error(), "no signature is made with") {
		t.Errorf("issued secrets that sign nothing: %v", err)
	}
}

func TestReload(t *testing.T) {
	set := profile.Builtin()
	first := load(t, replace(base, "name: base", "name: own"))
	other := load(t, replace(base, "name: base", "name: other"))
	if err := set.Reload([]*profile.Profile{first, other}); err != nil {
		t.Fatal(err)
	}
	second := load(t, replace(base, "name: base", "name: own # second"))
	if err := set.Reload([]*profile.Profile{second}); err != nil {
		t.Fatal(err)
	}
	if got, _ := set.Get("own"); got != second {
		t.Error("the new text is not in force")
	}
	for _, p := range []*profile.Profile{first, second, other} {
		if got, ok := set.ByHash(p.Hash()); !ok || got != p {
			t.Errorf("a text of %s is not found by its hash", p.Name())
		}
	}
	if got, _ := set.Get("other"); got != other {
		t.Error("a profile that was not in the list went away")
	}
	third := load(t, replace(base, "name: base", "name: own # third"))
	taken := load(t, replace(base, "name: base", "name: standard"))
	for _, list := range [][]*profile.Profile{{third, taken}, {third, load(t, replace(base, "name: base", "name: own # fourth"))}} {
		if err := set.Reload(list); err == nil || !strings.Contains(err.Error(), "is taken") {
			t.Errorf("reload: %v", err)
		}
	}
	if got, _ := set.Get("own"); got != second {
		t.Error("a refused reload changed the set")
	}
	if _, known := set.ByHash(third.Hash()); known {
		t.Error("a refused reload left a text behind")
	}
	if std, _ := set.Get("standard"); !std.Builtin() || second.Builtin() {
		t.Error("the built-in profiles are not told apart")
	}
}

// Readers see either the old or the new snapshot while writers replace it.
func TestReloadWhileReading(t *testing.T) {
	set := profile.Builtin()
	texts := make([]*profile.Profile, 20)
	for i := range texts {
		texts[i] = load(t, replace(base, "name: base", fmt.Sprintf("name: own # %d", i)))
	}
	set.Keep(texts[0])
	if err := set.Reload(texts[:1]); err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				p, ok := set.Get("own")
				if !ok {
					t.Error("the profile is gone for a moment")
					return
				}
				if same, ok := set.ByHash(p.Hash()); !ok || same != p {
					t.Error("a name without its text")
					return
				}
				_ = set.Names()
			}
		})
	}
	for i := range texts {
		if err := set.Reload([]*profile.Profile{texts[i]}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
	var unknown hook.ProfileHash
	if _, ok := set.ByHash(unknown); ok {
		t.Error("found a text that was never loaded")
	}
}
