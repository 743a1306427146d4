package store

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/alerts"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// CreateEndpoint stores an endpoint. It sets the id, the times, the revision and the
// versions of the secrets. The result is a shared snapshot and must not be modified.
// CreateEndpoint returns CodeTenantNotFound if the tenant does not exist, and
// CodeRateLimited if the tenant made Options.EndpointsADay endpoints in the mode within 24
// hours, including deleted ones.
func (s *Store) CreateEndpoint(ctx context.Context, e hook.Endpoint, once *hook.Once) (*hook.Endpoint, *hook.Replay, error) {
	return s.CreateEndpointIf(ctx, e, nil, once)
}

// CreateEndpointIf is CreateEndpoint, but it first calls admit with the tenant's endpoints
// inside the transaction, so that two requests cannot both take the last place of a quota.
// If admit returns an error, CreateEndpointIf returns it and stores nothing. admit runs on
// the writer under the contract of UpdateEndpoint. A nil admit admits every endpoint.
func (s *Store) CreateEndpointIf(ctx context.Context, e hook.Endpoint, admit func(existing []*hook.Endpoint) error,
	once *hook.Once) (*hook.Endpoint, *hook.Replay, error) {
	var made *hook.Endpoint
	var replay *hook.Replay
	err := s.doFor(ctx, e.Scope, "create endpoint", 6, func(t *tx) (err error) {
		replay, err = t.Once(once, func() (any, bool, error) {
			entry, err := t.Scope(e.Scope)
			if err != nil {
				return nil, false, err
			}
			if !entry.Tenant {
				return nil, false, unit.NoTenant()
			}
			if err := t.checkMade(e.Scope); err != nil {
				return nil, false, err
			}
			if err := checkUID(entry, &e); err != nil {
				return nil, false, err
			}
			if admit != nil {
				if err := admit(entry.Endpoints); err != nil {
					return nil, false, err
				}
			}
			next := *copied(&e)
			next.TenantRate = entry.Rate
			next.ID, next.CreatedAt, next.Revision, next.Enablings, next.Alarm = t.s.core.IDs.Next(), t.Now, 0, 1, 0
			if next.Status == hook.Enabled && next.Unverified() {
				next.Status = hook.Tripped
			}
			if next.Status != hook.Enabled {
				next.Status, next.DisabledReason = outOfService(&next)
				next.DisabledAt = t.Now
			}
			if err := t.insertEndpoint(&next); err != nil {
				return nil, false, err
			}
			made = &next
			if err := t.saveEndpoint(made); err != nil {
				return nil, false, err
			}
			t.Audited(hook.ActEndpointCreated, "endpoint", made.ID.String(), made.Scope)
			t.s.alerts.Endpoint(t.Tx, hook.AlertEndpointCreated, made)
			return made, true, nil
		})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return made, replay, nil
}

// checkUID refuses a uid that another endpoint of the scope has. A deleted endpoint gives
// its uid back.
func checkUID(entry *directory.Scope, e *hook.Endpoint) error {
	for _, other := range entry.Endpoints {
		if e.UID != "" && other.UID == e.UID && other.ID != e.ID {
			return &hook.Error{Code: hook.CodeConflict, Field: "uid", Message: "Another endpoint of the tenant has this uid. Nothing was stored. Choose another, or change that endpoint."}
		}
	}
	return nil
}

// checkMade refuses an endpoint if the tenant made too many within a day. Deleted
// endpoints count, because they stay in the database for the history of their deliveries.
func (t *tx) checkMade(scope hook.Scope) error {
	const day = 24 * time.Hour
	low, first := sqltext.FirstID(t.Now.Add(-day)), hook.ID{}
	found, err := t.Row("count new endpoints", newEndpoints, []any{int64(scope.Mode), scope.Tenant, low[:], t.s.opts.EndpointsADay - 1}, sqltext.Blob(first[:]))
	if err != nil || !found {
		return err
	}
	return &hook.Error{Code: hook.CodeRateLimited, RetryAfter: max(first.Time().Add(day).Sub(t.Now), time.Second),
		Message: fmt.Sprintf("The tenant made %d endpoints within 24 hours, deleted ones included, and no more are allowed."+
			" Nothing was stored. Change endpoints instead of making them anew, or come back later.", t.s.opts.EndpointsADay)}
}

// newEndpoints finds one of the latest endpoints of a scope, deleted or not.
const newEndpoints = "SELECT id FROM endpoints WHERE mode = ? AND tenant = ? AND id >= ? ORDER BY id DESC LIMIT 1 OFFSET ?"

// copied returns a copy of an endpoint and its lists, so that changes by the caller do not
// affect the shared snapshot.
func copied(e *hook.Endpoint) *hook.Endpoint {
	next := *e
	next.Types, next.Channels = slices.Clone(e.Types), slices.Clone(e.Channels)
	next.Headers, next.Secrets = slices.Clone(e.Headers), slices.Clone(e.Secrets)
	if e.Retry != nil {
		retry := *e.Retry
		retry.Steps = slices.Clone(retry.Steps)
		next.Retry = &retry
	}
	return &next
}

// insertEndpoint inserts the row that saveEndpoint then fills.
func (t *tx) insertEndpoint(e *hook.Endpoint) error {
	_, err := t.Exec("insert endpoint", `INSERT INTO endpoints (id, mode, tenant, url, types, title, description, profile, headers_sealed,
		rate_limit, max_in_flight, max_failures, retry, status, disabled_reason, disabled_at, created_at, updated_at, revision, enablings, operational)
		VALUES (?, ?, ?, '', '[]', '', '', '', NULL, 0, 0, 0, NULL, 0, '', 0, ?, 0, 0, 0, ?)`,
		e.ID[:], int64(e.Scope.Mode), e.Scope.Tenant, sqltext.Micros(e.CreatedAt), sqltext.Number(e.Operational))
	return err
}

// UpdateEndpoint replaces an endpoint with the result of update and returns the new
// snapshot. An empty tenant means every tenant of the mode. update runs on the writer,
// possibly more than once. It must be quick, have no side effects, and must not call the
// store. If update returns an error, UpdateEndpoint returns it and changes nothing.
//
// update may set every field except the id, the scope, the times, the counters and the
// reason for being disabled. It may set Status to Enabled or Disabled, and that of a
// listener to Tripped. A secret with version 0 is a new one. A secret that update omits is
// deleted. Damaged values stay as they are stored, until update removes them from Damage;
// then the values of the result replace them.
//
// If the result is unverified, Enabled becomes Tripped: waiting and new deliveries are
// held. Once it is verified, the deliveries held for that reason are released.
//
// If an endpoint stops being Enabled, its pending deliveries are held. If it becomes
// Enabled, its health record starts anew and its held deliveries are released, oldest
// first, or cancelled if discardHeld is set.
func (s *Store) UpdateEndpoint(ctx context.Context, scope hook.Scope, id hook.ID,
	update func(old hook.Endpoint) (hook.Endpoint, error), discardHeld bool) (*hook.Endpoint, error) {
	var made *hook.Endpoint
	err := s.doFor(ctx, scope, "update endpoint", 6, func(t *tx) error {
		old, err := t.EndpointByID(scope, id)
		if err != nil {
			return err
		}
		next, err := update(*copied(old))
		if err != nil {
			return err
		}
		next.ID, next.Scope, next.CreatedAt, next.Revision, next.Enablings = old.ID, old.Scope, old.CreatedAt, old.Revision, old.Enablings
		next.Operational, next.Alarm, next.TenantRate = old.Operational, old.Alarm, old.TenantRate
		next.DisabledAt, next.DisabledReason = old.DisabledAt, old.DisabledReason
		t.gate(old, &next)
		if next.Status != old.Status && next.Status != hook.Enabled {
			next.Status, _ = outOfService(&next)
		}
		next.Damage &= old.Damage
		if reflect.DeepEqual(&next, copied(old)) {
			made = old // nothing changed, so there is no new revision
			return nil
		}
		if next.UID != old.UID {
			entry, err := t.Scope(old.Scope)
			if err == nil {
				err = checkUID(entry, &next)
			}
			if err != nil {
				return err
			}
		}
		made = &next
		changed := changes(old, made)
		if err := t.moveEndpoint(old, made, discardHeld); err != nil {
			return err
		}
		t.Audited(actOf(made, changed), "endpoint", id.String(), made.Scope, changed...)
		t.s.alerts.Endpoint(t.Tx, alerts.Changed(old, made), made, changed...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// changes names the fields in which two snapshots of an endpoint differ.
func changes(old, next *hook.Endpoint) (names []string) {
	for _, member := range []struct {
		name string
		same bool
	}{
		{"url", old.URL == next.URL}, {"uid", old.UID == next.UID}, {"metadata", old.Metadata == next.Metadata},
		{"event_types", slices.Equal(old.Types, next.Types)}, {"channels", slices.Equal(old.Channels, next.Channels)}, {"title", old.Title == next.Title},
		{"description", old.Description == next.Description}, {"profile", old.Profile == next.Profile},
		{"headers", slices.Equal(old.Headers, next.Headers)}, {"rate_limit", old.RateLimit == next.RateLimit},
		{"max_in_flight", old.MaxInFlight == next.MaxInFlight}, {"max_consecutive_failures", old.MaxFailures == next.MaxFailures},
		{"retry", reflect.DeepEqual(old.Retry, next.Retry)}, {"secrets", slices.Equal(old.Secrets, next.Secrets)},
		{"verification", reflect.DeepEqual(old.Verification, next.Verification)}, {"enabled", old.Status == next.Status},
	} {
		if !member.same {
			names = append(names, member.name)
		}
	}
	return names
}

// actOf returns the act of a change. A field that has an act of its own determines it if
// nothing else changed.
func actOf(next *hook.Endpoint, changed []string) hook.Act {
	switch {
	case slices.Equal(changed, []string{"secrets"}):
		return hook.ActSecretExpired
	case !slices.Equal(changed, []string{"enabled"}):
		return hook.ActEndpointUpdated
	case next.Status == hook.Enabled:
		return hook.ActEndpointEnabled
	}
	return hook.ActEndpointDisabled
}

// moveEndpoint saves a new snapshot and orders the sweep that its change of status
// requires.
func (t *tx) moveEndpoint(old, next *hook.Endpoint, discardHeld bool) error {
	if next.Status == hook.Enabled && old.Status != hook.Enabled {
		next.Enablings++
		next.Alarm &= hook.AlarmUnwell
		next.DisabledAt, next.DisabledReason = time.Time{}, ""
		if err := t.ClearHealth(next); err != nil {
			return err
		}
		sweep := sweepRelease
		if discardHeld {
			sweep = sweepDiscard
			if err := t.s.replays.DropShots(t.Tx, "endpoint = ? AND replay IS NOT NULL", next.Scope, next.ID[:]); err != nil {
				return err
			}
		}
		if err := t.orderAfterHold(next.ID, sweep); err != nil {
			return err
		}
	}
	if next.Status != hook.Enabled && next.Status != old.Status {
		next.DisabledAt = t.Now
		_, next.DisabledReason = outOfService(next)
	}
	if next.Status != hook.Enabled && old.Status == hook.Enabled {
		if err := t.orderHold(next, heldReason(next)); err != nil {
			return err
		}
	}
	return t.saveMended(old, next)
}

// saveMended is saveEndpoint, and resumes the work of an endpoint that it repairs.
func (t *tx) saveMended(old, next *hook.Endpoint) error {
	err := t.saveEndpoint(next)
	if err != nil || old.Damage == 0 || !next.Receives() {
		return err
	}
	return t.noteEarliest(next.Scope, next.ID)
}

// saveEndpoint writes a snapshot as the next revision, and sends the challenge that the
// snapshot requests. The snapshot takes effect on commit. Damaged values stay as they are.
// Values that were damaged only because they did not belong to the URL are sound again if
// they belong to the new one.
func (t *tx) saveEndpoint(e *hook.Endpoint) error {
	e.Revision++
	e.UpdatedAt = t.Now
	challenge := t.newChallenge(e)
	if e.Types == nil {
		e.Types = hook.Filter{}
	}
	types, err := json.Marshal(e.Types)
	if err != nil {
		return err
	}
	if err := t.saveMembers(e, string(types)); err != nil {
		return err
	}
	if err := t.s.accounts.AppendRevision(t.Tx, e, string(types)); err != nil {
		return err
	}
	if e.Damage != 0 {
		stored, err := t.s.core.Directory.LoadEndpoints(background, t.Conn, directory.WithID, e.ID[:])
		if err != nil {
			return err
		}
		for _, again := range stored {
			*e = *again
		}
	}
	if err := t.SetSnapshot(e); err != nil {
		return err
	}
	return t.sendChallenge(e, challenge)
}

// saveMembers writes all of a snapshot except its revision.
func (t *tx) saveMembers(e *hook.Endpoint, types string) error {
	head, query, headers, err := t.s.core.Directory.SealRow(e)
	if err != nil {
		return err
	}
	var retry any
	if e.Retry != nil {
		text, err := json.Marshal(e.Retry)
		if err != nil {
			return err
		}
		retry = string(text)
	}
	set := `url = ?, types = ?, title = ?, description = ?, profile = ?, rate_limit = ?, max_in_flight = ?, max_failures = ?, retry = ?,
		status = ?, disabled_reason = ?, disabled_at = ?, updated_at = ?, revision = ?, enablings = ?, home = ?,
		verification = ?, verification_event = ?, verified_at = ?, verification_attempt_at = ?, verification_reason = ?, alarm = ?, uid = ?, metadata = ?, channels = ?`
	v := &e.Verification
	var event any
	if !v.Event.IsZero() {
		event = v.Event[:]
	}
	args := []any{head, types, e.Title, e.Description, e.Profile, e.RateLimit, int64(e.MaxInFlight), int64(e.MaxFailures), retry,
		int64(e.Status), e.DisabledReason, sqltext.Micros(e.DisabledAt), sqltext.Micros(e.UpdatedAt), e.Revision, e.Enablings, e.Home,
		int64(v.State), event, sqltext.Micros(v.VerifiedAt), sqltext.Micros(v.AttemptAt), v.Reason, int64(e.Alarm), e.UID, e.Metadata, e.Channels.Text()}
	if !e.Damage.Has(hook.DamagedQuery) {
		set, args = set+", query_sealed = ?", append(args, query)
	}
	if !e.Damage.Has(hook.DamagedHeaders) {
		set, args = set+", headers_sealed = ?", append(args, headers)
	}
	if _, err := t.Exec("update endpoint", "UPDATE endpoints SET "+set+" WHERE id = ?", append(args, e.ID[:])...); err != nil {
		return err
	}
	if e.Damage.Has(hook.DamagedSecrets) {
		return nil
	}
	return t.s.accounts.SaveSecrets(t.Tx, e)
}

// outOfService returns the status and the reason of an endpoint that a caller disables.
// Only a listener can be away.
func outOfService(e *hook.Endpoint) (hook.Status, string) {
	switch {
	case e.Status == hook.Tripped && e.Listener():
		return hook.Tripped, hook.DisabledAway
	case e.Status == hook.Tripped && e.Unverified():
		return hook.Tripped, hook.DisabledUnverified
	}
	return hook.Disabled, hook.DisabledByHand
}

// heldReason returns why deliveries to an endpoint that is not enabled are held.
func heldReason(e *hook.Endpoint) hook.Reason {
	switch e.DisabledReason {
	case hook.DisabledByHand:
		return hook.ReasonDisabled
	case hook.DisabledGone:
		return hook.ReasonGone
	case hook.DisabledAway:
		return hook.ReasonAway
	case hook.DisabledUnverified:
		return hook.ReasonUnverified
	}
	return hook.ReasonTripped
}

// DeleteEndpoint deletes an endpoint. Callers no longer see it, its open deliveries are
// cancelled, and the history of its deliveries stays until retention drops it. An empty
// tenant means every tenant of the mode. Each check is called with the endpoint first, on
// the writer; an error of a check stops the deletion.
func (s *Store) DeleteEndpoint(ctx context.Context, scope hook.Scope, id hook.ID, checks ...func(hook.Endpoint) error) error {
	return s.doFor(ctx, scope, "delete endpoint", 4, func(t *tx) error {
		old, err := t.EndpointByID(scope, id)
		if err != nil {
			return err
		}
		for _, check := range checks {
			if err := check(*old); err != nil {
				return err
			}
		}
		if err := t.deleteEndpoint(old); err != nil {
			return err
		}
		t.Audited(hook.ActEndpointDeleted, "endpoint", id.String(), old.Scope)
		t.s.alerts.Endpoint(t.Tx, hook.AlertEndpointDeleted, old)
		return nil
	})
}

// deleteEndpoint deletes an endpoint with its secrets and header values, because nothing
// will be signed for it again.
func (t *tx) deleteEndpoint(old *hook.Endpoint) error {
	next := *old
	next.Status, next.DisabledReason, next.DisabledAt = hook.Deleted, "", t.Now
	next.Secrets, next.Headers, next.Damage = nil, nil, 0
	if err := t.ClearHealth(old); err != nil {
		return err
	}
	if err := t.orderCancel(old); err != nil {
		return err
	}
	return t.saveEndpoint(&next)
}
