// Package seal keeps secrets at rest: it turns a plaintext into a sealed blob
// that only the holder of the master key can open, and only in the place it was
// sealed for.
//
// It promises that a blob moved to another row, tenant or mode does not open,
// and that neither a key nor a plaintext can be printed by accident. It never
// stores anything itself apart from the key file that [LoadOrCreate] makes, and
// it knows nothing of databases.
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
	// ErrKeySize says that a master key is not exactly KeySize bytes long, or
	// that its file does not hold base64 text.
	ErrKeySize = errors.New("the master key must be 32 bytes, written as base64")
	// ErrKeyFile says that the key file cannot be read or written.
	ErrKeyFile = errors.New("the master key file cannot be used")
	// ErrOtherKey says that a blob was sealed under another master key.
	ErrOtherKey = errors.New("sealed under another master key")
	// ErrDamaged says that a blob was altered, cut, or belongs to another place.
	ErrDamaged = errors.New("sealed value is damaged or belongs to another place")
)

// Keyring seals and opens under one master key. It is safe for concurrent use
// and does not show its key however it is formatted.
type Keyring struct {
	master []byte
	id     [idSize]byte
	public string // see Installation
	loose  bool
}

// New returns a keyring for a master key of KeySize bytes; other lengths give
// ErrKeySize. The key is copied.
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

// Installation is an id, 16 hexadecimal digits, that all nodes with this master key
// share. It is derived with HKDF (RFC 5869), so it may be shown: it tells nothing
// about the key.
func (k *Keyring) Installation() string { return k.public }

// Seal encrypts plaintext with AES-256-GCM (NIST SP 800-38D). aad names the place
// the blob belongs to and must be given again to open it. Each blob has a random
// salt from which its own key is derived with HKDF (RFC 5869), so the limit on
// random nonces under one key is never near.
func (k *Keyring) Seal(aad, plaintext []byte) ([]byte, error) {
	head := make([]byte, headSize, headSize+12+len(plaintext)+16)
	head[0] = version
	copy(head[1:], k.id[:])
	// rand.Read never fails: the runtime ends the process instead.
	_, _ = rand.Read(head[1+idSize:])
	aead, err := k.aead(head[1+idSize : headSize])
	if err != nil {
		return nil, err
	}
	return aead.Seal(head, nil, plaintext, bind(head[:headSize], aad)), nil
}

// Open returns what Seal was given under the same aad. A blob of another master
// key gives ErrOtherKey, everything else that does not fit ErrDamaged.
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

// Loose reports that the key was loaded from a file that others than its owner
// may read. The caller should warn; nothing else follows from it.
func (k *Keyring) Loose() bool { return k.loose }

// LogValue keeps the key out of logs.
func (k *Keyring) LogValue() slog.Value { return slog.StringValue("***") }

// String keeps the key out of formatted text.
func (k *Keyring) String() string { return "***" }

// GoString keeps the key out of %#v.
func (k *Keyring) GoString() string { return "seal.Keyring{***}" }

// Format keeps the key out of every verb, also those that ignore String.
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
	// The random nonce is put before the ciphertext by the AEAD itself.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make AEAD: %w", err)
	}
	return aead, nil
}

// bind joins the head to the caller's aad, so that no part of the blob is free.
// The head has a fixed length, so the two cannot run into each other.
func bind(head, aad []byte) []byte {
	return append(append(make([]byte, 0, len(head)+len(aad)), head...), aad...)
}
