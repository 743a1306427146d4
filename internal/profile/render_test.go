package profile_test

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/webhook"
)

var update = flag.Bool("update", false, "write the golden requests anew")

var secrets = map[string]string{
	"standard":        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	"paysway":         "zTOJGr3vYdAHM/F5ZiDsVvgPZq5/Y3Ktbo9xw9Ncf8Y=",
	"paysway-2025-09": "zTOJGr3vYdAHM/F5ZiDsVvgPZq5/Y3Ktbo9xw9Ncf8Y=",
	"paywise":         "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789_abc",
}

var now = time.Unix(1777026700, 0)

func id(t string) hook.ID {
	got, err := hook.ParseID(t)
	if err != nil {
		panic(err)
	}
	return got
}

// input returns an event with awkward data: order, spacing, big numbers, escapes, and
// members whose names paywise sets itself.
func input() profile.Input {
	return profile.Input{
		Event: &hook.Event{
			ID:         id("019dbf5e-0000-7000-8000-000000000001"),
			PublicID:   id("45239619-07eb-47c7-9a58-f98650c269ba"),
			Scope:      hook.Scope{Tenant: "a1b2c3d4-e5f6-7890-abcd-ef1234567890", Mode: hook.Live},
			Type:       "mandate.created",
			CreatedAt:  time.Date(2026, 4, 24, 12, 30, 45, 123456789, time.FixedZone("", 7200)),
			AcceptedAt: time.Date(2026, 4, 24, 10, 30, 46, 0, time.UTC),
			Data: []byte(`{"z": 1.10,"a":12345678901234567890123, "text":"Zażółć \u00e9 <&> \/",` +
				` "company_id":"forged","nested":{"company_id":"kept", "list":[1,{"access_mode":"]"}]},"\u0061ccess_mode":"forged" }`),
		},
		Delivery: id("019dbf5e-0000-7000-9000-00000000000d"),
		Attempt:  2,
		Now:      now,
	}
}

func verify(t *testing.T, spec webhook.Spec, secret string, headers []hook.Header, body []byte) {
	t.Helper()
	v, err := webhook.NewVerifier(spec, secret)
	if err != nil {
		t.Fatal(err)
	}
	v.Now = func() time.Time { return now }
	h := http.Header{}
	for _, header := range headers {
		h.Add(header.Name, header.Value)
	}
	if err := v.Verify(h, body); err != nil {
		t.Errorf("%s: %v", spec.Header, err)
	}
}

// signer compiles one secret. The text profiles of the tests accept any text.
func signer(t testing.TB, p *profile.Profile, text string) *profile.Signer {
	t.Helper()
	s, err := p.Signer([]hook.Secret{{Text: text, Encoding: hook.Encoding(p.Specs()[0].Key)}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGoldenRequests(t *testing.T) {
	for name, secret := range secrets {
		t.Run(name, func(t *testing.T) {
			p := builtin(t, name)
			in := input()
			body := p.Render(nil, in)
			headers, err := p.Headers(nil, in, body, signer(t, p, secret))
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for _, h := range headers {
				fmt.Fprintf(&got, "%s: %s\n", h.Name, h.Value)
			}
			fmt.Fprintf(&got, "\n%s\n", body)
			file := filepath.Join("testdata", "golden", name+".http")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Error(diff)
			}
			verify(t, specs[name], secret, headers, body)
		})
	}
}

// Every retry sends the same bytes. If the time is signed, only the signature and its time
// change.
func TestRetriesSendTheSameBytes(t *testing.T) {
	for name, secret := range secrets {
		p := builtin(t, name)
		first, later := input(), input()
		later.Attempt, later.Now = 9, first.Now.Add(time.Hour)
		body := p.Render(nil, first)
		if again := p.Render(nil, later); !bytes.Equal(body, again) {
			t.Errorf("%s: body %s, later %s", name, body, again)
		}
		s := signer(t, p, secret)
		a, _ := p.Headers(nil, first, body, s)
		b, _ := p.Headers(nil, later, body, s)
		for i := range a {
			changed := a[i] != b[i]
			mayChange := specs[name].Header != "X-Paywise-Signature" &&
				(a[i].Name == specs[name].Header || a[i].Name == "webhook-timestamp")
			if changed != mayChange {
				t.Errorf("%s: %s changed: %v", name, a[i].Name, changed)
			}
		}
	}
}

func TestPaywiseTestMode(t *testing.T) {
	in := input()
	in.Event.Scope.Mode = hook.Test
	in.Event.Data = []byte(`{}`)
	want := `{"event":"mandate.created","timestamp":"2026-04-24T10:30:46.000000Z",` +
		`"data":{"company_id":"a1b2c3d4-e5f6-7890-abcd-ef1234567890","access_mode":"test"}}`
	if got := string(builtin(t, "paywise").Render(nil, in)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRenderAppends(t *testing.T) {
	p := builtin(t, "standard")
	got := p.Render([]byte("before"), input())
	if want := append([]byte("before"), p.Render(nil, input())...); !bytes.Equal(got, want) {
		t.Errorf("got %s", got)
	}
}

// In-house formats require no Go code.
func TestOtherFormats(t *testing.T) {
	tests := map[string]struct {
		text    string
		body    string
		headers []string // names in order
	}{
		"stripe-like": {
			text: replace(base, "envelope: raw\n", `mode: {live: true, test: false}
envelope:
  id: evt_$event.id
  object: event
  created: $event.created_unix
  livemode: $mode
  price: 1.50
  nothing: null
  data: {object: $event.data}
  request: [$tenant.id, "${mode}x", "$$1"]
  type: $event.type
`, "X-Sig", "Stripe-Signature", `"{body}"`, `"{timestamp}.{body}"`, `output: "sha256={signature}"`,
				"output: \"t={timestamp},v1={signature}\"\n    joiner: \",\""),
			body: `{"id":"evt_45239619-07eb-47c7-9a58-f98650c269ba","object":"event","created":1777026645,"livemode":true,` +
				`"price":1.50,"nothing":null,"data":{"object":{"b":1}},` +
				`"request":["a1b2c3d4-e5f6-7890-abcd-ef1234567890","truex","$1"],"type":"mandate.created"}`,
			headers: []string{"Content-Type", "User-Agent", "Stripe-Signature"},
		},
		"github-like": {
			text: replace(base, "X-Sig", "X-Hub-Signature-256") +
				"headers:\n  X-GitHub-Event: $event.type\n  X-GitHub-Delivery: $delivery.id\n  X-Try: no. $attempt.number\n",
			body:    `{"b":1}`,
			headers: []string{"Content-Type", "User-Agent", "X-GitHub-Event", "X-GitHub-Delivery", "X-Try", "X-Hub-Signature-256"},
		},
		"both signatures side by side": {
			text: replace(base, "success: 2xx", `  - header: webhook-signature
    id_header: webhook-id
    timestamp_header: webhook-timestamp
    algorithm: hmac-sha256
    signed: "{id}.{timestamp}.{body}"
    output: "v1,{signature}"
    joiner: " "
    digest: base64
success: 2xx`),
			body:    `{"b":1}`,
			headers: []string{"Content-Type", "User-Agent", "X-Sig", "webhook-id", "webhook-timestamp", "webhook-signature"},
		},
		"two signatures over one id": {
			text: replace(base, "X-Sig", "A\n    id_header: X-ID", `"{body}"`, `"{id}.{body}"`, "success: 2xx", `  - header: B
    id_header: X-ID
    algorithm: hmac-sha512
    signed: "{id}:{body}"
    output: "{signature}"
    digest: base64
success: 2xx`),
			body:    `{"b":1}`,
			headers: []string{"Content-Type", "User-Agent", "X-ID", "A", "B"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := load(t, test.text)
			in := input()
			in.Event.Data = []byte(`{"b":1}`)
			body := p.Render(nil, in)
			if diff := cmp.Diff(test.body, string(body)); diff != "" {
				t.Error(diff)
			}
			headers, err := p.Headers(nil, in, body, signer(t, p, "any text will do"))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, h := range headers {
				names = append(names, h.Name)
			}
			if diff := cmp.Diff(test.headers, names); diff != "" {
				t.Error(diff)
			}
			for _, spec := range p.Specs() {
				verify(t, spec, "any text will do", headers, body)
			}
		})
	}
}

// Names are validated elsewhere. Even if an invalid one got this far, the body would remain
// one JSON object, and no header line could be injected.
func TestHostileNames(t *testing.T) {
	p := builtin(t, "paywise")
	in := input()
	in.Event.Data = []byte(`{}`)
	for _, name := range []string{"a\nX-Evil: 1", "a\rb", `a","x":"`, `a\`, "é", "\x7f", "\xff"} {
		in.Event.Type = name
		body := p.Render(nil, in)
		if list := readMembers(t, body); !jsontext.Value(body).IsValid() || len(list) != 3 {
			t.Errorf("%q renders to %q", name, body)
		}
		_, err := p.Headers(nil, in, body, signer(t, p, secrets["paywise"]))
		if harmless := visibleASCII(name); (err == nil) != harmless {
			t.Errorf("%q as a header value: %v", name, err)
		}
	}
}

func visibleASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// A signer of another profile must neither sign fewer headers nor panic.
func TestForeignSigner(t *testing.T) {
	one := load(t, base)
	two := load(t, replace(base, "success: 2xx", "  - {header: Y, algorithm: hmac-sha1, signed: \"{body}\", output: \"{signature}\", digest: hex}\nsuccess: 2xx"))
	if _, err := two.Headers(nil, input(), nil, signer(t, one, "secret")); err == nil {
		t.Error("signed with half the signers")
	}
	if _, err := one.Headers(nil, input(), nil, signer(t, two, "secret")); err == nil {
		t.Error("signed with a foreign signer")
	}
}

const spreadPlaces = `
  first: {"...": $event.data}
  leading: {"...": $event.data, own: 1, 'q"\': 2}
  trailing: {own: 1, 'q"\': 2, "...": $event.data}
  middle: {own: 1, "...": $event.data, 'q"\': 2}
`

func spreadProfile(t testing.TB) *profile.Profile {
	return load(t, replace(base, "envelope: raw\n", "envelope:"+spreadPlaces))
}

func TestSpread(t *testing.T) {
	p := spreadProfile(t)
	tests := []struct{ data, first, leading, trailing, middle string }{
		{`{}`, `{}`, `{"own":1,"q\"\\":2}`, `{"own":1,"q\"\\":2}`, `{"own":1,"q\"\\":2}`},
		{`{ }`, `{}`, `{"own":1,"q\"\\":2}`, `{"own":1,"q\"\\":2}`, `{"own":1,"q\"\\":2}`},
		{`{"a": 1 , "b":[1,2]}`, `{"a": 1 , "b":[1,2]}`, `{"a": 1 , "b":[1,2],"own":1,"q\"\\":2}`,
			`{"own":1,"q\"\\":2,"a": 1 , "b":[1,2]}`, `{"own":1,"a": 1 , "b":[1,2],"q\"\\":2}`},
		{`{"own":{"x":","}}`, `{"own":{"x":","}}`, `{"own":1,"q\"\\":2}`, `{"own":1,"q\"\\":2}`, `{"own":1,"q\"\\":2}`},
		{`{"\u006fwn":0,"a":"own"}`, `{"\u006fwn":0,"a":"own"}`, `{"a":"own","own":1,"q\"\\":2}`,
			`{"own":1,"q\"\\":2,"a":"own"}`, `{"own":1,"a":"own","q\"\\":2}`},
		{`{"a":1,"q\"\\":0 ,"b":"\\"}`, `{"a":1,"q\"\\":0 ,"b":"\\"}`, `{"a":1,"b":"\\","own":1,"q\"\\":2}`,
			`{"own":1,"q\"\\":2,"a":1,"b":"\\"}`, `{"own":1,"a":1,"b":"\\","q\"\\":2}`},
	}
	for _, test := range tests {
		in := input()
		in.Event.Data = []byte(test.data)
		want := fmt.Sprintf(`{"first":%s,"leading":%s,"trailing":%s,"middle":%s}`, test.first, test.leading, test.trailing, test.middle)
		if diff := cmp.Diff(want, string(p.Render(nil, in))); diff != "" {
			t.Errorf("%s: %s", test.data, diff)
		}
	}
}

// member is one member of an object: the unescaped name, and the unchanged value.
type member struct{ name, value string }

// readMembers reads an object the slow and safe way.
func readMembers(t testing.TB, text []byte) []member {
	t.Helper()
	d := jsontext.NewDecoder(bytes.NewReader(text))
	if _, err := d.ReadToken(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var list []member
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		m := member{name: name.String()}
		value, err := d.ReadValue()
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		m.value = string(value)
		list = append(list, m)
	}
	return list
}

func without(list []member, names ...string) []member {
	var rest []member
	for _, m := range list {
		if !strings.Contains("\x00"+strings.Join(names, "\x00")+"\x00", "\x00"+m.name+"\x00") {
			rest = append(rest, m)
		}
	}
	return rest
}

// For any strict object, a spread yields the same members as a decoder, and preserves the
// bytes of every value.
func FuzzSpread(f *testing.F) {
	for _, seed := range []string{`{}`, ` {"own" : 1} `, `{"\u006fwn":"\\\"","b":[{"own":","}]}`, `{"a":"}","q\"\\":{}}`, string(input().Event.Data)} {
		f.Add([]byte(seed))
	}
	p := spreadProfile(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if v := jsontext.Value(data); !v.IsValid() || v.Kind() != '{' {
			return
		}
		in := input()
		in.Event.Data = data
		body := p.Render(nil, in)
		if !jsontext.Value(body).IsValid() {
			t.Fatalf("%q renders to %q", data, body)
		}
		all := readMembers(t, data)
		others := without(all, "own", `q"\`)
		own, q := member{"own", "1"}, member{`q"\`, "2"}
		want := map[string][]member{
			"first":    all,
			"leading":  append(others[:len(others):len(others)], own, q),
			"trailing": append([]member{own, q}, others...),
			"middle":   append(append([]member{own}, others...), q),
		}
		for _, place := range readMembers(t, body) {
			if diff := cmp.Diff(want[place.name], readMembers(t, []byte(place.value)), cmp.AllowUnexported(member{})); diff != "" {
				t.Errorf("%s of %q: %s", place.name, data, diff)
			}
		}
	})
}

func benchmarkInput(collide bool) profile.Input {
	in := input()
	data := `{"reference":"` + strings.Repeat("x", 700) + `","lines":[` + strings.TrimSuffix(strings.Repeat(`{"n":1,"v":"1.50"},`, 14), ",") + `]`
	if collide {
		data += `,"company_id":"x"`
	}
	in.Event.Data = []byte(data + "}")
	return in
}

func BenchmarkRenderAndSign(b *testing.B) {
	for _, name := range []string{"standard", "paysway", "paywise"} {
		b.Run(name, func(b *testing.B) {
			p := builtin(b, name)
			s := signer(b, p, secrets[name])
			in := benchmarkInput(false)
			body, headers := make([]byte, 0, 2048), make([]hook.Header, 0, 8)
			b.ReportAllocs()
			for b.Loop() {
				body = p.Render(body[:0], in)
				if _, err := p.Headers(headers, in, body, s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRender(b *testing.B) {
	for name, in := range map[string]profile.Input{"plain": benchmarkInput(false), "colliding": benchmarkInput(true)} {
		b.Run(name, func(b *testing.B) {
			p := builtin(b, "paywise")
			body := make([]byte, 0, 2048)
			b.ReportAllocs()
			for b.Loop() {
				body = p.Render(body[:0], in)
			}
			_, _ = io.Discard.Write(body)
		})
	}
}
