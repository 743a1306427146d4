package profile_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/webhook"
)

var specs = map[string]webhook.Spec{
	"standard": webhook.Standard(), "paysway": webhook.PaySway(), "paysway-2025-09": webhook.PaySway(), "paywise": webhook.Paywise(),
}

func builtin(t testing.TB, name string) *profile.Profile {
	t.Helper()
	p, ok := profile.Builtin().Get(name)
	if !ok {
		t.Fatalf("no built-in profile %q", name)
	}
	return p
}

func load(t testing.TB, text string) *profile.Profile {
	t.Helper()
	p, err := profile.Load("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSet(t *testing.T) {
	set := profile.Builtin()
	if diff := cmp.Diff([]string{"paysway", "paysway-2025-09", "paywise", "slack", "standard", "svix", "teams"}, set.Names()); diff != "" {
		t.Fatal(diff)
	}
	for _, name := range set.Names() {
		p, _ := set.Get(name)
		if p.Name() != name || len(p.Text()) == 0 {
			t.Errorf("%s is called %q and has %d bytes", name, p.Name(), len(p.Text()))
		}
		if got, ok := set.ByHash(p.Hash()); !ok || got != p {
			t.Errorf("%s is not found by its hash", name)
		}
		again := load(t, string(p.Text()))
		if again.Hash() != p.Hash() {
			t.Errorf("%s: the same text has another hash", name)
		}
		if err := set.Add(again); err == nil {
			t.Errorf("%s could be added twice", name)
		}
	}
	own := load(t, strings.Replace(base, "name: base", "name: own", 1))
	if err := set.Add(own); err != nil {
		t.Fatal(err)
	}
	earlier := load(t, strings.Replace(base, "name: base", "name: own # earlier", 1))
	set.Keep(earlier)
	if got, ok := set.ByHash(earlier.Hash()); !ok || got != earlier {
		t.Error("the earlier text is not found by its hash")
	}
	if got, _ := set.Get("own"); got != own {
		t.Error("the earlier text took over the name")
	}
	if _, ok := profile.Builtin().Get("own"); ok {
		t.Error("adding to one set changed another")
	}
}

func TestBuiltinPolicies(t *testing.T) {
	all2xx := hook.StatusSet{{From: 200, To: 299}}
	const m, h = time.Minute, time.Hour
	paysway := hook.Policy{
		Success:       hook.StatusSet{{From: 200, To: 200}},
		Retry:         hook.Retry{First: 10 * time.Second, Factor: 2, Cap: h, Jitter: 0.1},
		Timeout:       30 * time.Second,
		RetryAfterCap: h,
	}
	want := map[string]hook.Policy{
		"standard": {
			Success: all2xx,
			Retry: hook.Retry{Jitter: 0.1,
				Steps: []time.Duration{5 * time.Second, 5 * m, 30 * m, 2 * h, 5 * h, 10 * h, 14 * h, 20 * h, 24 * h}},
			Timeout:       20 * time.Second,
			RetryAfterCap: 24 * h,
			GoneDisables:  true,
			Trip:          hook.Trip{Count: hook.TripDuration, N: 10, For: 120 * h},
		},
		"paysway":         paysway,
		"paysway-2025-09": paysway,
		"paywise": {
			Success: all2xx,
			Retry:   hook.Retry{Steps: []time.Duration{m, 5 * m, 15 * m}},
			Timeout: 30 * time.Second,
			Trip:    hook.Trip{Count: hook.TripAttempts, N: 50},
		},
	}
	for name, policy := range want {
		if diff := cmp.Diff(policy, builtin(t, name).Policy(&hook.Endpoint{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestPolicyOfEndpoint(t *testing.T) {
	retry := hook.Retry{Steps: []time.Duration{time.Second}}
	got := builtin(t, "paywise").Policy(&hook.Endpoint{Retry: &retry, MaxFailures: 7})
	if diff := cmp.Diff(retry, got.Retry); diff != "" {
		t.Error(diff)
	}
	if want := (hook.Trip{Count: hook.TripAttempts, N: 7}); got.Trip != want {
		t.Errorf("paywise, limit 7: %+v", got.Trip)
	}
	for _, name := range []string{"standard", "paysway"} {
		if got := builtin(t, name).Policy(&hook.Endpoint{MaxFailures: 3}).Trip; got != (hook.Trip{Count: hook.TripAttempts, N: 3}) {
			t.Errorf("%s, limit 3: %+v", name, got)
		}
	}
	byDelivery := load(t, base+"auto_disable: {deliveries: 10}\n")
	if got := byDelivery.Policy(&hook.Endpoint{MaxFailures: 3}).Trip; got != (hook.Trip{Count: hook.TripDeliveries, N: 3}) {
		t.Errorf("counting deliveries, limit 3: %+v", got)
	}
	for rule, want := range map[string]int{"failing_for: 2h": 10, "failing_for: 2h, at_least: 3": 3, "at_least: 1, failing_for: 2h": 1} {
		p := load(t, base+"auto_disable: {"+rule+"}\n")
		if got := p.Policy(nil).Trip; got != (hook.Trip{Count: hook.TripDuration, N: want, For: 2 * time.Hour}) {
			t.Errorf("%s: %+v", rule, got)
		}
	}
	if got := builtin(t, "standard").Policy(nil).Trip; got != (hook.Trip{Count: hook.TripDuration, N: 10, For: 120 * time.Hour}) {
		t.Errorf("standard: %+v", got)
	}
	if got := builtin(t, "paywise").Policy(nil).Trip.N; got != 50 {
		t.Errorf("asking for one endpoint changed the profile: %d", got)
	}
}

func TestBuiltinFacts(t *testing.T) {
	facts := map[string]struct {
		management string
		ipHosts    bool
		types      int
		first      string
	}{
		"standard":        {"none", true, 5, "payment.created"},
		"paysway":         {"paysway", false, 6, "RECIPIENT.CREATED"},
		"paysway-2025-09": {"paysway", false, 6, "RECIPIENT_CREATED"},
		"paywise":         {"paywise", true, 14, "mandate.created"},
	}
	for name, want := range facts {
		p := builtin(t, name)
		if p.Management() != want.management || p.URLRules().IPHosts != want.ipHosts {
			t.Errorf("%s: management %q, %+v", name, p.Management(), p.URLRules())
		}
		types := p.Catalogue()
		if len(types) != want.types || types[0].Name != want.first {
			t.Errorf("%s: %d types, first %q", name, len(types), types[0].Name)
		}
		for _, entry := range types {
			if entry.Description == "" || len(entry.Example) == 0 {
				t.Errorf("%s: %s has no description or example", name, entry.Name)
			}
		}
		if eventType, data := p.TestEvent(); eventType != "webhook.test" || !bytes.Contains(data, []byte(`"test": true`)) {
			t.Errorf("%s: test event %s %s", name, eventType, data)
		}
		if diff := cmp.Diff([]webhook.Spec{specs[name]}, p.Specs()); diff != "" {
			t.Errorf("%s signs otherwise than the public verifier reads: %s", name, diff)
		}
	}
}

func TestNewSecret(t *testing.T) {
	want := map[string]struct {
		encoding hook.Encoding
		length   int
	}{
		"standard": {hook.EncodingWhsec, 6 + 44}, "paysway": {hook.EncodingBase64, 44},
		"paysway-2025-09": {hook.EncodingBase64, 44}, "paywise": {hook.EncodingText, 40},
	}
	for name, w := range want {
		p := builtin(t, name)
		text, enc, err := p.NewSecret()
		if err != nil || enc != w.encoding || len(text) != w.length {
			t.Errorf("%s: %d characters, %q, %v", name, len(text), enc, err)
		}
		if other, _, _ := p.NewSecret(); other == text {
			t.Errorf("%s: the same secret twice", name)
		}
		key, err := webhook.ParseKey(text, webhook.KeyEncoding(enc))
		if err != nil || key.Len() < 32 {
			t.Errorf("%s: a key of %d bytes, %v", name, key.Len(), err)
		}
		if got, err := p.CheckSecret(text); err != nil || got != enc {
			t.Errorf("%s refuses its own secret: %v", name, err)
		}
	}
	prefixed := load(t, strings.Replace(base, "characters: 40", `characters: 32, prefix: "sec_"`, 1))
	if text, _, _ := prefixed.NewSecret(); len(text) != 36 || !strings.HasPrefix(text, "sec_") {
		t.Errorf("prefixed secret %q", text)
	}
}

func TestCheckSecret(t *testing.T) {
	tests := []struct{ profile, text, reason string }{
		{"standard", "", "empty"},
		{"standard", "whsec_", "empty"},
		{"standard", "hello", "whsec_ followed by"},
		{"standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "padded"},
		{"standard", "whsec_" + strings.Repeat("AAAA", 5), "24 to 64"},
		{"standard", "whsec_" + strings.Repeat("AAAA", 22), "24 to 64"},
		{"standard", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ""},
		{"paysway", "not base64", "base64"},
		{"paysway", "zTOJGr3vYdAHM/F5ZiDsVvgPZq5/Y3Ktbo9xw9Ncf8Y=", ""},
		{"paywise", "short", "24 to 128"},
		{"paywise", strings.Repeat("a b", 12), "printable"},
		{"paywise", strings.Repeat("é", 20), "printable"},
		{"paywise", "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789_abc", ""},
		{"closed", "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789_abc", "leave it out"},
	}
	set := profile.Builtin()
	if err := set.Add(load(t, strings.NewReplacer("name: base", "name: closed", ", import: {min: 24, max: 64}", "").Replace(base))); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		p, _ := set.Get(test.profile)
		_, err := p.CheckSecret(test.text)
		if test.reason == "" {
			if err != nil {
				t.Errorf("%s refuses %q: %v", test.profile, test.text, err)
			}
			continue
		}
		refused, ok := errors.AsType[*hook.Error](err)
		if !ok || refused.Code != hook.CodeSecretInvalid || refused.Field != "secret" || !strings.Contains(refused.Message, test.reason) {
			t.Errorf("%s, %q: %v, want %q", test.profile, test.text, err, test.reason)
			continue
		}
		if len(test.text) > 6 && strings.Contains(refused.Message, test.text) {
			t.Errorf("the message shows the secret: %s", refused.Message)
		}
	}
}

// A secret keeps the encoding with which it was issued when the endpoint's profile changes.
// Here a paywise secret signs Standard Webhooks.
func TestSignerDecodesByTheSecret(t *testing.T) {
	p := builtin(t, "standard")
	text := secrets["paywise"]
	s, err := p.Signer([]hook.Secret{{Text: text, Encoding: hook.EncodingText}})
	if err != nil {
		t.Fatal(err)
	}
	in := input()
	body := p.Render(nil, in)
	h, err := p.Headers(nil, in, body, s)
	if err != nil {
		t.Fatal(err)
	}
	spec := webhook.Standard()
	spec.Key = webhook.KeyText
	verify(t, spec, text, h, body)
}

func TestSignerRefuses(t *testing.T) {
	p := builtin(t, "standard")
	for _, list := range [][]hook.Secret{
		nil,
		{{Text: "", Encoding: hook.EncodingText}},
		{{Text: "whsec_", Encoding: hook.EncodingWhsec}},
		{{Text: secrets["standard"], Encoding: hook.EncodingWhsec}, {Text: "plain", Encoding: hook.EncodingWhsec}},
		{{Text: secrets["standard"], Encoding: hook.EncodingWhsk}},
	} {
		if s, err := p.Signer(list); err == nil || s != nil {
			t.Errorf("compiled a signer from %d bad secrets", len(list))
		} else if strings.Contains(fmt.Sprint(err), "plain") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
	if _, err := p.Headers(nil, input(), nil, nil); err == nil {
		t.Error("built headers without a signer")
	}
}

// During a rotation, the header contains the signatures of both secrets, newest first.
func TestRotationOnTheWire(t *testing.T) {
	other := map[string]string{
		"standard": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
		"paysway":  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	}
	for name, second := range other {
		p := builtin(t, name)
		enc := hook.Encoding(specs[name].Key)
		s, err := p.Signer([]hook.Secret{{Text: second, Encoding: enc}, {Text: secrets[name], Encoding: enc}})
		if err != nil {
			t.Fatal(err)
		}
		in := input()
		body := p.Render(nil, in)
		h, err := p.Headers(nil, in, body, s)
		if err != nil {
			t.Fatal(err)
		}
		verify(t, specs[name], second, h, body)
		verify(t, specs[name], secrets[name], h, body)
		if name == "standard" {
			i := slices.IndexFunc(h, func(h hook.Header) bool { return h.Name == "webhook-signature" })
			if strings.Count(h[i].Value, " ") != 1 || strings.Count(h[i].Value, ",") != 2 {
				t.Errorf("signature %q", h[i].Value)
			}
		}
	}
}

// A format writes an id that is no UUID as it was given, unless it demands a UUID.
func TestEventIDs(t *testing.T) {
	in := input()
	in.Event.PublicID, in.Event.GivenID, _ = hook.EventID("order-4711")
	for name, want := range map[string]string{"standard": "order-4711", "paysway": "", "paysway-2025-09": "", "paywise": "X-Paywise-Delivery-ID", "svix": hook.MessagePrefix + in.Event.PublicID.Short()} {
		p := builtin(t, name)
		secret, encoding, err := p.NewSecret()
		if err != nil {
			t.Fatal(err)
		}
		signer, err := p.Signer([]hook.Secret{{Text: secret, Encoding: encoding}})
		if err != nil {
			t.Fatal(err)
		}
		body := p.Render(nil, in)
		headers, err := p.Headers(nil, in, body, signer)
		if err != nil {
			t.Fatal(err)
		}
		text := string(body)
		for _, h := range headers {
			text += "\n" + h.Name + ": " + h.Value
		}
		if want == "" {
			want = in.Event.PublicID.String()
		}
		if !strings.Contains(text, want) || want != "order-4711" && strings.Contains(text, "order-4711") {
			t.Errorf("%s writes no %s:\n%s", name, want, text)
		}
	}
}
