package app

import (
	"crypto/rand"
	"hash/crc32"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	base62       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	keyRandom    = 43 // base62 digits: 256 bits (S-10)
	checksumSize = 6  // base62 digits of a CRC-32
)

// NewKeyText returns the text of a new key: ph_<mode>_<kind>_<random><checksum>. The
// prefix identifies it to people and secret scanners. The checksum allows a mistyped
// key to be refused without a read from the store.
func NewKeyText(mode hook.Mode, kind hook.Kind) string {
	text := append([]byte("ph_"), mode.String()...)
	text = append(append(append(text, '_'), kind...), '_')
	text = append(text, randomDigits(keyRandom)...)
	return string(append(text, checksum(text)...))
}

// CheckKeyText reports whether a text has the format and checksum of NewKeyText.
func CheckKeyText(text string) bool {
	cut := len(text) - checksumSize
	return strings.HasPrefix(text, "ph_") && cut > 0 && string(checksum([]byte(text[:cut]))) == text[cut:]
}

// randomDigits returns uniformly random digits. Bytes that would favor the first digits
// are rejected.
func randomDigits(n int) []byte {
	digits := make([]byte, 0, n)
	var pool [64]byte
	for {
		rand.Read(pool[:])
		for _, b := range pool {
			if b < 248 { // the largest multiple of 62
				if digits = append(digits, base62[b%62]); len(digits) == n {
					return digits
				}
			}
		}
	}
}

func checksum(text []byte) []byte {
	sum := crc32.ChecksumIEEE(text)
	digits := make([]byte, checksumSize)
	for i := checksumSize - 1; i >= 0; i-- {
		digits[i] = base62[sum%62]
		sum /= 62
	}
	return digits
}
