package profile

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/webhook"
)

// secretRule describes the format of a profile's secrets.
type secretRule struct {
	encoding   hook.Encoding
	bytes      int             // random bytes before encoding; 0 for characters or an ed25519 key
	characters int             // of the URL-safe base64 alphabet, with 6 random bits each
	prefix     string          // precedes the characters and is part of the key
	imported   []hook.Encoding // encodings of secrets that callers supply; if empty, importing is refused
	importMin  int             // length of the key of an imported secret, in bytes
	importMax  int
}

// NewSecret generates a secret from the system's random source. It returns the text as the
// profile shows it and the encoding to store with it. A secret of encoding whsk_ is a
// private key; receivers verify with the result of [Profile.PublicKey].
func (p *Profile) NewSecret() (text string, enc hook.Encoding, err error) {
	rule := p.secret
	if rule.encoding == hook.EncodingWhsk {
		rule.bytes = ed25519.SeedSize
	}
	raw := make([]byte, max(rule.bytes, rule.characters))
	if _, err := rand.Read(raw); err != nil {
		return "", "", fmt.Errorf("make secret: %w", err)
	}
	switch {
	case rule.characters > 0:
		text = rule.prefix + base64.RawURLEncoding.EncodeToString(raw)[:rule.characters]
	case rule.encoding == hook.EncodingWhsk:
		text = string(hook.EncodingWhsk) + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(raw))
	case rule.encoding == hook.EncodingWhsec:
		text = string(hook.EncodingWhsec) + base64.StdEncoding.EncodeToString(raw)
	default:
		text = base64.StdEncoding.EncodeToString(raw)
	}
	return text, rule.encoding, nil
}

// PublicKey returns the text (whpk_...) of the public key with which receivers verify
// signatures made with the secret. It reports false unless the secret is an ed25519 key and
// the profile has a signature that uses it.
func (p *Profile) PublicKey(secret hook.Secret) (string, bool) {
	if secret.Encoding != hook.EncodingWhsk {
		return "", false
	}
	for _, spec := range p.specs {
		if fits(spec, secret.Encoding) {
			text, err := webhook.PublicKey(secret.Text)
			return text, err == nil
		}
	}
	return "", false
}

// CheckSecret validates a secret that a caller supplies, and returns the encoding to store
// with it. The error is a *hook.Error with CodeSecretInvalid and the field "secret". It
// never contains the text.
func (p *Profile) CheckSecret(text string) (hook.Encoding, error) {
	rule := p.secret
	if len(rule.imported) == 0 {
		return "", secretError("Endpoints of profile " + p.name + " get a secret from the server; leave it out.")
	}
	var shapes []string
	for _, encoding := range rule.imported {
		key, err := webhook.ParseKey(text, webhook.KeyEncoding(encoding))
		if errors.Is(err, webhook.ErrEmptySecret) {
			return "", secretError("The secret is empty.")
		}
		if err != nil {
			shapes = append(shapes, shape(encoding))
			continue
		}
		if key.Len() < rule.importMin || key.Len() > rule.importMax {
			return "", secretError(fmt.Sprintf("The secret must be %s with a key of %d to %d bytes; this one has %d.",
				shape(encoding), rule.importMin, rule.importMax, key.Len()))
		}
		if !graphic(text) {
			return "", secretError("The secret must be printable ASCII without spaces.")
		}
		return encoding, nil
	}
	return "", secretError("The secret must be " + strings.Join(shapes, ", or ") + ".")
}

func shape(encoding hook.Encoding) string {
	switch encoding {
	case hook.EncodingWhsec:
		return "whsec_ followed by padded standard base64"
	case hook.EncodingWhsk:
		return "whsk_ followed by the padded standard base64 of an ed25519 seed and its public key"
	case hook.EncodingBase64:
		return "padded standard base64"
	}
	return "a text"
}

func secretError(message string) error {
	return &hook.Error{Code: hook.CodeSecretInvalid, Message: message, Field: "secret"}
}

// graphic reports whether the text is printable ASCII without spaces.
func graphic(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
