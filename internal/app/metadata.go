package app

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	maxUID      = 256
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

// checkMetadata bounds a text that Metadata returned.
func checkMetadata(text string) error {
	if len(text) > maxMetadata {
		return invalid("metadata", fmt.Sprintf("\"metadata\" is too long: as JSON it may have %d bytes, and it has %d.", maxMetadata, len(text)))
	}
	return nil
}

// checkUID refuses a name of an endpoint that could not be part of a path.
func checkUID(uid string) error {
	fails := len(uid) > maxUID || uid == "." || uid == ".."
	for i := 0; i < len(uid); i++ {
		c := uid[i]
		fails = fails || !(c == '.' || c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z')
	}
	if fails {
		return invalid("uid", "\"uid\" must be 1 to 256 letters, digits, dots, underscores and hyphens.")
	}
	return nil
}

// MakeTenant is CreateTenant with metadata.
func (s *Service) MakeTenant(ctx context.Context, c Caller, t hook.Tenant, once *Once) (hook.Tenant, *hook.Replay, error) {
	if err := c.administer(); err != nil {
		return hook.Tenant{}, nil, err
	}
	if t.ID != "" && !hook.ValidTenantID(t.ID) {
		return hook.Tenant{}, nil, invalid("id", "\"id\" must be 1 to 64 letters, digits, dots, underscores and hyphens.")
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
	return checkMetadata(t.Metadata)
}

// UpdateTenant changes the name and the metadata of a tenant; nil leaves a value as it is.
// Operators of live mode only.
func (s *Service) UpdateTenant(ctx context.Context, c Caller, id string, name, metadata *string, checks ...func(hook.Tenant) error) (hook.Tenant, error) {
	if err := c.changeTenant(); err != nil {
		return hook.Tenant{}, err
	}
	return s.o.Store.UpdateTenant(ctx, id, func(t hook.Tenant) (hook.Tenant, error) {
		for _, check := range checks {
			if err := check(t); err != nil {
				return t, err
			}
		}
		set(&t.Name, name)
		set(&t.Metadata, metadata)
		return t, checkTenant(&t)
	})
}
