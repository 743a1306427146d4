// Package seal encrypts secrets at rest. It turns a plaintext into a sealed blob that can
// be opened only with the master key and only in the place that it was sealed for.
//
// The package guarantees that a blob that was moved to another row, tenant or mode does not
// open, and that neither a key nor a plaintext is printed by accident. It stores nothing
// but the key file that [LoadOrCreate] creates, and does not depend on any database.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
)

// KeySize is the length of a master key in bytes.
const KeySize = 32

const (
	version  = 1
	idSize   = 4
	saltSize = 16
	headSize = 1 + idSize + saltSize
)

// Errors that callers branch on.
var (
	// ErrKeySize means that a master key is not exactly KeySize bytes long, or that its
	// text is not base64.
	ErrKeySize = errors.New("the master key must be 32 bytes, written as base64")
	// ErrKeyFile means that the key file cannot be read or written.
	ErrKeyFile = errors.New("the master key file cannot be used")
	// ErrOtherKey means that a blob was sealed under another master key.
	ErrOtherKey = errors.New("sealed under another master key")
	// ErrDamaged means that a blob was altered, truncated, or belongs to another place.
	ErrDamaged = errors.New("sealed value is damaged or belongs to another place")
)

// Keyring seals and opens blobs with one master key. It is safe for concurrent use and
// never formats its key.
type Keyring struct {
	master []byte
	id     [idSize]byte
	public string // see Installation
	loose  bool
}

// New returns a keyring for a master key of KeySize bytes. Other lengths give ErrKeySize.
// The key is copied.
func New(key []byte) (*Keyring, error) {
	if len(key) != KeySize {
		return nil, ErrKeySize
	}
	k := &Keyring{master: append([]byte(nil), key...)}
	id, err := hkdf.Key(sha256.New, k.master, nil, "posthorn key id v1", idSize)
	if err != nil {
		return nil, fmt.Errorf("derive key id: %w", err)
	}
	copy(k.id[:], id)
	public, err := hkdf.Key(sha256.New, k.master, nil, "posthorn installation id v1", 8)
	if err != nil {
		return nil, fmt.Errorf("derive installation id: %w", err)
	}
	k.public = hex.EncodeToString(public)
	return k, nil
}

// Installation returns an id of 16 hexadecimal digits that all nodes with this master key
// share. It is derived with HKDF (RFC 5869), so it reveals nothing about the key and may be
// shown.
func (k *Keyring) Installation() string { return k.public }

// Seal encrypts plaintext with AES-256-GCM (NIST SP 800-38D). aad names the place that the
// blob belongs to; Open needs the same aad. Each blob has a random salt from which its own
// key is derived with HKDF (RFC 5869), so the limit on random nonces under one key is never
// approached.
func (k *Keyring) Seal(aad, plaintext []byte) ([]byte, error) {
	head := make([]byte, headSize, headSize+12+len(plaintext)+16)
	head[0] = version
	copy(head[1:], k.id[:])
	// rand.Read never fails: the runtime crashes the process instead.
	_, _ = rand.Read(head[1+idSize:])
	aead, err := k.aead(head[1+idSize : headSize])
	if err != nil {
		return nil, err
	}
	return aead.Seal(head, nil, plaintext, bind(head[:headSize], aad)), nil
}

// Open returns the plaintext of a blob that Seal made with the same aad. A blob of another
// master key gives ErrOtherKey. Any other mismatch gives ErrDamaged.
func (k *Keyring) Open(aad, sealed []byte) ([]byte, error) {
	if len(sealed) < headSize || sealed[0] != version {
		return nil, ErrDamaged
	}
	head, rest := sealed[:headSize], sealed[headSize:]
	if [idSize]byte(head[1:1+idSize]) != k.id {
		return nil, ErrOtherKey
	}
	aead, err := k.aead(head[1+idSize:])
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, rest, bind(head, aad))
	if err != nil {
		return nil, ErrDamaged
	}
	return plaintext, nil
}

// Loose reports whether the key was loaded from a file that users other than its owner may
// access. The caller should log a warning. Loose has no other effect.
func (k *Keyring) Loose() bool { return k.loose }

// LogValue keeps the key out of logs.
func (k *Keyring) LogValue() slog.Value { return slog.StringValue("***") }

// String keeps the key out of formatted text.
func (k *Keyring) String() string { return "***" }

// GoString keeps the key out of %#v.
func (k *Keyring) GoString() string { return "seal.Keyring{***}" }

// Format keeps the key out of every verb, including those that ignore String.
func (k *Keyring) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("***")) }

func (k *Keyring) aead(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.master, salt, "posthorn seal v1", KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive sealing key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	// The AEAD puts the random nonce before the ciphertext.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make AEAD: %w", err)
	}
	return aead, nil
}

// bind joins the head to the caller's aad, so that every byte of the blob is authenticated.
// The head has a fixed length, so the boundary is unambiguous.
func bind(head, aad []byte) []byte {
	return append(append(make([]byte, 0, len(head)+len(aad)), head...), aad...)
}
