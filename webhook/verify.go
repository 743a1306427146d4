package webhook

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// maxHeaderLength limits the signature header, in bytes. It leaves room for dozens of
// signatures and bounds the work that one request can cause.
const maxHeaderLength = 8192

// Verifier verifies that requests were signed by a holder of the secret. Set its fields
// before the first use; after that it is safe for concurrent use.
type Verifier struct {
	// Now is the receiver's clock; nil means time.Now.
	Now func() time.Time
	// MaxBody is the largest body that Handler reads, in bytes; 0 means DefaultMaxBody.
	MaxBody int64

	scheme *scheme
	keys   []keyState
}

// NewVerifier returns a verifier that accepts a signature made with any of the secrets.
// Secrets are texts as the sender shows them. With Ed25519 they are public keys (whpk_...),
// or private keys in tests. During a rotation, pass both the old and the new secret.
// The error is [ErrEmptySecret], to test for with errors.Is, if there is no secret at all, an
// empty one or a bare whsec_, because a verifier without a secret would accept any request.
func NewVerifier(spec Spec, secrets ...string) (*Verifier, error) {
	c, err := spec.compile()
	if err != nil {
		return nil, err
	}
	keys := make([]Key, 0, len(secrets))
	for i, text := range secrets {
		encoding := spec.Key
		if encoding == KeyWhsk && strings.HasPrefix(text, string(KeyWhpk)) {
			encoding = KeyWhpk
		}
		key, err := ParseKey(text, encoding)
		if err != nil {
			return nil, fmt.Errorf("secret %d: %w", i+1, err)
		}
		keys = append(keys, key)
	}
	states, err := c.keyStates(keys)
	if err != nil {
		return nil, err
	}
	return &Verifier{scheme: c, keys: states}, nil
}

// Verify returns nil if one of the signatures in the header was made with one of the secrets
// over exactly these bytes, and the timestamp is within the scheme's tolerance. Pass the
// body as it was received, before any parsing. Otherwise the error wraps one of
// [ErrMissingHeader], [ErrMalformedHeader], [ErrTimestampTooOld], [ErrTimestampTooNew] and
// [ErrNoMatch].
func (v *Verifier) Verify(header http.Header, body []byte) error {
	c := v.scheme
	value, err := only(header, c.spec.Header)
	if err != nil {
		return err
	}
	got, err := c.parse(value)
	if err != nil {
		return err
	}
	timestamp, err := v.signedValues(header, &got)
	if err != nil {
		return err
	}
	if len(got.signatures) == 0 {
		return fmt.Errorf("%w: %s holds no signature of the known version", ErrNoMatch, c.spec.Header)
	}
	if err := v.otherHeaders(header); err != nil {
		return err
	}
	head, tail := c.appendHead(nil, got.id, timestamp, header.Get), c.appendTail(nil)
	for _, key := range v.keys {
		if key.matches(got.signatures, head, body, tail) {
			return nil
		}
	}
	return ErrNoMatch
}

// signedValues completes the claim with values from headers of their own, and checks the id
// and the timestamp if the scheme signs them.
func (v *Verifier) signedValues(header http.Header, got *claim) (int64, error) {
	c := v.scheme
	var err error
	if c.spec.IDHeader != "" {
		if got.id, err = only(header, c.spec.IDHeader); err != nil {
			return 0, err
		}
	}
	if c.needsID && !validID(got.id) {
		return 0, fmt.Errorf("%w: the message id is not 1 to 256 letters, digits, underscores and hyphens", ErrMalformedHeader)
	}
	if c.spec.TimestampHeader != "" {
		if got.timestamp, err = only(header, c.spec.TimestampHeader); err != nil {
			return 0, err
		}
	}
	if !c.needsTime {
		return 0, nil
	}
	timestamp, ok := parseTimestamp(got.timestamp)
	if !ok {
		return 0, fmt.Errorf("%w: the timestamp is not a number of seconds", ErrMalformedHeader)
	}
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	return timestamp, c.checkAge(timestamp, now())
}

// otherHeaders checks the other headers that the scheme signs. An absent header was signed
// as an empty text.
func (v *Verifier) otherHeaders(header http.Header) error {
	for _, s := range v.scheme.head {
		if s.field == fieldHeader && len(header.Values(s.text)) > 1 {
			return fmt.Errorf("%w: %s occurs twice", ErrMalformedHeader, s.text)
		}
	}
	if err := v.scheme.checkHeaders(header.Get); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformedHeader, err)
	}
	return nil
}

// only returns the single value of a header. It refuses several values, because readers
// could disagree about which one counts.
func only(header http.Header, name string) (string, error) {
	values := header.Values(name)
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return "", fmt.Errorf("%w: %s", ErrMissingHeader, name)
	case len(values) > 1:
		return "", fmt.Errorf("%w: %s occurs %d times", ErrMalformedHeader, name, len(values))
	case len(values[0]) > maxHeaderLength:
		return "", fmt.Errorf("%w: %s is longer than %d bytes", ErrMalformedHeader, name, maxHeaderLength)
	}
	return values[0], nil
}
