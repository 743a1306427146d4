package webhook

import "time"

// Algorithm names a signature algorithm.
type Algorithm string

// Supported algorithms.
const (
	HMACSHA256 Algorithm = "hmac-sha256" // RFC 2104 with SHA-256
	HMACSHA512 Algorithm = "hmac-sha512" // RFC 2104 with SHA-512
	HMACSHA1   Algorithm = "hmac-sha1"   // RFC 2104 with SHA-1, for old in-house formats only
	Ed25519    Algorithm = "ed25519"     // RFC 8032: signed with a private key, verified with the public one
)

// Encoding names an encoding of signatures.
type Encoding string

// Encodings of signatures.
const (
	Hex    Encoding = "hex"    // lower case
	Base64 Encoding = "base64" // standard alphabet, padded
)

// DefaultTolerance is the maximum difference between a signed timestamp and the receiver's
// clock, in either direction, for a Spec that sets no Tolerance.
const DefaultTolerance = 5 * time.Minute

// Spec describes a signature scheme. The zero value is not valid; [Spec.Check] reports what
// is wrong with a Spec.
//
// Templates contain fixed text and placeholders: {id}, {timestamp} (decimal Unix seconds),
// {body} (the exact bytes of the request body) and {signature}.
type Spec struct {
	// Header is the name of the header that carries the signature.
	Header string
	// IDHeader carries the message id, and TimestampHeader the time of signing. A scheme sets
	// each of them if and only if Signed uses the value and Output does not carry it.
	IDHeader        string
	TimestampHeader string

	// Algorithm computes the signature of Signed.
	Algorithm Algorithm
	// Signed is the template of the signed bytes, such as "{id}.{timestamp}.{body}". It contains
	// {body} exactly once. {header:NAME} is the value of another header of the request, or empty
	// if the header is not sent. Such a value is at most 256 characters of printable ASCII, and
	// does not contain the character that follows its placeholder. A template contains at most 8
	// of them.
	Signed string
	// Output is the template of Header's value, such as "v1,{signature}". It is a list of
	// elements separated by Joiner.
	Output string
	// Joiner separates the elements of Output. With several keys, the element that contains
	// {signature} is repeated, newest key first. If Joiner is empty, Output is one element, and
	// only the newest key signs.
	Joiner string
	// Digest is the encoding of {signature}.
	Digest Encoding
	// Key is the encoding of secrets: KeyWhsk with Ed25519, and KeyText, KeyBase64 or KeyWhsec
	// with HMAC.
	Key KeyEncoding

	// Tolerance is the maximum difference between a verified timestamp and the clock, in either
	// direction. It is applied in whole seconds; 0 means DefaultTolerance. It has no effect on
	// schemes that sign no timestamp, which cannot detect replays.
	Tolerance time.Duration
}

// Standard returns the scheme of Standard Webhooks 1.0 with symmetric keys. Its headers are
// webhook-id, webhook-timestamp and webhook-signature, and its secrets begin with whsec_.
func Standard() Spec {
	return Spec{
		Header: "webhook-signature", IDHeader: "webhook-id", TimestampHeader: "webhook-timestamp",
		Algorithm: HMACSHA256, Signed: "{id}.{timestamp}.{body}",
		Output: "v1,{signature}", Joiner: " ", Digest: Base64, Key: KeyWhsec,
	}
}

// StandardAsymmetric returns the scheme of Standard Webhooks 1.0 with asymmetric keys. The
// sender signs with a private key (whsk_...), and a receiver verifies with the public key
// (whpk_...), with which it cannot sign. The headers are those of [Standard]. One header may
// carry the signatures of both schemes, because each verifier ignores the version that it
// does not know.
func StandardAsymmetric() Spec {
	s := Standard()
	s.Algorithm, s.Output, s.Key = Ed25519, "v1a,{signature}", KeyWhsk
	return s
}

// PaySway returns the scheme of PaySway webhooks: one header with the time of signing and
// the signature (PaySway docs: verify-requests).
func PaySway() Spec {
	return Spec{
		Header:    "X-PaySway-Signature",
		Algorithm: HMACSHA256, Signed: "{timestamp}.{body}",
		Output: "t={timestamp},v1={signature}", Joiner: ",", Digest: Hex, Key: KeyBase64,
	}
}

// Paywise returns the scheme of paywise webhooks: a digest of the body alone. A replayed
// request always verifies, so receivers must deduplicate by X-Paywise-Delivery-ID (paywise
// docs: signature-verification).
func Paywise() Spec {
	return Spec{
		Header:    "X-Paywise-Signature",
		Algorithm: HMACSHA256, Signed: "{body}",
		Output: "sha256={signature}", Digest: Hex, Key: KeyText,
	}
}
