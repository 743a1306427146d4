package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"fmt"
	"hash"
	"sync"
)

// algorithm is a signature algorithm: the length of its signatures in bytes, and a
// constructor that refuses keys of another kind.
type algorithm struct {
	size   int
	newKey func(Key) (keyState, error)
}

// keyState is a key prepared for one algorithm. It is safe for concurrent use. The signed
// bytes are passed in three parts so that the body is never copied.
type keyState interface {
	appendSignature(dst, head, body, tail []byte) []byte
	// matches reports whether one of the signatures is valid for the bytes. Each signature has
	// the algorithm's length.
	matches(signatures [][]byte, head, body, tail []byte) bool
}

var algorithms = map[Algorithm]algorithm{
	HMACSHA256: {sha256.Size, hmacWith(sha256.New)},
	HMACSHA512: {sha512.Size, hmacWith(sha512.New)},
	HMACSHA1:   {sha1.Size, hmacWith(sha1.New)},
	Ed25519:    {ed25519.SignatureSize, newEd25519Key},
}

// hmacKey pools hash states that have already absorbed the key block. This saves two of the
// four or more blocks that a short message costs.
type hmacKey struct{ states sync.Pool }

func hmacWith(newHash func() hash.Hash) func(Key) (keyState, error) {
	return func(k Key) (keyState, error) {
		if k.Len() == 0 {
			return nil, ErrEmptySecret
		}
		if k.kind != symmetric {
			return nil, fmt.Errorf("%w: an ed25519 key does not fit HMAC", ErrSecretFormat)
		}
		return &hmacKey{sync.Pool{New: func() any { return hmac.New(newHash, k.bytes) }}}, nil
	}
}

func (k *hmacKey) appendSignature(dst, head, body, tail []byte) []byte {
	mac := k.states.Get().(hash.Hash)
	defer k.states.Put(mac)
	mac.Reset()
	mac.Write(head)
	mac.Write(body)
	mac.Write(tail)
	return mac.Sum(dst)
}

func (k *hmacKey) matches(signatures [][]byte, head, body, tail []byte) bool {
	want := k.appendSignature(nil, head, body, tail)
	found := 0
	for _, got := range signatures {
		// ConstantTimeCompare returns 0 for unequal lengths before it compares.
		found |= subtle.ConstantTimeCompare(got, want)
	}
	return found == 1
}
