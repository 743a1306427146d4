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
// enforced: all of them are compiled in memory.
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

type checked struct {
	enforce hook.Enforce
	schema  *schema.Schema
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
		compiled := old[key].schema
		if compiled == nil || !bytes.Equal(compiled.Text(), e.Schema) {
			if compiled, err = schema.Compile(e.Schema); err != nil {
				s.o.Log.Error("the schema of an event type cannot be enforced", "event_type", e.Name, "mode", e.Mode, "error", err)
				continue
			}
		}
		next[key] = checked{e.Enforce, compiled}
	}
	s.schemas.now.Store(&next)
	return nil
}

// mismatch checks the data of an event if the schema of its type is enforced.
func (s *Service) mismatch(mode hook.Mode, eventType string, data []byte) *hook.Mismatch {
	p := s.schemas.now.Load()
	if p == nil {
		return nil
	}
	rule, known := (*p)[checkedType{mode, eventType}]
	if !known {
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

// checkSchema refuses a catalogue entry whose schema does not compile, one that is to
// be checked but has no schema, and a checked entry beyond maxChecked.
func (s *Service) checkSchema(e, old *hook.EventType) error {
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
	if p := s.schemas.now.Load(); e.Enforce != hook.EnforceOff && old.Enforce == hook.EnforceOff && p != nil && len(*p) >= maxChecked {
		return &hook.Error{Code: hook.CodeConflict, Field: "check", Message: fmt.Sprintf("%d event types are checked already, and no more are allowed. Set one to \"off\" first.", maxChecked)}
	}
	return nil
}
