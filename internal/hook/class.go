package hook

// Class is the stable code of how an attempt went wrong. It is shown beside a
// sentence; clients may branch on it.
type Class string

// The classes.
const (
	ClassNone Class = ""

	ClassStatus   Class = "status_not_success"    // an answer outside the profile's success set
	ClassRedirect Class = "redirect_not_followed" // 3xx
	ClassGone     Class = "endpoint_gone"         // 410

	ClassBlockedAddress Class = "blocked_address"
	ClassURLRefused     Class = "url_refused" // the stored URL is not admitted any more
	ClassDNSNotFound    Class = "dns_not_found"
	ClassDNSTimeout     Class = "dns_timeout" // of this name only: others are found
	ClassDNSFailed      Class = "dns_failed"  // the same
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
	ClassTruncated       Class = "response_truncated" // a success whose body was cut

	ClassNotSent Class = "not_sent" // we could not build or sign the request

	// Faults of the machine that delivers. They are no outcome of an attempt, see Ours.
	ClassLocalResources     Class = "local_resources"     // descriptors, memory, ports or a route
	ClassDNSUnavailable     Class = "dns_unavailable"     // the name service, as far as is known
	ClassNetworkUnavailable Class = "network_unavailable" // most hosts cannot be reached
	ClassEgressProxy        Class = "egress_proxy_error"  // the operator's own proxy
)

// Ours reports whether the class is a fault of the machine that delivers: the attempt
// is put off without being used up, and says nothing about the endpoint.
func (c Class) Ours() bool {
	switch c {
	case ClassLocalResources, ClassDNSUnavailable, ClassNetworkUnavailable, ClassEgressProxy:
		return true
	}
	return false
}

// Slow reports whether the class means that the receiver kept us waiting.
func (c Class) Slow() bool {
	switch c {
	case ClassConnectTimeout, ClassTLSTimeout, ClassTimeout, ClassDNSTimeout:
		return true
	}
	return false
}
