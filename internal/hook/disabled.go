package hook

// The values of Endpoint.DisabledReason. They are stored.
const (
	DisabledByHand     = "by_hand"
	DisabledFailures   = "failures"
	DisabledGone       = "gone" // its receiver answered 410
	DisabledAway       = "listener_away"
	DisabledUnverified = "unverified"
)
