package trace

import (
	"encoding/binary"
	"math/rand/v2"
)

// random returns an id that is not zero.
func random[T [8]byte | [16]byte]() (id T) {
	b := make([]byte, len(id))
	for at := 0; at < len(b); at += 8 {
		binary.NativeEndian.PutUint64(b[at:], rand.Uint64()|1)
	}
	return T(b)
}
