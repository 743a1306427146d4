package webhook

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Message is a message to sign.
type Message struct {
	ID        string    // for schemes that sign an id: 1 to 256 characters of [A-Za-z0-9_-] (S-12)
	Timestamp time.Time // time of signing, for schemes that sign one; transmitted in whole seconds
	Body      []byte    // the exact bytes of the request body

	// Header returns the value of another header of the request, or "" if the header is not
	// sent. It is used by schemes with {header:NAME}. If Header is nil, there are no others.
	Header func(name string) string
}

// Signer signs messages with a fixed set of keys. It is safe for concurrent use.
type Signer struct {
	scheme *scheme
	keys   []keyState
}

// scratch holds the small buffers of one signing, which escape to the heap because of the
// hash.
type scratch struct{ head, tail, sum []byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// Signer returns a signer for the scheme and its keys, newest key first. The error is
// [ErrEmptySecret] if there is no key or a key is empty, and [ErrSecretFormat] if a key does
// not fit the algorithm or is public, and so cannot sign. Test for them with errors.Is. Build
// a Signer once for each set of keys, because it caches their state.
func (s Spec) Signer(keys []Key) (*Signer, error) {
	c, err := s.compile()
	if err != nil {
		return nil, err
	}
	for i, k := range keys {
		if k.kind == public {
			return nil, fmt.Errorf("key %d: %w: a public key cannot sign", i+1, ErrSecretFormat)
		}
	}
	states, err := c.keyStates(keys)
	if err != nil {
		return nil, err
	}
	if s.Joiner == "" {
		states = states[:1]
	}
	return &Signer{scheme: c, keys: states}, nil
}

// Sign returns the headers of the message: the signature and, if the scheme has headers for
// them, the id and the timestamp. To sign more than a few messages, use a [Signer].
func (s Spec) Sign(m Message, keys []Key) (http.Header, error) {
	signer, err := s.Signer(keys)
	if err != nil {
		return nil, err
	}
	value, err := signer.AppendSignature(nil, m)
	if err != nil {
		return nil, err
	}
	h := http.Header{}
	h.Set(s.Header, string(value))
	if s.IDHeader != "" {
		h.Set(s.IDHeader, m.ID)
	}
	if s.TimestampHeader != "" {
		h.Set(s.TimestampHeader, strconv.FormatInt(m.Timestamp.Unix(), 10))
	}
	return h, nil
}

// AppendSignature appends the value of the signature header to dst. With HMAC it allocates
// nothing if dst has enough capacity. It returns an error if the scheme cannot sign the
// message id, the timestamp or the value of a header.
func (s *Signer) AppendSignature(dst []byte, m Message) ([]byte, error) {
	c := s.scheme
	if c.needsID && !validID(m.ID) {
		return dst, errors.New("webhook: a signed message id is 1 to 256 letters, digits, underscores and hyphens")
	}
	timestamp := m.Timestamp.Unix()
	if c.needsTime && timestamp < 0 {
		return dst, errors.New("webhook: the timestamp of a message is before 1970")
	}
	if err := c.checkHeaders(m.Header); err != nil {
		return dst, fmt.Errorf("webhook: %w", err)
	}
	w := scratches.Get().(*scratch)
	defer scratches.Put(w)
	w.head = c.appendHead(w.head[:0], m.ID, timestamp, m.Header)
	w.tail = c.appendTail(w.tail[:0])
	for i, element := range c.elements {
		if i > 0 {
			dst = append(dst, c.spec.Joiner...)
		}
		if i != c.repeated {
			dst = element.append(dst, m.ID, timestamp, nil, "")
			continue
		}
		for k, key := range s.keys {
			if k > 0 {
				dst = append(dst, c.spec.Joiner...)
			}
			w.sum = key.appendSignature(w.sum[:0], w.head, m.Body, w.tail)
			dst = element.append(dst, m.ID, timestamp, w.sum, c.spec.Digest)
		}
	}
	return dst, nil
}

// append appends one element of the signature header.
func (t template) append(dst []byte, id string, timestamp int64, sum []byte, digest Encoding) []byte {
	for _, s := range t {
		switch s.field {
		case fixed:
			dst = append(dst, s.text...)
		case fieldID:
			dst = append(dst, id...)
		case fieldTimestamp:
			dst = strconv.AppendInt(dst, timestamp, 10)
		case fieldSignature:
			if digest == Hex {
				dst = hex.AppendEncode(dst, sum)
			} else {
				dst = base64.StdEncoding.AppendEncode(dst, sum)
			}
		}
	}
	return dst
}

func (c *scheme) keyStates(keys []Key) ([]keyState, error) {
	if len(keys) == 0 {
		return nil, ErrEmptySecret
	}
	states := make([]keyState, 0, len(keys))
	for i, k := range keys {
		state, err := c.algorithm.newKey(k)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		states = append(states, state)
	}
	return states, nil
}
