package hook

import (
	"errors"
	"strings"
)

// ListenScheme begins the URL of an endpoint whose receiver is not called but
// calls us: a listener. Such an endpoint is enabled while its receiver is
// connected, and Tripped while it is away. No URL with this scheme is ever
// admitted from a caller.
const ListenScheme = "listen:"

// maxListenName bounds the name of a listener, in characters.
const maxListenName = 32

// ErrAway says that nobody is connected to a listener, or that its connection
// ended before it answered. It is no failure of the endpoint.
var ErrAway = errors.New("the listener is away")

// Listener reports whether the endpoint's receiver connects to us.
func (e *Endpoint) Listener() bool { return strings.HasPrefix(e.URL, ListenScheme) }

// ListenURL returns the URL of the listener of that name; a tenant has one of a
// name in each mode.
func ListenURL(name string) string { return ListenScheme + name }

// ValidListenName reports whether a text can name a listener: 1 to 32 letters,
// digits, dots, underscores and hyphens.
func ValidListenName(name string) bool { return len(name) <= maxListenName && ValidTenantID(name) }
