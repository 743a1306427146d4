// Package client speaks Posthorn's native API. It owns the wire structs of that
// API: the server encodes its answers from the very same types, so a client and a
// server of one version cannot disagree about a name.
//
// The package uses the standard library only. It promises that every error of the
// server comes back as a [*Problem], that a call is repeated only if it happens once
// all the same (see [Client].Attempts), that it never follows a redirect with the key
// in hand, and that it sends a key over plain http to loopback only, unless told
// otherwise.
//
// Members and words that a later server adds are no errors: unknown members are
// passed over, and texts such as states and codes are plain strings. Treat a word
// that you do not know like the general case.
package client
