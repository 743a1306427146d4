package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Alerts. The transaction of a change also stores the alert about it, with a delivery for
// each operational endpoint that wants it, so a crash loses none. If no endpoint wants it,
// nothing is stored.
//
// An operation calls tx.alert, which only records it in the effects. Flush publishes it to
// two audiences: the tenant concerned, and the operator. For each of them and each type,
// windows counts what was published in the current window. Beyond hook.AlertsPerWindow an
// alert is counted in alert_sums instead, in at most two rows for each window: the first
// alert, and all later ones. watchDigests turns these rows into digests. Undo does not
// restore windows; an operation that runs twice only brings the digest forward.

// alert is an alert that a transaction is about to publish.
type alert struct {
	name    string
	scope   hook.Scope // of what it is about
	data    any        // nil: it is only counted in a digest
	example hook.AlertExample
	n       int64   // how many it stands for
	logged  bool    // it has a line in the log of its own
	event   hook.ID // of a hook.DeliveryAlert whose event is not in memory
}

// channel is an audience and a type of alert. A zero audience is the log.
type channel struct {
	audience hook.Scope
	name     string
}

// window counts the alerts of a channel until a time.
type window struct {
	until       time.Time
	n           int
	first, last hook.ID // rows of alert_sums; they may be gone
}

// maxWindows bounds the channels that are counted. Beyond it, counting starts again.
const maxWindows = 10_000

// operatorOf returns the scope of the operator's own endpoints.
func operatorOf(mode hook.Mode) hook.Scope {
	return hook.Scope{Tenant: hook.OperatorTenant, Mode: mode}
}

// alert records an alert. It does nothing if nobody can want it.
func (t *tx) alert(a alert) {
	if t.s.opts.ProfileOf != nil {
		a.n = max(a.n, 1)
		t.alerts = append(t.alerts, a)
		t.rows++ // there is something to commit
	}
}

// alertEndpoint records an alert about what a caller did to an endpoint. Operational
// endpoints cause no alerts, and neither do listeners, which come and go.
func (t *tx) alertEndpoint(name string, e *hook.Endpoint, changed ...string) {
	t.alertHealth(name, e, nil, nil, nil, changed...)
}

func (t *tx) alertHealth(name string, e *hook.Endpoint, h *hook.Health, trip *hook.Trip, o *hook.Outcome, changed ...string) {
	if name == "" || e.Operational || e.Listener() {
		return
	}
	data := hook.NewEndpointAlert(name, e, h, trip, o, changed...)
	t.alert(alert{name: name, scope: e.Scope, data: data, logged: trip != nil && name != hook.AlertEndpointFailing, example: hook.AlertExample{Type: name, Tenant: data.Tenant, Endpoint: data.Endpoint, Message: data.Message}})
}

// alertOf returns the type of the alert about a change of an endpoint by a caller.
func alertOf(old, next *hook.Endpoint) string {
	switch {
	case next.Status == old.Status:
		return hook.AlertEndpointUpdated
	case next.Status == hook.Enabled:
		return hook.AlertEndpointEnabled
	case next.Status == hook.Disabled:
		return hook.AlertEndpointDisabled
	}
	return hook.AlertEndpointUpdated // it waits for its verification
}

// tripped is trip with the alert about it.
func (t *tx) tripped(target *hook.Endpoint, word string, h *hook.Health, trip *hook.Trip, o *hook.Outcome) error {
	if err := t.trip(target, word); err != nil {
		return err
	}
	next := *target
	next.Status, next.DisabledReason = hook.Tripped, word
	t.alertHealth(hook.AlertEndpointDisabled, &next, h, trip, o)
	return nil
}

// raiseAlarm publishes that an endpoint is failing, or that it will be disabled. Nodes that
// share the table do it once.
func (t *tx) raiseAlarm(target *hook.Endpoint, alarm hook.Alarm, h *hook.Health, trip *hook.Trip, o *hook.Outcome) error {
	name := hook.AlertEndpointFailing
	if alarm == hook.AlarmWarned {
		name, alarm = hook.AlertEndpointWarned, alarm|hook.AlarmFailing // a warning says more
	}
	mine, err := t.setAlarm(target, target.Alarm|alarm|hook.AlarmUnwell)
	if err == nil && mine {
		t.alertHealth(name, target, h, trip, o)
	}
	return err
}

// recovered publishes the first success of an endpoint that was failing or was disabled.
func (t *tx) recovered(target *hook.Endpoint) error {
	mine, err := t.setAlarm(target, 0)
	if err == nil && mine && target.Alarm.Has(hook.AlarmUnwell) {
		t.alertEndpoint(hook.AlertEndpointRecovered, target)
	}
	return err
}

// setAlarm changes the alarms of an endpoint, which are not part of its revision. It
// reports false if another node changed them before.
func (t *tx) setAlarm(target *hook.Endpoint, to hook.Alarm) (bool, error) {
	n, err := t.exec("set alarm", "UPDATE endpoints SET alarm = ? WHERE id = ? AND alarm = ?", int64(to), target.ID[:], int64(target.Alarm))
	if err != nil || n == 0 {
		return false, err
	}
	next := *target
	next.Alarm = to
	return true, t.setSnapshot(&next)
}

// exhausted records the alert about a delivery that failed for good.
func (t *tx) exhausted(target *hook.Endpoint, d *hook.Delivery, event *hook.Event, o *hook.Outcome) {
	if target.Operational || target.Listener() {
		return
	}
	a := alert{name: hook.AlertDeliveryExhausted, scope: d.Scope}
	public := hook.ID{}
	if event != nil {
		public = event.PublicID
	} else {
		a.event = d.Event
	}
	data := hook.NewDeliveryAlert(d, target, public, o.StartedAt)
	if event != nil && event.GivenID != "" {
		data.Event = event.GivenID
	}
	a.data, a.example = data, hook.AlertExample{Type: a.name, Tenant: data.Tenant, Endpoint: data.Endpoint, Message: data.Message}
	t.alert(a)
}

// expired records that n deliveries to an endpoint failed because they were held for too
// long. They are only counted.
func (t *tx) expired(scope hook.Scope, endpoint hook.ID, n int) error {
	target, err := t.endpoint(scope, endpoint)
	if err != nil || target == nil || target.Operational || target.Listener() {
		return err
	}
	t.alert(alert{name: hook.AlertDeliveryExhausted, scope: scope, n: int64(n), example: hook.AlertExample{
		Type: hook.AlertDeliveryExhausted, Tenant: scope.Tenant, Endpoint: endpoint.String(),
		Message: fmt.Sprintf("%d deliveries to endpoint %s of tenant %s failed because they were held for too long.", n, endpoint, scope.Tenant)}})
	return nil
}

// replaysEnded records the alerts about those of the replays that have ended in this
// transaction.
func (t *tx) replaysEnded(jobs []hook.ReplayJob) {
	for i := range jobs {
		j := &jobs[i]
		if !j.State.Ended() || !j.EndedAt.Equal(t.now) {
			continue
		}
		if target, err := t.endpoint(j.Scope, j.Endpoint); err != nil || target != nil && target.Operational {
			continue
		}
		data := hook.NewReplayAlert(j)
		t.alert(alert{name: hook.AlertJobFinished, scope: j.Scope, data: data,
			example: hook.AlertExample{Type: hook.AlertJobFinished, Tenant: data.Tenant, Endpoint: data.Endpoint, Message: data.Message}})
	}
}

// Announce publishes an alert about this node to the operator's endpoints of both modes.
func (s *Store) Announce(ctx context.Context, name string, data *hook.ThresholdAlert) error {
	return s.do(ctx, "announce", 4, func(t *tx) error {
		for _, mode := range []hook.Mode{hook.Live, hook.Test} {
			t.alert(alert{name: name, scope: operatorOf(mode), data: data, example: hook.AlertExample{Type: name, Tenant: hook.OperatorTenant, Message: data.Message}})
		}
		return nil
	})
}

// flushAlerts publishes the alerts of the transaction.
func (t *tx) flushAlerts() error {
	if len(t.alerts) == 0 {
		return nil
	}
	left := map[channel]*alert{} // to a digest
	var order []channel
	for i := range t.alerts {
		a := &t.alerts[i]
		t.logAlert(a)
		operator := operatorOf(a.scope.Mode)
		audiences := []hook.Scope{a.scope, operator}
		if a.scope == operator {
			audiences = audiences[1:]
		}
		for _, audience := range audiences {
			targets, err := t.wanting(audience, a.name)
			if err != nil {
				return err
			}
			if len(targets) == 0 {
				continue
			}
			k := channel{audience, a.name}
			if a.data != nil && t.inWindow(k) {
				if err := t.publishAlert(audience, a, targets); err != nil {
					return err
				}
				continue
			}
			if sum := left[k]; sum != nil {
				sum.n += a.n
				continue
			}
			left[k], order = &alert{example: a.example, n: a.n}, append(order, k)
		}
	}
	for _, k := range order {
		if err := t.sumAlert(k, left[k]); err != nil {
			return err
		}
	}
	return nil
}

// wanting returns the endpoints of an audience that want an alert.
func (t *tx) wanting(audience hook.Scope, name string) ([]*hook.Endpoint, error) {
	entry, err := t.scope(audience)
	if err != nil || !entry.Tenant {
		return nil, err
	}
	return t.targetsOf(entry, name), nil
}

// window returns the current window of a channel.
func (t *tx) window(k channel) window {
	w := t.s.windows[k]
	if !w.until.After(t.now) || w.until.Sub(t.now) > hook.AlertWindow { // it is over, or the clock was set back
		if len(t.s.windows) >= maxWindows {
			clear(t.s.windows)
		}
		w = window{until: t.now.Add(hook.AlertWindow)}
	}
	return w
}

// inWindow counts an alert and reports whether it may be published.
func (t *tx) inWindow(k channel) bool {
	w := t.window(k)
	w.n++
	t.s.windows[k] = w
	return w.n <= hook.AlertsPerWindow
}

// logAlert writes the alert to the log, on commit. What a window leaves out is not logged.
func (t *tx) logAlert(a *alert) {
	switch {
	case a.logged || !t.inWindow(channel{name: a.name}):
		return
	case slices.Contains([]string{hook.AlertEndpointFailing, hook.AlertDeliveryExhausted, hook.AlertExceeded}, a.name):
		t.report("operational event", []any{"type", a.name, "mode", a.scope.Mode.String(), "message", a.example.Message})
	default:
		t.logs = append(t.logs, func() {
			t.s.log.Info("operational event", "type", a.name, "mode", a.scope.Mode.String(), "message", a.example.Message)
		})
	}
}

// publishAlert stores the alert as an event of the audience, with its deliveries.
func (t *tx) publishAlert(audience hook.Scope, a *alert, targets []*hook.Endpoint) error {
	if d, ok := a.data.(*hook.DeliveryAlert); ok && !a.event.IsZero() {
		public, given := a.event, ""
		if _, err := t.row("read event", "SELECT coalesce(public_id, id) FROM events WHERE id = ?", []any{a.event[:]}, sqltext.PublicPlace{ID: &public, Given: &given}); err != nil {
			return err
		}
		d.Event, a.event = hook.PublicText(public, given), hook.ID{}
	}
	text, err := json.Marshal(a.data)
	if err != nil {
		return fmt.Errorf("write alert: %w", err)
	}
	e := t.newEvent(&hook.NewEvent{Scope: audience, Type: a.name, Data: text})
	t.bytes += len(text)
	if err := t.storeEvent(e); err != nil {
		return err
	}
	for _, target := range targets {
		if _, err := t.deliver(e, target, t.s.opts.ProfileOf(target)); err != nil {
			return err
		}
	}
	return nil
}

// sumAlert leaves alerts to the next digest. However many transactions do so, the rows of a
// window are few. A row that a digest took, or whose transaction failed, is replaced.
func (t *tx) sumAlert(k channel, a *alert) error {
	t.summed = true
	w := t.window(k)
	if !w.last.IsZero() {
		n, err := t.exec("sum up alerts", "UPDATE alert_sums SET n = n + ?, at = ? WHERE id = ?", a.n, sqltext.Micros(t.now), w.last[:])
		if err != nil || n > 0 {
			return err
		}
		w.first, w.last = hook.ID{}, hook.ID{}
	}
	example, err := json.Marshal(a.example)
	if err != nil {
		return fmt.Errorf("write alert: %w", err)
	}
	id := t.s.ids.Next()
	if w.first.IsZero() {
		w.first = id
	} else {
		w.last = id
	}
	t.s.windows[k] = w
	_, err = t.exec("sum up alerts", "INSERT INTO alert_sums (id, mode, tenant, type, n, at, example) VALUES (?, ?, ?, ?, ?, ?, ?)",
		id[:], int64(k.audience.Mode), k.audience.Tenant, k.name, a.n, sqltext.Micros(t.now), string(example))
	return err
}

const (
	// sumsPage bounds the rows that one digest sums up, and digestsPage the audiences that
	// are read at once.
	sumsPage    = 1000
	digestsPage = 100

	summedScopes = "SELECT DISTINCT mode, tenant FROM alert_sums WHERE (mode, tenant) > (?, ?) ORDER BY mode, tenant LIMIT ?"
	takeSums     = `DELETE FROM alert_sums WHERE id IN (SELECT id FROM alert_sums WHERE mode = ? AND tenant = ? ORDER BY id LIMIT ?)
		RETURNING type, n, at, example`
)

// watchDigests makes digests a window after alerts were left to them, also by an earlier
// process.
func (s *Store) watchDigests(ctx context.Context) {
	timer := time.NewTimer(hook.AlertWindow)
	defer timer.Stop()
	waiting := true
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.digests:
			if !waiting {
				timer.Reset(hook.AlertWindow)
				waiting = true
			}
			continue
		case <-timer.C:
		}
		more, err := s.Digest(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.Warn("could not sum up operational events, will try again", "error", err)
		}
		if waiting = more || err != nil; waiting {
			timer.Reset(hook.AlertWindow)
		}
	}
}

// Digest publishes the digests that are due, each at most once over all nodes. It reports
// whether some are left. The store calls it itself.
func (s *Store) Digest(ctx context.Context) (more bool, err error) {
	mode, tenant := int64(-1), "" // below every audience
	for left := true; left; {
		scopes, err := sqltext.Collect(ctx, s.read, func(row sqltext.Scanner) (scope hook.Scope, err error) {
			err = row.Scan(&scope.Mode, &scope.Tenant)
			return scope, err
		}, summedScopes, mode, tenant, digestsPage)
		if err != nil {
			return false, s.readError("read sums of alerts", err)
		}
		for _, scope := range scopes {
			full := false
			err := s.write(ctx, &op{Name: "digest", Key: scope, Rows: sumsPage, Stays: true, Apply: func(t *tx) (err error) {
				full, err = t.digest(scope)
				return err
			}})
			if err != nil {
				return false, fmt.Errorf("publish digest: %w", err)
			}
			mode, tenant, more = int64(scope.Mode), scope.Tenant, more || full
		}
		left = len(scopes) == digestsPage
	}
	return more, nil
}

type alertSum struct {
	name    string
	n       int64
	at      time.Time
	example []byte
}

// digest publishes one digest of an audience. full reports that rows may be left.
func (t *tx) digest(audience hook.Scope) (full bool, err error) {
	sums, err := returning(t, func(row sqltext.Scanner) (a alertSum, err error) {
		var at int64
		err = row.Scan(&a.name, &a.n, &at, &a.example)
		a.at = sqltext.FromMicros(at)
		return a, err
	}, takeSums, int64(audience.Mode), audience.Tenant, int64(sumsPage))
	if err != nil || len(sums) == 0 {
		return false, sqltext.Wrap("take sums of alerts", err)
	}
	slices.SortFunc(sums, func(a, b alertSum) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.name, b.name)) })
	data := &hook.DigestAlert{Counts: map[string]int64{}, Since: hook.AlertTime(sums[0].at), Until: hook.AlertTime(sums[len(sums)-1].at)}
	for _, sum := range sums {
		data.Counts[sum.name] += sum.n
		if len(data.Examples) == hook.DigestExamples {
			continue
		}
		var example hook.AlertExample
		if err := json.Unmarshal(sum.example, &example); err != nil {
			return false, fmt.Errorf("read sum of alerts: %w", err)
		}
		data.Examples = append(data.Examples, example)
	}
	data.Finish(audience.Mode)
	targets, err := t.wanting(audience, hook.AlertDigest)
	if err != nil || len(targets) == 0 || t.s.opts.ProfileOf == nil {
		return len(sums) == sumsPage, err
	}
	return len(sums) == sumsPage, t.publishAlert(audience, &alert{name: hook.AlertDigest, data: data}, targets)
}
