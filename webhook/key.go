package webhook

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
)

// KeyEncoding specifies how the text of a secret is decoded into the bytes of a key.
type KeyEncoding string

// Encodings of secrets.
const (
	KeyText   KeyEncoding = "text"   // the bytes of the text itself
	KeyBase64 KeyEncoding = "base64" // standard alphabet, padded
	KeyWhsec  KeyEncoding = "whsec_" // the prefix whsec_, then padded standard base64
	KeyWhsk   KeyEncoding = "whsk_"  // ed25519, private: whsk_, then base64 of the 32-byte seed and the 32-byte public key
	KeyWhpk   KeyEncoding = "whpk_"  // ed25519, public: whpk_, then base64 of the 32 bytes; verifies only
)

// keyKind identifies the algorithms that a key can be used with.
type keyKind uint8

const (
	symmetric keyKind = iota
	private
	public
)

// Key is a secret that has been decoded for signing or verifying. Printing and logging it
// shows "***" in place of the secret. The zero Key is empty, and refused wherever a key is
// used.
type Key struct {
	bytes []byte
	kind  keyKind
}

// ParseKey decodes the text of a secret. The error wraps [ErrEmptySecret] or
// [ErrSecretFormat] and never contains the text.
func ParseKey(text string, encoding KeyEncoding) (Key, error) {
	switch text {
	case "", string(KeyWhsec), string(KeyWhsk), string(KeyWhpk):
		return Key{}, ErrEmptySecret
	}
	switch encoding {
	case KeyText:
		return Key{bytes: []byte(text)}, nil
	case KeyBase64:
		return decodeKey(text, symmetric)
	case KeyWhsec:
		return decodePrefixed(text, encoding, symmetric)
	case KeyWhsk:
		return decodePrefixed(text, encoding, private)
	case KeyWhpk:
		return decodePrefixed(text, encoding, public)
	}
	return Key{}, fmt.Errorf("%w: unknown key encoding %q", ErrSecretFormat, encoding)
}

// ParseKey decodes the text of a secret in the encoding of the scheme.
func (s Spec) ParseKey(text string) (Key, error) { return ParseKey(text, s.Key) }

// Len returns the length of the key in bytes.
func (k Key) Len() int { return len(k.bytes) }

// LogValue keeps the key out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue("***") }

// String keeps the key out of formatted text.
func (k Key) String() string { return "***" }

// GoString keeps the key out of %#v.
func (k Key) GoString() string { return "webhook.Key{***}" }

// Format keeps the key out of every verb, including %x and %d.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("***")) }

func decodePrefixed(text string, prefix KeyEncoding, kind keyKind) (Key, error) {
	rest, ok := strings.CutPrefix(text, string(prefix))
	if !ok {
		return Key{}, fmt.Errorf("%w: it must start with %s", ErrSecretFormat, prefix)
	}
	key, err := decodeKey(rest, kind)
	if err == nil && kind != symmetric {
		err = checkEd25519(key)
	}
	if err != nil {
		return Key{}, err
	}
	return key, nil
}

func decodeKey(text string, kind keyKind) (Key, error) {
	// The decoder of the standard library skips line breaks, but two texts must not be the same
	// secret.
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
	return Key{raw, kind}, nil
}
