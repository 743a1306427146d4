package profile_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// The profiles in the guides for people who come from another system load, and sign as that
// system does.
func TestGuides(t *testing.T) {
	for guide, signed := range map[string]func(time, body string) (header, text, begin string){
		"convoy": func(at, body string) (string, string, string) {
			return "X-Convoy-Signature", at + "," + body, "t=" + at + ",v1="
		},
		"outpost": func(_, body string) (string, string, string) { return "x-outpost-signature", body, "v0=" },
	} {
		page, err := os.ReadFile("../../docs/from-" + guide + ".md")
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(string(page), "```yaml\n")
		text, _, _ = strings.Cut(text, "```")
		p, err := profile.Load(guide+"-like.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		secret := "whsec_4f1c09d2a3b4c5d6e7f8"
		if encoding, err := p.CheckSecret(secret); err != nil || encoding != hook.EncodingText {
			t.Error(guide, encoding, err)
		}
		header, body := request(t, p, hook.Secret{Text: secret, Encoding: hook.EncodingText})
		at, _, _ := strings.Cut(strings.TrimPrefix(header.Get("X-Convoy-Signature"), "t="), ",")
		name, over, begin := signed(at, string(body))
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(over))
		if want := begin + hex.EncodeToString(mac.Sum(nil)); header.Get(name) != want {
			t.Errorf("%s: %q, want %q", guide, header.Get(name), want)
		}
	}
}
