package app

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	maxUID      = hook.MaxGivenID
	maxMetadata = 4096 // bytes of the JSON text
)

// Metadata returns a platform's notes as the text that is stored: a JSON object, or an
// empty text if there are none.
func Metadata(notes map[string]string) string {
	if len(notes) == 0 {
		return ""
	}
	text, _ := json.Marshal(notes) // texts cannot fail
	return string(text)
}

// MetadataChange returns the text of notes after a change.
type MetadataChange func(old string) string

// ReplaceMetadata replaces all notes by those of a text that Metadata returned.
func ReplaceMetadata(text string) MetadataChange { return func(string) string { return text } }

// MergeMetadata sets notes by name and removes those that are nil, or all if changes is nil.
func MergeMetadata(changes map[string]*string) MetadataChange {
	return func(old string) string {
		notes := Notes(old)
		if changes == nil {
			clear(notes)
		}
		for name, value := range changes {
			if delete(notes, name); value != nil {
				notes[name] = *value
			}
		}
		return Metadata(notes)
	}
}

// Notes returns the notes of a stored text.
func Notes(text string) map[string]string {
	notes := map[string]string{}
	_ = json.Unmarshal([]byte(text), &notes) // empty: none
	return notes
}

// checkMetadata bounds a text that Metadata returned, and refuses an empty name.
func checkMetadata(text string) error {
	if len(text) > maxMetadata {
		return invalid("metadata", fmt.Sprintf("\"metadata\" is too long: as JSON it may have %d bytes, and it has %d.", maxMetadata, len(text)))
	}
	if _, unnamed := Notes(text)[""]; unnamed {
		return invalid("metadata", "\"metadata\" has a value without a name.")
	}
	return nil
}

// checkUID refuses a name of an endpoint that could not be part of a path.
func checkUID(uid string) error {
	if uid != "" && !hook.ValidID(uid, maxUID) {
		return invalid("uid", `"uid" must be `+hook.IDRule+".")
	}
	return nil
}

// MakeTenant is CreateTenant with metadata and a rate limit.
func (s *Service) MakeTenant(ctx context.Context, c Caller, t hook.Tenant, once *Once) (hook.Tenant, *hook.Replay, error) {
	if err := c.administer(); err != nil {
		return hook.Tenant{}, nil, err
	}
	if t.ID != "" && !hook.ValidTenantID(t.ID) {
		return hook.Tenant{}, nil, invalid("id", `"id" must be `+hook.IDRule+".")
	}
	if err := checkTenant(&t); err != nil {
		return hook.Tenant{}, nil, err
	}
	return s.o.Store.CreateTenant(ctx, t, once.in(hook.Scope{Mode: c.Mode}, same))
}

func checkTenant(t *hook.Tenant) error {
	if err := checkText("name", t.Name, maxName); err != nil {
		return err
	}
	if !(t.RateLimit >= 0 && t.RateLimit <= maxRate) {
		return invalid("rate_limit", "\"rate_limit\" must be 0 to 10000.")
	}
	return checkMetadata(t.Metadata)
}

// TenantChange is a change of a tenant. A nil member leaves its value unchanged.
type TenantChange struct {
	Name      *string
	Metadata  MetadataChange
	RateLimit *float64 // 0: none
}

// UpdateTenant changes a tenant. Operators of live mode only. Each check receives the
// current tenant; its error prevents the change.
func (s *Service) UpdateTenant(ctx context.Context, c Caller, id string, change TenantChange, checks ...func(hook.Tenant) error) (hook.Tenant, error) {
	if err := c.changeTenant(); err != nil {
		return hook.Tenant{}, err
	}
	return s.o.Store.UpdateTenant(ctx, id, func(t hook.Tenant) (hook.Tenant, error) {
		for _, check := range checks {
			if err := check(t); err != nil {
				return t, err
			}
		}
		set(&t.Name, change.Name)
		set(&t.RateLimit, change.RateLimit)
		if change.Metadata != nil {
			t.Metadata = change.Metadata(t.Metadata)
		}
		return t, checkTenant(&t)
	})
}
