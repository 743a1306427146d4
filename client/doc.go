// Package client is a client for Posthorn's native API. It defines the wire structs of
// that API. The server encodes its responses from the same types, so a client and a server
// of the same version cannot disagree about a name.
//
// The package depends on the standard library only. It guarantees the following:
//
//   - Every error response of the server is returned as a [*Problem].
//   - A request is retried only if the retry cannot take effect twice (see [Client.Attempts]).
//   - The client built into the package never follows a redirect, so the key stays with its
//     server.
//   - The key is sent over plain http to loopback addresses only, unless
//     [Client.AllowPlainHTTP] is set.
//
// A newer server may add members and words without breaking a client. Unknown members are
// ignored, and values such as states and codes are plain strings. Treat an unknown value
// like the general case.
package client
