package read

import (
	"context"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// rowColumns are the columns that scanRow reads, from deliveries d and events e.
const rowColumns = sqltext.DeliveryColumns + ", e.public_id, coalesce(e.channels, '')"

func scanRow(row sqltext.Scanner) (hook.DeliveryRow, error) { return scanRowAnd(row) }

// scanRowAnd is scanRow, and reads the columns that follow.
func scanRowAnd(row sqltext.Scanner, more ...any) (hook.DeliveryRow, error) {
	var r hook.DeliveryRow
	var channels string
	var err error
	r.Delivery, err = sqltext.ScanDeliveryAnd(row, append([]any{sqltext.PublicPlace{ID: &r.PublicID, Given: &r.GivenID}, &channels}, more...)...)
	r.Channels = hook.ParseChannels(channels)
	if r.PublicID.IsZero() {
		r.PublicID = r.Event
	}
	r.Delivery = r.Delivery.Shown()
	return r, err
}

// Deliveries lists deliveries, newest event first. An index finds the deliveries of one
// event, and the held and the failed ones of one endpoint. Every other search walks the
// events of the scope. Unless the search is for one event, a page examines a bounded
// number of rows and returns a cursor to continue from, even if it found nothing.
func (l *Lists) Deliveries(ctx context.Context, q hook.DeliveryQuery) ([]hook.DeliveryRow, string, error) {
	done, err := l.slots.take(ctx, q.Scope)
	if err != nil {
		return nil, "", err
	}
	defer done()
	before, err := sqltext.BeforeOf(q.Page, 2)
	if err != nil {
		return nil, "", err
	}
	if q.State == nil && len(q.States) == 1 { // an index may answer it
		q.State, q.States = &q.States[0], nil
	}
	from, p, all := sourceOf(&q, before), span{}, span{}
	if q.Event.IsZero() {
		if all, err = l.within(ctx, q.After, q.Before, from.high); err != nil {
			return nil, "", err
		}
	}
	var rows []hook.DeliveryRow
	for _, most := range l.scans() {
		if q.Event.IsZero() {
			if p, err = l.bound(ctx, from.spanOf, all, most); err != nil {
				return nil, "", err
			}
		}
		query, args := deliveriesPage(&q, before, from, p)
		if rows, err = sqltext.Collect(ctx, l.db, scanRow, query, args...); err != nil {
			return nil, "", l.fail("list deliveries", err)
		}
		if !p.more || len(rows) > sqltext.LimitOf(q.Page) {
			break
		}
	}
	if len(rows) > sqltext.LimitOf(q.Page) {
		last := rows[sqltext.LimitOf(q.Page)-1]
		return rows[:sqltext.LimitOf(q.Page)], sqltext.CursorOf(last.Event, last.Endpoint), nil
	}
	return rows, l.stopped(p, q.Page, 2), nil
}

// source is what a search for deliveries reads first.
type source struct {
	spanOf
	join string  // to both deliveries d and events e
	high hook.ID // of the span, on this page
}

// sourceOf returns the source of a search that is not for one event.
func sourceOf(q *hook.DeliveryQuery, before []hook.ID) source {
	if heldOrFailed(q) {
		return source{heldOrFailedOf(q), " {then} events e ON e.id = d.event", before[0]}
	}
	// The previous page may have ended in the middle of an event's deliveries.
	return source{eventsWith(q.Scope, q.Tag), " {deliveries}{each}", before[0].Above()}
}

// deliveriesPage returns the query for a page of deliveries and one more. The order is that
// of the table that is read first, so that nothing is sorted but the deliveries of one
// event.
func deliveriesPage(q *hook.DeliveryQuery, before []hook.ID, from source, p span) (string, []any) {
	where, args := conditions(q)
	table, order := from.from+from.join, from.id
	switch {
	case q.Event.IsZero() && from.id != "d.event":
		// A range of deliveries as a condition would make PostgreSQL read that range. The
		// scope of a delivery is that of its event. Of the events only the index is read.
		where += " AND " + from.where + " AND " + from.id + " >= ? AND " + from.id + " < ? AND (" + from.id + " <> ? OR d.endpoint < ?) AND " + sqltext.DeliveryShown
		args = append(append(args, from.args...), p.low[:], p.high[:], before[0][:], before[1][:])
	case q.Event.IsZero():
		where += " AND " + from.where + " AND d.event >= ? AND d.event < ? AND " + ofScope
		args = append(append(args, from.args...), p.low[:], p.high[:], q.Scope.Mode, q.Scope.Tenant, q.Scope.Tenant)
	default:
		table, order = "deliveries d {then} events e ON e.id = d.event", "d.event"
		where += " AND d.event = ? AND (d.event, d.endpoint) < (?, ?) AND " + ofScope
		args = append(args, q.Event[:], before[0][:], before[1][:], q.Scope.Mode, q.Scope.Tenant, q.Scope.Tenant)
		if q.Tag != nil {
			where, args = where+" AND EXISTS (SELECT 1 FROM event_tags g WHERE g.event = d.event AND g.name = ? AND g.value = ?)", append(args, q.Tag.Name, q.Tag.Value)
		}
	}
	return "SELECT " + rowColumns + " FROM " + table + " WHERE " + where + " ORDER BY " + order + " DESC, d.endpoint DESC LIMIT ?", append(args, sqltext.LimitOf(q.Page)+1)
}

// heldOrFailed reports whether the index on held and failed deliveries answers the query.
func heldOrFailed(q *hook.DeliveryQuery) bool {
	return q.Tag == nil && !q.Endpoint.IsZero() && q.State != nil && (*q.State == hook.Held || *q.State == hook.Failed)
}

// heldOrFailedOf selects the held or the failed deliveries of an endpoint.
func heldOrFailedOf(q *hook.DeliveryQuery) spanOf {
	return spanOf{"d.event", "deliveries d{stopped}", "deliveries d{stopped}", "d.endpoint = ? AND d.state = " + string('0'+rune(*q.State)), []any{q.Endpoint[:]}}
}

// ofScope is the condition that a delivery d is of a scope and shown.
const ofScope = "d.mode = ? AND (? = '' OR d.tenant = ?) AND " + sqltext.DeliveryShown

// conditions returns the conditions of the filter. The state is a literal, because the
// planner does not use a partial index for a parameter.
func conditions(q *hook.DeliveryQuery) (where string, args []any) {
	where = "1 = 1"
	if !q.Endpoint.IsZero() {
		where, args = where+" AND d.endpoint = ?", append(args, q.Endpoint[:])
	}
	if q.Type != "" {
		where, args = where+" AND d.type = ?", append(args, q.Type)
	}
	if q.State != nil {
		where += " AND d.state = " + string('0'+rune(*q.State))
	}
	if q.StatusClass != 0 {
		where, args = where+" AND d.last_status / 100 = ?", append(args, q.StatusClass)
	}
	if q.Error != "" {
		where, args = where+" AND d.last_error = ?", append(args, q.Error)
	}
	if len(q.States) > 0 {
		where += " AND d.state IN (" + string('0'+rune(q.States[0]))
		for _, state := range q.States[1:] {
			where += ", " + string('0'+rune(state))
		}
		where += ")"
	}
	if q.Status != 0 {
		where, args = where+" AND d.last_status = ?", append(args, q.Status)
	}
	if q.Tried != nil {
		where += map[bool]string{true: " AND d.attempts > 0", false: " AND d.attempts = 0"}[*q.Tried]
	}
	if n := len(q.StatusClasses); n > 0 {
		where += " AND d.last_status / 100 IN (?" + strings.Repeat(", ?", n-1) + ")"
		for _, class := range q.StatusClasses {
			args = append(args, class)
		}
	}
	if n := len(q.Errors); n > 0 {
		where += " AND d.last_error IN (?" + strings.Repeat(", ?", n-1) + ")"
		for _, class := range q.Errors {
			args = append(args, string(class))
		}
	}
	if q.Channel != "" {
		where, args = where+" AND "+sqltext.OnChannel, append(args, hook.Channels{q.Channel}.Text())
	}
	if !q.After.IsZero() {
		where, args = where+" AND d.created_at >= ?", append(args, sqltext.Micros(q.After))
	}
	if !q.Before.IsZero() {
		where, args = where+" AND d.created_at < ?", append(args, sqltext.Micros(q.Before))
	}
	return where, args
}

// Bounds on what is returned of a delivery with many attempts: its latest attempts, and the
// responses of the latest of these.
const (
	attemptsShown = 1000
	answersShown  = 100
)

// DeliveryRow returns a delivery. An empty tenant means all of the mode.
func (l *Lists) DeliveryRow(ctx context.Context, scope hook.Scope, id hook.ID) (hook.DeliveryRow, error) {
	args := sqltext.FindDeliveryArgs(scope, id)
	one := func(row sqltext.Scanner) (hook.DeliveryRow, error) {
		var deliver int64
		r, err := scanRowAnd(row, &deliver)
		r.DeliverAt = sqltext.FromMicros(deliver)
		return r, err
	}
	found, err := sqltext.Collect(ctx, l.db, one, "SELECT "+rowColumns+`, coalesce(e.deliver_at, 0) FROM deliveries d JOIN events e ON e.id = d.event
		WHERE d.event BETWEEN ? AND ? AND d.id = ? AND d.mode = ? AND (? = '' OR d.tenant = ?) AND `+sqltext.DeliveryShown, args...)
	if err != nil {
		return hook.DeliveryRow{}, l.fail("read delivery", err)
	}
	if len(found) == 0 {
		return hook.DeliveryRow{}, hook.NotFound("delivery")
	}
	return found[0], nil
}

// Delivery returns a delivery with its latest 1,000 attempts, oldest first. The latest 100
// include the receiver's response. An empty tenant means all of the mode.
func (l *Lists) Delivery(ctx context.Context, scope hook.Scope, id hook.ID) (hook.DeliveryRow, []hook.Attempt, error) {
	d, err := l.DeliveryRow(ctx, scope, id)
	if err != nil {
		return d, nil, err
	}
	done, err := l.slots.take(ctx, d.Scope)
	if err != nil {
		return d, nil, err
	}
	defer done()
	attempts, err := sqltext.Collect(ctx, l.db, scanAttempt, `SELECT number, at, duration_us, status, class, message, trigger_by,
		CASE WHEN number > ? THEN response_headers END, CASE WHEN number > ? THEN response_body END, truncated, coalesce(answer_removed_at, 0), timing
		FROM attempts WHERE event = ? AND endpoint = ? AND number > ? ORDER BY number`,
		d.Attempts-answersShown, d.Attempts-answersShown, d.Event[:], d.Endpoint[:], d.Attempts-attemptsShown)
	if err != nil {
		return hook.DeliveryRow{}, nil, l.fail("read attempts", err)
	}
	return d, attempts, nil
}

func scanAttempt(row sqltext.Scanner) (hook.Attempt, error) {
	var a hook.Attempt
	var at, duration, removed int64
	var timing []byte
	err := row.Scan(&a.Number, &at, &duration, &a.Status, &a.Class, &a.Message, &a.Trigger, &a.ResponseHeaders, &a.ResponseBody, &a.Truncated, &removed, &timing)
	a.AnswerRemovedAt = sqltext.FromMicros(removed)
	a.Address, a.Timing = sqltext.UnpackTiming(timing)
	a.At, a.Duration = sqltext.FromMicros(at), time.Duration(duration)*time.Microsecond
	return a, err
}
