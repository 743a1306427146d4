package systemtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/server/servertest"
	"github.com/posthorn/posthorn/webhook"
)

// Checks of Standard Webhooks 1.0 for a sender, numbered C1 to C22 in docs/conformance, on
// the requests that a receiver gets. The signatures are computed here by the steps of the
// specification, without the package that made them.

const signatureHeader = "webhook-signature"

// signatureOf computes HMAC-SHA256 by the steps of the specification.
func signatureOf(t *testing.T, secret string, a servertest.Arrival) string {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(a.Header.Get("webhook-id") + "." + a.Header.Get("webhook-timestamp") + "."))
	mac.Write(a.Body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signedBy reports whether the v1a part of a header was made with the key that belongs to
// public.
func signedBy(t *testing.T, public string, a servertest.Arrival, part string) bool {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(public, "whpk_"))
	if err != nil || len(key) != ed25519.PublicKeySize {
		t.Fatalf("public key %q: %v", public, err)
	}
	text, ok := strings.CutPrefix(part, "v1a,")
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	signed := a.Header.Get("webhook-id") + "." + a.Header.Get("webhook-timestamp") + "." + string(a.Body)
	return ok && err == nil && ed25519.Verify(key, []byte(signed), raw)
}

func exampleProfile(t *testing.T, name string) *profile.Profile {
	t.Helper()
	p, err := profile.ReadFile(filepath.Join(exampleDir, name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// C1: POST, and the body carries the payload. C2: the three headers.
func TestC01PostWithBody(t *testing.T) {
	l := startLive(t, "--dev")
	l.Endpoint(client.NewEndpoint{})
	l.Publish("a.b", `{"carried": 12345678901234567890}`)
	a := l.Await(1)[0]
	if a.Header.Get(":method") != "POST" || !bytes.Contains(a.Body, []byte(`{"carried": 12345678901234567890}`)) {
		t.Errorf("%s %s", a.Header.Get(":method"), a.Body)
	}
	if got := a.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
}

func TestC02ThreeHeaders(t *testing.T) {
	l := startLive(t, "--dev")
	l.Endpoint(client.NewEndpoint{})
	l.Publish("a.b", `{}`)
	a := l.Await(1)[0]
	for _, name := range []string{"webhook-id", "webhook-timestamp", signatureHeader} {
		if got := a.Header.Values(name); len(got) != 1 || got[0] == "" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// C3: all retries of an event and a manual retry have one id; every event has a different
// id.
func TestC03IDStaysOverRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(n int) int {
			if n <= 3 {
				return http.StatusInternalServerError
			}
			return http.StatusOK
		})
		defer w.close()
		e, _ := w.endpoint("standard")
		w.publish(e.Scope, "a.b")
		time.Sleep(time.Hour)
		d, _ := w.delivery(e.Scope)
		if _, _, err := w.store.RetryDelivery(t.Context(), e.Scope, d.ID, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		w.publish(e.Scope, "a.b")
		time.Sleep(time.Minute)
		got := w.arrivals()
		if len(got) != 6 {
			t.Fatalf("%d requests, want 3 failures, a success, one by hand and the next event", len(got))
		}
		first := got[0].Header.Get("webhook-id")
		for i, a := range got[:5] {
			if id := a.Header.Get("webhook-id"); id != first || !bytes.Equal(a.Body, got[0].Body) {
				t.Errorf("attempt %d has id %s and body %s", i+1, id, a.Body)
			}
		}
		if got[5].Header.Get("webhook-id") == first {
			t.Error("two events share an id")
		}
	})
}

// C4: no text from a customer or the platform adds a dot to the signed bytes before the
// body.
func TestC04NoDotsInIDs(t *testing.T) {
	l := startLive(t, "--dev")
	l.Endpoint(client.NewEndpoint{})
	const own, named = "45239619-07eb-47c7-9a58-f98650c269ba", "order-4711"
	ids := []string{"", own, named, "a.b", "1.1.1", "018f2c3e-0000-7000-8000-00000000000a.1"}
	for _, id := range ids {
		if _, err := l.API.Publish(t.Context(), client.NewEvent{Tenant: "acme", Type: "a.b.c", ID: id, Data: json.RawMessage(`{"id":"x.y"}`)}, client.PublishOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	for _, a := range l.Await(len(ids)) {
		id := a.Header.Get("webhook-id")
		if strings.Contains(id+a.Header.Get("webhook-timestamp"), ".") {
			t.Errorf("headers %v", a.Header)
		}
		seen = append(seen, id)
	}
	if !slices.Contains(seen, own) || !slices.Contains(seen, named) {
		t.Errorf("the platform's own ids are not on the wire: %v", seen)
	}
}

// C5: whole seconds, the time of this attempt.
func TestC05TimestampOfTheAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(n int) int { return map[bool]int{true: 500, false: 200}[n <= 2] })
		defer w.close()
		e, _ := w.endpoint("standard")
		w.publish(e.Scope, "a.b")
		time.Sleep(time.Hour)
		got := w.arrivals()
		if len(got) != 3 {
			t.Fatalf("%d attempts", len(got))
		}
		seen := map[string]bool{}
		for i, a := range got {
			text := a.Header.Get("webhook-timestamp")
			if want := strconv.FormatInt(a.At.Unix(), 10); text != want {
				t.Errorf("attempt %d: timestamp %q, arrived at %s", i+1, text, want)
			}
			seen[text] = true
		}
		if len(seen) != 3 {
			t.Errorf("%d different timestamps in three attempts", len(seen))
		}
	})
}

// C6 and C7: id, dot, timestamp, dot, the bytes as sent; "v1," and padded standard base64.
// The control is a body that was decoded and re-encoded.
func TestC06SignedBytes(t *testing.T) {
	l := startLive(t, "--dev")
	e := l.Endpoint(client.NewEndpoint{})
	bodies := []string{`{}`, `{ "b" :1,  "a":[ ] }`, `{"z":"Zoë 🙂 é","u":"a\u2028b"}`, `{"n":12345678901234567890,"e":1e400,"f":1.10}`,
		`{"html":"<b>&amp;</b>"}`, "{\"lines\":1 \n\t}", `{"10":1,"9":2,"":3}`}
	reencoded := 0
	for i, data := range bodies {
		l.Publish("a.b", data)
		a := l.Await(i + 1)[i]
		if !bytes.Contains(a.Body, []byte(data)) {
			t.Errorf("%s was sent as %s", data, a.Body)
		}
		if got, want := a.Header.Get(signatureHeader), signatureOf(t, e.Secret, a); got != want {
			t.Errorf("%s: signature %q, want %q", data, got, want)
		}
		var value any
		if json.Unmarshal(a.Body, &value) == nil {
			a.Body, _ = json.Marshal(value)
			if signatureOf(t, e.Secret, a) != a.Header.Get(signatureHeader) {
				reencoded++
			}
		}
	}
	if reencoded < 5 {
		t.Errorf("control: only %d of %d bodies change when they are encoded again", reencoded, len(bodies))
	}
}

func TestC07SymmetricSignature(t *testing.T) {
	l := startLive(t, "--dev")
	e := l.Endpoint(client.NewEndpoint{Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}) // the secret of vector A
	l.Publish("a.b", `{"test": 2432232314}`)
	got := l.Await(1)[0].Header.Get(signatureHeader)
	if !regexp.MustCompile(`^v1,[A-Za-z0-9+/]{43}=$`).MatchString(got) || e.Secret != "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" {
		t.Errorf("signature %q", got)
	}
	// The steps used here produce the published signatures of vectors A and B.
	for _, v := range []struct{ secret, id, timestamp, body, want string }{
		{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", `{"test": 2432232314}`,
			"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
		{"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", "1649367553",
			`{"email":"test@example.com","username":"test_user"}`, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="},
	} {
		a := servertest.Arrival{Header: http.Header{"Webhook-Id": {v.id}, "Webhook-Timestamp": {v.timestamp}}, Body: []byte(v.body)}
		if got := signatureOf(t, v.secret, a); got != v.want {
			t.Errorf("the judge computes %s, want %s", got, v.want)
		}
	}
}

// C8: "v1a," and an ed25519 signature. C12: keys whsk_ and whpk_.
func TestC08AsymmetricSignature(t *testing.T) {
	const secret = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	const public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	l := startLive(t, "--dev", "--profile-dir", exampleDir)
	l.Endpoint(client.NewEndpoint{Profile: "standard-ed25519", Secret: secret})
	l.Publish("a.b", `{"test": 2432232314}`)
	a := l.Await(1)[0]
	got := a.Header.Get(signatureHeader)
	if !signedBy(t, public, a, got) {
		t.Errorf("signature %q", got)
	}
	a.Body = append(a.Body, ' ')
	if signedBy(t, public, a, got) {
		t.Error("control: another body verifies")
	}
	c := servertest.Arrival{Header: http.Header{"Webhook-Id": {"msg_p5jXN8AQM9LWM0D4loKWxJek"}, "Webhook-Timestamp": {"1614265330"}}, Body: []byte(`{"test": 2432232314}`)}
	if !signedBy(t, public, c, "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==") {
		t.Error("the judge refuses vector C")
	}
}

// C9: during a rotation, and while an endpoint moves to ed25519: one space between
// signatures, none around them, one comma in each, v1 before v1a.
func TestC09OneSpaceBetween(t *testing.T) {
	l := startLive(t, "--dev", "--profile-dir", exampleDir)
	l.Endpoint(client.NewEndpoint{EventTypes: []string{"plain"}})
	dual := l.Endpoint(client.NewEndpoint{Profile: "standard-dual", EventTypes: []string{"dual"}, Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
	page, err := l.API.Endpoints(t.Context(), client.EndpointQuery{})
	if err != nil {
		t.Fatal(err)
	}
	rotated := map[string]string{}
	for _, e := range page.Data {
		r, err := l.API.RotateSecret(t.Context(), e.ID, client.RotateSecret{Overlap: "1h"})
		if err != nil {
			t.Fatal(err)
		}
		rotated[e.ID] = r.Secret
	}
	for i, c := range []struct{ eventType, shape string }{
		{"plain", `^v1,[A-Za-z0-9+/]{43}= v1,[A-Za-z0-9+/]{43}=$`},
		{"dual", `^v1,[A-Za-z0-9+/]{43}= v1a,[A-Za-z0-9+/]{86}==$`},
	} {
		l.Publish(c.eventType, `{}`)
		a := l.Await(i + 1)[i]
		value := a.Header.Get(signatureHeader)
		if !regexp.MustCompile(c.shape).MatchString(value) {
			t.Errorf("%s: %q", c.eventType, value)
		}
		if c.eventType != "dual" {
			continue
		}
		v1, v1a, _ := strings.Cut(value, " ")
		public, err := webhook.PublicKey(rotated[dual.ID])
		if err != nil {
			t.Fatal(err)
		}
		if v1 != signatureOf(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", a) || !signedBy(t, public, a, v1a) {
			t.Errorf("both signatures do not verify: %q", value)
		}
	}
}

// C10: all valid secrets sign, newest first; an expired secret stops at once.
func TestC10Rotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(int) int { return http.StatusOK })
		defer w.close()
		e, old := w.endpoint("standard")
		rotate := func(overlap time.Duration) string {
			p, _ := w.profiles.Get("standard")
			text, encoding, err := p.NewSecret()
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := w.store.RotateSecret(t.Context(), e.Scope, e.ID, hook.Secret{Text: text, Encoding: encoding}, overlap, nil); err != nil {
				t.Fatal(err)
			}
			return text
		}
		signed := func(secrets ...string) {
			t.Helper()
			before := len(w.arrivals())
			w.publish(e.Scope, "a.b")
			time.Sleep(time.Second)
			got := w.arrivals()
			if len(got) != before+1 {
				t.Fatalf("%d requests", len(got)-before)
			}
			a := got[before]
			var want []string
			for _, s := range secrets {
				want = append(want, signatureOf(t, s, a))
			}
			if value := a.Header.Get(signatureHeader); value != strings.Join(want, " ") {
				t.Errorf("signature %q, want %q", value, want)
			}
		}
		signed(old)
		middle := rotate(time.Hour)
		signed(middle, old)
		newest := rotate(30 * time.Minute)
		signed(newest, middle, old)
		time.Sleep(30*time.Minute - 2*time.Second)
		signed(newest, middle, old)
		time.Sleep(time.Second)
		signed(newest)
		only := rotate(0)
		signed(only)
	})
}

// C11: whsec_ and padded standard base64, 24 to 64 bytes, a different secret for each
// endpoint.
func TestC11SharedSecrets(t *testing.T) {
	l := startLive(t, "--dev")
	seen := map[string]bool{}
	for range 5 {
		e := l.Endpoint(client.NewEndpoint{})
		raw, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(e.Secret, "whsec_"))
		if err != nil || !strings.HasPrefix(e.Secret, "whsec_") || len(raw) < 24 || len(raw) > 64 || seen[e.Secret] {
			t.Errorf("secret of %d bytes, seen before: %v, %v", len(raw), seen[e.Secret], err)
		}
		seen[e.Secret] = true
	}
	key := func(n int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb}, n)) }
	for text, want := range map[string]bool{
		"whsec_" + key(24): true, "whsec_" + key(64): true, "whsec_" + key(23): false, "whsec_" + key(65): false, key(32): false,
		"whsec_" + strings.TrimRight(key(32), "="):                          false,
		"whsec_" + strings.NewReplacer("+", "-", "/", "_").Replace(key(32)): false,
		"whsk_" + key(64): false, "whsec_": false,
	} {
		_, err := l.API.CreateEndpoint(t.Context(), client.NewEndpoint{Tenant: "acme", URL: l.Receiver.URL, EventTypes: []string{"*"}, Secret: text})
		if (err == nil) != want {
			t.Errorf("secret %q: %v", text, err)
		}
	}
}

func TestC12PrivateAndPublicKeys(t *testing.T) {
	l := startLive(t, "--dev", "--profile-dir", exampleDir)
	shape := regexp.MustCompile(`^whsk_[A-Za-z0-9+/]{86}==$`)
	first, second := l.Endpoint(client.NewEndpoint{Profile: "standard-ed25519"}), l.Endpoint(client.NewEndpoint{Profile: "standard-ed25519"})
	if !shape.MatchString(first.Secret) || !shape.MatchString(second.Secret) || first.Secret == second.Secret {
		t.Error("the secrets are not two private keys")
	}
	l.Publish("a.b", `{}`)
	p := exampleProfile(t, "standard-ed25519")
	matched := 0
	for _, a := range l.Await(2) {
		for _, e := range []client.Endpoint{first, second} {
			public, ok := p.PublicKey(hook.Secret{Text: e.Secret, Encoding: hook.EncodingWhsk})
			if !ok || !regexp.MustCompile(`^whpk_[A-Za-z0-9+/]{43}=$`).MatchString(public) {
				t.Fatalf("public key %q", public)
			}
			if signedBy(t, public, a, a.Header.Get(signatureHeader)) {
				matched++
			}
		}
	}
	if matched != 2 {
		t.Errorf("%d of 2 requests verify with exactly one of the public keys", matched)
	}
}

// C13: only 2xx is success; a redirect is not followed.
func TestC13OnlySuccessIsSuccess(t *testing.T) {
	l := startLive(t, "--dev")
	l.Answers(func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.Header().Set("Location", "/200")
		w.WriteHeader(status)
	})
	want := map[string]string{}
	for _, status := range []int{200, 201, 202, 204, 299, 300, 301, 302, 303, 304, 307, 308, 400, 401, 404, 500, 503} {
		e := l.Endpoint(client.NewEndpoint{URL: l.Receiver.URL + "/" + strconv.Itoa(status), Retry: &client.Retry{Steps: []string{"1h"}}})
		want[e.ID] = map[bool]string{true: "succeeded", false: "pending"}[status < 300]
	}
	l.Publish("a.b", `{}`)
	l.Await(len(want))
	l.Until("every answer is recorded", func() bool {
		page, err := l.API.Deliveries(t.Context(), client.DeliveryQuery{})
		for _, d := range page.Data {
			if d.Attempts == 0 {
				return false
			}
		}
		return err == nil
	})
	page, err := l.API.Deliveries(t.Context(), client.DeliveryQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range page.Data {
		if d.State != want[d.Endpoint] || d.Attempts != 1 {
			t.Errorf("answered %d: %s after %d attempts, want %s", *d.LastStatus, d.State, d.Attempts, want[d.Endpoint])
		}
	}
	if n := len(l.Arrivals()); n != len(want) {
		t.Errorf("%d requests for %d endpoints: a redirect was followed", n, len(want))
	}
}

// C14: 410 disables; Retry-After is honoured after any failure.
func TestC14RetryAfter(t *testing.T) {
	for _, status := range []int{429, 500, 502, 503, 504} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(n int) int { return map[bool]int{true: status, false: 200}[n == 1] })
			w.retryAfter = "600"
			defer w.close()
			e, _ := w.endpoint("standard")
			w.publish(e.Scope, "a.b")
			time.Sleep(time.Hour)
			if got := w.arrivals(); len(got) != 2 || got[1].At.Sub(got[0].At) < 10*time.Minute {
				t.Errorf("%d with Retry-After: %d attempts, %v", status, len(got), got[len(got)-1].At.Sub(got[0].At))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(int) int { return http.StatusGone })
		defer w.close()
		e, _ := w.endpoint("standard")
		w.publish(e.Scope, "a.b")
		time.Sleep(48 * time.Hour)
		if n := len(w.arrivals()); n != 1 || w.status(e) != hook.Tripped {
			t.Errorf("410: %d attempts, status %v", n, w.status(e))
		}
	})
}

// C15: retries over days, with growing intervals and jitter.
func TestC15RetriesOverDays(t *testing.T) {
	pauses := func() (list []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(int) int { return http.StatusInternalServerError })
			defer w.close()
			e, _ := w.endpoint("standard")
			w.publish(e.Scope, "a.b")
			time.Sleep(10 * 24 * time.Hour)
			got := w.arrivals()
			for i := 1; i < len(got); i++ {
				list = append(list, got[i].At.Sub(got[i-1].At))
			}
		})
		return list
	}
	first, second := pauses(), pauses()
	total, same := time.Duration(0), 0
	for i, pause := range first {
		total += pause
		if i > 0 && pause <= first[i-1] {
			t.Errorf("pause %d is %v, the one before %v", i+1, pause, first[i-1])
		}
		if pause.Round(100*time.Millisecond) == second[i].Round(100*time.Millisecond) {
			same++
		}
	}
	if total < 3*24*time.Hour || len(first) < 8 {
		t.Errorf("%d retries over %v", len(first), total)
	}
	if same > len(first)/2 {
		t.Errorf("%d of %d pauses are the same in two runs: no jitter", same, len(first))
	}
}

// C16: a receiver has at least 15 seconds and at most 30.
func TestC16Timeout(t *testing.T) {
	for took, attempts := range map[time.Duration]int{14 * time.Second: 1, 31 * time.Second: 2} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(int) int { return http.StatusOK })
			defer w.close()
			var asked atomic.Int64
			w.server.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					<-time.After(took)
				}
				w.ServeHTTP(rw, r)
			})
			e, _ := w.endpoint("standard")
			w.publish(e.Scope, "a.b")
			time.Sleep(time.Minute)
			d, log := w.delivery(e.Scope)
			if d.State != hook.Succeeded || len(log) != attempts || attempts == 2 && log[0].Class != hook.ClassTimeout {
				t.Errorf("an answer after %v: %v, %d attempts, first %v", took, d.State, len(log), log[0].Class)
			}
		})
	}
}

// C17: long failure disables the endpoint, and the endpoint reports that and why.
func TestC17DisabledAfterLongFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(int) int { return http.StatusInternalServerError })
		defer w.close()
		e, _ := w.endpoint("standard")
		for range 16 {
			w.publish(e.Scope, "a.b")
			time.Sleep(8 * time.Hour)
		}
		now, err := w.store.Endpoint(t.Context(), e.Scope, e.ID)
		if err != nil || now.Status != hook.Tripped || now.DisabledReason != "failures" || now.DisabledAt.IsZero() {
			t.Errorf("after five days of failures: %+v, %v", now, err)
		}
	})
}

// C18: without the operator's permission, only https is used, and only public addresses. The
// control is a server that has the permission.
func TestC18GuardedAddresses(t *testing.T) {
	inside := []string{"http://127.0.0.1:1/", "https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://10.0.0.1/",
		"https://192.168.0.1/", "https://172.16.0.1/", "https://169.254.169.254/latest", "https://0.0.0.0/", "https://[fe80::1]/",
		"https://[fd00::1]/", "https://[64:ff9b::7f00:1]/", "https://2130706433/", "https://0x7f.1/", "https://localhost/", "http://93.184.216.34/"}
	try := func(l *live, address string) error {
		_, err := l.API.CreateEndpoint(t.Context(), client.NewEndpoint{Tenant: "acme", URL: address, EventTypes: []string{"*"}})
		return err
	}
	guarded, open := startLive(t), startLive(t, "--dev", "--allow-network", "0.0.0.0/0,::/0")
	admitted := 0
	for _, address := range inside {
		if err := try(guarded, address); err == nil {
			t.Errorf("%s was admitted", address)
		}
		if try(open, address) == nil {
			admitted++
		}
	}
	if admitted < 8 {
		t.Errorf("control: with the guard open only %d of %d are admitted", admitted, len(inside))
	}
	if err := try(guarded, "https://93.184.216.34/hook"); err != nil {
		t.Errorf("a public address: %v", err)
	}
}

// C19: an object of type, timestamp (of the event, ISO 8601) and data; a profile without an
// envelope leaves the bytes unchanged.
func TestC19Payload(t *testing.T) {
	l := startLive(t, "--dev", "--profile-dir", exampleDir)
	l.Endpoint(client.NewEndpoint{EventTypes: []string{"user_1.created"}})
	l.Endpoint(client.NewEndpoint{EventTypes: []string{"raw"}, Profile: "github-like"})
	happened := client.Time{Time: time.Date(2024, 5, 6, 7, 8, 9, 123456000, time.UTC)}
	if _, err := l.API.Publish(t.Context(), client.NewEvent{Tenant: "acme", Type: "user_1.created", CreatedAt: &happened,
		Data: json.RawMessage(`{"id": "x"}`)}, client.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, want := string(l.Await(1)[0].Body), `{"type":"user_1.created","timestamp":"2024-05-06T07:08:09.123456Z","data":{"id": "x"}}`; got != want {
		t.Errorf("body %s, want %s", got, want)
	}
	l.Publish("raw", `{ "as" : "it came" }`)
	if got := string(l.Await(2)[1].Body); got != `{ "as" : "it came" }` {
		t.Errorf("raw body %q", got)
	}
}

// C20: payloads should be small; a large one is accepted with a warning.
func TestC20LargePayloadsAreWarnedOf(t *testing.T) {
	l := startLive(t, "--dev")
	l.Endpoint(client.NewEndpoint{})
	small := l.Publish("a.b", `{"x":"`+strings.Repeat("x", 20_000-8)+`"}`)
	if len(small.Warnings) != 0 {
		t.Errorf("20,000 bytes: %v", small.Warnings)
	}
	large := l.Publish("a.b", `{"x":"`+strings.Repeat("x", 20_001-8)+`"}`)
	if len(large.Warnings) != 1 || large.Warnings[0].Code != "payload_large" {
		t.Errorf("20,001 bytes: %v", large.Warnings)
	}
	l.Await(2)
}

// C21: each of several endpoints gets the events it subscribed to; failures are listed and
// can be sent again by hand.
func TestC21EndpointsFiltersFailures(t *testing.T) {
	l := startLive(t, "--dev")
	var broken atomic.Bool
	broken.Store(true)
	l.Answers(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() && r.URL.Path == "/broken" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	l.Endpoint(client.NewEndpoint{URL: l.Receiver.URL + "/invoices", EventTypes: []string{"invoice.paid"}})
	l.Endpoint(client.NewEndpoint{URL: l.Receiver.URL + "/all"})
	failing := l.Endpoint(client.NewEndpoint{URL: l.Receiver.URL + "/broken", EventTypes: []string{"user.created"},
		Retry: &client.Retry{First: "1s", MaxAttempts: 1}})
	if made := l.Publish("user.created", `{}`); made.DeliveryCount != 2 {
		t.Errorf("%d deliveries of the first event", made.DeliveryCount)
	}
	if made := l.Publish("invoice.paid", `{}`); made.DeliveryCount != 2 {
		t.Errorf("%d deliveries of the second event", made.DeliveryCount)
	}
	paths := map[string]int{}
	for _, a := range l.Await(4) {
		paths[a.Header.Get(":path")]++
	}
	if paths["/all"] != 2 || paths["/invoices"] != 1 || paths["/broken"] != 1 {
		t.Errorf("requests by path: %v", paths)
	}
	failed := func() []client.Delivery {
		page, err := l.API.Deliveries(t.Context(), client.DeliveryQuery{Tenant: "acme", State: client.StateFailed})
		if err != nil {
			t.Fatal(err)
		}
		return page.Data
	}
	l.Until("the failure is listed", func() bool { return len(failed()) == 1 })
	d := failed()[0]
	if d.Endpoint != failing.ID || d.LastStatus == nil || *d.LastStatus != http.StatusBadRequest {
		t.Errorf("the list of failures has %+v", d)
	}
	broken.Store(false)
	if _, err := l.API.RetryDelivery(t.Context(), d.ID); err != nil {
		t.Fatal(err)
	}
	l.Until("the failure is made good", func() bool { return len(failed()) == 0 })
}

// C22: signatures of an older format next to the standard ones.
func TestC22LegacyHeadersBeside(t *testing.T) {
	dir := t.TempDir()
	standard, _ := profile.Builtin().Get("standard")
	text := strings.NewReplacer("name: standard", "name: beside", "\nsecret:", `
  - header: X-Acme-Signature
    algorithm: hmac-sha256
    signed: "{body}"
    output: "sha256={signature}"
    digest: hex

secret:`).Replace(string(standard.Text()))
	if err := os.WriteFile(filepath.Join(dir, "beside.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l := startLive(t, "--dev", "--profile-dir", dir)
	e := l.Endpoint(client.NewEndpoint{Profile: "beside"})
	l.Publish("a.b", `{}`)
	a := l.Await(1)[0]
	if got, want := a.Header.Get(signatureHeader), signatureOf(t, e.Secret, a); got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
	legacy := webhook.Spec{Header: "X-Acme-Signature", Algorithm: webhook.HMACSHA256, Signed: "{body}", Output: "sha256={signature}",
		Digest: webhook.Hex, Key: webhook.KeyWhsec}
	v, err := webhook.NewVerifier(legacy, e.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(a.Header, a.Body); err != nil {
		t.Errorf("the older signature: %v", err)
	}
}

// C22, dual mode: an endpoint moves from a shared secret to a public key without a request
// that its receiver cannot verify.
func TestC22MovingToPublicKeys(t *testing.T) {
	l := startLive(t, "--dev", "--profile-dir", exampleDir)
	e := l.Endpoint(client.NewEndpoint{})
	move := func(to string) {
		t.Helper()
		changed, err := l.API.UpdateEndpoint(t.Context(), e.ID, client.EndpointPatch{Profile: client.Set(to)})
		if err != nil || changed.Secret != "" {
			t.Fatalf("to %s: new secret: %v, %v", to, changed.Secret != "", err)
		}
	}
	next := func() (servertest.Arrival, []string) {
		t.Helper()
		n := len(l.Arrivals())
		l.Publish("a.b", `{}`)
		a := l.Await(n + 1)[n]
		return a, strings.Split(a.Header.Get(signatureHeader), " ")
	}
	move("standard-dual")
	if a, parts := next(); len(parts) != 1 || parts[0] != signatureOf(t, e.Secret, a) {
		t.Errorf("after the first step: %q", parts)
	}
	r, err := l.API.RotateSecret(t.Context(), e.ID, client.RotateSecret{Overlap: "1h"})
	if err != nil {
		t.Fatal(err)
	}
	public, err := webhook.PublicKey(r.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if a, parts := next(); len(parts) != 2 || parts[0] != signatureOf(t, e.Secret, a) || !signedBy(t, public, a, parts[1]) {
		t.Errorf("after the second step: %q", parts)
	}
	move("standard-ed25519")
	if a, parts := next(); len(parts) != 1 || !signedBy(t, public, a, parts[0]) {
		t.Errorf("after the third step: %q", parts)
	}
}
