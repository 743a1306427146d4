package hook

// Class is the stable code for why an attempt failed. Clients may branch on it.
type Class string

// The classes.
const (
	ClassNone Class = ""

	ClassStatus   Class = "status_not_success"    // a status outside the profile's success set
	ClassRedirect Class = "redirect_not_followed" // 3xx
	ClassGone     Class = "endpoint_gone"         // 410

	ClassBlockedAddress Class = "blocked_address"
	ClassURLRefused     Class = "url_refused" // the stored URL is no longer admitted
	ClassDNSNotFound    Class = "dns_not_found"
	ClassDNSTimeout     Class = "dns_timeout" // for this name only: others are found
	ClassDNSFailed      Class = "dns_failed"  // for this name only
	ClassRefused        Class = "connection_refused"
	ClassReset          Class = "connection_reset"
	ClassConnectTimeout Class = "timeout_connect"
	ClassTLSTimeout     Class = "timeout_tls"
	ClassTimeout        Class = "timeout_response"
	ClassConnectFailed  Class = "connection_failed"

	ClassTLSExpired   Class = "tls_certificate_expired"
	ClassTLSUntrusted Class = "tls_certificate_untrusted"
	ClassTLSName      Class = "tls_certificate_name_mismatch"
	ClassTLSHandshake Class = "tls_handshake_failed"

	ClassHeadersTooLarge Class = "response_headers_too_large"
	ClassResponseInvalid Class = "response_invalid"
	ClassTruncated       Class = "response_truncated" // a success whose body timed out

	ClassNotSent Class = "not_sent" // the request could not be built or signed, or was not allowed

	// Faults of the machine that delivers. They are not outcomes of attempts. See Ours.
	ClassLocalResources     Class = "local_resources"     // descriptors, memory, ports or a route
	ClassDNSUnavailable     Class = "dns_unavailable"     // the name service, probably
	ClassNetworkUnavailable Class = "network_unavailable" // most hosts cannot be reached
	ClassEgressProxy        Class = "egress_proxy_error"  // the operator's own proxy
)

// Ours reports whether the class is a fault of the machine that delivers. The attempt is
// then put off and counts neither as an attempt nor for the endpoint's health.
func (c Class) Ours() bool {
	switch c {
	case ClassLocalResources, ClassDNSUnavailable, ClassNetworkUnavailable, ClassEgressProxy:
		return true
	}
	return false
}

// Slow reports whether the class means that the receiver or its name took too long.
func (c Class) Slow() bool {
	switch c {
	case ClassConnectTimeout, ClassTLSTimeout, ClassTimeout, ClassDNSTimeout:
		return true
	}
	return false
}
