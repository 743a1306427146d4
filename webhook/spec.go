package webhook

import "time"

// Algorithm names how a signature is computed.
type Algorithm string

// The algorithms.
const (
	HMACSHA256 Algorithm = "hmac-sha256" // RFC 2104 with SHA-256
	HMACSHA512 Algorithm = "hmac-sha512" // RFC 2104 with SHA-512
	HMACSHA1   Algorithm = "hmac-sha1"   // RFC 2104 with SHA-1, for old in-house formats only
	Ed25519    Algorithm = "ed25519"     // RFC 8032: signed with a private key, verified with the public one
)

// Encoding says how the bytes of a signature are written.
type Encoding string

// The encodings of signatures.
const (
	Hex    Encoding = "hex"    // lower case
	Base64 Encoding = "base64" // standard alphabet, padded
)

// DefaultTolerance is how far a signed timestamp may lie from the receiver's
// clock, either way, when a Spec does not say.
const DefaultTolerance = 5 * time.Minute

// Spec is a signature scheme as data. The zero value is not usable; [Spec.Check]
// says what is wrong with one.
//
// Templates hold fixed text and placeholders: {id}, {timestamp} (decimal Unix
// seconds), {body} (the exact bytes of the request body) and {signature}.
type Spec struct {
	// Header carries the signature.
	Header string
	// IDHeader carries the message id, TimestampHeader the time of signing. A
	// scheme sets one exactly if Signed uses the value and Output does not carry it.
	IDHeader        string
	TimestampHeader string

	// Algorithm turns Signed into the signature.
	Algorithm Algorithm
	// Signed is the template of the bytes that are signed, such as
	// "{id}.{timestamp}.{body}". It holds {body} once. {header:NAME} is the value of
	// another header of the request, an empty text if it is not sent: up to 256
	// characters of printable ASCII without the one that follows the placeholder.
	Signed string
	// Output is the template of Header's value, such as "v1,{signature}". It is a
	// list of elements separated by Joiner.
	Output string
	// Joiner separates the elements of Output. With several keys the element that
	// holds {signature} is repeated, newest key first. Empty: Output is one
	// element and only the newest key signs.
	Joiner string
	// Digest is how {signature} is written.
	Digest Encoding
	// Key is how the text of a secret becomes a key: KeyWhsk with Ed25519, one of
	// the others with HMAC.
	Key KeyEncoding

	// Tolerance is how far a verified timestamp may lie from the clock, in whole
	// seconds, either way; 0: DefaultTolerance. It has no effect on schemes that
	// sign no timestamp: those cannot detect a replay.
	Tolerance time.Duration
}

// Standard is the scheme of Standard Webhooks 1.0 with symmetric keys: the
// headers webhook-id, webhook-timestamp and webhook-signature, secrets whsec_...
func Standard() Spec {
	return Spec{
		Header: "webhook-signature", IDHeader: "webhook-id", TimestampHeader: "webhook-timestamp",
		Algorithm: HMACSHA256, Signed: "{id}.{timestamp}.{body}",
		Output: "v1,{signature}", Joiner: " ", Digest: Base64, Key: KeyWhsec,
	}
}

// StandardAsymmetric is the scheme of Standard Webhooks 1.0 with asymmetric keys:
// the sender signs with a private key whsk_..., a receiver verifies with the public
// key whpk_... and cannot sign itself. The headers are those of [Standard], and the
// signatures of both may stand side by side in one header: each verifier ignores
// the version it does not know.
func StandardAsymmetric() Spec {
	s := Standard()
	s.Algorithm, s.Output, s.Key = Ed25519, "v1a,{signature}", KeyWhsk
	return s
}

// PaySway is the scheme of PaySway webhooks: one header with the time of signing
// and the signature (PaySway docs: verify-requests).
func PaySway() Spec {
	return Spec{
		Header:    "X-PaySway-Signature",
		Algorithm: HMACSHA256, Signed: "{timestamp}.{body}",
		Output: "t={timestamp},v1={signature}", Joiner: ",", Digest: Hex, Key: KeyBase64,
	}
}

// Paywise is the scheme of paywise webhooks: a digest of the body alone, so a
// replayed request verifies for ever and receivers must deduplicate by
// X-Paywise-Delivery-ID (paywise docs: signature-verification).
func Paywise() Spec {
	return Spec{
		Header:    "X-Paywise-Signature",
		Algorithm: HMACSHA256, Signed: "{body}",
		Output: "sha256={signature}", Digest: Hex, Key: KeyText,
	}
}
