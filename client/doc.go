// Package client speaks Posthorn's native API. It owns the wire structs of that
// API: the server encodes its answers from the very same types, so a client and a
// server of one version cannot disagree about a name.
//
// The package uses the standard library only. It promises that every error of the
// server comes back as a [*Problem]. It never retries by itself and never follows
// a redirect with the key in hand.
package client
