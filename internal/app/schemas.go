package app

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/schema"
)

// maxChecked bounds the number of event types, over both modes, whose schemas are
// enforced or that have searchable members: all of them are in memory, with compiled
// schemas.
const maxChecked = 1000

// schemas holds the compiled schemas that are enforced. Publishers read an immutable
// snapshot without a lock.
type schemas struct {
	now     atomic.Pointer[map[checkedType]checked]
	loading sync.Mutex
	warned  atomic.Uint64
	refused atomic.Uint64
}

// Mismatches returns the number of events since the start whose data did not match the
// schema of their type: those accepted with a warning, and those refused.
func (s *Service) Mismatches() (warned, refused uint64) {
	return s.schemas.warned.Load(), s.schemas.refused.Load()
}

type checkedType struct {
	mode hook.Mode
	name string
}

// checked is what publishing does with events of a type. The zero value is nothing.
type checked struct {
	enforce    hook.Enforce
	schema     *schema.Schema // nil: the data is not checked
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
	list, err := s.o.Store.CheckedEventTypes(context.WithoutCancel(ctx), maxChecked)
	if err != nil {
		return err
	}
	var old map[checkedType]checked
	if p := s.schemas.now.Load(); p != nil {
		old = *p
	}
	next := make(map[checkedType]checked, len(list))
	for _, e := range list {
		key := checkedType{e.Mode, e.Name}
		if e.Enforce == hook.EnforceOff {
			next[key] = checked{searchable: e.Searchable}
			continue
		}
		compiled := old[key].schema
		if compiled == nil || !bytes.Equal(compiled.Text(), e.Schema) {
			if compiled, err = schema.Compile(e.Schema); err != nil {
				s.o.Log.Error("the schema of an event type cannot be enforced", "event_type", e.Name, "mode", e.Mode, "error", err)
				next[key] = checked{searchable: e.Searchable}
				continue
			}
		}
		next[key] = checked{e.Enforce, compiled, e.Searchable}
	}
	s.schemas.now.Store(&next)
	return nil
}

// ruleOf returns what publishing does with events of a type.
func (s *Service) ruleOf(mode hook.Mode, eventType string) checked {
	p := s.schemas.now.Load()
	if p == nil {
		return checked{}
	}
	return (*p)[checkedType{mode, eventType}]
}

// mismatch checks the data of an event if the schema of its type is enforced.
func (s *Service) mismatch(rule checked, eventType string, data []byte) *hook.Mismatch {
	if rule.schema == nil {
		return nil
	}
	found := rule.schema.Check(data)
	if found == nil {
		return nil
	}
	count := &s.schemas.warned
	if rule.enforce == hook.EnforceReject {
		count = &s.schemas.refused
	}
	count.Add(1)
	field := "data" + found.Pointer
	return &hook.Mismatch{Field: field, Refused: rule.enforce == hook.EnforceReject,
		Message: fmt.Sprintf("%q is not what the schema of the event type %s asks for: %s.", field, eventType, found.Reason)}
}

// checkEntry refuses a catalogue entry whose schema does not compile, one that is to be
// checked but has no schema, one with wrong searchable members, and an entry that
// publishing depends on beyond maxChecked.
func (s *Service) checkEntry(e, old *hook.EventType) error {
	if err := checkSearchable(e.Searchable); err != nil {
		return err
	}
	if p := s.schemas.now.Load(); e.AtPublish() && !old.AtPublish() && p != nil && len(*p) >= maxChecked {
		field := "check"
		if e.Enforce == hook.EnforceOff {
			field = "searchable"
		}
		return &hook.Error{Code: hook.CodeConflict, Field: field,
			Message: fmt.Sprintf("%d event types are checked or searchable already, and no more are allowed. Set \"check\" of one to \"off\" and remove its \"searchable\" first.", maxChecked)}
	}
	return checkSchema(e, old)
}

func checkSchema(e, old *hook.EventType) error {
	if e.Schema == nil {
		if e.Enforce != hook.EnforceOff {
			return invalid("check", "\"check\" needs a \"schema\", or \"off\".")
		}
		return nil
	}
	if e.Enforce == hook.EnforceOff && bytes.Equal(e.Schema, old.Schema) {
		return nil // it was stored before schemas were compiled
	}
	if _, err := schema.Compile(e.Schema); err != nil {
		return invalid("schema", "\"schema\" is not a JSON Schema that can be used: "+err.Error()+".")
	}
	return nil
}
