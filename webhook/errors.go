package webhook

import "errors"

// The reasons for which a request is refused. Verify wraps them with detail; test
// with errors.Is.
var (
	// ErrMissingHeader: a header of the scheme is absent or empty.
	ErrMissingHeader = errors.New("webhook: header is missing")
	// ErrMalformedHeader: a header of the scheme cannot be read, or occurs twice.
	ErrMalformedHeader = errors.New("webhook: header is malformed")
	// ErrTimestampTooOld: signed longer ago than the tolerance, so perhaps a replay.
	ErrTimestampTooOld = errors.New("webhook: timestamp is too old")
	// ErrTimestampTooNew: signed further in the future than the tolerance.
	ErrTimestampTooNew = errors.New("webhook: timestamp is too far in the future")
	// ErrNoMatch: no signature fits. The secret is another one, or the body or a
	// signed header was changed on the way (parsing and re-encoding the JSON does that).
	ErrNoMatch = errors.New("webhook: no signature matches")
)

// The reasons for which a secret is refused.
var (
	// ErrEmptySecret: there is no secret, or nothing but its prefix.
	ErrEmptySecret = errors.New("webhook: secret is empty")
	// ErrSecretFormat: the text of the secret does not follow its encoding.
	ErrSecretFormat = errors.New("webhook: secret has the wrong format")
)
