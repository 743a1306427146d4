package read

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// TenantColumns are the columns that ScanTenant reads.
const TenantColumns = "id, name, metadata, rate_limit, created_at"

// ScanTenant reads a tenant.
func ScanTenant(row sqltext.Scanner) (hook.Tenant, error) {
	var n hook.Tenant
	var created int64
	err := row.Scan(tenantPlaces(&n, &created)...)
	n.CreatedAt = sqltext.FromMicros(created)
	return n, err
}

func tenantPlaces(n *hook.Tenant, created *int64) []any {
	return []any{&n.ID, &n.Name, &n.Metadata, &n.RateLimit, created}
}

// Tenant returns a tenant. A deleted one is not found.
func (l *Lists) Tenant(ctx context.Context, id string) (hook.Tenant, error) {
	n, err := ScanTenant(l.db.QueryRowContext(ctx, "SELECT "+TenantColumns+" FROM tenants WHERE id = ? AND deleted_at = 0", id))
	if errors.Is(err, sql.ErrNoRows) {
		return n, hook.NotFound("tenant")
	}
	if err != nil {
		return n, l.fail("read tenant", err)
	}
	return n, nil
}

// Tenants lists the tenants that are not deleted, newest first. A page examines a
// bounded number of rows and returns a cursor to continue from, even if it found nothing.
func (l *Lists) Tenants(ctx context.Context, q hook.TenantQuery) ([]hook.Tenant, string, error) {
	before, err := sqltext.BeforeOf(q.Page, 1)
	if err != nil {
		return nil, "", err
	}
	high := int64(1<<63 - 1)
	if q.Cursor != "" {
		high = seqOf(before[0])
	}
	if q.After != "" {
		found, err := sqltext.Collect(ctx, l.db, scanSeq, "SELECT seq FROM tenants WHERE id = ?", q.After)
		if err != nil {
			return nil, "", l.fail("find tenant", err)
		}
		if len(found) == 0 {
			return nil, "", hook.NotFound("tenant")
		}
		high = found[0]
	}
	if q.Ascending {
		return l.tenantsUp(ctx, &q, high)
	}
	low, err := sqltext.Collect(ctx, l.db, scanSeq, "SELECT seq FROM tenants WHERE seq < ? ORDER BY seq DESC LIMIT 1 OFFSET ?", high, l.Scan-1)
	if err != nil {
		return nil, "", l.fail("bound the list", err)
	}
	low = append(low, 0)
	type numbered struct {
		hook.Tenant
		seq int64
	}
	rows, err := sqltext.Collect(ctx, l.db, func(row sqltext.Scanner) (n numbered, err error) {
		var created int64
		err = row.Scan(append(tenantPlaces(&n.Tenant, &created), &n.seq)...)
		n.CreatedAt = sqltext.FromMicros(created)
		return n, err
	}, "SELECT "+TenantColumns+", seq FROM tenants WHERE deleted_at = 0 AND seq >= ? AND seq < ? AND (? = '' OR name = ?) ORDER BY seq DESC LIMIT ?",
		low[0], high, q.Name, q.Name, sqltext.LimitOf(q.Page)+1)
	if err != nil {
		return nil, "", l.fail("list tenants", err)
	}
	next := ""
	switch {
	case len(rows) > sqltext.LimitOf(q.Page):
		rows = rows[:sqltext.LimitOf(q.Page)]
		next = sqltext.CursorOf(seqID(rows[len(rows)-1].seq))
	case len(low) > 1:
		next = sqltext.CursorOf(seqID(low[0]))
	}
	list := make([]hook.Tenant, len(rows))
	for i, n := range rows {
		list[i] = n.Tenant
	}
	return list, next, nil
}

func scanSeq(row sqltext.Scanner) (seq int64, err error) {
	err = row.Scan(&seq)
	return seq, err
}

// KeyColumns are the columns of keys, except for revoked_at.
const KeyColumns = "id, kind, mode, tenant, name, hash, created_at, last_used_at, expires_at, read_only, event_types, networks"

func scanKey(row sqltext.Scanner) (hook.Key, error) {
	var k hook.Key
	var created, used, expires, readOnly int64
	var types, networks string
	err := row.Scan(sqltext.Blob(k.ID[:]), &k.Kind, &k.Mode, &k.Tenant, &k.Name, sqltext.Blob(k.Hash[:]), &created, &used, &expires, &readOnly, &types, &networks)
	if err != nil {
		return k, err
	}
	k.CreatedAt, k.LastUsedAt, k.ExpiresAt, k.ReadOnly = sqltext.FromMicros(created), sqltext.FromMicros(used), sqltext.FromMicros(expires), readOnly != 0
	if types != "" {
		k.EventTypes = strings.Fields(types)
	}
	for _, text := range strings.Fields(networks) {
		n, err := netip.ParsePrefix(text)
		if err != nil { // otherwise a limit would be lost
			return k, fmt.Errorf("networks of key %s: %w", k.ID, err)
		}
		k.Networks = append(k.Networks, n)
	}
	return k, nil
}

// KeyValues are the values of KeyColumns.
func KeyValues(k *hook.Key) []any {
	readOnly := int64(0)
	if k.ReadOnly {
		readOnly = 1
	}
	networks := make([]string, len(k.Networks))
	for i, n := range k.Networks {
		networks[i] = n.String()
	}
	return []any{k.ID[:], string(k.Kind), int64(k.Mode), k.Tenant, k.Name, k.Hash[:], sqltext.Micros(k.CreatedAt), sqltext.Micros(k.LastUsedAt),
		sqltext.Micros(k.ExpiresAt), readOnly, strings.Join(k.EventTypes, " "), strings.Join(networks, " ")}
}

// Keys lists the keys of a scope that are not revoked, newest first. An empty
// tenant means all of the mode. A page examines a bounded number of rows and returns a
// cursor to continue from, even if it found nothing.
func (l *Lists) Keys(ctx context.Context, q hook.KeyQuery) ([]hook.Key, string, error) {
	before, err := sqltext.BeforeOf(q.Page, 1)
	if err != nil {
		return nil, "", err
	}
	of := spanOf{id: "e.id", bounds: "keys e", where: "e.mode = ? AND " + sqltext.TenantIs(q.Scope), args: []any{q.Scope.Mode, q.Scope.Tenant}}
	span, err := l.span(ctx, of, time.Time{}, time.Time{}, before[0])
	if err != nil {
		return nil, "", err
	}
	list, err := sqltext.Collect(ctx, l.db, scanKey, "SELECT "+KeyColumns+` FROM keys e WHERE e.mode = ? AND `+sqltext.TenantIs(q.Scope)+`
		AND revoked_at = 0 AND id >= ? AND id < ? AND (? = '' OR kind = ?) AND (? = '' OR name = ?) ORDER BY id DESC LIMIT ?`,
		q.Scope.Mode, q.Scope.Tenant, span.low[:], span.high[:], q.Kind, q.Kind, q.Name, q.Name, sqltext.LimitOf(q.Page)+1)
	if err != nil {
		return nil, "", l.fail("list keys", err)
	}
	if len(list) <= sqltext.LimitOf(q.Page) {
		return list, span.cursor(1), nil
	}
	list = list[:sqltext.LimitOf(q.Page)]
	return list, sqltext.CursorOf(list[len(list)-1].ID), nil
}

// seqID and seqOf convert between a sequence number and an id, because a cursor contains
// ids.
func seqID(n int64) (id hook.ID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	return id
}

func seqOf(id hook.ID) int64 { return int64(binary.BigEndian.Uint64(id[8:])) }

const partnerColumns = "p.id, p.mode, p.partner, p.user_id, p.tenant, p.created_at"

func scanPartner(row sqltext.Scanner) (hook.PartnerUser, error) {
	var p hook.PartnerUser
	var created int64
	err := row.Scan(sqltext.Blob(p.ID[:]), &p.Mode, &p.Partner, &p.User, &p.Tenant, &created)
	p.CreatedAt = sqltext.FromMicros(created)
	return p, err
}

// PartnerTenant returns the tenant for which the partner's keys act when they name the
// user. The partner is the tenant of the scope. An unknown user and a grant for a deleted
// tenant give the same CodeNotFound.
func (l *Lists) PartnerTenant(ctx context.Context, scope hook.Scope, user string) (string, error) {
	var tenant string
	err := l.db.QueryRowContext(ctx, `SELECT p.tenant FROM partner_users p JOIN tenants n ON n.id = p.tenant AND n.deleted_at = 0
		WHERE p.mode = ? AND p.partner = ? AND p.user_id = ?`, scope.Mode, scope.Tenant, user).Scan(&tenant)
	if errors.Is(err, sql.ErrNoRows) {
		return "", hook.NotFound("user")
	}
	if err != nil {
		return "", l.fail("read partner user", err)
	}
	return tenant, nil
}

// PartnerUsers lists the grants of a mode, newest first. If the scope has a tenant, it
// lists only the grants of that partner.
func (l *Lists) PartnerUsers(ctx context.Context, scope hook.Scope, page hook.Page) ([]hook.PartnerUser, string, error) {
	before, err := sqltext.BeforeOf(page, 1)
	if err != nil {
		return nil, "", err
	}
	list, err := sqltext.Collect(ctx, l.db, scanPartner, "SELECT "+partnerColumns+` FROM partner_users p
		WHERE p.mode = ? AND (? = '' OR p.partner = ?) AND p.id < ?
		AND NOT EXISTS (SELECT 1 FROM tenants gone WHERE gone.id IN (p.partner, p.tenant) AND gone.deleted_at > 0) ORDER BY p.id DESC LIMIT ?`,
		scope.Mode, scope.Tenant, scope.Tenant, before[0][:], sqltext.LimitOf(page)+1)
	if err != nil {
		return nil, "", l.fail("list partner users", err)
	}
	if len(list) <= sqltext.LimitOf(page) {
		return list, "", nil
	}
	list = list[:sqltext.LimitOf(page)]
	return list, sqltext.CursorOf(list[len(list)-1].ID), nil
}

// Profile is the text of a wire format with which deliveries were accepted.
type Profile struct {
	Hash hook.ProfileHash
	Name string
	Text string
	// KeptAt is when the text took effect. If a name has several texts, all nodes use the
	// newest.
	KeptAt time.Time
}

// Profiles returns all stored texts, ordered by name and then from oldest to newest.
func (l *Lists) Profiles(ctx context.Context) ([]Profile, error) {
	list, err := sqltext.Collect(ctx, l.db, func(row sqltext.Scanner) (p Profile, err error) {
		var kept int64
		err = row.Scan(sqltext.Blob(p.Hash[:]), &p.Name, &p.Text, &kept)
		p.KeptAt = sqltext.FromMicros(kept)
		return p, err
	}, "SELECT hash, name, text, kept_at FROM profiles ORDER BY name, kept_at, hash")
	if err != nil {
		return nil, l.fail("read profiles", err)
	}
	return list, nil
}

// KeyByHash returns the key whose text has this SHA-256. Unknown and revoked keys give the
// same CodeNotFound (S-10). A revocation takes effect with its commit.
func (l *Lists) KeyByHash(ctx context.Context, hash [32]byte) (hook.Key, error) {
	k, age, ok := l.known.Get(hash)
	if ok {
		return k, nil
	}
	k, err := scanKey(l.db.QueryRowContext(ctx, "SELECT "+KeyColumns+" FROM keys WHERE hash = ? AND revoked_at = 0", hash[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return hook.Key{}, hook.NotFound("key")
	}
	if err != nil {
		return hook.Key{}, l.fail("read key", err)
	}
	l.known.Offer(k, age)
	return k, nil
}

// TokenKey returns the key of the token whose text has this SHA-256. An unknown token, an
// expired one and one of a revoked key give the same CodeNotFound. Tokens are not cached,
// so a revocation takes effect with its commit.
func (l *Lists) TokenKey(ctx context.Context, hash [32]byte) (hook.Key, error) {
	k, err := scanKey(l.db.QueryRowContext(ctx, "SELECT k."+strings.ReplaceAll(KeyColumns, ", ", ", k.")+`
		FROM oauth_tokens o JOIN keys k ON k.id = o.key AND k.mode = o.mode AND k.tenant = o.tenant
		WHERE o.hash = ? AND o.expires_at > ? AND k.revoked_at = 0`, hash[:], sqltext.Micros(l.now())))
	if errors.Is(err, sql.ErrNoRows) {
		return hook.Key{}, hook.NotFound("token")
	}
	if err != nil {
		return hook.Key{}, l.fail("read token", err)
	}
	return k, nil
}
