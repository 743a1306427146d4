// Package egress sends HTTP requests to addresses that tenants choose, and only to
// permitted ones.
//
// It opens every connection to such an address. [Client.Admit] checks a URL when it is
// stored, so that its owner gets a good error message. The security boundary is the
// dial: a name is resolved once, refused addresses are left out, and the address that
// was checked is the address that is dialled. One deadline covers name lookup, connect,
// TLS, headers and body. The memory that a receiver can make the process use is bounded.
//
// The same holds with the operator's proxy: it is sent the address that was checked,
// never the name.
//
// The package never follows redirects, never uses a proxy from the environment, never
// disables certificate verification, never decompresses, stores no cookies and uses
// HTTP/1.1 only.
package egress
