package diagnose_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/diagnose"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/webhook"
)

var now = time.Unix(1777026700, 0)

// Secrets of the tests. The first of each format is the receiver's own.
var secrets = map[string][2]string{
	"standard": {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"},
	"paysway":  {"zTOJGr3vYdAHM/F5ZiDsVvgPZq5/Y3Ktbo9xw9Ncf8Y=", "h2OGQJ6eCrNRQvsLJtX7dLBs5yBv2k4qJrCqDxkR8mQ="},
	"paywise":  {"aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789abcd", "0123456789abcdefghijklmnopqrstuvwxyzABCD"},
}

// sent is a request as the sender made it, and what happened to it afterwards.
type sent struct {
	t       *testing.T
	profile string
	data    string
	signed  time.Time
	secret  string
	key     *webhook.KeyEncoding // used for signing; nil for that of the profile
	header  []hook.Header
	body    []byte
	raw     string // replaces the entire capture
}

const data = `{"zeta": 1, "amount": 1202.50, "url": "https://example.com/a", "text": "Zażółć <b> & \"é\"", "list": [1, {"b": null, "a": true}], "empty": {}}`

func (s *sent) send() {
	s.t.Helper()
	p, ok := profile.Builtin().Get(s.profile)
	if !ok {
		s.t.Fatalf("no profile %s", s.profile)
	}
	encoding := hook.Encoding(p.Specs()[0].Key)
	if s.key != nil {
		encoding = hook.Encoding(*s.key)
	}
	signer, err := p.Signer([]hook.Secret{{Text: s.secret, Encoding: encoding}})
	if err != nil {
		s.t.Fatal(err)
	}
	in := profile.Input{
		Event: &hook.Event{PublicID: hook.ID{1, 2, 3}, Type: "payment.settled", Data: []byte(s.data), CreatedAt: s.signed, AcceptedAt: s.signed,
			Scope: hook.Scope{Tenant: "acme", Mode: hook.Live}},
		Attempt: 1, Now: s.signed,
	}
	s.body = p.Render(nil, in)
	if s.header, err = p.Headers(nil, in, s.body, signer); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sent) rename(from, to string) {
	for i := range s.header {
		if strings.EqualFold(s.header[i].Name, from) {
			s.header[i].Name = to
			return
		}
	}
	s.t.Fatalf("no header %s", from)
}

func (s *sent) edit(name string, change func(string) string) {
	for i := range s.header {
		if strings.EqualFold(s.header[i].Name, name) {
			s.header[i].Value = change(s.header[i].Value)
			return
		}
	}
	s.t.Fatalf("no header %s", name)
}

func (s *sent) add(name, value string) {
	s.header = append(s.header, hook.Header{Name: name, Value: value})
}

// text returns the capture as HTTP with CRLF line endings.
func (s *sent) text() []byte {
	if s.raw != "" {
		return []byte(s.raw)
	}
	var b bytes.Buffer
	b.WriteString("POST /hook HTTP/1.1\r\nHost: example.com\r\n")
	for _, h := range s.header {
		fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
	}
	b.WriteString("\r\n")
	b.Write(s.body)
	return b.Bytes()
}

// reencode parses the body and encodes it as encoding/json does: sorted members, compact,
// escaped for HTML, shortest numbers.
func (s *sent) reencode(indent string) {
	var v any
	if err := json.Unmarshal(s.body, &v); err != nil {
		s.t.Fatal(err)
	}
	s.body, _ = json.MarshalIndent(v, "", indent)
	if indent == "" {
		s.body, _ = json.Marshal(v)
	}
}

func replace(from, to string) func(*sent) {
	return func(s *sent) {
		if !bytes.Contains(s.body, []byte(from)) {
			s.t.Fatalf("the body has no %s", from)
		}
		s.body = bytes.ReplaceAll(s.body, []byte(from), []byte(to))
	}
}

func compactData(s string) string {
	var b bytes.Buffer
	_ = json.Compact(&b, []byte(s))
	return b.String()
}

func pretty(s, indent string) string {
	var b bytes.Buffer
	_ = json.Indent(&b, []byte(s), "", indent)
	return b.String()
}

func ask(t *testing.T, s *sent, given []string, ignoreAge bool) diagnose.Verdict {
	t.Helper()
	c, err := diagnose.ReadCapture(s.text(), 0)
	if err != nil {
		t.Fatal(err)
	}
	set := profile.Builtin()
	p, _ := set.Get(s.profile)
	v := diagnose.Explain(c, diagnose.Question{Profile: p, Known: set, Secrets: given, Now: now, IgnoreAge: ignoreAge})
	for _, secret := range append([]string{s.secret}, given...) {
		if text := v.Message + strings.Join(v.Notes, " "); len(secret) > 8 && strings.Contains(text, strings.Trim(secret, " \n")) {
			t.Errorf("the verdict shows the secret: %s", text)
		}
	}
	return v
}

// constructed is a failing request: how it was made or damaged, and the cause that Explain
// must return.
type constructed struct {
	name    string
	profile string
	make    func(*sent) // before signing
	damage  func(*sent) // after signing
	given   []string    // secrets; nil for the right one
	cause   diagnose.Cause
	says    string
}

func textKey() *webhook.KeyEncoding   { k := webhook.KeyText; return &k }
func base64Key() *webhook.KeyEncoding { k := webhook.KeyBase64; return &k }

var (
	std = secrets["standard"]
	psw = secrets["paysway"]
	pws = secrets["paywise"]
)

var failures = []constructed{
	{name: "wrong secret", profile: "standard", given: []string{std[1]}, cause: diagnose.WrongSecret, says: "another secret"},
	{name: "wrong secret", profile: "paysway", given: []string{psw[1]}, cause: diagnose.WrongSecret},
	{name: "content changed", profile: "paywise", damage: replace("1202.50", "9202.50"), cause: diagnose.WrongSecret, says: "another content"},
	{name: "secret not decoded", profile: "standard", make: func(s *sent) { s.key = textKey() }, cause: diagnose.SecretNotDecoded, says: "after whsec_"},
	{name: "secret without prefix not decoded", profile: "standard", make: func(s *sent) { s.key, s.secret = textKey(), strings.TrimPrefix(std[0], "whsec_") }, given: std[:1], cause: diagnose.SecretNotDecoded},
	{name: "secret not decoded", profile: "paysway", make: func(s *sent) { s.key = textKey() }, cause: diagnose.SecretNotDecoded, says: "it is base64"},
	{name: "secret decoded though it is text", profile: "paywise", make: func(s *sent) { s.key = base64Key() }, cause: diagnose.SecretDecoded, says: "do not decode"},
	{name: "secret without its prefix", profile: "standard", given: []string{strings.TrimPrefix(std[0], "whsec_")}, cause: diagnose.SecretFormat, says: "prefix whsec_"},
	{name: "secret in quotation marks", profile: "paysway", given: []string{`"` + psw[0] + `"`}, cause: diagnose.SecretFormat, says: "quotation marks"},
	{name: "secret with its line end", profile: "paywise", make: func(s *sent) { s.secret = pws[0] + "\n" }, given: pws[:1], cause: diagnose.SecretFormat, says: "line end"},
	{name: "not a secret of the format", profile: "standard", given: []string{"hello"}, cause: diagnose.SecretFormat},
	{name: "rotated", profile: "standard", make: func(s *sent) { s.secret = std[1] }, given: []string{std[0], std[1]}, cause: diagnose.OtherSecret, says: "number 2"},
	{name: "compacted", profile: "standard", damage: func(s *sent) { s.body = []byte(compactData(string(s.body))) }, cause: diagnose.BodyReencoded, says: "Python writes it in the event's data"},
	{name: "compacted, data spread", profile: "paywise", damage: func(s *sent) { s.body = []byte(compactData(string(s.body))) }, cause: diagnose.BodyReencoded, says: "Python writes it in the event's data"},
	{name: "pretty printed from pretty data", profile: "paysway", make: func(s *sent) { s.data = pretty(data, "  ") }, damage: func(s *sent) { s.body = []byte(pretty(string(s.body), "\t")) }, cause: diagnose.BodyReencoded, says: "2 spaces (pretty JSON) in the event's data"},
	{name: "pretty printed, 2 spaces", profile: "standard", make: func(s *sent) { s.data = compactData(data) }, damage: func(s *sent) { s.body = []byte(pretty(string(s.body), "  ")) }, cause: diagnose.BodyReencoded, says: "compact"},
	{name: "pretty printed, 4 spaces", profile: "paywise", make: func(s *sent) { s.data = compactData(data) }, damage: func(s *sent) { s.body = []byte(pretty(string(s.body), "    ")) }, cause: diagnose.BodyReencoded, says: "compact"},
	{name: "parsed and written sorted and escaped", profile: "standard", make: func(s *sent) { s.data = `{"a":1,"b":"<é>"}` }, damage: func(s *sent) { s.reencode("") }, cause: diagnose.BodyReencoded, says: "order of the profile, and no needless escapes"},
	{name: "parsed and written sorted and escaped", profile: "paysway", make: func(s *sent) { s.data = `{"a":1,"b":"<é>"}` }, damage: func(s *sent) { s.reencode("\t") }, cause: diagnose.BodyReencoded, says: "order of the profile"},
	{name: "newline added", profile: "standard", damage: func(s *sent) { s.body = append(s.body, '\n') }, cause: diagnose.BodyReencoded, says: "white space around"},
	{name: "unicode unescaped", profile: "standard", make: func(s *sent) { s.data = `{"a": "\u00e9\ud83d\ude00"}` }, damage: replace(`\u00e9\ud83d\ude00`, "é😀"), cause: diagnose.BodyReencoded, says: "outside ASCII escaped"},
	{name: "unicode escaped", profile: "paywise", make: func(s *sent) { s.data = `{"a":"é😀"}` }, damage: replace("é😀", `\u00E9\uD83D\uDE00`), cause: diagnose.BodyReencoded, says: "no needless escapes"},
	{name: "escaped for HTML", profile: "standard", make: func(s *sent) { s.data = `{"a": "<b> & c"}` }, damage: replace("<b> & c", `\u003cb\u003e \u0026 c`), cause: diagnose.BodyReencoded, says: `\u003c`},
	{name: "unescaped from HTML", profile: "paysway", make: func(s *sent) { s.data = `{"a": "\u003cb\u003e é"}` }, damage: replace(`\u003cb\u003e`, "<b>"), cause: diagnose.BodyReencoded, says: "for HTML"},
	{name: "slashes unescaped", profile: "standard", make: func(s *sent) { s.data = `{"a": "https:\/\/x\/\u00e9"}` }, damage: replace(`https:\/\/x\/\u00e9`, "https://x/é"), cause: diagnose.BodyReencoded, says: "PHP"},
	{name: "numbers shortened", profile: "paywise", make: func(s *sent) { s.data = `{"a":12.50,"b":3}` }, damage: replace("12.50", "12.5"), cause: diagnose.BodyReencoded, says: "two decimals on its fractions"},
	{name: "whole numbers made floats", profile: "standard", make: func(s *sent) { s.data = `{"a": 3, "b": 100000}` }, damage: func(s *sent) { replace(": 3", ": 3.0")(s); replace("100000", "1e5")(s) }, cause: diagnose.BodyReencoded, says: "shortest"},
	{name: "line ends converted", profile: "standard", make: func(s *sent) { s.data = pretty(data, "  ") }, damage: replace("\n", "\r\n"), cause: diagnose.BodyReencoded, says: "LF line ends"},
	{name: "byte order mark", profile: "paysway", damage: func(s *sent) { s.body = append([]byte("\xef\xbb\xbf"), s.body...) }, cause: diagnose.BodyReencoded, says: "byte order mark"},
	{name: "body in base64", profile: "standard", damage: func(s *sent) { s.body = []byte(base64.StdEncoding.EncodeToString(s.body)) }, cause: diagnose.BodyReencoded, says: "base64"},
	{name: "body encoded twice", profile: "paywise", damage: func(s *sent) { s.body, _ = json.Marshal(string(s.body)) }, cause: diagnose.BodyReencoded, says: "encoded twice"},
	{name: "UTF-8 taken for Latin-1", profile: "standard", make: func(s *sent) { s.data = `{"a": "é"}` }, damage: replace("é", "Ã©"), cause: diagnose.BodyReencoded, says: "Latin-1"},
	{name: "old clock", profile: "standard", make: func(s *sent) { s.signed = now.Add(-time.Hour) }, cause: diagnose.OldTimestamp, says: "3600 s ago"},
	{name: "old clock", profile: "paysway", make: func(s *sent) { s.signed = now.Add(-301 * time.Second) }, cause: diagnose.OldTimestamp},
	{name: "clock ahead", profile: "paysway", make: func(s *sent) { s.signed = now.Add(time.Hour) }, cause: diagnose.FutureTimestamp, says: "ahead"},
	{name: "header missing", profile: "standard", damage: func(s *sent) { s.rename("webhook-id", "x-request-id2") }, cause: diagnose.MissingHeader, says: "webhook-id"},
	{name: "header with X-", profile: "standard", damage: func(s *sent) { s.rename("webhook-signature", "X-Webhook-Signature") }, cause: diagnose.RenamedHeader, says: "X-Webhook-Signature"},
	{name: "header with underscores", profile: "paysway", damage: func(s *sent) { s.rename("X-PaySway-Signature", "X_PaySway_Signature") }, cause: diagnose.RenamedHeader},
	{name: "header of CGI", profile: "paywise", damage: func(s *sent) { s.rename("X-Paywise-Signature", "HTTP_X_PAYWISE_SIGNATURE") }, cause: diagnose.RenamedHeader},
	{name: "headers of another vendor", profile: "standard", damage: func(s *sent) {
		s.rename("webhook-id", "acme-id")
		s.rename("webhook-timestamp", "acme-timestamp")
		s.rename("webhook-signature", "acme-signature")
	}, cause: diagnose.RenamedHeader, says: "Acme-Id"},
	{name: "header twice", profile: "standard", damage: func(s *sent) { s.add("Webhook-Signature", "v1,AAAA") }, cause: diagnose.DuplicateHeader, says: "2 times"},
	{name: "header twice, joined", profile: "standard", damage: func(s *sent) { s.edit("webhook-id", func(v string) string { return v + ", " + v }) }, cause: diagnose.DuplicateHeader, says: "comma"},
	{name: "timestamp in milliseconds", profile: "standard", damage: func(s *sent) { s.edit("webhook-timestamp", func(v string) string { return v + "000" }) }, cause: diagnose.MalformedHeader, says: "milliseconds"},
	{name: "digest in capitals", profile: "paywise", damage: func(s *sent) {
		s.edit("X-Paywise-Signature", func(v string) string { return "sha256=" + strings.ToUpper(v[7:]) })
	}, cause: diagnose.MalformedSignature, says: "lower-case"},
	{name: "digest without version", profile: "standard", damage: func(s *sent) {
		s.edit("webhook-signature", func(v string) string { return strings.TrimPrefix(v, "v1,") })
	}, cause: diagnose.MalformedSignature, says: "v1,{signature}"},
	{name: "signature percent-encoded", profile: "standard", damage: func(s *sent) {
		s.edit("webhook-signature", func(v string) string {
			return strings.NewReplacer("=", "%3D", ",", "%2C", "+", "%2B", "/", "%2F").Replace(v)
		})
	}, cause: diagnose.MalformedSignature, says: "percent"},
	{name: "other profile", profile: "standard", damage: func(s *sent) { s.rename("webhook-signature", "X-PaySway-Signature") }, cause: diagnose.WrongProfile, says: "--profile paysway"},
	{name: "cut by Content-Length", profile: "standard", damage: func(s *sent) {
		s.add("Content-Length", strconv.Itoa(len(s.body)))
		s.body = s.body[:len(s.body)-20]
	}, cause: diagnose.TruncatedBody, says: "20 of"},
	{name: "cut without Content-Length", profile: "paysway", damage: func(s *sent) { s.body = s.body[:len(s.body)/2] }, cause: diagnose.TruncatedBody, says: "not whole"},
	{name: "no body", profile: "paywise", damage: func(s *sent) { s.body = nil }, cause: diagnose.TruncatedBody, says: "missing"},
}

func construct(t *testing.T, c constructed, damaged bool) *sent {
	t.Helper()
	s := &sent{t: t, profile: c.profile, data: data, signed: now, secret: secrets[c.profile][0]}
	if c.make != nil {
		c.make(s)
	}
	s.send()
	if damaged && c.damage != nil {
		c.damage(s)
	}
	return s
}

func TestCausesOfConstructedFailures(t *testing.T) {
	right := 0
	for _, c := range failures {
		t.Run(c.profile+"/"+c.name, func(t *testing.T) {
			given := c.given
			if given == nil {
				given = []string{secrets[c.profile][0]}
			}
			v := ask(t, construct(t, c, true), given, false)
			if v.Cause != c.cause || !strings.Contains(v.Message+strings.Join(v.Notes, " "), c.says) || v.Message == "" {
				t.Errorf("cause %q, want %q with %q: %s %q", v.Cause, c.cause, c.says, v.Message, v.Notes)
				return
			}
			right++
			if c.damage == nil {
				return
			}
			// The control: without the damage the same request verifies.
			if v := ask(t, construct(t, c, false), given, false); !v.Valid() {
				t.Errorf("control: undamaged, yet %q: %s", v.Cause, v.Message)
			}
		})
	}
	t.Logf("%d of %d causes named right", right, len(failures))
}

func TestIgnoreAge(t *testing.T) {
	for _, c := range failures {
		if c.cause != diagnose.OldTimestamp && c.cause != diagnose.FutureTimestamp {
			continue
		}
		v := ask(t, construct(t, c, true), []string{secrets[c.profile][0]}, true)
		if !v.Valid() || len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "ignored") {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
	wrong := failures[0]
	wrong.make = func(s *sent) { s.signed = now.Add(-time.Hour) }
	if v := ask(t, construct(t, wrong, true), wrong.given, true); v.Cause != diagnose.WrongSecret {
		t.Errorf("ignoring the age must not ignore the secret: %+v", v)
	}
}

// A trailing newline from an editor, or more from a tool, is harmless if Content-Length
// gives the length of the body.
func TestBytesBeyondContentLength(t *testing.T) {
	for _, extra := range []string{"\n", "\r\n-- end of request --\n"} {
		c := constructed{profile: "standard", damage: func(s *sent) {
			s.add("Content-Length", strconv.Itoa(len(s.body)))
			s.body = append(s.body, extra...)
		}}
		v := ask(t, construct(t, c, true), []string{std[0]}, false)
		if !v.Valid() || len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "beyond Content-Length") {
			t.Errorf("%q: %+v", extra, v)
		}
		// The control: with another secret the request stays invalid.
		if v := ask(t, construct(t, c, true), []string{std[1]}, false); v.Valid() {
			t.Errorf("%q: control: %+v", extra, v)
		}
	}
}

// Formats from files, with several signatures or with public keys.
func TestOtherProfiles(t *testing.T) {
	const private = "whsk_"
	for _, file := range []string{"standard-dual.yaml", "standard-ed25519.yaml", "stripe-like.yaml", "github-like.yaml", "in-house.yaml"} {
		text, err := os.ReadFile("../../examples/profiles/" + file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := profile.Load(file, text)
		if err != nil {
			t.Fatal(err)
		}
		secret, encoding, err := p.NewSecret()
		if err != nil {
			t.Fatal(err)
		}
		key := hook.Secret{Text: secret, Encoding: encoding}
		signer, err := p.Signer([]hook.Secret{key})
		if err != nil {
			t.Fatal(err)
		}
		in := profile.Input{Event: &hook.Event{PublicID: hook.ID{1}, Type: "a.b", Data: []byte(data), CreatedAt: now, AcceptedAt: now}, Attempt: 1, Now: now}
		body := p.Render(nil, in)
		headers, err := p.Headers(nil, in, body, signer)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(secret, private) {
			if public, ok := p.PublicKey(key); ok {
				secret = public
			}
		}
		q := diagnose.Question{Profile: p, Known: profile.Builtin(), Secrets: []string{secret}, Now: now}
		if v := diagnose.Explain(diagnose.Capture{Headers: headers, Body: body, Length: -1}, q); !v.Valid() {
			t.Errorf("%s: %+v", file, v)
		}
		v := diagnose.Explain(diagnose.Capture{Headers: headers, Body: append(body, '\n'), Length: -1}, q)
		if v.Cause != diagnose.BodyReencoded {
			t.Errorf("%s with a newline: %+v", file, v)
		}
	}
}

// The verdict names a signed header that is missing.
func TestASignedHeaderThatIsGone(t *testing.T) {
	text, err := os.ReadFile("../../examples/profiles/in-house.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := profile.Load("in-house.yaml", []byte(strings.ReplaceAll(string(text), "data.invoice.id", "data.list.0")))
	if err != nil {
		t.Fatal(err)
	}
	secret, encoding, err := p.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := p.Signer([]hook.Secret{{Text: secret, Encoding: encoding}})
	if err != nil {
		t.Fatal(err)
	}
	in := profile.Input{Event: &hook.Event{PublicID: hook.ID{1}, Type: "a.b", Data: []byte(data), CreatedAt: now, AcceptedAt: now}, Attempt: 1, Now: now}
	body := p.Render(nil, in)
	headers, err := p.Headers(nil, in, body, signer)
	if err != nil {
		t.Fatal(err)
	}
	q := diagnose.Question{Profile: p, Secrets: []string{secret}, Now: now}
	if v := diagnose.Explain(diagnose.Capture{Headers: headers, Body: body, Length: -1}, q); !v.Valid() { // the control
		t.Errorf("whole: %+v", v)
	}
	gone := slices.DeleteFunc(slices.Clone(headers), func(h hook.Header) bool { return h.Name == "X-Invoice-Id" })
	v := diagnose.Explain(diagnose.Capture{Headers: gone, Body: body, Length: -1}, q)
	if v.Valid() || len(gone) != len(headers)-1 || !strings.Contains(strings.Join(v.Notes, " "), "X-Invoice-Id, whose value is signed") {
		t.Errorf("without its header: %+v", v)
	}
}

// A request that is damaged in two ways gets a verdict that reports it.
func TestTwoMistakes(t *testing.T) {
	c := constructed{profile: "standard", damage: func(s *sent) {
		s.rename("webhook-signature", "X-Webhook-Signature")
		s.body = append(s.body, '\n')
	}}
	v := ask(t, construct(t, c, true), std[:1], false)
	if v.Cause != diagnose.RenamedHeader || !strings.Contains(strings.Join(v.Notes, " "), "re-encoded") {
		t.Errorf("%+v", v)
	}
	v = ask(t, construct(t, c, true), []string{std[1]}, false)
	if v.Cause != diagnose.RenamedHeader || !strings.Contains(strings.Join(v.Notes, " "), "another secret") {
		t.Errorf("with another secret: %+v", v)
	}
}

// An independent implementation of the signature, written from the steps that receivers are
// given, agrees with every valid verdict.
func TestValidAgainstOwnSteps(t *testing.T) {
	s := construct(t, failures[0], false)
	h := http.Header{}
	for _, one := range s.header {
		h.Set(one.Name, one.Value)
	}
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(std[0], "whsec_"))
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", h.Get("webhook-id"), h.Get("webhook-timestamp"), s.body)
	if got := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != h.Get("webhook-signature") {
		t.Fatalf("%s, own steps say %s", h.Get("webhook-signature"), got)
	}
	if v := ask(t, s, std[:1], false); !v.Valid() {
		t.Errorf("%+v", v)
	}
}

// The search through large and deep bodies that match nothing stops within the budget.
func TestSearchIsBounded(t *testing.T) {
	deep := constructed{profile: "standard", make: func(s *sent) {
		s.data = `{"a": ` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}"
	}}
	c := constructed{profile: "standard", make: func(s *sent) {
		var b strings.Builder
		b.WriteString(`{"list": [`)
		for i := range 20_000 {
			fmt.Fprintf(&b, `{"i": %d, "text": "Zażółć"}, `, i)
		}
		b.WriteString(`null]}`)
		s.data = b.String()
	}}
	for _, c := range []constructed{c, deep} {
		s := construct(t, c, false)
		began := time.Now()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		if v := ask(t, s, []string{std[1]}, false); v.Cause != diagnose.WrongSecret {
			t.Errorf("%+v", v)
		}
		var after runtime.MemStats
		runtime.ReadMemStats(&after)
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 1024 || len(s.body) < 20_000 && used > 64 {
			t.Errorf("%d MiB were written for %d bytes", used, len(s.body))
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("took %v for %d bytes", took, len(s.body))
		}
	}
}
