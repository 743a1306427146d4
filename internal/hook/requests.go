package hook

import "time"

// The types in this file are what app and store say to each other. They live
// here because neither of the two rooms imports the other.

// NewEvent is an event to be accepted.
type NewEvent struct {
	Scope        Scope
	PublicID     ID // the platform's own id; zero: ours
	Type         string
	CreatedAt    time.Time // the platform's; zero: the time of acceptance
	Data         []byte    // a JSON object, already checked, kept byte for byte
	CreateTenant bool      // make the tenant if it is unknown
	Mismatch     *Mismatch // nil: the data is what the schema of its type asks for, or there is none
	RequireMatch bool      // refuse the event if no endpoint would get it
}

// Published says what became of a NewEvent. Err is set when this one was refused:
// nothing of it is stored then, its neighbours are not touched.
type Published struct {
	Event      ID // our key
	PublicID   ID // what receivers and callers see
	Type       string
	Tenant     string
	CreatedAt  time.Time
	Deliveries int
	Size       int       // bytes of data
	Repeated   bool      // the same id and content were accepted before: this is the first answer
	Mismatch   *Mismatch // as in NewEvent
	Err        error
}

// Once makes a creating request idempotent by its Idempotency-Key: the first
// answer is kept beside what it created, in the same transaction.
type Once struct {
	Route    string
	Key      string
	BodyHash [32]byte
	Scope    Scope // the key counts within it; Tenant may be empty
	// Answer renders the result that the method would return into the answer to
	// keep. It runs inside the transaction: it must be fast, pure and repeatable.
	Answer func(result any) (status int, body []byte)
}

// Replay is the kept first answer to a request that came again.
type Replay struct {
	Status int
	Body   []byte
}

// TestPublished is a stored test event with its one delivery; Once.Answer gets it.
type TestPublished struct {
	Published
	Delivery ID
}

// Page asks for a part of a list, newest first. A page may be shorter than its
// limit, even empty, and still have a next one.
type Page struct {
	Cursor string // as returned with the page before; empty: the first
	Limit  int    // 1 to 250; 0: 50
}

// EventQuery asks for events. An empty Scope.Tenant means all of the mode.
type EventQuery struct {
	Scope  Scope
	Type   string    // empty: all
	Test   *bool     // test events only, or none of them; nil: both
	After  time.Time // accepted at or after; zero: no bound
	Before time.Time // accepted before; zero: no bound
	Page
}

// EndpointQuery asks for endpoints that are not deleted. An empty Scope.Tenant
// means all of the mode.
type EndpointQuery struct {
	Scope     Scope
	Enabled   *bool  // nil: both
	EventType string // empty: all; else those whose filter lets this type pass
	Profile   string // empty: all
	Reason    string // DisabledReason; empty: all
	Page
}

// TenantQuery asks for tenants that are not deleted.
type TenantQuery struct {
	Name string // exactly this name; empty: all
	Page
}

// KeyQuery asks for keys that are not revoked. An empty Scope.Tenant means all of
// the mode.
type KeyQuery struct {
	Scope Scope
	Kind  Kind   // empty: all
	Name  string // exactly this name; empty: all
	Page
}

// DeliveryQuery asks for deliveries. An empty Scope.Tenant means all of the mode.
type DeliveryQuery struct {
	Scope       Scope
	Endpoint    ID        // zero: all
	Event       ID        // our key; zero: all
	Type        string    // of the event; empty: all
	State       *State    // nil: all
	StatusClass int       // 1 to 5: the last attempt's status is of that hundred; 0: all
	Error       Class     // class of the last attempt's failure; empty: all
	After       time.Time // created at or after; zero: no bound
	Before      time.Time // created before; zero: no bound
	Page
}

// DeliveryRow is a delivery as lists show it.
type DeliveryRow struct {
	Delivery
	PublicID ID // of the event, as callers and receivers see it
}
