package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/redact"
)

// checkRedact refuses JSON pointers that cannot be used.
func checkRedact(pointers []string) error {
	_, err := redact.Compile(pointers)
	if fault, ok := errors.AsType[*redact.Fault](err); ok {
		return invalid(fmt.Sprintf("redact/%d", fault.Index), "Each entry of \"redact\" must be a JSON pointer (RFC 6901) such as /card/number. This one "+fault.Why+".")
	}
	return err
}

// redacted returns an event as anybody may see it. It returns an error, and no event, if
// that cannot be determined.
func (s *Service) redacted(ctx context.Context, e *hook.Event) (*hook.Event, error) {
	t, err := s.o.Store.EventType(ctx, e.Scope.Mode, e.Type)
	if err != nil && hook.CodeOf(err) == hook.CodeNotFound || err == nil && len(t.Redact) == 0 {
		return e, nil
	}
	if err != nil {
		return nil, err
	}
	rules, err := redact.Compile(t.Redact)
	if err != nil {
		return nil, &hook.Error{Code: hook.CodeInternal, Message: "The rules by which the event is redacted cannot be read.", Err: err}
	}
	shown := *e
	if shown.Data, shown.Redacted, err = rules.Text(e.Data); err != nil {
		return nil, &hook.Error{Code: hook.CodeInternal, Message: "The event cannot be redacted, so it is not shown.", Err: err}
	}
	return &shown, nil
}
