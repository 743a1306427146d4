package hook

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// ID is a UUID. Posthorn generates UUIDv7 (RFC 9562), whose byte order is the order in
// which they were generated.
type ID [16]byte

// ErrID reports that a text is not a UUID in its 36-character form.
var ErrID = errors.New("not a UUID")

// String returns the 36-character lower-case form.
func (id ID) String() string {
	var b [36]byte
	id.put(&b)
	return string(b[:])
}

// AppendText appends the 36-character form to dst.
func (id ID) AppendText(dst []byte) ([]byte, error) {
	var b [36]byte
	id.put(&b)
	return append(dst, b[:]...), nil
}

// MarshalText returns the 36-character form.
func (id ID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText parses the same texts as ParseID.
func (id *ID) UnmarshalText(text []byte) error {
	got, err := ParseID(string(text))
	*id = got
	return err
}

// IsZero reports whether the id was never set.
func (id ID) IsZero() bool { return id == ID{} }

// Time returns the millisecond in a UUIDv7. It is meaningless for other versions.
func (id ID) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 16)).UTC()
}

// Above returns the smallest id that is greater than id, or id if there is none.
func (id ID) Above() ID {
	next := id
	for i := 15; i >= 0; i-- {
		next[i]++
		if next[i] != 0 {
			return next
		}
	}
	return id
}

func (id ID) put(b *[36]byte) {
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], id[10:16])
}

// ParseID parses the 36-character form of any UUID, in upper or lower case. The error is
// ErrID.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, ErrID
	}
	src := make([]byte, 0, 32)
	for i := 0; i < 36; i++ {
		if s[i] != '-' {
			src = append(src, s[i])
		}
	}
	if len(src) != 32 {
		return ID{}, ErrID
	}
	if _, err := hex.Decode(id[:], src); err != nil {
		return ID{}, ErrID
	}
	return id, nil
}

// IDs generates UUIDv7 ids that strictly increase within the process, even if the clock
// stops or is set back. It is safe for concurrent use.
type IDs struct {
	now  func() time.Time
	mu   sync.Mutex
	last uint64 // milliseconds << 12 | counter
}

// NewIDs returns a generator that uses the clock now.
func NewIDs(now func() time.Time) *IDs { return &IDs{now: now} }

// Next returns a new id.
func (g *IDs) Next() ID {
	g.mu.Lock()
	stamp := uint64(g.now().UnixMilli()) << 12
	if stamp <= g.last {
		stamp = g.last + 1
	}
	g.last = stamp
	g.mu.Unlock()
	var id ID
	binary.BigEndian.PutUint64(id[:8], stamp>>12<<16|0x7000|stamp&0xfff)
	putTail(&id)
	return id
}

// Above makes the first eight bytes of all further ids greater than those of the given
// one, whatever the clock says.
func (g *IDs) Above(id ID) {
	high := binary.BigEndian.Uint64(id[:8])
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = max(g.last, high>>16<<12|high&0xfff)
}

// DeliveryID returns a new id for a delivery of the event. It is a UUIDv7 that shares its
// first eight bytes with the event's id, so that a delivery can be found through the
// order of events, without an index over delivery ids (decision 001).
func DeliveryID(event ID) ID {
	id := event
	putTail(&id)
	return id
}

// EventID returns the id of an event to which the platform gave an id: the UUID that the
// text is, or else one made of it (version 8 of RFC 9562). given is the text if it is no
// UUID. ok is false if the text is neither a UUID nor 1 to 256 letters, digits, dots,
// underscores and hyphens.
func EventID(text string) (id ID, given string, ok bool) {
	if id, err := ParseID(text); err == nil {
		return id, "", !id.IsZero()
	}
	if !ValidID(text, MaxGivenID) {
		return ID{}, "", false
	}
	sum := sha256.Sum256([]byte("svix eventId\x00" + text)) // the prefix is part of stored ids
	id = ID(sum[:16])
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return id, text, true
}

// PublicText returns the id of an event as callers see it: the platform's text if it gave
// one that is no UUID, otherwise the UUID.
func PublicText(id ID, given string) string { return cmp.Or(given, id.String()) }

// EventRange returns the smallest and largest id of events whose deliveries may have the
// delivery id.
func EventRange(delivery ID) (low, high ID) {
	low, high = delivery, delivery
	for i := 8; i < 16; i++ {
		low[i], high[i] = 0x00, 0xff
	}
	return low, high
}

func putTail(id *ID) {
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()&^(uint64(3)<<62)|uint64(2)<<62)
}
