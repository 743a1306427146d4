package webhook_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/posthorn/posthorn/webhook"
)

type vector struct {
	Name, Source, Scheme, Secret, ID, Timestamp, Body, Signature, Refused string
	Sign                                                                  bool
}

var schemes = map[string]webhook.Spec{
	"standard": webhook.Standard(), "standard-ed25519": webhook.StandardAsymmetric(), "paysway": webhook.PaySway(), "paywise": webhook.Paywise(),
}

func vectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) < 20 {
		t.Fatalf("only %d vectors", len(file.Vectors))
	}
	return file.Vectors
}

func (v vector) time() time.Time {
	seconds, _ := strconv.ParseInt(v.Timestamp, 10, 64)
	return time.Unix(seconds, 0)
}

func (v vector) header(s webhook.Spec) http.Header {
	h := http.Header{}
	for name, value := range map[string]string{s.Header: v.Signature, s.IDHeader: v.ID, s.TimestampHeader: v.Timestamp} {
		if name != "" && value != "" {
			h.Set(name, value)
		}
	}
	return h
}

func (v vector) verify(t testing.TB, s webhook.Spec) error {
	t.Helper()
	verifier, err := webhook.NewVerifier(s, v.Secret)
	if err != nil {
		t.Fatal(err)
	}
	verifier.Now = v.time
	return verifier.Verify(v.header(s), []byte(v.Body))
}

func TestVectorsVerify(t *testing.T) {
	reasons := map[string]error{
		"": nil, "missing": webhook.ErrMissingHeader, "malformed": webhook.ErrMalformedHeader, "no_match": webhook.ErrNoMatch,
	}
	for _, v := range vectors(t) {
		want, known := reasons[v.Refused]
		if !known {
			t.Fatalf("%s: unknown reason %q", v.Name, v.Refused)
		}
		if err := v.verify(t, schemes[v.Scheme]); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", v.Name, err, want)
		}
	}
}

func TestVectorsSign(t *testing.T) {
	signed := 0
	for _, v := range vectors(t) {
		if !v.Sign {
			continue
		}
		signed++
		spec := schemes[v.Scheme]
		key, err := spec.ParseKey(v.Secret)
		if err != nil {
			t.Fatal(err)
		}
		got, err := spec.Sign(webhook.Message{ID: v.ID, Timestamp: v.time(), Body: []byte(v.Body)}, []webhook.Key{key})
		if err != nil {
			t.Fatal(err)
		}
		want := v.header(spec)
		if len(got) != len(want) {
			t.Errorf("%s: headers %v, want %v", v.Name, got, want)
		}
		for name := range want {
			if got.Get(name) != want.Get(name) {
				t.Errorf("%s: %s: %q, want %q", v.Name, name, got.Get(name), want.Get(name))
			}
		}
	}
	if signed != 6 {
		t.Errorf("%d vectors to sign, want 6", signed)
	}
}

// Every single flipped bit in body, id, time or signature is refused. The tolerance is large
// enough that only the signature can be the reason.
func TestEveryFlippedBitIsRefused(t *testing.T) {
	for _, v := range vectors(t) {
		if !v.Sign {
			continue
		}
		spec := schemes[v.Scheme]
		spec.Tolerance = 200 * 365 * 24 * time.Hour
		verifier, err := webhook.NewVerifier(spec, v.Secret)
		if err != nil {
			t.Fatal(err)
		}
		verifier.Now = v.time
		if err := verifier.Verify(v.header(spec), []byte(v.Body)); err != nil {
			t.Fatalf("%s: control: %v", v.Name, err)
		}
		parts := map[string]func(*vector) *string{
			"body":      func(v *vector) *string { return &v.Body },
			"id":        func(v *vector) *string { return &v.ID },
			"time":      func(v *vector) *string { return &v.Timestamp },
			"signature": func(v *vector) *string { return &v.Signature },
		}
		if spec.IDHeader == "" {
			delete(parts, "id")
		}
		if spec.TimestampHeader == "" {
			delete(parts, "time")
		}
		for part, of := range parts {
			for bit := range 8 * len(*of(&v)) {
				changed := v
				text := []byte(*of(&v))
				text[bit/8] ^= 1 << (bit % 8)
				*of(&changed) = string(text)
				if verifier.Verify(changed.header(spec), []byte(changed.Body)) == nil {
					t.Errorf("%s: accepted with bit %d of the %s flipped: %q", v.Name, bit, part, text)
				}
			}
		}
	}
}

func TestTolerance(t *testing.T) {
	for _, v := range vectors(t) {
		spec := schemes[v.Scheme]
		if !v.Sign || v.Timestamp == "" {
			continue
		}
		for _, test := range []struct {
			late time.Duration
			want error
		}{
			{0, nil},
			{5 * time.Minute, nil},
			{5*time.Minute + time.Second, webhook.ErrTimestampTooOld},
			{365 * 24 * time.Hour, webhook.ErrTimestampTooOld},
			{-5 * time.Minute, nil},
			{-5*time.Minute - time.Second, webhook.ErrTimestampTooNew},
		} {
			verifier, err := webhook.NewVerifier(spec, v.Secret)
			if err != nil {
				t.Fatal(err)
			}
			verifier.Now = func() time.Time { return v.time().Add(test.late) }
			if err := verifier.Verify(v.header(spec), []byte(v.Body)); !errors.Is(err, test.want) {
				t.Errorf("%s, %s late: %v, want %v", v.Name, test.late, err, test.want)
			}
		}
		short := spec
		short.Tolerance = time.Second
		verifier, err := webhook.NewVerifier(short, v.Secret)
		if err != nil {
			t.Fatal(err)
		}
		verifier.Now = func() time.Time { return v.time().Add(2 * time.Second) }
		if err := verifier.Verify(v.header(spec), []byte(v.Body)); !errors.Is(err, webhook.ErrTimestampTooOld) {
			t.Errorf("%s: a tolerance of 1 s: %v", v.Name, err)
		}
	}
}
