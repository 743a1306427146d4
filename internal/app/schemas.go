package app

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/schema"
)

// maxChecked bounds the number of schemas, over both modes and all versions of event
// types, that are enforced: all of them are compiled in memory. It also bounds the event
// types with searchable members.
const maxChecked = 1000

// schemas holds the compiled schemas that are enforced. Publishers read an immutable
// snapshot without a lock.
type schemas struct {
	now     atomic.Pointer[enforced]
	loading sync.Mutex
	warned  atomic.Uint64
	refused atomic.Uint64
}

// Mismatches returns the number of events since the start whose data did not match the
// schema of their type: those accepted with a warning, and those refused.
func (s *Service) Mismatches() (warned, refused uint64) {
	return s.schemas.warned.Load(), s.schemas.refused.Load()
}

// enforced are the schemas in force.
type enforced struct {
	types   map[checkedType]checked
	schemas int // over all versions

	searchable int // types with searchable members
}

type checkedType struct {
	mode hook.Mode
	name string
}

// checked is what publishing does with events of a type. The zero value is nothing.
type checked struct {
	enforce  hook.Enforce
	version  int                    // of events that name none
	versions map[int]*schema.Schema // nil: this version has no schema
	all      string                 // the versions as words

	searchable []hook.Searchable
}

// LoadSchemas reads the schemas that are enforced. Call it before the first event is
// published, and when another node changed a schema. If a schema does not compile, for
// example with a newer release of the library, it is logged and not enforced.
func (s *Service) LoadSchemas(ctx context.Context) error {
	s.schemas.loading.Lock()
	defer s.schemas.loading.Unlock()
	// The change is already stored. It must take effect even if the caller
	// disconnected.
	list, err := s.o.Store.CheckedEventTypes(context.WithoutCancel(ctx), 2*maxChecked)
	if err != nil {
		return err
	}
	var old map[checkedType]checked
	if p := s.schemas.now.Load(); p != nil {
		old = p.types
	}
	next := &enforced{types: make(map[checkedType]checked, len(list))}
	for i := range list {
		e := &list[i]
		key, all := checkedType{e.Mode, e.Name}, e.Versions()
		if len(e.Searchable) > 0 {
			next.searchable++
		}
		if e.Enforce == hook.EnforceOff {
			next.types[key] = checked{searchable: e.Searchable}
			continue
		}
		rule := checked{enforce: e.Enforce, searchable: e.Searchable, version: e.Version, versions: make(map[int]*schema.Schema, len(all)), all: hook.VersionList(all)}
		for _, v := range all {
			compiled := old[key].versions[v.Version]
			if compiled == nil || !bytes.Equal(compiled.Text(), v.Schema) {
				if compiled, err = compileVersion(v); err != nil {
					s.o.Log.Error("the schema of an event type cannot be enforced", "event_type", e.Name, "version", v.Version, "mode", e.Mode, "error", err)
				}
			}
			if rule.versions[v.Version] = compiled; compiled != nil {
				next.schemas++
			}
		}
		next.types[key] = rule
	}
	s.schemas.now.Store(next)
	return nil
}

// compileVersion compiles the schema of a version. It returns nil if there is none.
func compileVersion(v hook.TypeVersion) (*schema.Schema, error) {
	if v.Schema == nil {
		return nil, nil
	}
	return schema.Compile(v.Schema)
}

// ruleOf returns what publishing does with events of a type.
func (s *Service) ruleOf(mode hook.Mode, eventType string) checked {
	p := s.schemas.now.Load()
	if p == nil {
		return checked{}
	}
	return p.types[checkedType{mode, eventType}]
}

// mismatch checks the data of an event if the schema of its type is enforced. A version
// of 0 means that the event names none.
func (s *Service) mismatch(rule *checked, eventType string, version int, data []byte) *hook.Mismatch {
	if rule.enforce == hook.EnforceOff {
		return nil
	}
	if version == 0 {
		version = rule.version
	}
	compiled, known := rule.versions[version]
	found := &hook.Mismatch{Refused: rule.enforce == hook.EnforceReject}
	if !known {
		found.Field = "type_version"
		found.Message = fmt.Sprintf("The event type %s has no version %d; it has %s.", eventType, version, rule.all)
	} else if compiled == nil {
		return nil
	} else if wrong := compiled.Check(data); wrong == nil {
		return nil
	} else {
		found.Field = "data" + wrong.Pointer
		of := "the event type " + eventType
		if len(rule.versions) > 1 {
			of = fmt.Sprintf("version %d of %s", version, of)
		}
		found.Message = fmt.Sprintf("%q is not what the schema of %s asks for: %s.", found.Field, of, wrong.Reason)
	}
	count := &s.schemas.warned
	if found.Refused {
		count = &s.schemas.refused
	}
	count.Add(1)
	return found
}

// checkSearchables refuses searchable members that break a rule, and more types that have
// some than maxChecked.
func (s *Service) checkSearchables(e, old *hook.EventType) error {
	if p := s.schemas.now.Load(); len(e.Searchable) > 0 && len(old.Searchable) == 0 && p != nil && p.searchable >= maxChecked {
		return &hook.Error{Code: hook.CodeConflict, Field: "searchable",
			Message: fmt.Sprintf("%d event types of both modes have searchable members, and no more are allowed. Remove those of another type first.", maxChecked)}
	}
	return checkSearchable(e.Searchable)
}

// checkSchemas refuses a catalogue entry with a schema that does not compile, one that is
// to be checked but has no schema, one with wrong searchable members, and more than
// maxChecked permits.
func (s *Service) checkSchemas(e, old *hook.EventType) error {
	if e.Schema == nil && e.Enforce != hook.EnforceOff {
		return invalid("check", "\"check\" needs a \"schema\", or \"off\".")
	}
	before := old.Versions()
	check := func(field string, v hook.TypeVersion) error {
		same := func(o hook.TypeVersion) bool { return bytes.Equal(o.Schema, v.Schema) }
		if v.Schema == nil || e.Enforce == hook.EnforceOff && slices.ContainsFunc(before, same) {
			return nil // it may have been stored before schemas were compiled
		}
		if _, err := schema.Compile(v.Schema); err != nil {
			return invalid(field, fmt.Sprintf("%q is not a JSON Schema that can be used: %v.", field, err))
		}
		return nil
	}
	if err := check("schema", e.TypeVersion); err != nil {
		return err
	}
	for i, v := range e.Others {
		if err := check(fmt.Sprintf("other_versions/%d/schema", i), v); err != nil {
			return err
		}
	}
	more := checkedSchemas(e) - checkedSchemas(old)
	if p := s.schemas.now.Load(); p != nil && more > 0 && p.schemas+more > maxChecked {
		return &hook.Error{Code: hook.CodeConflict, Field: "check", Message: fmt.Sprintf("%d schemas of event types are checked already, and %d are allowed over all versions and both modes. Set the check of a type to \"off\" first, or remove versions.", p.schemas, maxChecked)}
	}
	return nil
}

// checkedSchemas counts the schemas of an entry that are enforced.
func checkedSchemas(e *hook.EventType) (n int) {
	if e.Enforce == hook.EnforceOff {
		return 0
	}
	for _, v := range e.Versions() {
		if v.Schema != nil {
			n++
		}
	}
	return n
}
