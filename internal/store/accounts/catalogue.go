package accounts

import (
	"context"
	"reflect"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// CreateEventType adds an entry to the catalogue of its mode. It returns CodeConflict if
// the name is taken.
func (s *Accounts) CreateEventType(ctx context.Context, e hook.EventType, once *hook.Once) (hook.EventType, *hook.Replay, error) {
	var made hook.EventType
	var replay *hook.Replay
	err := s.do(ctx, "create event type", 1, func(t *tx) (err error) {
		replay, err = t.Once(once, func() (any, bool, error) {
			made = e
			made.CreatedAt, made.UpdatedAt = t.Now, t.Now
			values, err := sqltext.EventTypeValues(&made)
			if err != nil {
				return nil, false, err
			}
			n, err := t.Exec("insert event type", sqltext.InsertEventType, values...)
			if err == nil && n == 0 {
				err = &hook.Error{Code: hook.CodeConflict, Field: "name", Message: "The catalogue has an event type of this name."}
			}
			t.tellCatalogue(&e)
			t.Audited(hook.ActEventTypeCreated, "event_type", e.Name, hook.Scope{Mode: e.Mode})
			return made, true, err
		})
		return err
	})
	if err != nil {
		return hook.EventType{}, nil, err
	}
	return made, replay, nil
}

// UpdateEventType changes an entry of the catalogue. update runs on the writer under the
// contract of UpdateEndpoint.
func (s *Accounts) UpdateEventType(ctx context.Context, mode hook.Mode, name string,
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
		made.Mode, made.Name, made.CreatedAt = old.Mode, old.Name, old.CreatedAt
		if made.UpdatedAt = old.UpdatedAt; reflect.DeepEqual(made, old) {
			return nil // nothing changes, so there is nothing to record
		}
		made.UpdatedAt = t.Now
		values, err := sqltext.EventTypeValues(&made)
		if err != nil {
			return err
		}
		changed := append(values[2:len(values)-2:len(values)-2], values[len(values)-1], int64(mode), name) // not created_at
		_, err = t.Exec("update event type", sqltext.UpdateEventType, changed...)
		t.tellCatalogue(&old, &made)
		var detail []string
		if !slices.Equal(old.Redact, made.Redact) {
			detail = []string{"redact"}
		}
		t.Audited(hook.ActEventTypeUpdated, "event_type", name, hook.Scope{Mode: mode}, detail...)
		return err
	})
	if err != nil {
		return hook.EventType{}, err
	}
	return made, nil
}

// DeleteEventType deletes an entry of the catalogue. Events and endpoints that name the
// type stay as they are. Each check is called with the entry first, on the writer; an
// error of a check stops the deletion.
func (s *Accounts) DeleteEventType(ctx context.Context, mode hook.Mode, name string, checks ...func(hook.EventType) error) error {
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
		t.tellCatalogue(&old)
		t.Audited(hook.ActEventTypeDeleted, "event_type", name, hook.Scope{Mode: mode})
		_, err = t.Exec("delete event type", "DELETE FROM event_types WHERE mode = ? AND name = ?", int64(mode), name)
		return err
	})
}

// tellCatalogue makes other nodes reload what publishing depends on, if it depends on one
// of the entries.
func (t *tx) tellCatalogue(entries ...*hook.EventType) {
	if slices.ContainsFunc(entries, (*hook.EventType).AtPublish) {
		t.TellNodes(sqltext.ChangedEventTypes, hook.Scope{}, hook.Ref{})
	}
}

func (t *tx) eventType(mode hook.Mode, name string) (hook.EventType, error) {
	found, err := sqltext.Collect(background, t.Conn, sqltext.ScanEventType, read.OneEventType, mode, name)
	if err != nil {
		return hook.EventType{}, sqltext.Wrap("read event type", err)
	}
	if len(found) == 0 {
		return hook.EventType{}, hook.NotFound("event type")
	}
	return found[0], nil
}

// KeepProfile stores the text of a profile under its hash, so that every retry sends the
// same bytes. Storing it again changes nothing.
func (s *Accounts) KeepProfile(ctx context.Context, hash hook.ProfileHash, name, text string) error {
	return s.keepProfile(ctx, hash, name, text, "NOTHING")
}

// PutProfile is KeepProfile, but it also makes the text the newest of its name on every
// node, even if the text was already stored.
func (s *Accounts) PutProfile(ctx context.Context, hash hook.ProfileHash, name, text string) error {
	return s.keepProfile(ctx, hash, name, text, "UPDATE SET kept_at = excluded.kept_at")
}

func (s *Accounts) keepProfile(ctx context.Context, hash hook.ProfileHash, name, text, known string) error {
	return s.do(ctx, "keep profile", 1, func(t *tx) error {
		n, err := t.Exec("keep profile", "INSERT INTO profiles (hash, name, text, kept_at) VALUES (?, ?, ?, ?) ON CONFLICT (hash) DO "+known,
			hash[:], name, text, sqltext.Micros(t.Now))
		if n > 0 {
			t.TellNodes(sqltext.ChangedProfiles, hook.Scope{}, hook.Ref{})
		}
		return err
	})
}
