package hook

import (
	"encoding/hex"
	"strings"
	"time"
)

// Reach describes where a search stopped that did not look at everything. The zero value
// means that it stopped at a full page or at the end of the list.
type Reach struct {
	Scanned int       // events that it looked at
	Until   time.Time // acceptance of the oldest of them
}

// FoundKind is the kind of what an id belongs to.
type FoundKind string

// The kinds, in the order of the results of a search.
const (
	FoundEvent    FoundKind = "event"
	FoundDelivery FoundKind = "delivery"
	FoundEndpoint FoundKind = "endpoint"
	FoundTenant   FoundKind = "tenant"
	FoundKey      FoundKind = "key"
	FoundReplay   FoundKind = "replay"
	FoundRequest  FoundKind = "request" // a request that the audit log has
)

// MostFound bounds the results of one kind.
const MostFound = 20

// Found is something whose id is, or begins with, the text of a search.
type Found struct {
	Kind      FoundKind
	ID        string
	Tenant    string // empty: it belongs to none
	Name      string // what it is called; for events and deliveries the event type
	CreatedAt time.Time
}

// FoundPage is the result of a search by id.
type FoundPage struct {
	Found []Found // by kind, each kind newest first
	// More are the kinds that have more results, or of which not everything was looked at.
	More []FoundKind
}

// IDQuery is a search by id. An empty Scope.Tenant means all tenants of the mode.
type IDQuery struct {
	Scope       Scope
	Text        string // a whole id, or the beginning of one
	IsPrefix    bool   // Text is at least 8 hexadecimal digits; otherwise the next three are not set
	Low, High   ID     // the smallest and the greatest id that begin with Text
	Prefix      string // Text as the beginning of the 36-character form
	Administers bool   // find tenants and keys too
	Audits      bool   // find requests that the audit log has too
}

// shortestPrefix is the least number of hexadecimal digits that searches take for the
// beginning of an id.
const shortestPrefix = 8

// IDPrefix parses a whole UUID or its first 8 or more hexadecimal digits, with or without
// hyphens. It returns the range of ids that begin with them, and the digits as the
// beginning of the 36-character form.
func IDPrefix(text string) (low, high ID, prefix string, ok bool) {
	digits := strings.ToLower(strings.ReplaceAll(text, "-", ""))
	if len(digits) < shortestPrefix || len(digits) > 32 || len(text) > 36 {
		return low, high, "", false
	}
	rest := 32 - len(digits)
	for _, end := range []struct {
		id   *ID
		fill string
	}{{&low, "0"}, {&high, "f"}} {
		raw, err := hex.DecodeString(digits + strings.Repeat(end.fill, rest))
		if err != nil {
			return low, high, "", false
		}
		copy(end.id[:], raw)
	}
	hyphens := 0
	for _, at := range []int{8, 12, 16, 20} {
		if len(digits) > at {
			hyphens++
		}
	}
	return low, high, low.String()[:len(digits)+hyphens], true
}
