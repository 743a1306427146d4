package profile_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/webhook"
)

const examples = "../../examples/profiles"

func example(t testing.TB, name string) *profile.Profile {
	t.Helper()
	file := filepath.Join(examples, name+".yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load(file, text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every example loads, together with the built-in profiles and the other examples. Its name
// is that of its file, and its requests verify.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(examples, "*.yaml"))
	if err != nil || len(files) != 5 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	set := profile.Builtin()
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		p := example(t, name)
		if p.Name() != name || p.Description() == "" {
			t.Errorf("%s is called %q: %q", file, p.Name(), p.Description())
		}
		if err := set.Add(p); err != nil {
			t.Error(err)
		}
		text, encoding, err := p.NewSecret()
		if err != nil {
			t.Fatal(err)
		}
		secret := hook.Secret{Text: text, Encoding: encoding}
		header, body := request(t, p, secret)
		verified := 0
		for _, spec := range p.Specs() {
			if (spec.Algorithm == webhook.Ed25519) == (encoding == hook.EncodingWhsk) {
				check(t, spec, text, header, body, nil)
				verified++
			}
		}
		if verified == 0 {
			t.Errorf("%s: nothing was verified", name)
		}
		if got, err := p.CheckSecret(text); err != nil || got != encoding {
			t.Errorf("%s does not take its own secret back: %v", name, err)
		}
	}
}

// request renders the request of the awkward event with the secrets, newest first.
func request(t testing.TB, p *profile.Profile, secrets ...hook.Secret) (http.Header, []byte) {
	t.Helper()
	s, err := p.Signer(secrets)
	if err != nil {
		t.Fatal(err)
	}
	body := p.Render(nil, input())
	list, err := p.Headers(nil, input(), body, s)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	for _, h := range list {
		header.Add(h.Name, h.Value)
	}
	return header, body
}

func check(t testing.TB, spec webhook.Spec, secret string, header http.Header, body []byte, want error) {
	t.Helper()
	v, err := webhook.NewVerifier(spec, secret)
	if err != nil {
		t.Fatal(err)
	}
	v.Now = func() time.Time { return now }
	if err := v.Verify(header, body); err != want && (want == nil || err == nil || !strings.HasPrefix(err.Error(), want.Error())) {
		t.Errorf("%s %s: %v, want %v", spec.Header, spec.Algorithm, err, want)
	}
}

const (
	whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	whsk  = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	whpk  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
)

// The migration from a shared secret to an ed25519 key: first v1 alone, then both in one
// header, with v1 first and one space between them, then v1a alone.
func TestMovingToEd25519(t *testing.T) {
	dual := example(t, "standard-dual")
	old := hook.Secret{Version: 1, Text: whsec, Encoding: hook.EncodingWhsec}
	next := hook.Secret{Version: 2, Text: whsk, Encoding: hook.EncodingWhsk}
	for _, text := range []string{whsec, whsk} {
		if encoding, err := dual.CheckSecret(text); err != nil || !strings.HasPrefix(text, string(encoding)) {
			t.Errorf("%.6s: %q, %v", text, encoding, err)
		}
	}
	for _, test := range []struct {
		what     string
		secrets  []hook.Secret
		versions []string
		v1, v1a  error
	}{
		{"before", []hook.Secret{old}, []string{"v1"}, nil, webhook.ErrNoMatch},
		{"moving", []hook.Secret{next, old}, []string{"v1", "v1a"}, nil, nil},
		{"after", []hook.Secret{next}, []string{"v1a"}, webhook.ErrNoMatch, nil},
	} {
		header, body := request(t, dual, test.secrets...)
		value := header.Get("webhook-signature")
		var versions []string
		for _, part := range strings.Split(value, " ") {
			version, _, _ := strings.Cut(part, ",")
			versions = append(versions, version)
		}
		if diff := cmp.Diff(test.versions, versions); diff != "" {
			t.Errorf("%s: %q: %s", test.what, value, diff)
		}
		if n := len(header.Values("webhook-id")) + len(header.Values("webhook-timestamp")); n != 2 {
			t.Errorf("%s: %d headers of id and time", test.what, n)
		}
		check(t, webhook.Standard(), whsec, header, body, test.v1)
		check(t, webhook.StandardAsymmetric(), whpk, header, body, test.v1a)
	}
	if _, err := example(t, "standard-ed25519").Signer([]hook.Secret{old}); err == nil {
		t.Error("a profile with ed25519 alone signs with a shared secret")
	}
	if s, err := builtin(t, "standard").Signer([]hook.Secret{next}); err == nil {
		t.Errorf("standard signs with an ed25519 key: %v", s)
	}
}

func TestPublicKey(t *testing.T) {
	next := hook.Secret{Text: whsk, Encoding: hook.EncodingWhsk}
	for _, test := range []struct {
		p      *profile.Profile
		secret hook.Secret
		want   string
	}{
		{example(t, "standard-dual"), next, whpk},
		{example(t, "standard-ed25519"), next, whpk},
		{builtin(t, "standard"), next, ""},
		{example(t, "standard-dual"), hook.Secret{Text: whsec, Encoding: hook.EncodingWhsec}, ""},
		{example(t, "standard-dual"), hook.Secret{Text: "whsk_AA==", Encoding: hook.EncodingWhsk}, ""},
	} {
		if got, ok := test.p.PublicKey(test.secret); got != test.want || ok != (test.want != "") {
			t.Errorf("%s, %s: %q, %v", test.p.Name(), test.secret.Encoding, got, ok)
		}
	}
}

// Signatures of two formats, each in its own header, made with one secret.
func TestGitHubLikeHasBothDigests(t *testing.T) {
	p := example(t, "github-like")
	// The example from GitHub's documentation.
	secret := hook.Secret{Text: "It's a Secret to Everybody", Encoding: hook.EncodingText}
	in := input()
	s, err := p.Signer([]hook.Secret{secret})
	if err != nil {
		t.Fatal(err)
	}
	list, err := p.Headers(nil, in, []byte("Hello, World!"), s)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, h := range list {
		got[h.Name] = h.Value
	}
	want := map[string]string{
		"Content-Type": "application/json", "User-Agent": "Acme-Hookshot/1",
		"X-Acme-Event": in.Event.Type, "X-Acme-Delivery": in.Delivery.String(), "X-Acme-Attempt": "2",
		"X-Acme-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
		"X-Acme-Signature":     got["X-Acme-Signature"],
	}
	if diff := cmp.Diff(want, got); diff != "" || !strings.HasPrefix(got["X-Acme-Signature"], "sha1=") {
		t.Error(got["X-Acme-Signature"], diff)
	}
}
