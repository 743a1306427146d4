package webhook

import "errors"

// Reasons why a request is refused. Verify wraps them with details; test with errors.Is.
var (
	// ErrMissingHeader means that a header of the scheme is absent or empty.
	ErrMissingHeader = errors.New("webhook: header is missing")
	// ErrMalformedHeader means that a header of the scheme cannot be parsed, or occurs twice.
	ErrMalformedHeader = errors.New("webhook: header is malformed")
	// ErrTimestampTooOld means that the request was signed longer ago than the tolerance allows,
	// so it may be a replay.
	ErrTimestampTooOld = errors.New("webhook: timestamp is too old")
	// ErrTimestampTooNew means that the request was signed further in the future than the
	// tolerance allows.
	ErrTimestampTooNew = errors.New("webhook: timestamp is too far in the future")
	// ErrNoMatch means that no signature matches. Either the secret is a different one, or the
	// body or a signed header was changed in transit. Parsing and re-encoding the JSON changes
	// the body.
	ErrNoMatch = errors.New("webhook: no signature matches")
)

// Reasons why a secret is refused.
var (
	// ErrEmptySecret means that there is no secret, or nothing but its prefix.
	ErrEmptySecret = errors.New("webhook: secret is empty")
	// ErrSecretFormat means that the text of the secret does not follow its encoding.
	ErrSecretFormat = errors.New("webhook: secret has the wrong format")
)
