package sqltext

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
)

// EventTypeColumns are the columns that ScanEventType reads.
const EventTypeColumns = "mode, name, description, type_group, version, schema, example, other_versions, enforce, deprecated, replacement, hidden, searchable, redact, created_at, updated_at"

// InsertEventType adds an entry of the catalogue: EventTypeValues. It changes nothing if
// the name is taken.
const InsertEventType = "INSERT INTO event_types (" + EventTypeColumns + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"

// UpdateEventType changes what can change of an entry: EventTypeValues without the first
// two and created_at, then mode and name.
const UpdateEventType = `UPDATE event_types SET description = ?, type_group = ?, version = ?, schema = ?, example = ?, other_versions = ?, enforce = ?,
	deprecated = ?, replacement = ?, hidden = ?, searchable = ?, redact = ?, updated_at = ? WHERE mode = ? AND name = ?`

// storedVersion is an entry of other_versions.
type storedVersion struct {
	Version int             `json:"version"`
	Schema  json.RawMessage `json:"schema,omitempty"`
	Example json.RawMessage `json:"example,omitempty"`
}

// ScanEventType reads an entry of the catalogue.
func ScanEventType(row Scanner) (hook.EventType, error) {
	var e hook.EventType
	var created, updated, deprecated, hidden int64
	var others []byte
	var searchable, redact string
	err := row.Scan(&e.Mode, &e.Name, &e.Description, &e.Group, &e.Version, &e.Schema, &e.Example, &others, &e.Enforce, &deprecated, &e.Replacement, &hidden, &searchable, &redact, &created, &updated)
	if err != nil {
		return e, err
	}
	e.Deprecated, e.Hidden, e.CreatedAt, e.UpdatedAt = deprecated != 0, hidden != 0, FromMicros(created), FromMicros(updated)
	if searchable != "" {
		if err := json.Unmarshal([]byte(searchable), &e.Searchable); err != nil {
			return e, fmt.Errorf("searchable of event type %s: %w", e.Name, err)
		}
	}
	if redact != "" {
		if err := json.Unmarshal([]byte(redact), &e.Redact); err != nil {
			return e, fmt.Errorf("redact of event type %s: %w", e.Name, err)
		}
	}
	if others == nil {
		return e, nil
	}
	var stored []storedVersion
	if err := json.Unmarshal(others, &stored); err != nil {
		return e, fmt.Errorf("other_versions of event type %s: %w", e.Name, err)
	}
	for _, v := range stored {
		e.Others = append(e.Others, hook.TypeVersion{Version: v.Version, Schema: v.Schema, Example: v.Example})
	}
	return e, nil
}

// EventTypeValues are the values of EventTypeColumns.
func EventTypeValues(e *hook.EventType) ([]any, error) {
	var others []byte
	if len(e.Others) > 0 {
		stored := make([]storedVersion, len(e.Others))
		for i, v := range e.Others {
			stored[i] = storedVersion{v.Version, v.Schema, v.Example}
		}
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false) // schemas come back as they were given, but for white space
		if err := encoder.Encode(stored); err != nil {
			return nil, err
		}
		others = bytes.TrimRight(text.Bytes(), "\n")
	}
	redact := ""
	if len(e.Redact) > 0 {
		text, err := json.Marshal(e.Redact)
		if err != nil {
			return nil, err
		}
		redact = string(text)
	}
	searchable := ""
	if len(e.Searchable) > 0 {
		text, err := json.Marshal(e.Searchable)
		if err != nil {
			return nil, err
		}
		searchable = string(text)
	}
	return []any{int64(e.Mode), e.Name, e.Description, e.Group, int64(e.Version), OrNull(e.Schema), OrNull(e.Example), OrNull(others), int64(e.Enforce),
		bit(e.Deprecated), e.Replacement, bit(e.Hidden), searchable, redact, Micros(e.CreatedAt), Micros(e.UpdatedAt)}, nil
}

func bit(set bool) int64 {
	if set {
		return 1
	}
	return 0
}
