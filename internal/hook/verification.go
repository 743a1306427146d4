package hook

import "time"

// Verification is whether the receiver of an endpoint has agreed to get deliveries. An
// endpoint that must be verified but is not gets only challenges. Its deliveries are held.
type Verification struct {
	State      VerificationState
	Event      ID        // of the latest challenge; zero: none was sent
	VerifiedAt time.Time // zero: it is not verified
	AttemptAt  time.Time // of the latest attempt of a challenge; zero: none
	Reason     string    // why the latest challenge failed, or who verified it without one

	// Challenge, if set in an update, is stored with the change and becomes the latest
	// one. In snapshots it is nil.
	Challenge *Challenge
}

// VerificationState is the state of an endpoint's verification. The numbers are stored.
type VerificationState uint8

// The states of a verification.
const (
	VerificationNotRequired VerificationState = 0
	VerificationPending     VerificationState = 1 // a challenge has not been answered yet
	Verified                VerificationState = 2
	VerificationFailed      VerificationState = 3 // the latest challenge was not answered with 2xx
)

var verificationNames = [...]string{"not_required", "pending", "verified", "failed"}

// String returns the word that the API uses.
func (s VerificationState) String() string {
	if int(s) < len(verificationNames) {
		return verificationNames[s]
	}
	return "unknown"
}

// Challenge is the event by which an endpoint is verified. It is a test event: it gets one
// attempt, which does not count for health.
type Challenge struct {
	Type    string
	Data    []byte
	Profile ProfileHash
}

// Unverified reports whether the endpoint must be verified first and is not.
func (e *Endpoint) Unverified() bool {
	return e.Verification.State == VerificationPending || e.Verification.State == VerificationFailed
}

// MayGet reports whether the verification permits sending the event to the endpoint,
// whatever its status. An unverified endpoint gets its latest challenge and nothing else.
func (e *Endpoint) MayGet(event ID) bool { return !e.Unverified() || e.Verification.Event == event }

// NotVerified returns the error for a request that would send something other than its
// challenge to an unverified endpoint.
func NotVerified() *Error {
	return &Error{Code: CodeUnverified,
		Message: "The endpoint is not verified: its receiver has to answer the challenge with 2xx first. \"verification\" of the endpoint says what came of the latest one; POST /v1/endpoints/{id}/verify sends another."}
}
