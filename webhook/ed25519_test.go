package webhook_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/webhook"
)

// ed25519Secret returns the whsk_ text of a key whose seed repeats one byte.
func ed25519Secret(seed byte) string {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	return "whsk_" + base64.StdEncoding.EncodeToString(key)
}

func publicKey(t testing.TB, secret string) string {
	t.Helper()
	text, err := webhook.PublicKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestPublicKey(t *testing.T) {
	const want = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	if got := publicKey(t, secretOld["standard-ed25519"]); got != want {
		t.Errorf("public key %s, want %s", got, want)
	}
	for _, text := range []string{"", "whsk_", want, secretOld["standard"]} {
		if got, err := webhook.PublicKey(text); err == nil {
			t.Errorf("%q has the public key %s", text, got)
		}
	}
}

func TestEd25519Keys(t *testing.T) {
	good := secretOld["standard-ed25519"]
	raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(good, "whsk_"))
	foreignHalf := append(bytes.Clone(raw[:32]), bytes.Repeat([]byte{7}, 32)...)
	for _, test := range []struct {
		text     string
		encoding webhook.KeyEncoding
		want     error
	}{
		{good, webhook.KeyWhsk, nil},
		{publicKey(t, good), webhook.KeyWhpk, nil},
		{"whsk_", webhook.KeyWhsk, webhook.ErrEmptySecret},
		{"whpk_", webhook.KeyWhpk, webhook.ErrEmptySecret},
		{good, webhook.KeyWhsec, webhook.ErrSecretFormat},
		{good, webhook.KeyWhpk, webhook.ErrSecretFormat},
		{publicKey(t, good), webhook.KeyWhsk, webhook.ErrSecretFormat},
		{strings.TrimRight(good, "="), webhook.KeyWhsk, webhook.ErrSecretFormat},
		{"whsk_" + base64.StdEncoding.EncodeToString(raw[:32]), webhook.KeyWhsk, webhook.ErrSecretFormat},
		{"whsk_" + base64.StdEncoding.EncodeToString(foreignHalf), webhook.KeyWhsk, webhook.ErrSecretFormat},
		{"whpk_" + base64.StdEncoding.EncodeToString(raw), webhook.KeyWhpk, webhook.ErrSecretFormat},
	} {
		if _, err := webhook.ParseKey(test.text, test.encoding); !errors.Is(err, test.want) {
			t.Errorf("ParseKey(%.12q..., %q): %v, want %v", test.text, test.encoding, err, test.want)
		}
	}
}

// A key works only with the algorithm that it was made for.
func TestKeysStayWithTheirAlgorithm(t *testing.T) {
	asymmetric, symmetric := webhook.StandardAsymmetric(), webhook.Standard()
	ed, mac := keys(t, asymmetric, secretOld["standard-ed25519"]), keys(t, symmetric, secretOld["standard"])
	if _, err := symmetric.Signer(ed); !errors.Is(err, webhook.ErrSecretFormat) {
		t.Errorf("HMAC with an ed25519 key: %v", err)
	}
	if _, err := asymmetric.Signer(mac); !errors.Is(err, webhook.ErrSecretFormat) {
		t.Errorf("ed25519 with an HMAC key: %v", err)
	}
	public, err := webhook.ParseKey(publicKey(t, secretOld["standard-ed25519"]), webhook.KeyWhpk)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := asymmetric.Signer([]webhook.Key{public}); !errors.Is(err, webhook.ErrSecretFormat) {
		t.Errorf("signing with a public key: %v", err)
	}
	if _, err := symmetric.Signer([]webhook.Key{public}); !errors.Is(err, webhook.ErrSecretFormat) {
		t.Errorf("HMAC with a public key, which anybody knows: %v", err)
	}
	for _, spec := range []webhook.Spec{asymmetric, symmetric} {
		spec.Key = map[webhook.KeyEncoding]webhook.KeyEncoding{webhook.KeyWhsk: webhook.KeyWhsec, webhook.KeyWhsec: webhook.KeyWhsk}[spec.Key]
		if err := spec.Check(); err == nil || !strings.Contains(err.Error(), "does not sign with keys") {
			t.Errorf("%s with keys %s: %v", spec.Algorithm, spec.Key, err)
		}
	}
}

// During a migration between schemes, a request carries both signatures. Each receiver finds
// its own signature and ignores the other.
func TestBothSchemesInOneHeader(t *testing.T) {
	old, err := webhook.Standard().Sign(message, keys(t, webhook.Standard(), secretOld["standard"]))
	if err != nil {
		t.Fatal(err)
	}
	next, err := webhook.StandardAsymmetric().Sign(message, keys(t, webhook.StandardAsymmetric(), ed25519Secret(1)))
	if err != nil {
		t.Fatal(err)
	}
	const name = "webhook-signature"
	both := old.Clone()
	both.Set(name, old.Get(name)+" "+next.Get(name))
	symmetric := verifier(t, webhook.Standard(), secretOld["standard"])
	asymmetric := verifier(t, webhook.StandardAsymmetric(), publicKey(t, ed25519Secret(1)), publicKey(t, ed25519Secret(2)))
	for _, test := range []struct {
		what string
		v    *webhook.Verifier
		h    http.Header
		want error
	}{
		{"both, symmetric", symmetric, both, nil},
		{"both, asymmetric", asymmetric, both, nil},
		{"old, symmetric", symmetric, old, nil},
		{"next, asymmetric", asymmetric, next, nil},
		{"next, symmetric", symmetric, next, webhook.ErrNoMatch},
		{"old, asymmetric", asymmetric, old, webhook.ErrNoMatch},
	} {
		if err := test.v.Verify(test.h, message.Body); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.what, err, test.want)
		}
	}
}
