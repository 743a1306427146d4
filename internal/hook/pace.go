package hook

import "time"

// Wait is a stable word for what the waiting deliveries of an endpoint wait for.
type Wait string

// What deliveries wait for.
const (
	WaitNone     Wait = ""
	WaitCap      Wait = "cap"            // as many attempts are under way as the endpoint is given
	WaitRate     Wait = "rate_limit"     // of the endpoint
	WaitPause    Wait = "retry_after"    // the receiver asked for a pause
	WaitHostCap  Wait = "host_in_flight" // as many are under way at its host or address, of all tenants, as it is given
	WaitHostRate Wait = "host_rate"      // as many have begun there in a second
	WaitTenant   Wait = "tenant_share"   // the tenant has its share of all attempts
	WaitServer   Wait = "server_fault"   // attempts were put off for a fault of the server
	WaitTurn     Wait = "turn"           // the next attempt is about to begin
	WaitRetry    Wait = "retry"          // of one delivery: for the time of its next attempt
)

// Pace is how the attempts of one endpoint go on one node at one moment.
type Pace struct {
	InFlight      int       // attempts under way
	Cap           int       // attempts at once that it is given now
	Limit         int       // to which Cap grows: the node's part of max_in_flight
	LoweredBy     Class     // of the attempt that lowered Cap last; empty: it was not, or has grown to Limit since
	LoweredStatus int       // that was answered to it; 0: none
	Waiting       int       // deliveries in memory; others may wait in the store
	WaitsFor      Wait      // empty: none waits in memory
	NotBefore     time.Time // of the next attempt, by the wall clock; zero: nothing is set
}
