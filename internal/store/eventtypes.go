package store

import (
	"context"
	"encoding/base64"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const eventTypeColumns = "mode, name, description, schema, example, created_at, updated_at"

func scanEventType(row sqltext.Scanner) (hook.EventType, error) {
	var e hook.EventType
	var created, updated int64
	err := row.Scan(&e.Mode, &e.Name, &e.Description, &e.Schema, &e.Example, &created, &updated)
	e.CreatedAt, e.UpdatedAt = sqltext.FromMicros(created), sqltext.FromMicros(updated)
	return e, err
}

// CreateEventType adds an entry to the catalogue of its mode. A name that is taken
// gives CodeConflict.
func (s *Store) CreateEventType(ctx context.Context, e hook.EventType, once *hook.Once) (hook.EventType, *hook.Replay, error) {
	var made hook.EventType
	var replay *hook.Replay
	err := s.do(ctx, "create event type", 1, func(t *tx) (err error) {
		replay, err = t.once(once, func() (any, bool, error) {
			made = e
			made.CreatedAt, made.UpdatedAt = t.now, t.now
			n, err := t.exec("insert event type", "INSERT INTO event_types ("+eventTypeColumns+") VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
				int64(e.Mode), e.Name, e.Description, sqltext.OrNull(e.Schema), sqltext.OrNull(e.Example), sqltext.Micros(t.now), sqltext.Micros(t.now))
			if err == nil && n == 0 {
				err = &hook.Error{Code: hook.CodeConflict, Field: "name", Message: "The catalogue has an event type of this name."}
			}
			return made, true, err
		})
		return err
	})
	if err != nil {
		return hook.EventType{}, nil, err
	}
	return made, replay, nil
}

const oneEventType = "SELECT " + eventTypeColumns + " FROM event_types WHERE mode = ? AND name = ?"

// EventType returns an entry of the catalogue of a mode.
func (s *Store) EventType(ctx context.Context, mode hook.Mode, name string) (hook.EventType, error) {
	found, err := sqltext.Collect(ctx, s.read, scanEventType, oneEventType, mode, name)
	if err != nil {
		return hook.EventType{}, s.readError("read event type", err)
	}
	if len(found) == 0 {
		return hook.EventType{}, hook.NotFound("event type")
	}
	return found[0], nil
}

// EventTypes lists the catalogue of a mode by name: a catalogue has no newest.
func (s *Store) EventTypes(ctx context.Context, mode hook.Mode, page hook.Page) ([]hook.EventType, string, error) {
	after, err := base64.RawURLEncoding.DecodeString(page.Cursor)
	if err != nil || page.Cursor != "" && !hook.ValidType(string(after)) {
		return nil, "", &hook.Error{Code: hook.CodeInvalidRequest, Field: "cursor", Message: "The cursor is not one of this list."}
	}
	list, err := sqltext.Collect(ctx, s.read, scanEventType, "SELECT "+eventTypeColumns+
		" FROM event_types WHERE mode = ? AND name > ? ORDER BY name LIMIT ?", mode, string(after), sqltext.LimitOf(page)+1)
	if err != nil {
		return nil, "", s.readError("list event types", err)
	}
	if len(list) <= sqltext.LimitOf(page) {
		return list, "", nil
	}
	list = list[:sqltext.LimitOf(page)]
	return list, base64.RawURLEncoding.EncodeToString([]byte(list[len(list)-1].Name)), nil
}

// UpdateEventType changes description, schema and example of an entry. update runs
// on the writer under the contract of UpdateEndpoint.
func (s *Store) UpdateEventType(ctx context.Context, mode hook.Mode, name string,
	update func(old hook.EventType) (hook.EventType, error)) (hook.EventType, error) {
	var made hook.EventType
	err := s.do(ctx, "update event type", 1, func(t *tx) error {
		old, err := t.eventType(mode, name)
		if err != nil {
			return err
		}
		if made, err = update(old); err != nil {
			return err
		}
		made.Mode, made.Name, made.CreatedAt, made.UpdatedAt = old.Mode, old.Name, old.CreatedAt, t.now
		_, err = t.exec("update event type", "UPDATE event_types SET description = ?, schema = ?, example = ?, updated_at = ? WHERE mode = ? AND name = ?",
			made.Description, sqltext.OrNull(made.Schema), sqltext.OrNull(made.Example), sqltext.Micros(t.now), int64(mode), name)
		return err
	})
	if err != nil {
		return hook.EventType{}, err
	}
	return made, nil
}

// DeleteEventType takes an entry out of the catalogue. Events and endpoints that
// name the type stay as they are. Each check sees the entry first, on the writer,
// and stops the deletion with an error.
func (s *Store) DeleteEventType(ctx context.Context, mode hook.Mode, name string, checks ...func(hook.EventType) error) error {
	return s.do(ctx, "delete event type", 1, func(t *tx) error {
		old, err := t.eventType(mode, name)
		if err != nil {
			return err
		}
		for _, check := range checks {
			if err := check(old); err != nil {
				return err
			}
		}
		_, err = t.exec("delete event type", "DELETE FROM event_types WHERE mode = ? AND name = ?", int64(mode), name)
		return err
	})
}

func (t *tx) eventType(mode hook.Mode, name string) (hook.EventType, error) {
	found, err := sqltext.Collect(background, t.c, scanEventType, oneEventType, mode, name)
	if err != nil {
		return hook.EventType{}, sqltext.Wrap("read event type", err)
	}
	if len(found) == 0 {
		return hook.EventType{}, hook.NotFound("event type")
	}
	return found[0], nil
}
