// Package webhook signs and verifies webhook requests.
//
// A signature scheme is a value, [Spec]: which headers it uses, which bytes it
// signs, how it writes the result. [Standard], [StandardAsymmetric], [PaySway]
// and [Paywise] are ready made. A sender builds a [Signer] from a Spec and its
// keys; a receiver builds a [Verifier] and asks it about each request, or wraps
// its handler with [Verifier.Handler].
//
// The package promises that both halves read the same Spec, that an empty secret
// is refused before anything is signed with it, and that signatures are compared
// in constant time. It never sends a request, never logs, and never puts a secret
// or an expected signature into an error. It imports the standard library only.
package webhook
