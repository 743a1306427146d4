// Package egress sends HTTP requests to addresses that tenants choose, and only
// to those they may choose.
//
// It owns every connection to such an address. [Client.Admit] judges a URL when
// it is stored, so that its owner gets a good error message; the boundary is the
// dial: a name is resolved once, one refused answer refuses them all, and the
// address that was checked is the address that is dialled. One deadline covers
// name lookup, connect, TLS, headers and body, and what a receiver can make the
// process keep in memory is bounded.
//
// With a proxy of the operator's the same holds: the proxy is asked for the address that
// was checked, never for the name.
//
// The package never follows a redirect, never uses a proxy from the environment,
// never switches off the verification of certificates, never decompresses, keeps
// no cookies and speaks HTTP/1.1 only.
package egress
