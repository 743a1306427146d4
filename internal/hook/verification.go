package hook

import "time"

// Verification says whether the receiver of an endpoint agreed to get deliveries. One
// that has not, and has to, is sent challenges only: what is published for it is held.
type Verification struct {
	State      VerificationState
	Event      ID        // of the latest challenge; zero: none was sent
	VerifiedAt time.Time // zero: it is not verified
	AttemptAt  time.Time // of the latest attempt of a challenge; zero: none
	Reason     string    // a sentence: why the latest challenge failed, or by whom it was not needed

	// Challenge asks the store to send this with the change, as the latest one. The
	// store's own snapshots have none.
	Challenge *Challenge
}

// VerificationState is how far the verification of an endpoint is. The numbers are stored.
type VerificationState uint8

// The states of a verification.
const (
	VerificationNotRequired VerificationState = 0
	VerificationPending     VerificationState = 1 // a challenge is on its way
	Verified                VerificationState = 2
	VerificationFailed      VerificationState = 3 // the latest challenge was not answered with 2xx
)

var verificationNames = [...]string{"not_required", "pending", "verified", "failed"}

// String returns the word the API uses.
func (s VerificationState) String() string {
	if int(s) < len(verificationNames) {
		return verificationNames[s]
	}
	return "unknown"
}

// Challenge is the event by which an endpoint is verified. It is a test event: one
// attempt, not counted for health.
type Challenge struct {
	Type    string
	Data    []byte
	Profile ProfileHash
}

// Unverified reports whether the endpoint's receiver has to agree first, and has not.
func (e *Endpoint) Unverified() bool {
	return e.Verification.State == VerificationPending || e.Verification.State == VerificationFailed
}

// MayGet reports whether the verification lets the event be sent to the endpoint, whatever its
// status: an unverified endpoint gets its latest challenge, and nothing else.
func (e *Endpoint) MayGet(event ID) bool { return !e.Unverified() || e.Verification.Event == event }

// NotVerified refuses what would send something else than its challenge to an unverified
// endpoint.
func NotVerified() *Error {
	return &Error{Code: CodeUnverified,
		Message: "The endpoint is not verified: its receiver has to answer the challenge with 2xx first. \"verification\" of the endpoint says what came of the latest one; POST /v1/endpoints/{id}/verify sends another."}
}
