package read

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// CheckedEventTypes lists the entries of both modes that publishing depends on: their
// schema is enforced, or they have searchable members. It lists at most limit.
func (l *Lists) CheckedEventTypes(ctx context.Context, limit int) ([]hook.EventType, error) {
	list, err := sqltext.Collect(ctx, l.db, sqltext.ScanEventType, "SELECT "+sqltext.EventTypeColumns+
		" FROM event_types WHERE enforce > 0 OR searchable <> '' ORDER BY mode, name LIMIT ?", limit)
	if err != nil {
		return nil, l.fail("list checked event types", err)
	}
	return list, nil
}

// OneEventType is the query for one entry of the catalogue.
const OneEventType = "SELECT " + sqltext.EventTypeColumns + " FROM event_types WHERE mode = ? AND name = ?"

// EventType returns an entry of the catalogue of a mode.
func (l *Lists) EventType(ctx context.Context, mode hook.Mode, name string) (hook.EventType, error) {
	found, err := sqltext.Collect(ctx, l.db, sqltext.ScanEventType, OneEventType, mode, name)
	if err != nil {
		return hook.EventType{}, l.fail("read event type", err)
	}
	if len(found) == 0 {
		return hook.EventType{}, hook.NotFound("event type")
	}
	return found[0], nil
}

// EventTypes lists the catalogue of a mode by name. A page examines a bounded number of
// entries and returns a cursor to continue from, even if it found nothing.
func (l *Lists) EventTypes(ctx context.Context, q hook.TypeQuery) ([]hook.EventType, string, error) {
	after, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	if err != nil || q.Cursor != "" && !hook.ValidType(string(after)) {
		return nil, "", &hook.Error{Code: hook.CodeInvalidRequest, Field: "cursor", Message: "The cursor is not one of this list."}
	}
	name := func(row sqltext.Scanner) (name string, err error) { err = row.Scan(&name); return name, err }
	end, err := sqltext.Collect(ctx, l.db, name, "SELECT name FROM event_types WHERE mode = ? AND name > ? ORDER BY name LIMIT 1 OFFSET ?", q.Mode, string(after), l.Scan-1)
	if err != nil {
		return nil, "", l.fail("bound the list", err)
	}
	last := append(end, "~")[0] // follows every name
	list, err := sqltext.Collect(ctx, l.db, sqltext.ScanEventType, "SELECT "+sqltext.EventTypeColumns+` FROM event_types
		WHERE mode = ? AND name > ? AND name <= ? AND (? = '' OR type_group = ?) AND (? < 0 OR deprecated = ?) AND (? < 0 OR hidden = ?) ORDER BY name LIMIT ?`,
		q.Mode, string(after), last, q.Group, q.Group, choice(q.Deprecated), choice(q.Deprecated), choice(q.Hidden), choice(q.Hidden), sqltext.LimitOf(q.Page)+1)
	if err != nil {
		return nil, "", l.fail("list event types", err)
	}
	switch {
	case len(list) > sqltext.LimitOf(q.Page):
		list = list[:sqltext.LimitOf(q.Page)]
		last = list[len(list)-1].Name
	case len(end) == 0:
		return list, "", nil
	}
	return list, base64.RawURLEncoding.EncodeToString([]byte(last)), nil
}

// choice returns -1 for a filter that does not restrict, else 0 or 1.
func choice(b *bool) int64 {
	switch {
	case b == nil:
		return -1
	case *b:
		return 1
	}
	return 0
}

// subscriberBytes bounds the filters that a count of subscribers reads.
const subscriberBytes = 32 << 20

var errEnough = errors.New("enough")

// Subscribers counts the endpoints of a mode, or of one tenant, whose filter passes each
// of the event types. It examines the newest endpoints, at most most.
func (l *Lists) Subscribers(ctx context.Context, scope hook.Scope, types []string, most int) ([]hook.Subscribers, error) {
	done, err := l.slots.take(ctx, scope)
	if err != nil {
		return nil, err
	}
	defer done()
	counts, tenants := make([]hook.Subscribers, len(types)), make([]map[string]bool, len(types))
	for i := range tenants {
		tenants[i] = map[string]bool{}
	}
	matched := map[string][]int{} // many endpoints have the same filter
	seen, size := 0, 0
	_, err = sqltext.Collect(ctx, l.db, func(row sqltext.Scanner) (none struct{}, err error) {
		var tenant, text string
		var status hook.Status
		if err := row.Scan(&tenant, &text, &status); err != nil {
			return none, err
		}
		if seen++; seen > most || size > subscriberBytes {
			return none, errEnough
		}
		size += len(text)
		passed, known := matched[text]
		if !known {
			var filter hook.Filter
			if err := json.Unmarshal([]byte(text), &filter); err != nil {
				return none, err
			}
			for i, name := range types {
				if filter.Match(name) {
					passed = append(passed, i)
				}
			}
			matched[text] = passed
		}
		for _, i := range passed {
			counts[i].Endpoints++
			if status == hook.Enabled {
				counts[i].Enabled++
			}
			tenants[i][tenant] = true
		}
		return none, nil
	}, "SELECT e.tenant, e.types, e.status FROM endpoints e WHERE e.mode = ? AND "+sqltext.TenantIs(scope)+" AND e.status <> ? ORDER BY e.id DESC LIMIT ?",
		scope.Mode, scope.Tenant, hook.Deleted, most+1)
	if err != nil && !errors.Is(err, errEnough) {
		return nil, l.fail("count subscribers", err)
	}
	for i := range counts {
		counts[i].Tenants, counts[i].More = len(tenants[i]), err != nil
	}
	return counts, nil
}
