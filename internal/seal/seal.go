// Package seal encrypts secrets at rest. It turns a plaintext into a sealed blob that can
// be opened only with its master key and only in the place that it was sealed for. A
// keyring has one or more master keys: one seals, all open.
//
// The package guarantees that a blob that was moved to another row, tenant or mode does not
// open, and that neither a key nor a plaintext is printed by accident. It stores nothing
// but the key file that [LoadOrCreate] creates, and does not depend on any database.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
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
	// ErrKeyTwice means that a key is listed twice, which is usually a rotation gone wrong.
	ErrKeyTwice = errors.New("the same master key is listed twice")
	// ErrKeyCount means that there is no key, or that there are more than MaxKeys.
	ErrKeyCount = fmt.Errorf("there must be 1 to %d master keys", MaxKeys)
	// ErrKeyFile means that the key file cannot be read or written.
	ErrKeyFile = errors.New("the master key file cannot be used")
	// ErrOtherKey means that a blob was sealed under another master key.
	ErrOtherKey = errors.New("sealed under another master key")
	// ErrDamaged means that a blob was altered, truncated, or belongs to another place.
	ErrDamaged = errors.New("sealed value is damaged or belongs to another place")
)

// MaxKeys bounds the keys of a keyring.
const MaxKeys = 8

// KeyID identifies a master key. It is derived with HKDF (RFC 5869), so it reveals nothing
// about the key and may be shown.
type KeyID [idSize]byte

// String returns the id as 8 hexadecimal digits.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// masterKey is a key with its id. It is immutable.
type masterKey struct {
	secret []byte
	marks  []byte // makes the marks of codes
	id     KeyID
}

func newMasterKey(key []byte) (*masterKey, error) {
	if len(key) != KeySize {
		return nil, ErrKeySize
	}
	m := &masterKey{secret: bytes.Clone(key)}
	id, err := hkdf.Key(sha256.New, m.secret, nil, "posthorn key id v1", idSize)
	if err != nil {
		return nil, fmt.Errorf("derive key id: %w", err)
	}
	copy(m.id[:], id)
	if m.marks, err = hkdf.Key(sha256.New, m.secret, nil, "posthorn mark of codes v1", sha256.Size); err != nil {
		return nil, fmt.Errorf("derive key of marks: %w", err)
	}
	return m, nil
}

// keys is the content of a keyring, oldest key first. It is immutable.
type keys struct {
	all     []*masterKey
	current *masterKey // seals
}

func (k *keys) find(id KeyID) *masterKey {
	for _, m := range k.all {
		if m.id == id {
			return m
		}
	}
	return nil
}

// Keyring seals and opens blobs with master keys. It is safe for concurrent use and never
// formats its keys. The newest key, the last, seals until [Keyring.Fit] or [Keyring.Use]
// chooses another.
type Keyring struct {
	keys  atomic.Pointer[keys]
	loose bool
}

// New returns a keyring of 1 to MaxKeys master keys of KeySize bytes, oldest first. Errors
// wrap ErrKeySize, ErrKeyTwice or ErrKeyCount. The keys are copied.
func New(all ...[]byte) (*Keyring, error) {
	if len(all) == 0 || len(all) > MaxKeys {
		return nil, ErrKeyCount
	}
	k := &keys{}
	for i, key := range all {
		m, err := newMasterKey(key)
		switch {
		case err != nil && len(all) > 1:
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		case err != nil:
			return nil, err
		case k.find(m.id) != nil:
			return nil, fmt.Errorf("key %d has the id %s of an earlier one: %w", i+1, m.id, ErrKeyTwice)
		}
		k.all, k.current = append(k.all, m), m
	}
	r := &Keyring{}
	r.keys.Store(k)
	return r, nil
}

// IDs returns the ids of the keys, oldest first.
func (k *Keyring) IDs() []KeyID {
	var ids []KeyID
	for _, m := range k.keys.Load().all {
		ids = append(ids, m.id)
	}
	return ids
}

// Has reports whether the keyring has a key.
func (k *Keyring) Has(id KeyID) bool { return k.keys.Load().find(id) != nil }

// Newest returns the id of the last key.
func (k *Keyring) Newest() KeyID {
	all := k.keys.Load().all
	return all[len(all)-1].id
}

// Current returns the id of the key that seals.
func (k *Keyring) Current() KeyID { return k.keys.Load().current.id }

// Use makes a key seal from now on. It returns ErrOtherKey if the keyring does not have it.
func (k *Keyring) Use(id KeyID) error {
	for {
		old := k.keys.Load()
		m := old.find(id)
		if m == nil {
			return fmt.Errorf("%s: %w", k.lacks(id), ErrOtherKey)
		}
		if k.keys.CompareAndSwap(old, &keys{all: old.all, current: m}) {
			return nil
		}
	}
}

// Replace takes over the keys of another keyring, which must have the key that seals and
// those of needed. Otherwise it changes nothing and returns ErrOtherKey. The key that seals
// stays the same.
func (k *Keyring) Replace(by *Keyring, needed ...KeyID) error {
	next := by.keys.Load()
	for {
		old := k.keys.Load()
		for _, id := range append(needed, old.current.id) {
			if next.find(id) == nil {
				return fmt.Errorf("%s, which the store still needs: %w", by.lacks(id), ErrOtherKey)
			}
		}
		if k.keys.CompareAndSwap(old, &keys{all: next.all, current: next.find(old.current.id)}) {
			return nil
		}
	}
}

// lacks describes which key is missing.
func (k *Keyring) lacks(id KeyID) string {
	var have []string
	for _, one := range k.IDs() {
		have = append(have, one.String())
	}
	return "key " + id.String() + " is missing (found: " + strings.Join(have, ", ") + ")"
}

// KeyOf returns the id of the key that sealed a blob. ok is false if it is no blob.
func KeyOf(sealed []byte) (id KeyID, ok bool) {
	if len(sealed) < headSize || sealed[0] != version {
		return KeyID{}, false
	}
	return KeyID(sealed[1 : 1+idSize]), true
}

// Installation returns an id of 16 hexadecimal digits, derived with HKDF (RFC 5869) from
// the key that seals. It reveals nothing about the key and may be shown. All nodes with
// this key have the same. A store keeps that of its first key (see package store).
func (k *Keyring) Installation() string {
	// Deriving 8 bytes cannot fail.
	public, _ := hkdf.Key(sha256.New, k.keys.Load().current.secret, nil, "posthorn installation id v1", 8)
	return hex.EncodeToString(public)
}

// Mark returns a mark of a random code, of 12 characters that may be part of a path. Only who
// has the key can make it, so a code without it is known to be made up without a look into the
// store. It is an HMAC-SHA256 (RFC 2104) of which 72 bits are kept.
func (k *Keyring) Mark(code string) string { return k.keys.Load().current.mark(code) }

// Marked reports whether one of the keys made the mark of the code.
func (k *Keyring) Marked(code, mark string) bool {
	return slices.ContainsFunc(k.keys.Load().all, func(m *masterKey) bool { return hmac.Equal([]byte(m.mark(code)), []byte(mark)) })
}

func (m *masterKey) mark(code string) string {
	sum := hmac.New(sha256.New, m.marks)
	sum.Write([]byte(code))
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:9])
}

// Seal encrypts plaintext with AES-256-GCM (NIST SP 800-38D). aad names the place that the
// blob belongs to; Open needs the same aad. Each blob has a random salt from which its own
// key is derived with HKDF (RFC 5869), so the limit on random nonces under one key is never
// approached.
func (k *Keyring) Seal(aad, plaintext []byte) ([]byte, error) {
	return k.keys.Load().current.seal(aad, plaintext)
}

// SealWith is Seal with a chosen key. It returns ErrOtherKey if the keyring does not have
// it.
func (k *Keyring) SealWith(id KeyID, aad, plaintext []byte) ([]byte, error) {
	m := k.keys.Load().find(id)
	if m == nil {
		return nil, fmt.Errorf("%s: %w", k.lacks(id), ErrOtherKey)
	}
	return m.seal(aad, plaintext)
}

func (m *masterKey) seal(aad, plaintext []byte) ([]byte, error) {
	head := make([]byte, headSize, headSize+12+len(plaintext)+16)
	head[0] = version
	copy(head[1:], m.id[:])
	// rand.Read never fails: the runtime crashes the process instead.
	_, _ = rand.Read(head[1+idSize:])
	aead, err := m.aead(head[1+idSize : headSize])
	if err != nil {
		return nil, err
	}
	return aead.Seal(head, nil, plaintext, bind(head[:headSize], aad)), nil
}

// Open returns the plaintext of a blob that Seal made with the same aad. A blob of a master
// key that the keyring does not have gives ErrOtherKey. Any other mismatch gives ErrDamaged.
func (k *Keyring) Open(aad, sealed []byte) ([]byte, error) {
	id, ok := KeyOf(sealed)
	if !ok {
		return nil, ErrDamaged
	}
	m := k.keys.Load().find(id)
	if m == nil {
		return nil, ErrOtherKey
	}
	head, rest := sealed[:headSize], sealed[headSize:]
	aead, err := m.aead(head[1+idSize:])
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

func (m *masterKey) aead(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, m.secret, salt, "posthorn seal v1", KeySize)
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
