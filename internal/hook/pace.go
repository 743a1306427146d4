package hook

import "time"

// Wait is a stable word for what an endpoint's waiting deliveries wait for.
type Wait string

// The values of Wait.
const (
	WaitNone     Wait = ""
	WaitCap      Wait = "cap"            // the endpoint's current limit of concurrent attempts
	WaitRate     Wait = "rate_limit"     // the endpoint's rate limit
	WaitPause    Wait = "retry_after"    // the receiver requested a pause
	WaitHostCap  Wait = "host_in_flight" // the limit of concurrent attempts at its host or address
	WaitHostRate Wait = "host_rate"      // the limit of attempts per second there
	WaitTenant   Wait = "tenant_share"   // the tenant has used its share of all attempts
	WaitServer   Wait = "server_fault"   // attempts are put off after a fault of the server
	WaitTurn     Wait = "turn"           // nothing else: the next attempt is about to begin
	WaitRetry    Wait = "retry"          // the due time of the delivery's next attempt
)

// Pace is the state of one endpoint's attempts on one node at one moment.
type Pace struct {
	InFlight      int       // attempts in progress
	Cap           int       // concurrent attempts that are allowed now
	Limit         int       // the upper bound of Cap: the node's part of max_in_flight
	LoweredBy     Class     // why Cap was last lowered; empty: not, or Limit was reached again
	LoweredStatus int       // status of that attempt; 0: none
	Waiting       int       // deliveries that wait in memory; others may wait in the store
	WaitsFor      Wait      // empty: none waits in memory
	NotBefore     time.Time // earliest time of the next attempt, by the wall clock; zero: any
}
