package diagnose

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/webhook"
)

// Cause is a stable identifier of the reason why a request does not verify. Scripts may
// branch on it.
type Cause string

// Causes of a failed verification.
const (
	MissingHeader      Cause = "missing_header"      // a header of the format is absent
	RenamedHeader      Cause = "renamed_header"      // the header is present under another name
	DuplicateHeader    Cause = "duplicate_header"    // the header occurs twice
	MalformedHeader    Cause = "malformed_header"    // the id or the timestamp cannot be parsed
	MalformedSignature Cause = "malformed_signature" // the signature header does not have the shape of the format
	WrongProfile       Cause = "wrong_profile"       // the request belongs to another format
	OldTimestamp       Cause = "old_timestamp"       // the signature is right, but older than the tolerance
	FutureTimestamp    Cause = "future_timestamp"    // the signature is right, but the sender's clock is ahead
	SecretFormat       Cause = "secret_format"       // the secret is not the text that the sender showed
	SecretNotDecoded   Cause = "secret_not_decoded"  // the text of the secret was used where the format decodes it
	SecretDecoded      Cause = "secret_decoded"      // the secret was decoded where the format uses its text
	OtherSecret        Cause = "other_secret"        // one of the other secrets made the signature
	BodyReencoded      Cause = "body_reencoded"      // the same content in a different encoding
	TruncatedBody      Cause = "truncated_body"      // the end of the body is missing
	WrongSecret        Cause = "wrong_secret"        // nothing matches: another secret, or other content
)

// rank orders causes by how much they reveal. For a request with several signatures, Explain
// returns the most informative verdict.
var rank = []Cause{OldTimestamp, FutureTimestamp, BodyReencoded, SecretNotDecoded, SecretDecoded, OtherSecret, RenamedHeader,
	DuplicateHeader, MalformedSignature, MalformedHeader, TruncatedBody, WrongProfile, MissingHeader, SecretFormat, WrongSecret}

// Question is the input of Explain. Profile and at least one secret are required.
type Question struct {
	Profile   *profile.Profile
	Known     *profile.Set // other formats that the request might belong to; may be nil
	Secrets   []string     // the receiver's own secret first, then others that might have signed
	Now       time.Time    // the receiver's clock
	IgnoreAge bool         // accept a timestamp of any age
}

// Verdict is the result of Explain. Cause is empty if and only if the request is valid.
// Message and the notes are complete sentences.
type Verdict struct {
	Cause   Cause
	Message string
	Notes   []string

	Unusable bool // under no reading is the first secret a secret of the format
}

// Valid reports whether the request verifies.
func (v Verdict) Valid() bool { return v.Cause == "" }

// lifetime is a tolerance that no timestamp exceeds in practice: 140 years.
const lifetime = 140 * 365 * 24 * time.Hour

// Explain reports whether the request verifies and, if not, why. A request with several
// signatures is valid if one of them is, because each is intended for other receivers. For
// bodies of several megabytes, Explain takes up to a few seconds.
func Explain(c Capture, q Question) Verdict {
	var best Verdict
	for i, spec := range q.Profile.Specs() {
		v := examine(c, q, spec)
		if v.Valid() {
			return v
		}
		if i == 0 || slices.Index(rank, v.Cause) < slices.Index(rank, best.Cause) {
			best = v
		}
	}
	return best
}

// exam is the examination of one signature of a request.
type exam struct {
	q      Question
	spec   webhook.Spec
	header http.Header
	body   []byte
	length int
}

func examine(c Capture, q Question, spec webhook.Spec) Verdict {
	x := &exam{q: q, spec: spec, header: http.Header{}, body: c.Body, length: c.Length}
	for _, h := range c.Headers {
		x.header.Add(h.Name, h.Value)
	}
	if over := len(c.Body) - c.Length; c.Length >= 0 && over > 0 {
		// An editor or a tool appended to the file; the request itself ended earlier.
		cut := *x
		cut.body = c.Body[:c.Length]
		if v := cut.judge(); v.Valid() || v.Cause == OldTimestamp || v.Cause == FutureTimestamp {
			v.Notes = append(v.Notes, "The capture holds "+strconv.Itoa(over)+" bytes beyond Content-Length, which were left out.")
			return v
		}
	}
	return x.judge()
}

// judge checks first what is certain, and then what it has to search for.
func (x *exam) judge() Verdict {
	if v, found := x.headers(); found {
		return v
	}
	return x.signature()
}

// names returns the headers that the scheme needs.
func (x *exam) names() []string {
	return slices.DeleteFunc([]string{x.spec.Header, x.spec.IDHeader, x.spec.TimestampHeader}, func(name string) bool { return name == "" })
}

// signature judges a request that has each header of the scheme exactly once.
func (x *exam) signature() Verdict {
	strict, err := x.verify(x.q.Secrets[0], x.spec, x.body, false), x.verify(x.q.Secrets[0], x.spec, x.body, true)
	switch {
	case err == nil && x.q.IgnoreAge && strict != nil:
		return Verdict{Notes: []string{"The signature is right. " + reason(strict) + ", which was ignored."}}
	case err == nil && errors.Is(strict, webhook.ErrTimestampTooOld):
		return Verdict{Cause: OldTimestamp, Message: "The signature is right, but it is old: " + reason(strict) + ".",
			Notes: []string{"For a capture that is expected: --ignore-age accepts it, --at sets the clock. For a live receiver: check its clock, and that requests do not wait in a queue before they are verified."}}
	case err == nil && errors.Is(strict, webhook.ErrTimestampTooNew):
		return Verdict{Cause: FutureTimestamp, Message: "The signature is right, but from the future: " + reason(strict) + ".",
			Notes: []string{"One of the two clocks is wrong; --at sets the one used here."}}
	case err == nil:
		return Verdict{}
	case errors.Is(err, webhook.ErrMalformedHeader), unreadable(err):
		return x.malformed(err)
	}
	if v, found := x.secrets(err); found {
		return v
	}
	if v, found := x.rewritten(); found {
		return v
	}
	return x.hopeless(err)
}

// verify calls the verifier that receivers use. If lax is true, it accepts any age.
func (x *exam) verify(secret string, spec webhook.Spec, body []byte, lax bool) error {
	if lax {
		spec.Tolerance = lifetime
	}
	v, err := webhook.NewVerifier(spec, secret)
	if err != nil {
		return err
	}
	v.Now = func() time.Time { return x.q.Now }
	return v.Verify(x.header, body)
}

func (x *exam) fits(secret string, encoding webhook.KeyEncoding) bool {
	spec := x.spec
	spec.Key = encoding
	return x.verify(secret, spec, x.body, true) == nil
}

// reason returns the text of an error without the package's name.
func reason(err error) string {
	text := strings.TrimPrefix(err.Error(), "webhook: ")
	return strings.ToUpper(text[:1]) + text[1:]
}

// demand returns what a secret must look like, from an error that wraps ErrSecretFormat.
func demand(err error) string {
	text := err.Error()
	if _, after, ok := strings.Cut(text, webhook.ErrSecretFormat.Error()+": "); ok {
		text = after
	}
	return strings.TrimPrefix(text, "webhook: ")
}

// unreadable reports whether the header contains nothing to compare.
func unreadable(err error) bool {
	return errors.Is(err, webhook.ErrNoMatch) && err != webhook.ErrNoMatch // the bare error means that a comparison was made
}

// secrets searches for a mistake with the secret.
func (x *exam) secrets(err error) (Verdict, bool) {
	for i, secret := range x.q.Secrets {
		if i > 0 && x.fits(secret, x.spec.Key) {
			return Verdict{Cause: OtherSecret, Message: "The signature was made with secret number " + strconv.Itoa(i+1) + ", not with the first one.",
				Notes: []string{"While a secret is rotated a receiver must accept the old and the new one. If the overlap is over, install the one that signs now."}}, true
		}
	}
	for _, secret := range x.q.Secrets {
		for _, r := range readings(secret, x.spec.Key) {
			if x.fits(r.text, r.encoding) {
				return Verdict{Cause: r.cause, Message: r.says}, true
			}
		}
	}
	if errors.Is(err, webhook.ErrSecretFormat) || errors.Is(err, webhook.ErrEmptySecret) {
		return Verdict{Cause: SecretFormat, Unusable: true, Message: "The secret cannot be one of this format: " + demand(err) + ".",
			Notes: []string{"Copy it again from where the sender showed it."}}, true
	}
	return Verdict{}, false
}

// rewritten searches for the same content in a different encoding.
func (x *exam) rewritten() (Verdict, bool) {
	for _, secret := range x.q.Secrets {
		spec := x.spec
		spec.Tolerance = lifetime
		v, err := webhook.NewVerifier(spec, secret)
		if err != nil {
			continue
		}
		v.Now = func() time.Time { return x.q.Now }
		if says := search(x.body, sample(x.q.Profile), func(body []byte) bool { return v.Verify(x.header, body) == nil }); says != "" {
			return Verdict{Cause: BodyReencoded, Message: "The body was re-encoded: the signature fits it with " + says + ".",
				Notes: []string{"Verify the bytes as they came from the network, before any parsing, and pass them on unchanged."}}, true
		}
	}
	return Verdict{}, false
}

// hopeless returns the verdict when nothing matches.
func (x *exam) hopeless(err error) Verdict {
	if missing := x.length - len(x.body); x.length >= 0 && missing > 0 {
		return Verdict{Cause: TruncatedBody, Message: "The body is cut short: " + strconv.Itoa(missing) + " of " + strconv.Itoa(x.length) + " bytes are missing.",
			Notes: []string{"Content-Length says how long it was; the rest was lost in capturing or on the way."}}
	}
	root, _, _ := parseTree(x.body)
	switch {
	case len(x.body) == 0:
		return Verdict{Cause: TruncatedBody, Message: "The body is missing: what was captured ends with the headers."}
	case root == nil && sample(x.q.Profile) != nil && (x.body[0] == '{' || x.body[0] == '['):
		return Verdict{Cause: TruncatedBody, Message: "The body is not whole: it begins like JSON and does not end like it."}
	}
	v := Verdict{Cause: WrongSecret, Message: "The signature was made with another secret, or over another content.",
		Notes: []string{"Every usual re-encoding of the body was tried. Compare the endpoint, its mode (test or live) and whether its secret was rotated."}}
	for rest := x.spec.Signed; ; {
		_, after, found := strings.Cut(rest, "{header:")
		if !found {
			break
		}
		name, more, _ := strings.Cut(after, "}")
		if rest = more; x.header.Get(name) == "" {
			v.Notes = append(v.Notes, "The capture has no "+name+", whose value is signed. If the sender sent one, look for what drops it; if the event had none, that is right.")
		}
	}
	if errors.Is(err, webhook.ErrNoMatch) && len(x.q.Secrets) == 1 {
		v.Notes = append(v.Notes, "If there is an older or newer secret, give it as a second --secret.")
	}
	return v
}

// sampleMember is the only member of the data in a sample.
const sampleMember = "posthorn-sample"

// sample returns a body of the profile, which shows the order and the position of its
// members. It returns nil if the profile has no JSON envelope of its own.
func sample(p *profile.Profile) *node {
	event := &hook.Event{Type: "sample", Data: []byte(`{"` + sampleMember + `":0}`)}
	root, _, _ := parseTree(p.Render(nil, profile.Input{Event: event, Attempt: 1}))
	return root
}
