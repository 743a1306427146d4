package webhook

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"sync"
)

// ed25519Key verifies signatures, and also signs if it has the private key.
type ed25519Key struct {
	private ed25519.PrivateKey // nil if the key can only verify
	public  ed25519.PublicKey
}

func newEd25519Key(k Key) (keyState, error) {
	switch {
	case k.Len() == 0:
		return nil, ErrEmptySecret
	case k.kind == private:
		key := ed25519.PrivateKey(k.bytes)
		return &ed25519Key{key, ed25519.PublicKey(key[ed25519.SeedSize:])}, nil
	case k.kind == public:
		return &ed25519Key{nil, k.bytes}, nil
	}
	return nil, fmt.Errorf("%w: ed25519 needs a key that starts with whsk_ or, to verify, whpk_", ErrSecretFormat)
}

// checkEd25519 checks what the length of a key does not show: the public half of a private
// key must belong to its seed. Otherwise its signatures would reveal the private key.
func checkEd25519(k Key) error {
	switch {
	case k.kind == public && k.Len() == ed25519.PublicKeySize:
		return nil
	case k.kind == public:
		return fmt.Errorf("%w: a public key has %d bytes, this one %d", ErrSecretFormat, ed25519.PublicKeySize, k.Len())
	case k.Len() != ed25519.PrivateKeySize:
		return fmt.Errorf("%w: a private key has %d bytes, this one %d", ErrSecretFormat, ed25519.PrivateKeySize, k.Len())
	case !bytes.Equal(ed25519.NewKeyFromSeed(k.bytes[:ed25519.SeedSize]), k.bytes):
		return fmt.Errorf("%w: the public half of the key is not that of its seed", ErrSecretFormat)
	}
	return nil
}

// joined pools the buffers in which the signed bytes are assembled. Ed25519 reads them
// twice, so they cannot be streamed.
var joined = sync.Pool{New: func() any { return new([]byte) }}

func together(head, body, tail []byte) *[]byte {
	buffer := joined.Get().(*[]byte)
	*buffer = append(append(append((*buffer)[:0], head...), body...), tail...)
	return buffer
}

func (k *ed25519Key) appendSignature(dst, head, body, tail []byte) []byte {
	text := together(head, body, tail)
	defer joined.Put(text)
	return append(dst, ed25519.Sign(k.private, *text)...)
}

func (k *ed25519Key) matches(signatures [][]byte, head, body, tail []byte) bool {
	text := together(head, body, tail)
	defer joined.Put(text)
	for _, got := range signatures {
		// Nothing here is secret, so this need not run in constant time.
		if ed25519.Verify(k.public, *text, got) {
			return true
		}
	}
	return false
}

// PublicKey returns the whpk_ text of the public key that belongs to a private key, given as
// its whsk_ text. Receivers of [StandardAsymmetric] verify with the public key.
func PublicKey(secret string) (string, error) {
	key, err := ParseKey(secret, KeyWhsk)
	if err != nil {
		return "", err
	}
	return string(KeyWhpk) + base64.StdEncoding.EncodeToString(key.bytes[ed25519.SeedSize:]), nil
}
