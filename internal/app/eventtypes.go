package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/schema"
)

// maxGroup bounds the name of a group of event types, in characters.
const maxGroup = 64

// maxEntry bounds the texts of a catalogue entry with all its versions, in bytes. What an
// entry holds fits into the body of one request, and a page of the list into memory.
const maxEntry = 60 << 10

// CreateEventType adds an entry to the catalogue of the caller's mode. Operators only.
// The caller has checked that schemas and examples are JSON objects.
func (s *Service) CreateEventType(ctx context.Context, c Caller, e hook.EventType, once *Once) (hook.EventType, *hook.Replay, error) {
	if err := c.administer(); err != nil {
		return hook.EventType{}, nil, err
	}
	if !hook.ValidType(e.Name) {
		return hook.EventType{}, nil, errType("name", e.Name)
	}
	if hook.ReservedType(e.Name) {
		return hook.EventType{}, nil, errReserved("name", e.Name)
	}
	if err := s.checkType(&e, &hook.EventType{}); err != nil {
		return hook.EventType{}, nil, err
	}
	e.Mode = c.Mode
	made, replay, err := s.o.Store.CreateEventType(ctx, e, once.in(hook.Scope{Mode: c.Mode}, same))
	if err == nil && e.AtPublish() {
		err = s.LoadSchemas(ctx)
	}
	return made, replay, err
}

// EventType returns an entry of the catalogue of the caller's mode. The catalogue
// belongs to no tenant: every key of the mode may read it, but a tenant does not find a
// hidden entry.
func (s *Service) EventType(ctx context.Context, c Caller, name string) (hook.EventType, error) {
	e, err := s.o.Store.EventType(ctx, c.Mode, name)
	if err == nil && e.Hidden && c.ofTenant() {
		return hook.EventType{}, hook.NotFound("event type")
	}
	return e, err
}

// EventTypes returns a page of the catalogue of the caller's mode, in the order of
// names. Every key of the mode may read it; tenants do not see hidden entries.
func (s *Service) EventTypes(ctx context.Context, c Caller, q hook.TypeQuery) ([]hook.EventType, string, error) {
	q.Mode = c.Mode
	if c.ofTenant() {
		if q.Hidden != nil && *q.Hidden {
			return nil, "", nil
		}
		q.Hidden = new(bool)
	}
	return s.o.Store.EventTypes(ctx, q)
}

// Subscribers counts the endpoints that the caller may see and that receive each of the
// event types: for an operator those of all tenants.
func (s *Service) Subscribers(ctx context.Context, c Caller, names ...string) ([]hook.Subscribers, error) {
	scope, err := c.reach("")
	if err != nil || len(names) == 0 {
		return nil, err
	}
	return s.o.Store.Subscribers(ctx, scope, names, hook.MaxSubscriberScan)
}

// TypeDifferences are the differences between two versions of an event type.
type TypeDifferences struct {
	From, To int
	List     []TypeDifference
	More     bool // there are more than the list holds
}

// TypeDifference is one difference between two versions of an event type.
type TypeDifference = schema.Difference

// TypeDifferences compares two versions of an event type as receivers see them. from and
// to may be 0: to is then the version for events that name none, and from the one before
// to, or to itself if there is none.
func (s *Service) TypeDifferences(ctx context.Context, c Caller, name string, from, to int) (TypeDifferences, error) {
	e, err := s.EventType(ctx, c, name)
	if err != nil {
		return TypeDifferences{}, err
	}
	if to == 0 {
		to = e.Version
	}
	all := e.Versions()
	if from == 0 {
		from = to
		for _, v := range all {
			if v.Version < to {
				from = v.Version
			}
		}
	}
	var schemas [2][]byte
	for i, want := range []struct {
		field   string
		version int
	}{{"from_version", from}, {"to_version", to}} {
		at := slices.IndexFunc(all, func(v hook.TypeVersion) bool { return v.Version == want.version })
		if at < 0 {
			return TypeDifferences{}, invalid(want.field, fmt.Sprintf("The event type has no version %d; it has %s.", want.version, hook.VersionList(all)))
		}
		schemas[i] = all[at].Schema
	}
	list, more := schema.Compare(schemas[0], schemas[1])
	return TypeDifferences{From: from, To: to, List: list, More: more}, nil
}

// EventTypeChange is a change of a catalogue entry. A nil member leaves its value
// unchanged.
type EventTypeChange struct {
	Description *string
	Group       *string
	// Version chooses the version for events that name none, as hook.EventType.Use does.
	// Schema and Example are then those of this version. With Others, it is set as it is.
	Version     *int
	Schema      *[]byte // a JSON object, or a nil slice to remove it
	Example     *[]byte // a JSON object, or a nil slice to remove it
	Others      *[]hook.TypeVersion
	Enforce     *hook.Enforce
	Searchable  *[]hook.Searchable
	Deprecated  *bool
	Replacement *string
	Hidden      *bool
	Redact      *[]string // JSON pointers
	Check       func(hook.EventType) error
}

func (change *EventTypeChange) apply(e *hook.EventType) error {
	switch {
	case change.Others != nil:
		e.Others = slices.Clone(*change.Others)
		set(&e.Version, change.Version)
	case change.Version != nil:
		if err := e.Use(*change.Version); err != nil {
			return err
		}
	}
	set(&e.Description, change.Description)
	set(&e.Group, change.Group)
	set(&e.Schema, change.Schema)
	set(&e.Example, change.Example)
	set(&e.Enforce, change.Enforce)
	set(&e.Searchable, change.Searchable)
	set(&e.Deprecated, change.Deprecated)
	set(&e.Replacement, change.Replacement)
	set(&e.Hidden, change.Hidden)
	if set(&e.Redact, change.Redact); len(e.Redact) == 0 {
		e.Redact = nil
	}
	return nil
}

// set sets a value if there is a new one.
func set[T any](to, value *T) {
	if value != nil {
		*to = *value
	}
}

// UpdateEventType changes an entry of the catalogue. Operators only.
func (s *Service) UpdateEventType(ctx context.Context, c Caller, name string, change EventTypeChange) (hook.EventType, error) {
	if err := c.administer(); err != nil {
		return hook.EventType{}, err
	}
	var before hook.EventType
	made, err := s.o.Store.UpdateEventType(ctx, c.Mode, name, func(e hook.EventType) (hook.EventType, error) {
		before = e
		if change.Check != nil {
			if err := change.Check(e); err != nil {
				return e, err
			}
		}
		if err := change.apply(&e); err != nil {
			return e, err
		}
		return e, s.checkType(&e, &before)
	})
	if err == nil && (before.AtPublish() || made.AtPublish()) {
		err = s.LoadSchemas(ctx)
	}
	return made, err
}

// checkType refuses an entry that breaks a rule. A text that is unchanged from old passes
// even if the rules have become stricter.
func (s *Service) checkType(e, old *hook.EventType) error {
	for _, text := range []struct {
		field, now, before string
		limit              int
	}{{"description", e.Description, old.Description, maxDescription}, {"group", e.Group, old.Group, maxGroup}} {
		if text.now == text.before {
			continue
		}
		if err := checkText(text.field, text.now, text.limit); err != nil {
			return err
		}
	}
	if err := checkRedact(e.Redact, e.Searchable); err != nil {
		return err
	}
	if r := e.Replacement; r != "" {
		switch {
		case !e.Deprecated:
			return invalid("replacement", "\"replacement\" goes with \"deprecated\": true only.")
		case !hook.ValidType(r):
			return errType("replacement", r)
		case r == e.Name:
			return invalid("replacement", "\"replacement\" must name another event type.")
		}
	}
	if err := e.CheckVersions(); err != nil {
		return err
	}
	if size := textSize(e); size > maxEntry && size > textSize(old) {
		return invalid("schema", fmt.Sprintf("The entry would have %d bytes of schemas, examples and description over all its versions, and %d are allowed. "+
			"Remove versions that nobody publishes any more from \"other_versions\", or shorten them.", size, maxEntry))
	}
	if err := s.checkSearchables(e, old); err != nil {
		return err
	}
	if err := s.checkSchemas(e, old); err != nil {
		return err
	}
	e.SortVersions()
	return nil
}

func textSize(e *hook.EventType) int {
	size := len(e.Description)
	for _, v := range e.Versions() {
		size += len(v.Schema) + len(v.Example)
	}
	return size
}

// DeleteEventType removes a catalogue entry. Events and endpoints that name the type
// stay as they are. Operators only.
func (s *Service) DeleteEventType(ctx context.Context, c Caller, name string, checks ...func(hook.EventType) error) error {
	if err := c.administer(); err != nil {
		return err
	}
	if err := s.o.Store.DeleteEventType(ctx, c.Mode, name, checks...); err != nil {
		return err
	}
	return s.LoadSchemas(ctx)
}
