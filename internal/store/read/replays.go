package read

import (
	"context"
	"encoding/json"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// ReplayColumns are the columns that ScanReplay reads.
const ReplayColumns = `id, mode, tenant, endpoint, source, filter, newest, rate, hold, state, reason, low, high,
	exhausted, total, exact, requested, created, skipped, delivered, failed, dropped, owner, fence,
	created_at, updated_at, ended_at`

// ScanReplay reads a replay.
func ScanReplay(row sqltext.Scanner) (hook.ReplayJob, error) {
	var j hook.ReplayJob
	var filter string
	var created, updated, ended int64
	err := row.Scan(sqltext.Blob(j.ID[:]), &j.Scope.Mode, &j.Scope.Tenant, sqltext.Blob(j.Endpoint[:]), &j.Source, &filter, &j.Newest, &j.Rate,
		&j.Hold, &j.State, &j.Reason, sqltext.Blob(j.Low[:]), sqltext.Blob(j.High[:]), &j.Exhausted, &j.Total, &j.Exact, &j.Requested,
		&j.Created, &j.Skipped, &j.Delivered, &j.Failed, &j.Dropped, &j.Owner, &j.Fence, &created, &updated, &ended)
	if err != nil {
		return j, err
	}
	j.CreatedAt, j.UpdatedAt, j.EndedAt = sqltext.FromMicros(created), sqltext.FromMicros(updated), sqltext.FromMicros(ended)
	return j, json.Unmarshal([]byte(filter), &j.Filter)
}

const replayShown = "NOT EXISTS (SELECT 1 FROM tenants gone WHERE gone.id = r.tenant AND gone.deleted_at > 0)"

// Replay returns a replay. An empty tenant means all of the mode.
func (l *Lists) Replay(ctx context.Context, scope hook.Scope, id hook.ID) (hook.ReplayJob, error) {
	found, err := sqltext.Collect(ctx, l.db, ScanReplay, "SELECT "+ReplayColumns+" FROM replays r WHERE r.id = ? AND r.mode = ? AND (? = '' OR r.tenant = ?) AND "+
		replayShown, id[:], scope.Mode, scope.Tenant, scope.Tenant)
	if err != nil {
		return hook.ReplayJob{}, l.fail("read replay", err)
	}
	if len(found) == 0 {
		return hook.ReplayJob{}, hook.NotFound("replay")
	}
	return found[0], nil
}

// Replays lists replays, newest first. A page examines a bounded number of rows and
// returns a cursor to continue from, even if it found nothing.
func (l *Lists) Replays(ctx context.Context, q hook.ReplayQuery) ([]hook.ReplayJob, string, error) {
	before, err := sqltext.BeforeOf(q.Page, 1)
	if err != nil {
		return nil, "", err
	}
	of := spanOf{id: "e.id", bounds: "replays e", where: "e.mode = ? AND " + sqltext.TenantIs(q.Scope), args: []any{q.Scope.Mode, q.Scope.Tenant}}
	span, err := l.span(ctx, of, time.Time{}, time.Time{}, before[0])
	if err != nil {
		return nil, "", err
	}
	where, args := "", []any{q.Scope.Mode, q.Scope.Tenant, q.Scope.Tenant, span.low[:], span.high[:]}
	if !q.Endpoint.IsZero() {
		where, args = where+" AND r.endpoint = ?", append(args, q.Endpoint[:])
	}
	if q.State != nil {
		where, args = where+" AND r.state = ?", append(args, *q.State)
	}
	list, err := sqltext.Collect(ctx, l.db, ScanReplay, "SELECT "+ReplayColumns+` FROM replays r WHERE r.mode = ? AND (? = '' OR r.tenant = ?)
		AND r.id >= ? AND r.id < ?`+where+" AND "+replayShown+" ORDER BY r.id DESC LIMIT ?", append(args, sqltext.LimitOf(q.Page)+1)...)
	if err != nil {
		return nil, "", l.fail("list replays", err)
	}
	if len(list) <= sqltext.LimitOf(q.Page) {
		return list, span.cursor(1), nil
	}
	list = list[:sqltext.LimitOf(q.Page)]
	return list, sqltext.CursorOf(list[len(list)-1].ID), nil
}

// ReplayRange returns the range of events that a replay created now would examine: from low
// to below high. If ids do not reflect the time of acceptance, it limits f.Before to now.
func (l *Lists) ReplayRange(ctx context.Context, f *hook.ReplayFilter) (low, high hook.ID, err error) {
	if !f.After.IsZero() {
		low = sqltext.FirstID(f.After)
	}
	ahead, err := l.idsAhead(ctx)
	if err != nil {
		return low, high, err
	}
	until := l.now()
	if !f.Before.IsZero() && f.Before.Before(until) {
		until = f.Before
	}
	high = sqltext.FirstID(until.Add(time.Millisecond))
	if ahead { // every event must be examined
		f.Before = until
		for i := range high {
			high[i] = 0xff
		}
	}
	return low, high, nil
}

// The rows that a page of a replay examines: failed deliveries of the endpoint by their
// index, or all events of the tenant, each with its delivery to the endpoint if there is
// one.
const (
	replayRow    = ", coalesce(e.public_id, e.id), e.type, coalesce(e.channels, ''), e.kind, e.accepted_at, CASE WHEN e.payload_removed_at IS NULL THEN 0 ELSE 1 END, "
	replayFailed = "SELECT d.event" + replayRow + `1, d.state, d.last_status, d.last_error FROM deliveries d{stopped} {then} events e ON e.id = d.event
		WHERE d.endpoint = ? AND d.state = 3 AND d.mode = ? AND d.tenant = ? AND d.event >= ? AND d.event < ? ORDER BY d.event`
	replayEvents = "SELECT e.id" + replayRow + `CASE WHEN d.event IS NULL THEN 0 ELSE 1 END, coalesce(d.state, 0), coalesce(d.last_status, 0),
		coalesce(d.last_error, '') FROM events e LEFT JOIN deliveries d ON d.event = e.id AND d.endpoint = ?
		WHERE e.mode = ? AND e.tenant = ? AND e.id >= ? AND e.id < ? ORDER BY e.id`
)

// replayPage returns the statement that reads a page of a replay.
func replayPage(source hook.ReplaySource, newest bool) string {
	query := replayEvents
	if source == hook.FromFailed {
		query = replayFailed
	}
	if newest {
		query += " DESC"
	}
	return query + " LIMIT ?"
}

func scanMatch(row sqltext.Scanner) (m hook.ReplayMatch, err error) {
	var accepted int64
	var channels string
	err = row.Scan(sqltext.Blob(m.Event[:]), sqltext.PublicPlace{ID: &m.PublicID, Given: &m.GivenID}, &m.Type, &channels, &m.Kind, &accepted, &m.PayloadGone, &m.Exists, &m.State, &m.LastStatus, &m.LastError)
	m.Channels, m.AcceptedAt = hook.ParseChannels(channels), sqltext.FromMicros(accepted)
	return m, err
}

// Bounds of one page of a replay: the least number of rows that its first query reads, the
// largest number that any of its queries reads, and the number of examined rows after which
// the page ends.
const (
	firstRows = 64
	mostRows  = 2048
	pageScan  = 20_000
)

// ReplayPage is a part of the remaining range of a replay.
type ReplayPage struct {
	Matches []hook.ReplayMatch
	Gone    []hook.ID // events that would match if retention had not removed their payload
	Last    hook.ID   // the last event that was examined
	Scanned int
	End     bool // nothing remains after this page
}

// ReplayPage continues in the replay's range until it has found most matches, has examined
// a bounded number of rows, or has reached the end.
func (l *Lists) ReplayPage(ctx context.Context, j *hook.ReplayJob, target *hook.Endpoint, most int) (p ReplayPage, err error) {
	done, err := l.slots.take(ctx, j.Scope)
	if err != nil {
		return p, err
	}
	defer done()
	return l.replayPage(ctx, j, target, most, pageScan)
}

func (l *Lists) replayPage(ctx context.Context, j *hook.ReplayJob, target *hook.Endpoint, most, scan int) (p ReplayPage, err error) {
	low, high := j.Low, j.High
	for rows := max(firstRows, min(most, mostRows)); p.Scanned < scan; rows = min(2*rows, mostRows) {
		found, err := sqltext.Collect(ctx, l.db, scanMatch, replayPage(j.Source, j.Newest), j.Endpoint[:], j.Scope.Mode, j.Scope.Tenant, low[:], high[:], rows)
		if err != nil {
			return p, l.fail("read events to replay", err)
		}
		for i := range found {
			p.Last = found[i].Event
			p.Scanned++
			switch {
			case !j.Matches(&found[i], target):
			case found[i].PayloadGone:
				p.Gone = append(p.Gone, found[i].Event)
			default:
				if p.Matches = append(p.Matches, found[i]); len(p.Matches) == most {
					return p, nil
				}
			}
		}
		if len(found) < rows {
			p.End = true
			return p, nil
		}
		low, high = j.After(p.Last, low, high)
	}
	return p, nil
}

// previewTime bounds how long a preview may count.
const previewTime = 2 * time.Second

// PreviewReplay counts what a replay would send, within bounds of rows and time, and
// returns the first matches. An empty tenant means all of the mode.
func (l *Lists) PreviewReplay(ctx context.Context, n hook.NewReplay) (hook.ReplayPreview, error) {
	target, err := l.EndpointNow(ctx, n.Scope, n.Endpoint)
	if err != nil {
		return hook.ReplayPreview{}, err
	}
	j := hook.ReplayJob{NewReplay: n}
	j.Scope = target.Scope
	if j.Low, j.High, err = l.ReplayRange(ctx, &n.Filter); err != nil {
		return hook.ReplayPreview{}, err
	}
	done, err := l.slots.take(ctx, j.Scope)
	if err != nil {
		return hook.ReplayPreview{}, err
	}
	defer done()
	var out hook.ReplayPreview
	limited, cancel := context.WithTimeout(ctx, previewTime) // one page may take longer where nothing is in memory
	defer cancel()
	for out.Matched < hook.ReplayCount && out.Scanned < hook.ReplayScan && limited.Err() == nil {
		p, err := l.replayPage(limited, &j, target, min(mostRows, hook.ReplayCount-out.Matched), mostRows)
		if err != nil && limited.Err() != nil && ctx.Err() == nil {
			break
		}
		if err != nil {
			return hook.ReplayPreview{}, err
		}
		out.Matched, out.Scanned = out.Matched+len(p.Matches), out.Scanned+p.Scanned
		out.Gone += len(p.Gone)
		if space := hook.ReplaySample - len(out.Sample); space > 0 {
			out.Sample = append(out.Sample, p.Matches[:min(space, len(p.Matches))]...)
		}
		if p.End {
			out.Exact = true
			break
		}
		j.Low, j.High = j.After(p.Last, j.Low, j.High)
	}
	return out, nil
}

// replayWaiting counts, up to a bound, the work of an endpoint that is due in the table:
// single shots of any owner, and deliveries without an owner.
const replayWaiting = `SELECT (SELECT count(*) FROM (SELECT 1 AS one FROM oneshots WHERE endpoint = ? LIMIT ?) s) +
	(SELECT count(*) FROM (SELECT 1 AS one FROM deliveries WHERE state = 0 AND owner = 0 AND endpoint = ? AND due <= ? LIMIT ?) d)`

// ReplayWaiting returns how much work of an endpoint is already waiting, at most twice the
// bound of what replays may add.
func (l *Lists) ReplayWaiting(ctx context.Context, endpoint hook.ID) (int, error) {
	n := 0
	err := l.db.QueryRowContext(ctx, replayWaiting, endpoint[:], hook.ReplayPending, endpoint[:], sqltext.Micros(l.now()), hook.ReplayPending).Scan(&n)
	if err != nil {
		return 0, l.fail("count waiting work", err)
	}
	return n, nil
}
