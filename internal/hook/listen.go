package hook

import (
	"errors"
	"strings"
)

// ListenScheme is the scheme in the URL of a listener: an endpoint whose receiver
// connects to the server instead of being called. A listener is Enabled while its
// receiver is connected, and Tripped while it is not. URLs with this scheme are never
// accepted from callers.
const ListenScheme = "listen:"

// maxListenName bounds the name of a listener, in characters.
const maxListenName = 32

// ErrAway reports that the receiver of a listener is not connected, or that its
// connection ended before it answered. It does not count as a failure of the endpoint.
var ErrAway = errors.New("the listener is away")

// Listener reports whether the endpoint is a listener. See ListenScheme.
func (e *Endpoint) Listener() bool { return strings.HasPrefix(e.URL, ListenScheme) }

// ListenURL returns the URL of the listener with that name. A tenant has at most one
// listener of a name in each mode.
func ListenURL(name string) string { return ListenScheme + name }

// ValidListenName reports whether a text is valid as the name of a listener: 1 to 32
// letters, digits, dots, underscores and hyphens, except "." and "..".
func ValidListenName(name string) bool { return len(name) <= maxListenName && ValidTenantID(name) }
