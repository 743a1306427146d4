package profile

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/webhook"
)

// secretRule says how secrets of the profile look.
type secretRule struct {
	encoding   hook.Encoding
	bytes      int    // random bytes, then encoded; 0: characters
	characters int    // of the URL-safe base64 alphabet, 6 random bits each
	prefix     string // before the characters, part of the key
	importMin  int    // bytes of the key of an imported secret
	importMax  int    // 0: importing is refused
}

// NewSecret makes a secret from the system's random source, as the profile shows
// it to receivers, and the encoding to keep with it.
func (p *Profile) NewSecret() (text string, enc hook.Encoding, err error) {
	rule := p.secret
	raw := make([]byte, max(rule.bytes, rule.characters))
	if _, err := rand.Read(raw); err != nil {
		return "", "", fmt.Errorf("make secret: %w", err)
	}
	switch {
	case rule.characters > 0:
		text = rule.prefix + base64.RawURLEncoding.EncodeToString(raw)[:rule.characters]
	case rule.encoding == hook.EncodingWhsec:
		text = string(hook.EncodingWhsec) + base64.StdEncoding.EncodeToString(raw)
	default:
		text = base64.StdEncoding.EncodeToString(raw)
	}
	return text, rule.encoding, nil
}

// CheckSecret checks a secret that a caller brings along, and returns the encoding
// to keep with it. The error is a *hook.Error with CodeSecretInvalid and the field
// "secret"; it never holds the text.
func (p *Profile) CheckSecret(text string) (hook.Encoding, error) {
	rule := p.secret
	if rule.importMax == 0 {
		return "", secretError("Endpoints of profile " + p.name + " get a secret from the server; leave it out.")
	}
	key, err := webhook.ParseKey(text, webhook.KeyEncoding(rule.encoding))
	if errors.Is(err, webhook.ErrEmptySecret) {
		return "", secretError("The secret is empty.")
	}
	if err != nil {
		return "", secretError("The secret must be " + rule.shape() + ".")
	}
	if key.Len() < rule.importMin || key.Len() > rule.importMax {
		return "", secretError(fmt.Sprintf("The secret must be %s with a key of %d to %d bytes; this one has %d.",
			rule.shape(), rule.importMin, rule.importMax, key.Len()))
	}
	if !graphic(text) {
		return "", secretError("The secret must be printable ASCII without spaces.")
	}
	return rule.encoding, nil
}

func (r secretRule) shape() string {
	switch r.encoding {
	case hook.EncodingWhsec:
		return "whsec_ followed by padded standard base64"
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
