package proof_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// bodies is the matrix of data objects whose bytes must be preserved.
func bodies() map[string]string {
	return map[string]string{
		"empty":        `{}`,
		"odd spacing":  "{ \"a\" :1 ,\t\"b\": [ 1 ,2 ] ,\r\n  \"c\":{ } }",
		"unicode":      `{"name":"Zoë 🙂 \ud83d\ude00","x":{"é":"\u00e9","line":"a\u2028b","sep":"a` + "\u2028" + `b","composed":"e` + "\u0301" + `"}}`,
		"escapes":      `{"slash":"\/path\/","letter":"\u0041\u0062","tab":"\t","html":"<script>&amp;</script>"}`,
		"big numbers":  `{"huge":1e400,"tiny":1E-400,"twenty":12345678901234567890,"neg":-0,"money":1202.50,"long":0.10000000000000000000}`,
		"key order":    `{"z":1,"y":2,"10":3,"9":4,"a":5,"B":6,"":7}`,
		"deep":         `{"a":` + strings.Repeat("[", 55) + strings.Repeat("]", 55) + `}`,
		"200 KiB":      `{"pad":"` + strings.Repeat("0123456789abcdef", 200<<10/16) + `"}`,
		"null and all": `{"n":null,"t":true,"f":false,"s":"","o":{"o":{"o":{}}},"a":[[],{},""]}`,
	}
}

// scheme is a wire format, with the headers that its signature covers.
type scheme struct {
	name, profile string
	byName        bool // the profile refuses numeric hosts
	signed        []string
}

var schemes = []scheme{
	{"standard", "standard", false, []string{"webhook-id", "webhook-timestamp", "webhook-signature"}},
	{"paysway", "paysway", true, []string{"x-paysway-signature"}},
	{"paysway", "paysway-2025-09", true, []string{"x-paysway-signature"}},
	{"paywise", "paywise", false, []string{"x-paywise-signature"}},
}

// capture publishes every body of the matrix to a new endpoint of the profile. It returns
// the requests that the receiver got, by the name of the body.
func capture(t *testing.T, n *node, s scheme) (secret string, got map[string]receipt) {
	t.Helper()
	r := newReceiver(t, nil)
	url := r.url
	if s.byName {
		url = r.byName
	}
	tenant := "verify-" + s.profile
	n.tenant(tenant)
	e := n.endpoint(tenant, url+"/hook", object{"profile": s.profile})
	got = map[string]receipt{}
	for name, data := range bodies() {
		before := len(r.receipts())
		n.publish(tenant, "mandate.created", data)
		got[name] = r.await(t, before+1, 15*time.Second)[before]
	}
	return e.Secret, got
}

// claim is one request as a verifier gets it.
type claim struct {
	Scheme  string            `json:"scheme"`
	Secret  string            `json:"secret"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"` // base64
	genuine bool
	what    string
}

func newClaim(s scheme, secret string, r receipt, what string) claim {
	c := claim{Scheme: s.name, Secret: secret, Headers: map[string]string{}, Body: base64.StdEncoding.EncodeToString(r.body), genuine: true, what: what}
	for _, h := range s.signed {
		c.Headers[h] = r.header.Get(h)
	}
	return c
}

// forgeries returns copies of a genuine request with one bit flipped: in up to limit places
// of the body, and every bit of every signed header.
func forgeries(s scheme, genuine claim, limit int) []claim {
	var out []claim
	forge := func(what string, change func(c *claim)) {
		c := genuine
		c.Headers = map[string]string{}
		for k, v := range genuine.Headers {
			c.Headers[k] = v
		}
		c.genuine, c.what = false, genuine.what+", "+what
		change(&c)
		out = append(out, c)
	}
	flip := func(text []byte, bit int) []byte {
		text = bytes.Clone(text)
		text[bit/8] ^= 1 << (bit % 8)
		return text
	}
	body, _ := base64.StdEncoding.DecodeString(genuine.Body)
	for i := range min(limit, 8*len(body)) {
		bit := i
		if 8*len(body) > limit {
			bit = rand.IntN(8 * len(body))
		}
		forge(fmt.Sprintf("body bit %d", bit), func(c *claim) {
			c.Body = base64.StdEncoding.EncodeToString(flip(body, bit))
		})
	}
	for _, h := range s.signed {
		for bit := range 8 * len(genuine.Headers[h]) {
			forge(fmt.Sprintf("%s bit %d", h, bit), func(c *claim) {
				c.Headers[h] = string(flip([]byte(c.Headers[h]), bit))
			})
		}
	}
	return out
}

// verifier returns for each claim whether it accepts it.
type verifier func(t *testing.T, claims []claim) []bool

func goVerifier(t *testing.T, claims []claim) []bool {
	out := make([]bool, len(claims))
	for i, c := range claims {
		wh, err := standardwebhooks.NewWebhook(c.Secret)
		if err != nil {
			t.Fatalf("secret refused: %v", err)
		}
		header := http.Header{}
		for k, v := range c.Headers {
			header.Set(k, v)
		}
		body, _ := base64.StdEncoding.DecodeString(c.Body)
		out[i] = wh.Verify(body, header) == nil
	}
	return out
}

func nodeVerifier(t *testing.T, claims []claim) []bool {
	t.Helper()
	return runNode(t, "node/verify.js", claims)
}

// runNode runs a script that judges the claims: one JSON object per line, one verdict each.
func runNode(t *testing.T, script string, claims []claim) []bool {
	t.Helper()
	cmd := exec.Command("node", script)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	text, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("node: %v", err)
	}
	fed := make(chan error, 1)
	go func() {
		enc := json.NewEncoder(in)
		for _, c := range claims {
			// JSON carries text, so the raw bytes of a flipped header are sent as Latin-1.
			latin := map[string]string{}
			for k, v := range c.Headers {
				latin[k] = latin1(v)
			}
			c.Headers = latin
			if err := enc.Encode(c); err != nil {
				fed <- err
				return
			}
		}
		fed <- in.Close()
	}()
	var out []bool
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == "ok":
			out = append(out, true)
		case strings.HasPrefix(line, "no "):
			out = append(out, false)
		default:
			t.Fatalf("verifier said %q", line)
		}
	}
	if err := <-fed; err != nil {
		t.Fatalf("feed verifier: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("verifier: %v", err)
	}
	if len(out) != len(claims) {
		t.Fatalf("verifier answered %d of %d claims", len(out), len(claims))
	}
	return out
}

func latin1(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// TestForeignVerifiers verifies what the running server sent with the libraries and steps
// that receivers use. The control is in the same run: each of them must refuse one flipped
// bit in body, id, time or signature.
func TestForeignVerifiers(t *testing.T) {
	n := startNode(t)
	for _, s := range schemes {
		t.Run(s.profile, func(t *testing.T) {
			secret, got := capture(t, n, s)
			var claims []claim
			for name, r := range got {
				genuine := newClaim(s, secret, r, name)
				claims = append(claims, genuine)
				limit := 20
				if name == "odd spacing" {
					limit = 1 << 20 // every bit
				}
				if len(r.body) > 100_000 {
					limit = 3
				}
				claims = append(claims, forgeries(s, genuine, limit)...)
			}
			verifiers := map[string]verifier{"node": nodeVerifier}
			if s.name == "standard" {
				verifiers["go"] = goVerifier
			}
			for who, verify := range verifiers {
				accepted, refused := 0, 0
				for i, ok := range verify(t, claims) {
					switch c := claims[i]; {
					case ok != c.genuine:
						t.Errorf("%s: %s: accepted %v, want %v", who, c.what, ok, c.genuine)
					case ok:
						accepted++
					default:
						refused++
					}
				}
				if accepted == 0 || refused == 0 {
					t.Errorf("%s: %d accepted and %d refused: the judge saw only one side", who, accepted, refused)
				}
				t.Logf("FIGURE verifier %s, %s: %d genuine requests accepted, %d forged ones refused", who, s.profile, accepted, refused)
			}
		})
	}
}

// member is one member of a JSON object with the bytes of its value.
type member struct {
	name  string
	value []byte
}

func members(t *testing.T, text []byte) []member {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		t.Fatalf("no object: %.80q (%v)", text, err)
	}
	var out []member
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			t.Fatalf("%.80q: %v", text, err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			t.Fatalf("%.80q: %v", text, err)
		}
		out = append(out, member{name.(string), value})
	}
	if _, err := dec.Token(); err != nil {
		t.Fatalf("%.80q: %v", text, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Fatalf("text after the object: %.80q", text)
	}
	return out
}

// survived compares the data inside a delivered body with the original. It returns "" if all
// bytes are preserved, and otherwise what is wrong.
func survived(t *testing.T, profile, data string, body []byte) string {
	if !json.Valid(body) {
		return "the body is no JSON"
	}
	if profile != "paywise" {
		if !bytes.Contains(body, []byte(data)) {
			return "the data is not in the body byte for byte"
		}
		return ""
	}
	// paywise spreads the members of the data into its own data object.
	for _, m := range members(t, body) {
		if m.name != "data" {
			continue
		}
		at := 0
		inside := members(t, m.value)
		for _, want := range members(t, []byte(data)) {
			for at < len(inside) && inside[at].name != want.name {
				at++
			}
			if at == len(inside) || !bytes.Equal(inside[at].value, want.value) {
				return fmt.Sprintf("member %q changed, moved or went", want.name)
			}
		}
		return ""
	}
	return "the body has no data"
}

func TestBodySurvives(t *testing.T) {
	n := startNode(t)
	for _, s := range schemes {
		t.Run(s.profile, func(t *testing.T) {
			_, got := capture(t, n, s)
			for name, r := range got {
				if trouble := survived(t, s.profile, bodies()[name], r.body); trouble != "" {
					t.Errorf("%s: %s\nsent %.300q\ngot  %.300q", name, trouble, bodies()[name], r.body)
				}
			}
			t.Logf("FIGURE body survival, %s: %d of %d bodies byte for byte", s.profile, len(got), len(bodies()))
		})
	}
}

// TestSurvivalCheckSeesDamage is the control of TestBodySurvives: a body that was decoded
// and re-encoded must be detected.
func TestSurvivalCheckSeesDamage(t *testing.T) {
	data := bodies()["big numbers"]
	damaged := strings.Replace(data, "12345678901234567890", "12345678901234567000", 1)
	for profile, body := range map[string]string{
		"standard": `{"type":"t","data":` + damaged + `}`,
		"paywise":  `{"event":"t","data":{"company_id":"c",` + damaged[1:] + `}`,
	} {
		if survived(t, profile, data, []byte(body)) == "" {
			t.Errorf("%s: damage went unseen", profile)
		}
		good := strings.Replace(body, damaged[1:], data[1:], 1)
		if trouble := survived(t, profile, data, []byte(good)); trouble != "" {
			t.Errorf("%s: sound body: %s", profile, trouble)
		}
	}
}

// TestPublishLimits tests the limits of what is accepted. A refused event leaves no trace in
// the list of events.
func TestPublishLimits(t *testing.T) {
	n := startNode(t)
	n.tenant("edge")
	sized := func(size int) string {
		frame := len(eventBody("edge", "a.b", `{"pad":""}`))
		return eventBody("edge", "a.b", `{"pad":"`+strings.Repeat("x", size-frame)+`"}`)
	}
	const limit = 262_144
	n.must(http.StatusAccepted, "POST", "/v1/events", sized(limit))
	before := eventIDs(n, "edge")
	if len(before) != 1 {
		t.Fatalf("%d events after one publish", len(before))
	}
	refused := []struct {
		name, body, code string
		status           int
	}{
		{"one byte too many", sized(limit + 1), "payload_too_large", 413},
		{"duplicate on top", `{"tenant":"edge","type":"a.b","type":"a.c","data":{}}`, "invalid_json", 400},
		{"duplicate in data", eventBody("edge", "a.b", `{"x":1,"y":{"k":1,"k":2}}`), "invalid_json", 400},
		{"duplicate after unescaping", eventBody("edge", "a.b", `{"k":1,"\u006b":2}`), "invalid_json", 400},
		{"65 levels", eventBody("edge", "a.b", `{"a":`+strings.Repeat("[", 64)+strings.Repeat("]", 64)+`}`), "invalid_json", 400},
		{"not UTF-8", eventBody("edge", "a.b", "{\"a\":\"\xff\"}"), "invalid_json", 400},
		{"trailing text", eventBody("edge", "a.b", `{}`) + "x", "invalid_json", 400},
		{"cut short", eventBody("edge", "a.b", `{"a":1`), "invalid_json", 400},
		{"data is no object", eventBody("edge", "a.b", `[1]`), "invalid_request", 422},
		{"unknown member", `{"tenant":"edge","type":"a.b","data":{},"colour":1}`, "unknown_field", 422},
		{"unknown tenant", eventBody("nobody", "a.b", `{}`), "tenant_not_found", 404},
	}
	for _, r := range refused {
		a := n.call("POST", "/v1/events", r.body)
		if code, _ := a.problem(); a.status != r.status || code != r.code {
			t.Errorf("%s: %d %s, want %d %s", r.name, a.status, code, r.status, r.code)
		}
		if media := a.header.Get("Content-Type"); media != "application/problem+json" {
			t.Errorf("%s: content type %q", r.name, media)
		}
	}
	if after := eventIDs(n, "edge"); len(after) != 1 {
		t.Errorf("%d events after %d refusals, want 1", len(after), len(refused))
	}
	t.Logf("FIGURE publish limits: %d bytes accepted, %d bad requests refused, 0 stored", limit, len(refused))
}
