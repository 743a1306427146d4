package hook

import (
	"encoding/base64"
	"time"
)

// The types in this file are the interface between app and store. They are in this package
// because neither of the two packages imports the other.

// NewEvent is a request to accept an event.
type NewEvent struct {
	Scope        Scope
	PublicID     ID // the platform's own id, as EventID returned it; zero: the internal key
	GivenID      string
	Type         string
	Channels     Channels
	CreatedAt    time.Time // as the platform sent it; zero: the time of acceptance
	DeliverAt    time.Time // as the platform sent it; zero or past: at once
	Data         []byte    // a JSON object, already checked, stored byte for byte
	CreateTenant bool      // create the tenant if it is unknown
	Mismatch     *Mismatch // nil: the data matches the schema of its type, or there is none
	RequireMatch bool      // refuse the event if no endpoint would get it
	// PayloadRetention is how long Data is kept after the last delivery was settled. Nil: as
	// long as the tenant's other payloads.
	PayloadRetention *time.Duration
	Tags             Tags  // as the platform gave them
	Found            []Tag // from the data; names that Tags has are left out
}

// Published is the result for a NewEvent. If Err is set, the event was refused and nothing
// of it is stored. Other events of the same request are not affected.
type Published struct {
	Event      ID     // internal key
	PublicID   ID     // the id for callers and receivers
	GivenID    string // shown in place of PublicID, if not empty
	Type       string
	Tenant     string
	CreatedAt  time.Time
	DeliverAt  time.Time // zero: at once
	Deliveries int
	Size       int       // bytes of data
	Repeated   bool      // the same id and content were accepted before; this is the first result
	Mismatch   *Mismatch // as in NewEvent
	Err        error
}

// Once makes a creating request idempotent by its Idempotency-Key. The first response is
// stored in the same transaction as what the request created.
type Once struct {
	Route    string
	Key      string
	BodyHash [32]byte
	Scope    Scope // the key is unique within it; Tenant may be empty
	// Answer renders the method's result into the response to store. It runs inside the
	// transaction, so it must be fast, pure and repeatable.
	Answer func(result any) (status int, body []byte)
}

// Replay is the stored first response to a request that was repeated.
type Replay struct {
	Status int
	Body   []byte
}

// TestPublished is a stored test event with its one delivery. It is passed to Once.Answer.
type TestPublished struct {
	Published
	Delivery ID
}

// CursorAt returns the cursor of the page that follows the row with these ids: the id of an
// event or an endpoint, or those of the event and the endpoint of a delivery.
func CursorAt(ids ...ID) string {
	var text []byte
	for _, id := range ids {
		text = append(text, id[:]...)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// Page selects a page of a list, newest first. A page may be shorter than its limit, or
// even empty, and still have a next one.
type Page struct {
	Cursor string // as returned with the previous page; empty: the first page
	Limit  int    // 1 to 250; 0: 50
	Reach  *Reach // not nil: lists of events and deliveries set it
}

// EventQuery selects events. An empty Scope.Tenant means all tenants of the mode.
type EventQuery struct {
	Scope   Scope
	Type    string    // empty: all
	Test    *bool     // true: only test events; false: no test events; nil: both
	Tag     *Tag      // nil: all
	Channel string    // events that have this channel; empty: all
	After   time.Time // accepted at or after; zero: no bound
	Before  time.Time // accepted before; zero: no bound
	// Ascending lists the oldest first; a cursor then means the rows above it.
	Ascending bool
	Page
}

// EndpointQuery selects endpoints that are not deleted. An empty Scope.Tenant means all
// tenants of the mode.
type EndpointQuery struct {
	Scope     Scope
	Enabled   *bool  // nil: both
	EventType string // endpoints whose filter matches this type; empty: all
	Profile   string // empty: all
	UID       string // empty: all
	Reason    string // DisabledReason; empty: all
	// Operational selects operational endpoints, or the others. Nil: both.
	Operational *bool
	Page
}

// TenantQuery selects tenants that are not deleted.
type TenantQuery struct {
	Name string // exactly this name; empty: all
	// After is the id of the tenant, deleted or not, after which the page begins. Empty: as
	// the cursor says.
	After string
	// Ascending lists the oldest first; a cursor then means the rows above it.
	Ascending bool
	Page
}

// KeyQuery selects keys that are not revoked. An empty Scope.Tenant means all tenants of
// the mode.
type KeyQuery struct {
	Scope Scope
	Kind  Kind   // empty: all
	Name  string // exactly this name; empty: all
	Page
}

// DeliveryQuery selects deliveries. An empty Scope.Tenant means all tenants of the mode.
type DeliveryQuery struct {
	Scope       Scope
	Endpoint    ID     // zero: all
	Event       ID     // internal key; zero: all
	Type        string // of the event; empty: all
	State       *State // nil: all
	StatusClass int    // first digit of the last attempt's status, 1 to 5; 0: all
	Error       Class  // class of the last attempt's failure; empty: all

	// Each of these, if not empty, selects the deliveries that have one of its values.
	States        []State
	StatusClasses []int
	Errors        []Class

	Status  int    // of the last attempt; 0: all
	Tried   *bool  // whether an attempt was made; nil: all
	Tag     *Tag   // of the event; nil: all
	Channel string // that the event has; empty: all

	After  time.Time // created at or after; zero: no bound
	Before time.Time // created before; zero: no bound
	Page
}

// DeliveryRow is a delivery as lists show it.
type DeliveryRow struct {
	Delivery
	PublicID ID       // of the event
	Channels Channels // of the event; set in lists
	GivenID  string
	// DeliverAt is that of the event. It is set when one delivery is read, not in lists:
	// SQLite would read past the data of each event for it.
	DeliverAt time.Time
}
