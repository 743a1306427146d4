package postgres

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// The statements that claim many shares at once. Rows that another node is claiming are
// skipped.
const (
	// ClaimText claims due deliveries, and EarliestText finds the earliest work that
	// remains.
	ClaimText = `UPDATE deliveries d SET owner = ?, fence = d.fence + 1 FROM (SELECT w.event, w.endpoint
			FROM unnest(?::bytea[], ?::int8[]) AS s(endpoint, most) CROSS JOIN LATERAL (SELECT o.event, o.endpoint FROM deliveries o
				WHERE o.state = 0 AND o.owner = 0 AND o.endpoint = s.endpoint AND o.due <= ? ORDER BY o.due LIMIT s.most FOR UPDATE SKIP LOCKED) w) c
		WHERE d.event = c.event AND d.endpoint = c.endpoint RETURNING ` + sqltext.DeliveryColumns
	EarliestText = `SELECT s.endpoint, w.due FROM unnest(?::bytea[]) AS s(endpoint) CROSS JOIN LATERAL
		(SELECT min(a.due) AS due FROM (
			(SELECT o.due FROM deliveries o WHERE o.state = 0 AND o.owner = 0 AND o.endpoint = s.endpoint ORDER BY o.due LIMIT 1) UNION ALL
			(SELECT o.requested_at FROM oneshots o WHERE o.owner = 0 AND o.endpoint = s.endpoint ORDER BY o.requested_at LIMIT 1)) a) w
		WHERE w.due IS NOT NULL`
)

// Claim assigns due deliveries to an owner. It claims all shares with two statements.
func (p *Conn) Claim(shares []sqltext.Share, owner int64, now time.Time) (*sqltext.Claimed, error) {
	ids, most := make([][]byte, len(shares)), make([]int64, len(shares))
	for i := range shares {
		ids[i], most[i] = shares[i].Endpoint[:], int64(max(shares[i].Limit, 0))
	}
	rows, err := sqltext.Collect(background, p, sqltext.ScanDelivery, ClaimText, owner, ids, most, sqltext.Micros(now))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rows, func(a, b hook.Delivery) int {
		return cmp.Or(a.Due.Compare(b.Due), bytes.Compare(a.Event[:], b.Event[:]))
	})
	left, err := sqltext.Collect(background, p, func(row sqltext.Scanner) (w sqltext.Waiting, err error) {
		var due int64
		err = row.Scan(sqltext.Blob(w.Endpoint[:]), &due)
		w.Due = sqltext.FromMicros(due)
		return w, err
	}, EarliestText, ids)
	if err != nil {
		return nil, err
	}
	return &sqltext.Claimed{Deliveries: rows, Left: left}, nil
}

const (
	onceOf = `SELECT i.mode, i.tenant, i.route, i.key, i.body_hash, i.status, i.answer, i.created_at
		FROM unnest(?::int8[], ?::text[], ?::text[], ?::text[]) AS w(mode, tenant, route, key)
		JOIN idempotency i ON i.mode = w.mode AND i.tenant = w.tenant AND i.route = w.route AND i.key = w.key`
	eventsOf = `SELECT e.mode, e.public_id, e.tenant, e.event, e.hash FROM unnest(?::int8[], ?::bytea[], ?::text[]) AS w(mode, public_id, tenant)
		JOIN event_ids e ON e.mode = w.mode AND e.public_id = w.public_id AND e.tenant = w.tenant`
)

func lookup(q sqltext.Querier, keys []sqltext.OnceKey, ids []sqltext.GivenID) (*sqltext.Known, error) {
	known := &sqltext.Known{Once: map[sqltext.OnceKey]*sqltext.OnceRow{}, IDs: map[sqltext.GivenID]*sqltext.GivenRow{}}
	if len(keys) > 0 {
		if err := lookupKeys(q, keys, known); err != nil {
			return nil, sqltext.Wrap("read idempotency keys", err)
		}
	}
	if len(ids) > 0 {
		if err := lookupIDs(q, ids, known); err != nil {
			return nil, sqltext.Wrap("read event ids", err)
		}
	}
	return known, nil
}

func lookupKeys(q sqltext.Querier, keys []sqltext.OnceKey, known *sqltext.Known) error {
	modes, tenants, routes, texts := make([]int64, len(keys)), make([]string, len(keys)), make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		known.Once[k] = nil
		modes[i], tenants[i], routes[i], texts[i] = int64(k.Scope.Mode), k.Scope.Tenant, k.Route, k.Key
	}
	_, err := sqltext.Collect(background, q, func(row sqltext.Scanner) (none struct{}, err error) {
		var k sqltext.OnceKey
		r := &sqltext.OnceRow{}
		err = row.Scan(&k.Scope.Mode, &k.Scope.Tenant, &k.Route, &k.Key, &r.Hash, &r.Status, &r.Sealed, &r.Created)
		known.Once[k] = r
		return none, err
	}, onceOf, modes, tenants, routes, texts)
	return err
}

func lookupIDs(q sqltext.Querier, ids []sqltext.GivenID, known *sqltext.Known) error {
	modes, texts, tenants := make([]int64, len(ids)), make([][]byte, len(ids)), make([]string, len(ids))
	for i, id := range ids {
		known.IDs[id] = nil
		modes[i], texts[i], tenants[i] = int64(id.Scope.Mode), ids[i].ID[:], id.Scope.Tenant
	}
	_, err := sqltext.Collect(background, q, func(row sqltext.Scanner) (none struct{}, err error) {
		var id sqltext.GivenID
		r := &sqltext.GivenRow{}
		err = row.Scan(&id.Scope.Mode, sqltext.Blob(id.ID[:]), &id.Scope.Tenant, &r.Event, &r.Hash)
		known.IDs[id] = r
		return none, err
	}, eventsOf, modes, texts, tenants)
	return err
}
