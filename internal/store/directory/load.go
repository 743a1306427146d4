package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// EndpointColumns are the columns that ScanEndpoint reads, from endpoints e.
const EndpointColumns = `e.id, e.mode, e.tenant, e.url, e.types, e.title, e.description, e.profile, e.headers_sealed, e.rate_limit,
	e.max_in_flight, e.max_failures, e.retry, e.status, e.disabled_reason, e.disabled_at, e.created_at, e.updated_at, e.revision, e.enablings, e.query_sealed, e.home,
	e.verification, e.verification_event, e.verified_at, e.verification_attempt_at, e.verification_reason, e.operational, e.alarm, e.uid, e.metadata, e.channels,
	coalesce((SELECT n.rate_limit FROM tenants n WHERE n.id = e.tenant), 0)`

// ScanEndpoint reads a row and opens its headers and the query of its URL. If these cannot
// be opened, it marks the endpoint as damaged. It does not read secrets.
func (d *Directory) ScanEndpoint(row sqltext.Scanner) (*hook.Endpoint, error) {
	e := &hook.Endpoint{}
	var types, channels string
	var headers, query, challenge []byte
	var retry *string
	var disabled, created, updated, verified, attempted int64
	v := &e.Verification
	err := row.Scan(sqltext.Blob(e.ID[:]), &e.Scope.Mode, &e.Scope.Tenant, &e.URL, &types, &e.Title, &e.Description, &e.Profile,
		&headers, &e.RateLimit, &e.MaxInFlight, &e.MaxFailures, &retry, &e.Status, &e.DisabledReason, &disabled, &created,
		&updated, &e.Revision, &e.Enablings, &query, &e.Home, &v.State, &challenge, &verified, &attempted, &v.Reason, &e.Operational, &e.Alarm, &e.UID, &e.Metadata, &channels, &e.TenantRate)
	if err != nil {
		return nil, err
	}
	e.DisabledAt, e.CreatedAt, e.UpdatedAt = sqltext.FromMicros(disabled), sqltext.FromMicros(created), sqltext.FromMicros(updated)
	e.Channels = hook.ParseChannels(channels)
	copy(v.Event[:], challenge)
	v.VerifiedAt, v.AttemptAt = sqltext.FromMicros(verified), sqltext.FromMicros(attempted)
	if err := json.Unmarshal([]byte(types), &e.Types); err != nil {
		return nil, fmt.Errorf("read event types of %s: %w", e.ID, err)
	}
	if retry != nil {
		e.Retry = &hook.Retry{}
		if err := json.Unmarshal([]byte(*retry), e.Retry); err != nil {
			return nil, fmt.Errorf("read retry plan of %s: %w", e.ID, err)
		}
	}
	return e, d.openRow(e, headers, query)
}

// openRow opens the sealed values of an endpoint's row. e.URL must be the URL before its
// query.
func (d *Directory) openRow(e *hook.Endpoint, headers, query []byte) error {
	head := e.URL
	if query != nil {
		text, err := d.openBound("query", e, head, query)
		if err != nil {
			if err = d.damaged(e, hook.DamagedQuery, "the URL's query", err); err != nil {
				return err
			}
		}
		e.URL += string(text)
	}
	if headers == nil {
		return nil
	}
	text, err := d.openBound("headers", e, head, headers)
	if err != nil {
		return d.damaged(e, hook.DamagedHeaders, "headers", err)
	}
	if err := json.Unmarshal(text, &e.Headers); err != nil {
		return fmt.Errorf("read headers of %s: %w", e.ID, err)
	}
	return nil
}

// SecretPlace returns the associated data with which a secret is sealed.
func SecretPlace(e *hook.Endpoint, version int64) []byte {
	return sqltext.Place("secret", e.Scope, e.ID.String(), strconv.FormatInt(version, 10))
}

// Load reads a tenant's endpoints of one mode that are not deleted, with their secrets.
func (d *Directory) Load(ctx context.Context, q sqltext.Querier, scope hook.Scope) (*Scope, error) {
	entry := &Scope{}
	_, err := sqltext.ReadRow(ctx, q, "SELECT count(*), coalesce(sum(rate_limit), 0) FROM tenants WHERE id = ? AND deleted_at = 0", []any{scope.Tenant}, &entry.Tenant, &entry.Rate)
	if err != nil {
		return nil, fmt.Errorf("read tenant: %w", err)
	}
	if scope.Tenant == hook.OperatorTenant { // it has no row
		entry.Tenant = true
	}
	entry.Endpoints, err = d.LoadEndpoints(ctx, q, LiveOfScope, scope.Mode, scope.Tenant)
	if err != nil {
		return nil, err
	}
	return entry, nil
}

// The conditions by which endpoints are loaded.
const (
	LiveOfScope = "e.mode = ? AND e.tenant = ? AND e.status <> 3" // not deleted; as an argument, SQLite would plan the query anew each time
	WithID      = "e.id = ?"
)

// EndpointsWhere returns the query for the endpoints that meet a condition.
func EndpointsWhere(condition string) string {
	return "SELECT " + EndpointColumns + " FROM endpoints e WHERE " + condition + " ORDER BY e.id"
}

// SecretsWhere returns the query for the secrets of the endpoints that meet a condition.
func SecretsWhere(condition string) string {
	return `SELECT s.endpoint, s.version, s.encoding, s.sealed, s.created_at, s.expires_at
		FROM endpoints e JOIN secrets s ON s.endpoint = e.id WHERE ` + condition + " ORDER BY s.endpoint, s.version DESC"
}

// LoadEndpoints reads the endpoints that meet a condition, by id, with their secrets. It
// runs two queries, however many endpoints there are.
func (d *Directory) LoadEndpoints(ctx context.Context, q sqltext.Querier, condition string, args ...any) ([]*hook.Endpoint, error) {
	endpoints, err := sqltext.Collect(ctx, q, d.ScanEndpoint, EndpointsWhere(condition), args...)
	if err != nil {
		return nil, fmt.Errorf("read endpoints: %w", err)
	}
	of := make(map[hook.ID]*hook.Endpoint, len(endpoints))
	for _, e := range endpoints {
		of[e.ID] = e
	}
	_, err = sqltext.Collect(ctx, q, func(row sqltext.Scanner) (struct{}, error) { return struct{}{}, d.scanSecret(row, of) }, SecretsWhere(condition), args...)
	return endpoints, sqltext.Wrap("read secrets", err)
}

// scanSecret reads a row and adds the secret to its endpoint.
func (d *Directory) scanSecret(row sqltext.Scanner, of map[hook.ID]*hook.Endpoint) error {
	var id hook.ID
	var secret hook.Secret
	var sealed []byte
	var created, expires int64
	if err := row.Scan(sqltext.Blob(id[:]), &secret.Version, &secret.Encoding, &sealed, &created, &expires); err != nil {
		return err
	}
	e := of[id]
	if e == nil {
		return nil // the endpoint was created after the endpoints were read
	}
	text, err := d.keys.Open(SecretPlace(e, secret.Version), sealed)
	if err != nil {
		return d.damaged(e, hook.DamagedSecrets, "a secret", err)
	}
	secret.Text, secret.CreatedAt, secret.ExpiresAt = string(text), sqltext.FromMicros(created), sqltext.FromMicros(expires)
	e.Secrets = append(e.Secrets, secret)
	return nil
}

// damaged marks an endpoint if err means that a sealed value cannot be opened, and returns
// any other error. Damage is not an error, because the tenant's other endpoints must keep
// working, and the deliveries of the damaged one must wait and not be lost.
func (d *Directory) damaged(e *hook.Endpoint, part hook.Damage, what string, err error) error {
	if !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, seal.ErrOtherKey) {
		return fmt.Errorf("open %s of %s: %w", what, e.ID, err)
	}
	if e.Damage == 0 {
		d.log.Error("an endpoint is damaged: "+what+" cannot be opened; its deliveries wait. Set it anew, restore its row in the database and restart, or delete the endpoint",
			"endpoint", e.ID, "tenant", e.Scope.Tenant, "mode", e.Scope.Mode.String(), "error", err)
	}
	e.Damage |= part
	return nil
}
