package hook

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// EventType is an entry of the catalogue of one mode. The catalogue does not restrict
// which types may be published, but it may restrict the data of its types.
type EventType struct {
	Mode        Mode
	Name        string
	Description string
	Group       string // for people; empty: none
	// TypeVersion is the version that applies to events that name none.
	TypeVersion
	Others      []TypeVersion // the other versions, ascending
	Enforce     Enforce
	Searchable  []Searchable // sorted by tag; at most MaxSearchable
	Deprecated  bool
	Replacement string   // of a deprecated type: the type to use instead; empty: none
	Redact      []string // JSON pointers to values of the data that are never shown, only delivered
	Hidden      bool     // tenants do not see the entry
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// AtPublish reports whether publishing events of the type depends on the entry.
func (e *EventType) AtPublish() bool { return e.Enforce != EnforceOff || len(e.Searchable) > 0 }

// TypeVersion is one version of an event type: what its data looks like.
type TypeVersion struct {
	Version int    // 1 to MaxTypeVersion
	Schema  []byte // JSON Schema of the data, an object; nil: none
	Example []byte // data of an event, an object; nil: none
}

// Bounds of the versions of one event type.
const (
	MaxTypeVersion  = 10_000 // the highest number
	MaxTypeVersions = 10     // versions that an entry may hold
)

// Versions returns all versions of the type, ascending.
func (e *EventType) Versions() []TypeVersion {
	all := append(slices.Clone(e.Others), e.TypeVersion)
	slices.SortFunc(all, byVersion)
	return all
}

// SortVersions puts the other versions into their order.
func (e *EventType) SortVersions() {
	e.Others = append([]TypeVersion(nil), e.Others...) // nil if there are none
	slices.SortFunc(e.Others, byVersion)
}

func byVersion(a, b TypeVersion) int { return cmp.Compare(a.Version, b.Version) }

// VersionList returns the numbers of versions as words: "1, 2 and 5".
func VersionList(versions []TypeVersion) string {
	texts := make([]string, len(versions))
	for i, v := range versions {
		texts[i] = strconv.Itoa(v.Version)
	}
	if last := len(texts) - 1; last > 0 {
		return strings.Join(texts[:last], ", ") + " and " + texts[last]
	}
	return strings.Join(texts, "")
}

// Use makes a version the one that applies to events that name none. The version before
// it is kept among the others. A number that the type does not have yet must be greater
// than all that it has, because numbers only go up; its schema and example begin as those
// of the version before it.
func (e *EventType) Use(version int) error {
	if version == e.Version {
		return nil
	}
	before := e.TypeVersion
	i := slices.IndexFunc(e.Others, func(v TypeVersion) bool { return v.Version == version })
	others := slices.Clone(e.Others)
	if i >= 0 {
		e.TypeVersion = others[i]
		others[i] = before
	} else {
		all := e.Versions()
		if highest := all[len(all)-1].Version; version < highest {
			return &Error{Code: CodeInvalidRequest, Field: "version", Message: fmt.Sprintf(
				"The event type has no version %d, and versions only go up: it has %s. A new version has a number above %d.", version, VersionList(all), highest)}
		}
		e.Version = version
		others = append(others, before)
	}
	e.Others = others
	return nil
}

// CheckVersions refuses versions whose numbers are out of range or used twice, and too many
// versions. Fields are named as in the API.
func (e *EventType) CheckVersions() error {
	if e.Version < 1 || e.Version > MaxTypeVersion {
		return &Error{Code: CodeInvalidRequest, Field: "version", Message: fmt.Sprintf("\"version\" must be 1 to %d.", MaxTypeVersion)}
	}
	if len(e.Others) >= MaxTypeVersions {
		return &Error{Code: CodeInvalidRequest, Field: "other_versions", Message: fmt.Sprintf(
			"An event type has at most %d versions. Remove those that nobody publishes any more from \"other_versions\".", MaxTypeVersions)}
	}
	seen := map[int]bool{e.Version: true}
	for i, v := range e.Others {
		field := "other_versions/" + strconv.Itoa(i) + "/version"
		if v.Version < 1 || v.Version > MaxTypeVersion {
			return &Error{Code: CodeInvalidRequest, Field: field, Message: fmt.Sprintf("%q must be 1 to %d.", field, MaxTypeVersion)}
		}
		if seen[v.Version] {
			return &Error{Code: CodeInvalidRequest, Field: field, Message: fmt.Sprintf("%q: the version %d is there twice. Each number has one schema.", field, v.Version)}
		}
		seen[v.Version] = true
	}
	return nil
}

// TypeQuery selects entries of the catalogue of a mode. Nil and empty members do not
// restrict.
type TypeQuery struct {
	Mode       Mode
	Group      string
	Deprecated *bool
	Hidden     *bool
	Page
}

// MaxSubscriberScan bounds the endpoints that a count of subscribers examines. Their
// filters are bounded in bytes too.
const MaxSubscriberScan = 20_000

// Subscribers counts the endpoints whose filter passes an event type, whether they are
// enabled or not.
type Subscribers struct {
	Endpoints int
	Enabled   int  // of these
	Tenants   int  // to which they belong
	More      bool // the count stopped at a bound; there may be more
}
