package store

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const endpointColumns = `e.id, e.mode, e.tenant, e.url, e.types, e.title, e.description, e.profile, e.headers_sealed, e.rate_limit,
	e.max_in_flight, e.max_failures, e.retry, e.status, e.disabled_reason, e.disabled_at, e.created_at, e.updated_at, e.revision, e.enablings, e.query_sealed, e.home`

// scanEndpoint reads a row and opens its headers and the query of its URL; if they
// cannot be opened, the endpoint is marked as damaged. Secrets are not read.
func (s *Store) scanEndpoint(row sqltext.Scanner) (*hook.Endpoint, error) {
	e := &hook.Endpoint{}
	var types string
	var headers, query []byte
	var retry *string
	var disabled, created, updated int64
	err := row.Scan(sqltext.Blob(e.ID[:]), &e.Scope.Mode, &e.Scope.Tenant, &e.URL, &types, &e.Title, &e.Description, &e.Profile,
		&headers, &e.RateLimit, &e.MaxInFlight, &e.MaxFailures, &retry, &e.Status, &e.DisabledReason, &disabled, &created,
		&updated, &e.Revision, &e.Enablings, &query, &e.Home)
	if err != nil {
		return nil, err
	}
	e.DisabledAt, e.CreatedAt, e.UpdatedAt = sqltext.FromMicros(disabled), sqltext.FromMicros(created), sqltext.FromMicros(updated)
	if err := json.Unmarshal([]byte(types), &e.Types); err != nil {
		return nil, fmt.Errorf("read event types of %s: %w", e.ID, err)
	}
	if retry != nil {
		e.Retry = &hook.Retry{}
		if err := json.Unmarshal([]byte(*retry), e.Retry); err != nil {
			return nil, fmt.Errorf("read retry plan of %s: %w", e.ID, err)
		}
	}
	if headers != nil {
		text, err := s.keys.Open(headersPlace(e), headers)
		if err != nil {
			return e, s.damaged(e, "headers", err)
		}
		if err := json.Unmarshal(text, &e.Headers); err != nil {
			return nil, fmt.Errorf("read headers of %s: %w", e.ID, err)
		}
	}
	if query != nil {
		text, err := s.keys.Open(queryPlace(e), query)
		if err != nil {
			return e, s.damaged(e, "the URL's query", err)
		}
		e.URL += string(text)
	}
	return e, nil
}

func queryPlace(e *hook.Endpoint) []byte { return place("query", e.Scope, e.ID.String()) }

// sealQuery cuts a URL before its query, which often holds a token, and seals that.
func (s *Store) sealQuery(e *hook.Endpoint) (head string, query any, err error) {
	i := strings.IndexByte(e.URL, '?')
	if i < 0 {
		return e.URL, nil, nil
	}
	query, err = s.keys.Seal(queryPlace(e), []byte(e.URL[i:]))
	return e.URL[:i], query, err
}

func headersPlace(e *hook.Endpoint) []byte { return place("headers", e.Scope, e.ID.String()) }

func secretPlace(e *hook.Endpoint, version int64) []byte {
	return place("secret", e.Scope, e.ID.String(), strconv.FormatInt(version, 10))
}

// loadScope reads a tenant's live endpoints of one mode, with secrets.
func (s *Store) loadScope(ctx context.Context, q sqltext.Querier, scope hook.Scope) (*scopeEntry, error) {
	entry := &scopeEntry{}
	_, err := sqltext.ReadRow(ctx, q, "SELECT count(*) FROM tenants WHERE id = ? AND deleted_at = 0", []any{scope.Tenant}, &entry.tenant)
	if err != nil {
		return nil, fmt.Errorf("read tenant: %w", err)
	}
	entry.endpoints, err = s.loadEndpoints(ctx, q, liveOfScope, scope.Mode, scope.Tenant, hook.Deleted)
	if err != nil {
		return nil, err
	}
	return entry, nil
}

// The conditions by which endpoints are loaded.
const (
	liveOfScope = "e.mode = ? AND e.tenant = ? AND e.status <> ?"
	withID      = "e.id = ?"
)

func endpointsWhere(condition string) string {
	return "SELECT " + endpointColumns + " FROM endpoints e WHERE " + condition + " ORDER BY e.id"
}

func secretsWhere(condition string) string {
	return `SELECT s.endpoint, s.version, s.encoding, s.sealed, s.created_at, s.expires_at
		FROM endpoints e JOIN secrets s ON s.endpoint = e.id WHERE ` + condition + " ORDER BY s.endpoint, s.version DESC"
}

// loadEndpoints reads the endpoints that meet the condition, by id, with their
// secrets: two queries, however many endpoints there are.
func (s *Store) loadEndpoints(ctx context.Context, q sqltext.Querier, condition string, args ...any) ([]*hook.Endpoint, error) {
	endpoints, err := sqltext.Collect(ctx, q, s.scanEndpoint, endpointsWhere(condition), args...)
	if err != nil {
		return nil, fmt.Errorf("read endpoints: %w", err)
	}
	of := make(map[hook.ID]*hook.Endpoint, len(endpoints))
	for _, e := range endpoints {
		of[e.ID] = e
	}
	_, err = sqltext.Collect(ctx, q, func(row sqltext.Scanner) (struct{}, error) { return struct{}{}, s.scanSecret(row, of) }, secretsWhere(condition), args...)
	return endpoints, sqltext.Wrap("read secrets", err)
}

// scanSecret reads a row and gives the secret to its endpoint.
func (s *Store) scanSecret(row sqltext.Scanner, of map[hook.ID]*hook.Endpoint) error {
	var id hook.ID
	var secret hook.Secret
	var sealed []byte
	var created, expires int64
	if err := row.Scan(sqltext.Blob(id[:]), &secret.Version, &secret.Encoding, &sealed, &created, &expires); err != nil {
		return err
	}
	e := of[id]
	if e == nil {
		return nil // made since the endpoints were read: who reads next sees both
	}
	text, err := s.keys.Open(secretPlace(e, secret.Version), sealed)
	if err != nil {
		return s.damaged(e, "a secret", err)
	}
	secret.Text, secret.CreatedAt, secret.ExpiresAt = string(text), sqltext.FromMicros(created), sqltext.FromMicros(expires)
	e.Secrets = append(e.Secrets, secret)
	return nil
}

// CreateEndpoint stores an endpoint. Its id, times, revision and the versions of
// its secrets are set here; what the result points to is shared and never
// changed. The tenant must exist: CodeTenantNotFound.
func (s *Store) CreateEndpoint(ctx context.Context, e hook.Endpoint, once *hook.Once) (*hook.Endpoint, *hook.Replay, error) {
	return s.CreateEndpointIf(ctx, e, nil, once)
}

// CreateEndpointIf is CreateEndpoint that first shows the tenant's live endpoints
// to admit, inside the transaction, so that two requests cannot both take the last
// place of a quota. An error of admit is returned and nothing is stored. admit
// runs on the writer under the contract of UpdateEndpoint; nil admits everything.
func (s *Store) CreateEndpointIf(ctx context.Context, e hook.Endpoint, admit func(existing []*hook.Endpoint) error,
	once *hook.Once) (*hook.Endpoint, *hook.Replay, error) {
	var made *hook.Endpoint
	var replay *hook.Replay
	err := s.doFor(ctx, e.Scope, "create endpoint", 4, func(t *tx) (err error) {
		replay, err = t.once(once, func() (any, bool, error) {
			entry, err := t.scope(e.Scope)
			if err != nil {
				return nil, false, err
			}
			if !entry.tenant {
				return nil, false, errNoTenant()
			}
			if admit != nil {
				if err := admit(entry.endpoints); err != nil {
					return nil, false, err
				}
			}
			next := *copied(&e)
			next.ID, next.CreatedAt, next.Revision, next.Enablings = t.s.ids.Next(), t.now, 0, 1
			if next.Status != hook.Enabled {
				next.Status, next.DisabledReason = outOfService(&next)
				next.DisabledAt = t.now
			}
			if err := t.insertEndpoint(&next); err != nil {
				return nil, false, err
			}
			made = &next
			return made, true, t.saveEndpoint(made)
		})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return made, replay, nil
}

// copied keeps what a caller does to an endpoint's lists away from the snapshot
// that everybody shares.
func copied(e *hook.Endpoint) *hook.Endpoint {
	next := *e
	next.Types, next.Headers, next.Secrets = slices.Clone(e.Types), slices.Clone(e.Headers), slices.Clone(e.Secrets)
	if e.Retry != nil {
		retry := *e.Retry
		retry.Steps = slices.Clone(retry.Steps)
		next.Retry = &retry
	}
	return &next
}

// insertEndpoint makes the row that saveEndpoint then fills.
func (t *tx) insertEndpoint(e *hook.Endpoint) error {
	_, err := t.exec("insert endpoint", `INSERT INTO endpoints (id, mode, tenant, url, types, title, description, profile, headers_sealed,
		rate_limit, max_in_flight, max_failures, retry, status, disabled_reason, disabled_at, created_at, updated_at, revision, enablings)
		VALUES (?, ?, ?, '', '[]', '', '', '', NULL, 0, 0, 0, NULL, 0, '', 0, ?, 0, 0, 0)`,
		e.ID[:], int64(e.Scope.Mode), e.Scope.Tenant, sqltext.Micros(e.CreatedAt))
	return err
}

// UpdateEndpoint changes a live endpoint by what update makes of it and returns
// the new snapshot. An empty scope tenant means all of the mode. update runs on
// the writer, perhaps twice: it must be quick, without effects, and must not call
// the store; an error of it is returned and nothing changes.
//
// What update may set: everything but id, scope, times, counters and the reason
// for being disabled, which are kept here. Status may become Enabled or Disabled,
// of a listener also Tripped, no other. A secret with version 0 is a new one; one that is left out is
// deleted. Taking Enabled away holds what waits; changing Status to it starts a
// clean record of health and releases what was held, oldest first, or with
// discardHeld cancels it.
func (s *Store) UpdateEndpoint(ctx context.Context, scope hook.Scope, id hook.ID,
	update func(old hook.Endpoint) (hook.Endpoint, error), discardHeld bool) (*hook.Endpoint, error) {
	var made *hook.Endpoint
	err := s.doFor(ctx, scope, "update endpoint", 4, func(t *tx) error {
		old, err := t.endpointByID(scope, id)
		if err != nil {
			return err
		}
		next, err := update(*copied(old))
		if err != nil {
			return err
		}
		next.ID, next.Scope, next.CreatedAt, next.Revision, next.Enablings = old.ID, old.Scope, old.CreatedAt, old.Revision, old.Enablings
		if next.Status != old.Status && next.Status != hook.Enabled {
			next.Status, _ = outOfService(&next)
		}
		next.DisabledAt, next.DisabledReason = old.DisabledAt, old.DisabledReason
		if reflect.DeepEqual(&next, copied(old)) {
			made = old // nothing to write, and no revision that says nothing
			return nil
		}
		if err := changeable(old, &next); err != nil {
			return err
		}
		made = &next
		return t.moveEndpoint(old, made, discardHeld)
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// moveEndpoint saves a new snapshot with what its change of status brings.
func (t *tx) moveEndpoint(old, next *hook.Endpoint, discardHeld bool) error {
	if next.Status == hook.Enabled && old.Status != hook.Enabled {
		next.Enablings++
		next.DisabledAt, next.DisabledReason = time.Time{}, ""
		if err := t.clearHealth(next); err != nil {
			return err
		}
		sweep := sweepRelease
		if discardHeld {
			sweep = sweepDiscard
		}
		if err := t.orderAfterHold(next.ID, sweep); err != nil {
			return err
		}
	}
	if next.Status != hook.Enabled && next.Status != old.Status {
		next.DisabledAt = t.now
		_, next.DisabledReason = outOfService(next)
	}
	if next.Status != hook.Enabled && old.Status == hook.Enabled {
		if err := t.orderHold(next, heldReason(next)); err != nil {
			return err
		}
	}
	return t.saveEndpoint(next)
}

// saveEndpoint writes a snapshot as the next revision and makes it the one in
// force with the commit.
func (t *tx) saveEndpoint(e *hook.Endpoint) error {
	e.Revision++
	e.UpdatedAt = t.now
	if e.Types == nil {
		e.Types = hook.Filter{}
	}
	types, err := json.Marshal(e.Types)
	if err != nil {
		return err
	}
	if e.Damaged {
		err = t.saveStatus(e)
	} else {
		err = t.saveMembers(e, types)
	}
	if err != nil {
		return err
	}
	if _, err := t.exec("append revision", `INSERT INTO endpoint_revisions (endpoint, revision, mode, tenant, at, url, types, status, profile)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, e.ID[:], e.Revision, int64(e.Scope.Mode), e.Scope.Tenant, sqltext.Micros(t.now), hook.MaskURL(e.URL),
		string(types), int64(e.Status), e.Profile); err != nil {
		return err
	}
	return t.change(e)
}

// saveMembers writes what a snapshot holds beside its revision.
func (t *tx) saveMembers(e *hook.Endpoint, types []byte) error {
	var headers, retry any
	if len(e.Headers) > 0 {
		text, err := json.Marshal(e.Headers)
		if err != nil {
			return err
		}
		if headers, err = t.s.keys.Seal(headersPlace(e), text); err != nil {
			return err
		}
	}
	head, query, err := t.s.sealQuery(e)
	if err != nil {
		return err
	}
	if e.Retry != nil {
		text, err := json.Marshal(e.Retry)
		if err != nil {
			return err
		}
		retry = string(text)
	}
	_, err = t.exec("update endpoint", `UPDATE endpoints SET url = ?, query_sealed = ?, types = ?, title = ?, description = ?, profile = ?,
		headers_sealed = ?, rate_limit = ?, max_in_flight = ?, max_failures = ?, retry = ?, status = ?, disabled_reason = ?,
		disabled_at = ?, updated_at = ?, revision = ?, enablings = ?, home = ? WHERE id = ?`,
		head, query, string(types), e.Title, e.Description, e.Profile, headers, e.RateLimit, int64(e.MaxInFlight), int64(e.MaxFailures), retry,
		int64(e.Status), e.DisabledReason, sqltext.Micros(e.DisabledAt), sqltext.Micros(e.UpdatedAt), e.Revision, e.Enablings, e.Home, e.ID[:])
	if err != nil {
		return err
	}
	return t.saveSecrets(e)
}

// outOfService returns the status and the word for it of an endpoint that a caller
// takes out of service: only a listener can be away.
func outOfService(e *hook.Endpoint) (hook.Status, string) {
	if e.Status == hook.Tripped && e.Listener() {
		return hook.Tripped, disabledAway
	}
	return hook.Disabled, disabledByHand
}

// heldReason says why deliveries to an endpoint that is not enabled are held.
func heldReason(e *hook.Endpoint) hook.Reason {
	switch e.DisabledReason {
	case disabledByHand:
		return hook.ReasonDisabled
	case disabledGone:
		return hook.ReasonGone
	case disabledAway:
		return hook.ReasonAway
	}
	return hook.ReasonTripped
}

// The words for why an endpoint is disabled.
const (
	disabledByHand   = "by_hand"
	disabledFailures = "failures"
	disabledGone     = "gone"
	disabledAway     = "listener_away"
)
