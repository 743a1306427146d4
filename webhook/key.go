package webhook

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
)

// KeyEncoding says how the text of a secret becomes the bytes of a key.
type KeyEncoding string

// The encodings of secrets.
const (
	KeyText   KeyEncoding = "text"   // the bytes of the text itself
	KeyBase64 KeyEncoding = "base64" // standard alphabet, padded
	KeyWhsec  KeyEncoding = "whsec_" // the prefix whsec_, then padded standard base64
)

const whsecPrefix = string(KeyWhsec)

// Key is a secret made ready to sign or verify with. It cannot be printed. The
// zero Key is empty and refused wherever a key is used.
type Key struct{ bytes []byte }

// ParseKey reads the text of a secret. The error is ErrEmptySecret or
// ErrSecretFormat, wrapped, and never holds the text.
func ParseKey(text string, encoding KeyEncoding) (Key, error) {
	if text == "" || text == whsecPrefix {
		return Key{}, ErrEmptySecret
	}
	switch encoding {
	case KeyText:
		return Key{[]byte(text)}, nil
	case KeyBase64:
		return decodeKey(text)
	case KeyWhsec:
		rest, ok := strings.CutPrefix(text, whsecPrefix)
		if !ok {
			return Key{}, fmt.Errorf("%w: it must start with %s", ErrSecretFormat, whsecPrefix)
		}
		return decodeKey(rest)
	}
	return Key{}, fmt.Errorf("%w: unknown key encoding %q", ErrSecretFormat, encoding)
}

// ParseKey reads the text of a secret in the scheme's own encoding.
func (s Spec) ParseKey(text string) (Key, error) { return ParseKey(text, s.Key) }

// Len returns the number of bytes of the key.
func (k Key) Len() int { return len(k.bytes) }

// LogValue keeps the key out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue("***") }

// String keeps the key out of formatted text.
func (k Key) String() string { return "***" }

// GoString keeps the key out of %#v.
func (k Key) GoString() string { return "webhook.Key{***}" }

// Format keeps the key out of every verb, %x and %d included.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("***")) }

func decodeKey(text string) (Key, error) {
	// The decoder of the standard library skips line breaks; two texts must not
	// be the same secret.
	if strings.ContainsAny(text, "\r\n") {
		return Key{}, fmt.Errorf("%w: it holds a line break", ErrSecretFormat)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return Key{}, fmt.Errorf("%w: it is not padded standard base64", ErrSecretFormat)
	}
	if len(raw) == 0 {
		return Key{}, ErrEmptySecret
	}
	return Key{raw}, nil
}
