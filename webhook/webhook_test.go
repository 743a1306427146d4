package webhook_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posthorn/posthorn/webhook"
)

var (
	secretOld = map[string]string{
		"standard": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
		"paysway":  "zTOJGr3vYdAHM/F5ZiDsVvgPZq5/Y3Ktbo9xw9Ncf8Y=",
		"paywise":  "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789_abc",

		"standard-ed25519": "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
	}
	secretNew = map[string]string{
		"standard": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
		"paysway":  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
		"paywise":  "0123456789_abcdefghijklmnopqrstuvwxyzABC",

		"standard-ed25519": ed25519Secret(1),
	}
	message = webhook.Message{ID: "msg_1", Timestamp: time.Unix(1738002855, 0), Body: []byte(`{"a": 1}`)}
)

func keys(t testing.TB, s webhook.Spec, texts ...string) []webhook.Key {
	t.Helper()
	var list []webhook.Key
	for _, text := range texts {
		k, err := s.ParseKey(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, k)
	}
	return list
}

func verifier(t testing.TB, s webhook.Spec, secrets ...string) *webhook.Verifier {
	t.Helper()
	v, err := webhook.NewVerifier(s, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	v.Now = func() time.Time { return message.Timestamp }
	return v
}

// During a rotation both secrets sign, newest first, except where the format has space for
// one digest only.
func TestRotation(t *testing.T) {
	for name, spec := range schemes {
		t.Run(name, func(t *testing.T) {
			both, err := spec.Sign(message, keys(t, spec, secretNew[name], secretOld[name]))
			if err != nil {
				t.Fatal(err)
			}
			newer, _ := spec.Sign(message, keys(t, spec, secretNew[name]))
			older, _ := spec.Sign(message, keys(t, spec, secretOld[name]))
			n, o := newer.Get(spec.Header), older.Get(spec.Header)
			want := map[string]string{
				"standard": n + " " + o, "standard-ed25519": n + " " + o,
				"paysway": n + "," + strings.TrimPrefix(o, "t=1738002855,"),
				"paywise": n,
			}[name]
			if got := both.Get(spec.Header); got != want {
				t.Errorf("signature %q, want %q", got, want)
			}
			if err := verifier(t, spec, secretNew[name]).Verify(both, message.Body); err != nil {
				t.Errorf("new secret: %v", err)
			}
			err = verifier(t, spec, secretOld[name]).Verify(both, message.Body)
			if want := spec.Joiner != ""; (err == nil) != want {
				t.Errorf("old secret verifies: %v, want %v", err, want)
			}
			if err := verifier(t, spec, secretNew[name], secretOld[name]).Verify(older, message.Body); err != nil {
				t.Errorf("receiver with both secrets, sender with the old one: %v", err)
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	tests := []struct {
		text     string
		encoding webhook.KeyEncoding
		want     error
	}{
		{"", webhook.KeyText, webhook.ErrEmptySecret},
		{"", webhook.KeyBase64, webhook.ErrEmptySecret},
		{"", webhook.KeyWhsec, webhook.ErrEmptySecret},
		{"whsec_", webhook.KeyWhsec, webhook.ErrEmptySecret},
		{"whsec_", webhook.KeyText, webhook.ErrEmptySecret},
		{"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", webhook.KeyWhsec, webhook.ErrSecretFormat},
		{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", webhook.KeyWhsec, webhook.ErrSecretFormat},
		{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", webhook.KeyWhsec, webhook.ErrSecretFormat},
		{"whsec_-_KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", webhook.KeyWhsec, webhook.ErrSecretFormat},
		{"AB==", webhook.KeyBase64, webhook.ErrSecretFormat}, // trailing bits set
		{"text", "rot13", webhook.ErrSecretFormat},
		{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", webhook.KeyWhsec, nil},
		{"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", webhook.KeyBase64, nil},
		{"any text", webhook.KeyText, nil},
	}
	for _, test := range tests {
		if _, err := webhook.ParseKey(test.text, test.encoding); !errors.Is(err, test.want) {
			t.Errorf("ParseKey(%q, %q): %v, want %v", test.text, test.encoding, err, test.want)
		}
	}
	for name, spec := range schemes {
		for _, secrets := range [][]string{nil, {""}, {"whsec_"}, {secretOld[name], ""}} {
			if _, err := webhook.NewVerifier(spec, secrets...); !errors.Is(err, webhook.ErrEmptySecret) {
				t.Errorf("%s verifier with secrets %q: %v", name, secrets, err)
			}
		}
		for _, list := range [][]webhook.Key{nil, {{}}} {
			if _, err := spec.Signer(list); !errors.Is(err, webhook.ErrEmptySecret) {
				t.Errorf("%s signer with keys %v: %v", name, list, err)
			}
		}
	}
}

func TestKeysCannotBePrinted(t *testing.T) {
	k := keys(t, webhook.Paywise(), "topsecret")[0]
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("key", "key", k)
	out := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		out += fmt.Sprintf(verb, k)
	}
	for _, leak := range []string{"topsecret", "116", "746f70"} {
		if strings.Contains(out, leak) {
			t.Errorf("%q shows in %q", leak, out)
		}
	}
}

func TestSignRefusesIDs(t *testing.T) {
	spec := webhook.Standard()
	for _, id := range []string{"", "a.b", "a b", "ä", "a\n", strings.Repeat("a", 257)} {
		m := message
		m.ID = id
		if _, err := spec.Sign(m, keys(t, spec, secretOld["standard"])); err == nil {
			t.Errorf("signed the id %q", id)
		}
	}
}

// Without the rule on ids, moving the boundary between body and id would preserve the
// signature. The control shows that the signed bytes are identical.
func TestBordersCannotMove(t *testing.T) {
	spec := webhook.Standard()
	m := webhook.Message{ID: "msg", Timestamp: time.Unix(1000, 0), Body: []byte("1738002855.{}")}
	h, err := spec.Sign(m, keys(t, spec, secretOld["standard"]))
	if err != nil {
		t.Fatal(err)
	}
	h.Set("webhook-id", "msg.1000")
	h.Set("webhook-timestamp", "1738002855")
	if err := verifier(t, spec, secretOld["standard"]).Verify(h, []byte("{}")); !errors.Is(err, webhook.ErrMalformedHeader) {
		t.Errorf("shifted request: %v", err)
	}
	control := spec
	control.IDHeader, control.Signed = "", "msg.1000.{timestamp}.{body}"
	if err := verifier(t, control, secretOld["standard"]).Verify(h, []byte("{}")); err != nil {
		t.Errorf("control: the attack would not have worked anyway: %v", err)
	}
}

// Other headers may be signed, too. An absent header is signed as an empty text.
func TestOtherHeadersAreSigned(t *testing.T) {
	spec := webhook.Standard()
	spec.Signed = "{id}.{timestamp}.{header:X-Invoice-Id}.{body}"
	for _, value := range []string{"in_1", "", "a b;c=d"} {
		m := message
		other := http.Header{}
		if value != "" {
			other.Set("X-Invoice-Id", value)
		}
		m.Header = other.Get
		h, err := spec.Sign(m, keys(t, spec, secretOld["standard"]))
		if err != nil {
			t.Fatal(err)
		}
		v := verifier(t, spec, secretOld["standard"])
		if value != "" {
			if err := v.Verify(h, m.Body); !errors.Is(err, webhook.ErrNoMatch) {
				t.Errorf("%q, taken away: %v", value, err)
			}
			h.Set("X-Invoice-Id", value)
		}
		if err := v.Verify(h, m.Body); err != nil {
			t.Errorf("%q: %v", value, err)
		}
		h.Set("X-Invoice-Id", value+"x")
		if err := v.Verify(h, m.Body); !errors.Is(err, webhook.ErrNoMatch) {
			t.Errorf("%q, changed: %v", value, err)
		}
	}
	for _, value := range []string{"a.b", "a\r\nX: y", "é", " a", strings.Repeat("a", 257)} {
		m := message
		m.Header = func(string) string { return value }
		if _, err := spec.Sign(m, keys(t, spec, secretOld["standard"])); err == nil || !strings.Contains(err.Error(), "X-Invoice-Id") {
			t.Errorf("signed the value %q: %v", value, err)
		}
	}
}

func TestDuplicateHeadersAreRefused(t *testing.T) {
	spec := webhook.Standard()
	for _, name := range []string{spec.Header, spec.IDHeader, spec.TimestampHeader} {
		h, err := spec.Sign(message, keys(t, spec, secretOld["standard"]))
		if err != nil {
			t.Fatal(err)
		}
		h.Add(name, h.Get(name))
		if err := verifier(t, spec, secretOld["standard"]).Verify(h, message.Body); !errors.Is(err, webhook.ErrMalformedHeader) {
			t.Errorf("two %s: %v", name, err)
		}
	}
}

func TestSpecCheck(t *testing.T) {
	tests := []struct {
		change func(*webhook.Spec)
		want   string
	}{
		{func(s *webhook.Spec) {}, ""},
		{func(s *webhook.Spec) { s.Header = "" }, "header name"},
		{func(s *webhook.Spec) { s.Header = "a:b" }, "header name"},
		{func(s *webhook.Spec) { s.IDHeader = "a b" }, "header name"},
		{func(s *webhook.Spec) { s.IDHeader = "Webhook-Signature" }, "two uses"},
		{func(s *webhook.Spec) { s.TimestampHeader = "Webhook-ID" }, "two uses"},
		{func(s *webhook.Spec) { s.Algorithm = "md5" }, "unknown algorithm"},
		{func(s *webhook.Spec) { s.Digest = "octal" }, "digest encoding"},
		{func(s *webhook.Spec) { s.Key = "" }, "key encoding"},
		{func(s *webhook.Spec) { s.Tolerance = -1 }, "negative"},
		{func(s *webhook.Spec) { s.Signed = "{id}.{timestamp}" }, "{body} once"},
		{func(s *webhook.Spec) { s.Signed = "{id}.{timestamp}.{body}.{body}" }, "{body} once"},
		{func(s *webhook.Spec) { s.Signed = "{id}{timestamp}.{body}" }, "separator"},
		{func(s *webhook.Spec) { s.Signed = "{id}.{timestamp}0{body}" }, "separator"},
		{func(s *webhook.Spec) { s.Signed = "{body}.{id}.{timestamp}" }, "comes after"},
		{func(s *webhook.Spec) { s.Signed = "{id}.{time}.{body}" }, "brace"},
		{func(s *webhook.Spec) { s.Signed = "{id}.{timestamp}.{body" }, "brace"},
		{func(s *webhook.Spec) { s.Signed = "{id}.{timestamp}.{body}\n" }, "ASCII"},
		{func(s *webhook.Spec) { s.Signed = "{timestamp}.{body}" }, "not signed"},
		{func(s *webhook.Spec) { s.TimestampHeader = "" }, "needs a header"},
		{func(s *webhook.Spec) { s.Signed = "{id}.{timestamp}.{header:X-Id}.{body}" }, ""},
		{func(s *webhook.Spec) { s.Signed = "{id}.{timestamp}.{header:}.{body}" }, "brace"},
		{func(s *webhook.Spec) { s.Signed = "{id}.{timestamp}.{header:X Id}.{body}" }, "brace"},
		{func(s *webhook.Spec) { s.Signed = "{id}.{timestamp}.{header:X-Id}{body}" }, "separator"},
		{func(s *webhook.Spec) { s.Signed = "{id}.{timestamp}.{body}.{header:X-Id}" }, "comes after"},
		{func(s *webhook.Spec) { s.Signed = "{id}.{timestamp}.{header:Webhook-Signature}.{body}" }, "signature itself"},
		{func(s *webhook.Spec) { s.Output = "v1,{signature},{header:X-Id}" }, "{signature} once"},
		{func(s *webhook.Spec) { s.Output = "t={timestamp} v1,{signature}" }, "stands in the output and in header"},
		{func(s *webhook.Spec) { s.Output = "v1" }, "{signature} once"},
		{func(s *webhook.Spec) { s.Joiner = "=" }, "could be part"},
	}
	for _, test := range tests {
		spec := webhook.Standard()
		test.change(&spec)
		err := spec.Check()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%+v: %v, want %q", spec, err, test.want)
		}
	}
}

// One signer and one verifier can be used by many goroutines.
func TestConcurrentUse(t *testing.T) {
	spec := webhook.Standard()
	signer, err := spec.Signer(keys(t, spec, secretOld["standard"]))
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t, spec, secretOld["standard"])
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			m := message
			m.Body = bytes.Repeat([]byte{byte('a' + g)}, 100+g)
			for range 200 {
				value, err := signer.AppendSignature(nil, m)
				h := http.Header{"Webhook-Id": {m.ID}, "Webhook-Timestamp": {"1738002855"}, "Webhook-Signature": {string(value)}}
				if err != nil || v.Verify(h, m.Body) != nil {
					t.Errorf("goroutine %d: %s, %v", g, value, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// Schemes other than the predefined ones are data, too.
func TestOtherSchemes(t *testing.T) {
	tests := map[string]webhook.Spec{
		"time in its own header": {Header: "X-Sig", TimestampHeader: "X-Time", Algorithm: webhook.HMACSHA256,
			Signed: "v0:{timestamp}:{body}", Output: "v0={signature}", Digest: webhook.Hex, Key: webhook.KeyText},
		"sha1": {Header: "X-Hub-Signature", Algorithm: webhook.HMACSHA1, Signed: "{body}",
			Output: "sha1={signature}", Digest: webhook.Hex, Key: webhook.KeyText},
		"sha512, bare": {Header: "X-Sig", Algorithm: webhook.HMACSHA512, Signed: "{body}",
			Output: "{signature}", Digest: webhook.Base64, Key: webhook.KeyText},
		"all in one element": {Header: "X-Sig", Algorithm: webhook.HMACSHA256, Signed: "{id};{timestamp};{body};end",
			Output: "{id}:{timestamp}:{signature}", Joiner: ", ", Digest: webhook.Hex, Key: webhook.KeyText},
	}
	for name, spec := range tests {
		t.Run(name, func(t *testing.T) {
			h, err := spec.Sign(message, keys(t, spec, "new", "old"))
			if err != nil {
				t.Fatal(err)
			}
			if err := verifier(t, spec, "new").Verify(h, message.Body); err != nil {
				t.Errorf("%v: %v", h, err)
			}
			if err := verifier(t, spec, "other").Verify(h, message.Body); !errors.Is(err, webhook.ErrNoMatch) {
				t.Errorf("wrong secret: %v", err)
			}
			if err := verifier(t, spec, "new").Verify(h, []byte("other")); !errors.Is(err, webhook.ErrNoMatch) {
				t.Errorf("wrong body: %v", err)
			}
		})
	}
}

// Fixed text around the body is signed in its place.
func TestSignedBytes(t *testing.T) {
	spec := webhook.Spec{Header: "S", IDHeader: "I", TimestampHeader: "T", Algorithm: webhook.HMACSHA256,
		Signed: "<{timestamp}|{id}>{body}</end>", Output: "{signature}", Digest: webhook.Hex, Key: webhook.KeyText}
	h, err := spec.Sign(message, keys(t, spec, "key"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte("key"))
	mac.Write([]byte(`<1738002855|msg_1>{"a": 1}</end>`))
	if want := hex.EncodeToString(mac.Sum(nil)); h.Get("S") != want {
		t.Errorf("signature %s, want %s", h.Get("S"), want)
	}
}

func TestMalformedHeaders(t *testing.T) {
	spec := webhook.Standard()
	spec.Tolerance = 200 * 365 * 24 * time.Hour
	good, err := spec.Sign(message, keys(t, spec, secretOld["standard"]))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, value string }{
		{"webhook-timestamp", "-1"}, {"webhook-timestamp", "+1738002855"}, {"webhook-timestamp", " 1738002855"},
		{"webhook-timestamp", "1738002855.0"}, {"webhook-timestamp", "0x1"}, {"webhook-timestamp", "253402300800"},
		{"webhook-timestamp", "99999999999999999999999"}, {"webhook-id", "a.b"}, {"webhook-id", strings.Repeat("a", 257)},
		{"webhook-signature", good.Get("webhook-signature") + strings.Repeat(" v1,x", 2000)},
	}
	for _, test := range tests {
		h := good.Clone()
		h.Set(test.name, test.value)
		if err := verifier(t, spec, secretOld["standard"]).Verify(h, message.Body); !errors.Is(err, webhook.ErrMalformedHeader) {
			t.Errorf("%s: %.40q: %v", test.name, test.value, err)
		}
	}
	if err := verifier(t, spec, secretOld["standard"]).Verify(good, message.Body); err != nil {
		t.Errorf("control: %v", err)
	}
}

// Test case 2 of RFC 2202 and of RFC 4231, for the two remaining algorithms.
func TestOtherAlgorithms(t *testing.T) {
	body := []byte("what do ya want for nothing?")
	for algorithm, want := range map[webhook.Algorithm]string{
		webhook.HMACSHA1:   "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
		webhook.HMACSHA512: "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
	} {
		spec := webhook.Spec{Header: "S", Algorithm: algorithm, Signed: "{body}", Output: "{signature}", Digest: webhook.Hex, Key: webhook.KeyText}
		h, err := spec.Sign(webhook.Message{Body: body}, keys(t, spec, "Jefe"))
		if err != nil || h.Get("S") != want {
			t.Errorf("%s: %q, %v", algorithm, h.Get("S"), err)
		}
	}
}

func TestHandler(t *testing.T) {
	spec := webhook.Standard()
	good, err := spec.Sign(message, keys(t, spec, secretOld["standard"]))
	if err != nil {
		t.Fatal(err)
	}
	v := verifier(t, spec, secretOld["standard"])
	v.MaxBody = 64
	tests := map[string]struct {
		change func(http.Header)
		body   string
		want   int
	}{
		"good":           {func(http.Header) {}, string(message.Body), 204},
		"other body":     {func(http.Header) {}, `{"a":1}`, 401},
		"no signature":   {func(h http.Header) { h.Del("webhook-signature") }, string(message.Body), 400},
		"bad timestamp":  {func(h http.Header) { h.Set("webhook-timestamp", "now") }, string(message.Body), 400},
		"old":            {func(h http.Header) { h.Set("webhook-timestamp", "1") }, string(message.Body), 401},
		"body too large": {func(http.Header) {}, strings.Repeat("x", 65), 413},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			reached := false
			next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				reached = true
				if body, err := io.ReadAll(r.Body); err != nil || string(body) != test.body || r.ContentLength != int64(len(body)) {
					t.Errorf("next read %q, %v", body, err)
				}
				w.WriteHeader(204)
			})
			r := httptest.NewRequest("POST", "/hook", strings.NewReader(test.body))
			r.Header = good.Clone()
			test.change(r.Header)
			w := httptest.NewRecorder()
			v.Handler(next).ServeHTTP(w, r)
			if w.Code != test.want || reached != (test.want == 204) {
				t.Errorf("answered %d, reached next: %v, want %d", w.Code, reached, test.want)
			}
		})
	}
}

func FuzzSignatureHeader(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Signature, v.ID, v.Timestamp)
	}
	f.Add("t=,v1=,,,=", "", "-1")
	type half struct {
		spec     webhook.Spec
		verifier *webhook.Verifier
		genuine  string
	}
	var halves []half
	for name, spec := range schemes {
		h, err := spec.Sign(message, keys(f, spec, secretOld[name]))
		if err != nil {
			f.Fatal(err)
		}
		genuine := h.Get(spec.Header)
		genuine = genuine[strings.LastIndexAny(strings.TrimRight(genuine, "="), ",=")+1:]
		halves = append(halves, half{spec, verifier(f, spec, secretOld[name]), genuine})
	}
	f.Fuzz(func(t *testing.T, signature, id, timestamp string) {
		for _, half := range halves {
			h := http.Header{}
			h.Set(half.spec.Header, signature)
			h.Set("webhook-id", id)
			h.Set("webhook-timestamp", timestamp)
			err := half.verifier.Verify(h, message.Body)
			if err == nil && !strings.Contains(signature, half.genuine) {
				t.Errorf("%s accepted the forgery %q", half.spec.Header, signature)
			}
		}
	})
}

func BenchmarkAppendSignature(b *testing.B) {
	spec := webhook.Standard()
	signer, err := spec.Signer(keys(b, spec, secretOld["standard"]))
	if err != nil {
		b.Fatal(err)
	}
	m := message
	m.Body = bytes.Repeat([]byte("x"), 1024)
	buffer := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = signer.AppendSignature(buffer, m)
	}
}
