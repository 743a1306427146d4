package app

import (
	"context"

	"github.com/posthorn/posthorn/internal/hook"
)

// CreateEventType adds an entry to the catalogue of the caller's mode. Operators only.
// The caller has checked that Schema and Example are JSON objects.
func (s *Service) CreateEventType(ctx context.Context, c Caller, e hook.EventType, once *Once) (hook.EventType, *hook.Replay, error) {
	if err := c.administer(); err != nil {
		return hook.EventType{}, nil, err
	}
	if !hook.ValidType(e.Name) {
		return hook.EventType{}, nil, errType("name", e.Name)
	}
	if err := checkText("description", e.Description, maxDescription); err != nil {
		return hook.EventType{}, nil, err
	}
	if err := checkRedact(e.Redact); err != nil {
		return hook.EventType{}, nil, err
	}
	if err := s.checkSchema(&e, &hook.EventType{}); err != nil {
		return hook.EventType{}, nil, err
	}
	e.Mode = c.Mode
	made, replay, err := s.o.Store.CreateEventType(ctx, e, once.in(hook.Scope{Mode: c.Mode}, same))
	if err == nil && e.Enforce != hook.EnforceOff {
		err = s.LoadSchemas(ctx)
	}
	return made, replay, err
}

// EventType returns an entry of the catalogue of the caller's mode. The catalogue
// belongs to no tenant: every key of the mode may read it.
func (s *Service) EventType(ctx context.Context, c Caller, name string) (hook.EventType, error) {
	return s.o.Store.EventType(ctx, c.Mode, name)
}

// EventTypes returns a page of the catalogue of the caller's mode, in the order of
// names. Every key of the mode may read it.
func (s *Service) EventTypes(ctx context.Context, c Caller, page hook.Page) ([]hook.EventType, string, error) {
	return s.o.Store.EventTypes(ctx, c.Mode, page)
}

// EventTypeChange is a change of a catalogue entry. A nil member leaves its value
// unchanged.
type EventTypeChange struct {
	Description *string
	Schema      *[]byte // a JSON object, or a nil slice to remove it
	Example     *[]byte // a JSON object, or a nil slice to remove it
	Enforce     *hook.Enforce
	Redact      *[]string // JSON pointers
	Check       func(hook.EventType) error
}

// UpdateEventType changes an entry of the catalogue. Operators only.
func (s *Service) UpdateEventType(ctx context.Context, c Caller, name string, change EventTypeChange) (hook.EventType, error) {
	if err := c.administer(); err != nil {
		return hook.EventType{}, err
	}
	if change.Description != nil {
		if err := checkText("description", *change.Description, maxDescription); err != nil {
			return hook.EventType{}, err
		}
	}
	if change.Redact != nil {
		if err := checkRedact(*change.Redact); err != nil {
			return hook.EventType{}, err
		}
	}
	var before hook.EventType
	made, err := s.o.Store.UpdateEventType(ctx, c.Mode, name, func(e hook.EventType) (hook.EventType, error) {
		before = e
		if change.Check != nil {
			if err := change.Check(e); err != nil {
				return e, err
			}
		}
		if change.Description != nil {
			e.Description = *change.Description
		}
		if change.Schema != nil {
			e.Schema = *change.Schema
		}
		if change.Example != nil {
			e.Example = *change.Example
		}
		if change.Enforce != nil {
			e.Enforce = *change.Enforce
		}
		if change.Redact != nil {
			e.Redact = *change.Redact
		}
		return e, s.checkSchema(&e, &before)
	})
	if err == nil && max(before.Enforce, made.Enforce) != hook.EnforceOff {
		err = s.LoadSchemas(ctx)
	}
	return made, err
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
