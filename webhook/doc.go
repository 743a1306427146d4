// Package webhook signs and verifies webhook requests.
//
// A signature scheme is a value of type [Spec]. It specifies the headers of the scheme, the
// bytes that are signed, and the format of the signature. [Standard], [StandardAsymmetric],
// [PaySway] and [Paywise] return ready-made schemes. A sender builds a [Signer] from a Spec
// and its keys. A receiver builds a [Verifier] and calls [Verifier.Verify] for each request,
// or wraps its handler with [Verifier.Handler].
//
// Signer and Verifier interpret a Spec in the same way. An empty secret is refused before
// anything is signed with it, and signatures are compared in constant time. The package
// never sends a request, never logs, and never puts a secret or an expected signature into
// an error. It imports the standard library only.
package webhook
