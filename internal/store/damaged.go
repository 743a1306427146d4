package store

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// damaged marks an endpoint of which something sealed cannot be opened. Its tenant's
// other endpoints must go on, and its own deliveries must wait rather than get lost,
// so that is no error. Any other error is returned.
func (s *Store) damaged(e *hook.Endpoint, what string, err error) error {
	if !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrOtherKey) {
		return fmt.Errorf("open %s of %s: %w", what, e.ID, err)
	}
	if !e.Damaged {
		s.log.Error("an endpoint is damaged: "+what+" cannot be opened; its deliveries wait. Restore its rows in the database and restart, or delete the endpoint",
			"endpoint", e.ID, "tenant", e.Scope.Tenant, "mode", e.Scope.Mode.String(), "error", err)
	}
	e.Damaged = true
	return nil
}

// changeable refuses changes of a damaged endpoint other than of its status: what it
// could not open would be overwritten.
func changeable(old, next *hook.Endpoint) error {
	if !old.Damaged {
		return nil
	}
	want := *old
	want.Status, want.DisabledAt, want.DisabledReason, want.Home = next.Status, next.DisabledAt, next.DisabledReason, next.Home
	if reflect.DeepEqual(copied(&want), copied(next)) {
		return nil
	}
	return errEndpointDamaged()
}

func errEndpointDamaged() *hook.Error {
	return &hook.Error{Code: hook.CodeEndpointDamaged, Message: "The endpoint's secret or headers are damaged in the database, so nothing but its status can be changed." +
		" Ask the operator to restore it, or delete it and make a new one."}
}

// saveStatus is saveEndpoint for a damaged endpoint: what is sealed stays as it is.
func (t *tx) saveStatus(e *hook.Endpoint) error {
	_, err := t.exec("update status of endpoint", `UPDATE endpoints SET status = ?, disabled_reason = ?, disabled_at = ?, updated_at = ?, revision = ?,
		enablings = ?, home = ? WHERE id = ?`, int64(e.Status), e.DisabledReason, sqltext.Micros(e.DisabledAt), sqltext.Micros(e.UpdatedAt), e.Revision, e.Enablings, e.Home, e.ID[:])
	return err
}
