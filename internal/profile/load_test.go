package profile_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/webhook"
)

// base is the smallest profile, which the tests modify.
const base = `name: base
envelope: raw
signature:
  - header: X-Sig
    algorithm: hmac-sha256
    signed: "{body}"
    output: "sha256={signature}"
    digest: hex
success: 2xx
timeout: 10s
retry: {first: 10s, factor: 2, cap: 1h}
secret: {characters: 40, encoding: text, import: {min: 24, max: 64}}
test_event: {type: webhook.test, data: '{"test": true}'}
`

// replace replaces text, and panics if there is nothing to replace.
func replace(text string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			panic("nothing to replace: " + pairs[i])
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

func TestBaseLoads(t *testing.T) { load(t, base) }

// Each mistake is reported with its line, which is the line that contains mark.
func TestMistakes(t *testing.T) {
	tests := []struct{ old, new, mark, reason string }{
		{"name: base", "name: Base", "name: Base", "name: must be 1 to 63"},
		{"name: base\n", "", "envelope", "name: is missing"},
		{"name: base", "name: 12", "name: 12", "name: must be a text"},
		{"envelope: raw\n", "", "name", "envelope: is missing"},
		{"timeout: 10s\n", "", "name", "timeout: is missing"},
		{"timeout: 10s", "timeout: 10", "timeout: 10", "timeout: must be a duration"},
		{"timeout: 10s", "timeout: 1h", "timeout: 1h", "to 2m0s"},
		{"timeout: 10s", "timeout: 10s\ncolour: blue", "colour", `unknown name "colour"`},
		{"timeout: 10s", "timeout: 10s\ntimeout: 11s", "timeout: 11s", "stands here twice"},
		{"timeout: 10s", "timeout: [", "timeout: [", "not YAML"},
		{"timeout: 10s", "timeout: a: b", "timeout: a", "not YAML"},
		{"timeout: 10s", "timeout: 10s }", "timeout: 10s }", "timeout: must be"},
		{"digest: hex", "digest: hex\n   more: x", "  - header", "not YAML"},
		{"timeout: 10s", "timeout: &t 10s", "&t", "anchors"},
		{"timeout: 10s", "timeout: 10s\nuser_agent: \"a\\r\\nb\"", "user_agent", "printable ASCII"},
		{"timeout: 10s", "timeout: 10s\nuser_agent: 7", "user_agent", "must be a text"},
		{"timeout: 10s", "timeout: 10s\nmanagement: stripe", "stripe", "not one of none, paysway, paywise"},
		{"timeout: 10s", "timeout: 10s\ngone_disables: perhaps", "perhaps", "true or false"},
		{"timeout: 10s", "timeout: 10s\nretry_after_cap: 1000h", "1000h", "must be a duration"},
		{"timeout: 10s", "timeout: 10s\nurl: {}", "url", "url.ip_hosts: is missing"},
		{"timeout: 10s", "timeout: 10s\nurl: {ip_hosts: true, https: false}", "url", `unknown name "https"`},

		{"envelope: raw", "envelope: cooked", "cooked", "not one of raw"},
		{"envelope: raw", "envelope: [$event.data]", "envelope", "envelope: must be a mapping"},
		{"envelope: raw", "envelope:\n  id: $event.number", "number", "envelope.id: unknown variable $event.number"},
		{"envelope: raw", "envelope:\n  id: $event.data!", "id:", "must stand alone"},
		{"envelope: raw", "envelope:\n  id: 5 $", "id:", "lone $"},
		{"envelope: raw", "envelope:\n  id: ${mode", "id:", "${ without }"},
		{"envelope: raw", "envelope:\n  try: $attempt.number", "try", "is for headers"},
		{"envelope: raw", "envelope:\n  try: $trace.parent", "try", "is for headers"},
		{"envelope: raw", "envelope:\n  a: 1\n  a: 2", "a: 2", "stands here twice"},
		{"envelope: raw", "envelope:\n  a: 0x10", "a: 0x10", "as JSON writes it"},
		{"envelope: raw", "envelope:\n  a: .inf", "a: .inf", "as JSON writes it"},
		{"envelope: raw", "envelope:\n  a: True", "a: True", "as JSON writes it"},
		{"envelope: raw", "envelope:\n  \"...\": $event.id", "...", "only $event.data can be spread"},
		{"envelope: raw", "envelope:\n  a: {\"...\": $event.data,\n   \"...\": $event.data}", "   \"...", "twice"},
		{"envelope: raw", "envelope:\n  a: " + strings.Repeat("[", 20) + strings.Repeat("]", 20), "a: [", "nested more than"},
		{"envelope: raw", "envelope: raw\nmode: {live: [1]}", "mode", "mode.live"},
		{"envelope: raw", "envelope: raw\nmode: {production: x}", "mode", `unknown name "production"`},

		{"success", "headers: {X-Y: $event.data}\nsuccess", "headers", "does not fit into a header"},
		{"success", "headers: {X-Y: a, x-y: b}\nsuccess", "headers", "twice"},
		{"success", "headers: {X-Sig: a}\nsuccess", "header: X-Sig", "set twice"},
		{"success", "headers: {'X Y': a}\nsuccess", "headers", "cannot be a header name"},
		{"success", "headers: {Content-Length: '1'}\nsuccess", "headers", "not the profile's"},
		{"success", "headers: {Host: a}\nsuccess", "headers", "not the profile's"},
		{"success", "headers: {X-Y: $nope}\nsuccess", "headers", "unknown variable"},

		{"algorithm: hmac-sha256", "algorithm: md5", "header: X-Sig", `unknown algorithm "md5"`},
		{"algorithm: hmac-sha256\n    ", "", "header: X-Sig", "algorithm: is missing"},
		{`"{body}"`, `"{timestamp}.{body}"`, "header: X-Sig", "{timestamp} is signed"},
		{"success", "  - {header: X-Sig, algorithm: hmac-sha1, signed: \"{body}\", output: \"{signature}\", digest: hex}\nsuccess", "  - {header", "set twice"},
		{"success", "  - {header: x-sig, algorithm: hmac-sha1, signed: \"{body}\", output: \"{signature}\", digest: hex}\nsuccess", "  - {header", "set twice"},
		{"success", "  - {header: Y, id_header: X-Sig, algorithm: hmac-sha1, signed: \"{id}.{body}\", output: \"{signature}\", digest: hex}\nsuccess", "  - {header", "set twice"},
		{"header: X-Sig", "header: 'X:Sig'", "header: 'X", "cannot be a header name"},
		{"header: X-Sig", "header: Host", "header: Host", "not the profile's"},
		{"digest: hex", "digest: hex\n    nonce: x", "nonce", `unknown name "nonce"`},
		{base[strings.Index(base, "signature:"):strings.Index(base, "success")], "signature: []\n", "signature", "at least one"},

		{"success: 2xx", "success: 3xx", "success", "no redirect"},
		{"success: 2xx", "success: [200, 1000]", "success", "success[1]"},
		{"success: 2xx", "success: []", "success", "at least one"},
		{"success: 2xx", "success: 200-599", "success", "no redirect"},

		{"retry: {first: 10s, factor: 2, cap: 1h}", "retry: {delays: []}", "retry", "1 to 100"},
		{"retry: {first: 10s, factor: 2, cap: 1h}", "retry: {delays: [1s]}", "retry", "retry.then: is missing"},
		{"retry: {first: 10s, factor: 2, cap: 1h}", "retry: {delays: [1s], then: stop}", "retry", "not one of fail, repeat"},
		{"retry: {first: 10s, factor: 2, cap: 1h}", "retry: {delays: [1s], then: fail, cap: 1h}", "retry", "belongs to exponential"},
		{"retry: {first: 10s, factor: 2, cap: 1h}", "retry: {delays: [1s, 0s], then: fail}", "retry", "retry.delays[1]"},
		{"cap: 1h", "cap: 1s", "retry", "shorter than first"},
		{"cap: 1h", "cap: 1h, then: fail", "retry", "belongs to a list"},
		{"factor: 2", "factor: 0.5", "retry", "from 1 to 100"},
		{"factor: 2", "factor: 2, jitter: .nan", "retry", "jitter"},
		{"factor: 2", "factor: 2, jitter: 1.1", "retry", "jitter"},
		{"timeout: 10s", "timeout: 10s\nauto_disable: {attempts: 0}", "auto_disable", "auto_disable.attempts"},
		{"timeout: 10s", "timeout: 10s\nauto_disable: {attempts: 1, deliveries: 2}", "auto_disable", "one of"},
		{"timeout: 10s", "timeout: 10s\nauto_disable: {at_least: 2}", "auto_disable", "one of"},
		{"timeout: 10s", "timeout: 10s\nauto_disable: {attempts: 1, at_least: 2}", "auto_disable", "belongs to failing_for"},
		{"timeout: 10s", "timeout: 10s\nauto_disable: {failing_for: 2h, at_least: 0}", "auto_disable", "auto_disable.at_least"},

		{"characters: 40", "bytes: 32", "secret", "needs characters"},
		{"encoding: text", "encoding: whsec_", "secret", "needs bytes"},
		{"encoding: text", "encoding: rot13", "secret", "secret.encoding"},
		{"characters: 40", "characters: 8", "secret", "from 22 to 200"},
		{"min: 24", "min: 65", "secret", "min is more than max"},
		{"min: 24", "min: 0", "secret", "secret.import.min"},
		{"encoding: text", "encoding: text, prefix: 'a b'", "secret", "prefix"},

		{"type: webhook.test", "type: .test", "test_event", "cannot be an event type"},
		{`'{"test": true}'`, `'{"test": 1, "test": 2}'`, "test_event", "one JSON object"},
		{`'{"test": true}'`, `'[1]'`, "test_event", "one JSON object"},
		{`'{"test": true}'`, `{test: true}`, "test_event", "must be a text"},
		{"success", "catalogue:\n  - {type: a, example: '{}'}\n  - {type: a, example: '{}'}\nsuccess", "  - {type: a, example: '{}'}\nsuccess", "twice"},
		{"success", "catalogue: 5\nsuccess", "catalogue", "must be a list"},
		{"test_event", "---\ntest_event", "---", "more than one document"},
	}
	for _, test := range tests {
		text := replace(base, test.old, test.new)
		at := strings.Index(text, test.mark)
		if at < 0 {
			t.Fatalf("no %q in %s", test.mark, text)
		}
		line := 1 + strings.Count(text[:at], "\n")
		_, err := profile.Load("bad.yaml", []byte(text))
		bad, ok := errors.AsType[*profile.FileError](err)
		if !ok {
			t.Errorf("%q loads: %v", test.new, err)
			continue
		}
		if bad.File != "bad.yaml" || bad.Line != line || !strings.Contains(bad.Reason, test.reason) {
			t.Errorf("%q: %v, want line %d and %q", test.new, err, line, test.reason)
		}
	}
}

func TestFilesThatAreNoProfiles(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "- a\n", "text", "\x00", "\xff\xfe", "a: *b", "? {}\n: b",
		strings.Repeat("#", 1<<20+1)} {
		if _, err := profile.Load("f", []byte(text)); err == nil {
			t.Errorf("%.20q loads", text)
		} else if !strings.HasPrefix(err.Error(), "f:") {
			t.Errorf("%.20q: %v names no line", text, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(base))
	set := profile.Builtin()
	for _, name := range set.Names() {
		p, _ := set.Get(name)
		f.Add(p.Text())
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := profile.Load("fuzz.yaml", text)
		if err != nil {
			if bad, ok := errors.AsType[*profile.FileError](err); !ok || bad.Line < 1 || bad.Reason == "" {
				t.Fatalf("not a useful error: %v", err)
			}
			return
		}
		// A profile that loads can be used.
		secret, enc, err := p.NewSecret()
		if err != nil || secret == "" {
			t.Fatalf("secret %q, %q, %v", secret, enc, err)
		}
		in := input()
		body := p.Render(nil, in)
		s, err := p.Signer([]hook.Secret{{Text: secret, Encoding: enc}})
		if err != nil {
			t.Fatal(err)
		}
		if headers, err := p.Headers(nil, in, body, s); err != nil || !slices.ContainsFunc(headers, func(h hook.Header) bool {
			return slices.ContainsFunc(p.Specs(), func(spec webhook.Spec) bool { return spec.Header == h.Name })
		}) {
			t.Fatalf("%v, headers %v", err, headers)
		}
	})
}
