// Package alerts is what Posthorn itself publishes: operational events about endpoints,
// deliveries and jobs. It owns which change is announced to whom, how many alerts a minute
// may have, and the digests that sum up the rest.
//
// The transaction of a change also stores the alert about it, with a delivery for each
// operational endpoint that wants it, so a crash loses none. If no endpoint wants it, nothing
// is stored.
//
// It never delivers an alert: from its commit on, an alert is an event like any other.
//
// An operation records an alert in the effects of its transaction ([Duties]). Flush publishes
// it to two audiences: the tenant concerned, and the operator. For each of them and each
// type, windows counts what was published in the current window. Beyond
// hook.AlertsPerWindow, and beyond RowsAtOnce of one transaction, an alert is counted in
// alert_sums instead, in at most two rows for each window: the first alert, and all later
// ones. watchDigests turns these rows into
// digests. Undo does not restore windows; an operation that runs twice only brings the digest
// forward.
package alerts

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Options say how alerts become events. Core is required.
type Options struct {
	Core *unit.Core
	// Wanted means that endpoints may want alerts; otherwise none is recorded.
	Wanted bool
	// Targets returns the endpoints of a scope that get an event of a type with channels.
	Targets func(entry *directory.Scope, eventType string, channels hook.Channels) []*hook.Endpoint
	// Publish stores an event with a delivery to each of the targets.
	Publish func(t *unit.Tx, audience hook.Scope, eventType string, data []byte, targets []*hook.Endpoint) error
}

// Alerts are the operations. They are safe for concurrent use.
type Alerts struct {
	opts    Options
	core    *unit.Core
	windows map[channel]window // used by the writer's goroutine only
	digests chan struct{}      // a transaction left alerts to a digest
}

// New returns the operations, and what other operations of the store ask of them.
func New(o Options) (*Alerts, Duties) {
	s := &Alerts{opts: o, core: o.Core, windows: map[channel]window{}, digests: make(chan struct{}, 1)}
	o.Core.Applied = append(o.Core.Applied, func(t *unit.Tx) {
		if t.Summed {
			unit.Wake(s.digests)
		}
	})
	return s, Duties{s}
}

// Duties are what the other operations of a store ask for. They belong to the writer's
// goroutine and are not part of what a store offers.
type Duties struct{ alerts *Alerts }

// Begin starts the task that makes digests.
func (d Duties) Begin() { d.alerts.core.Go(d.alerts.watchDigests) }

// background is the context of statements on the writer: nothing cancels them.
var background = context.Background()

// tx is the view of a transaction, see package unit.
type tx struct {
	*unit.Tx
	s *Alerts
}

func (d Duties) view(t *unit.Tx) *tx { return &tx{t, d.alerts} }

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

// RowsAtOnce bounds the rows of the alerts that one transaction publishes, unless the first
// has more. The rest is left to digests, in two rows for each audience and type.
const RowsAtOnce = 512

// maxWindows bounds the channels that are counted. Beyond it, counting starts again.
const maxWindows = 10_000

// OperatorOf returns the scope of the operator's own endpoints.
func OperatorOf(mode hook.Mode) hook.Scope {
	return hook.Scope{Tenant: hook.OperatorTenant, Mode: mode}
}

// record records an alert. It does nothing if nobody can want it.
func (d Duties) record(t *unit.Tx, a unit.Alert) {
	if d.alerts.opts.Wanted {
		a.N = max(a.N, 1)
		t.Alerts = append(t.Alerts, a)
		t.Rows++ // there is something to commit
	}
}

// Endpoint records an alert about what a caller did to an endpoint. Operational
// endpoints cause no alerts, and neither do listeners, which come and go.
func (d Duties) Endpoint(t *unit.Tx, name string, e *hook.Endpoint, changed ...string) {
	d.Health(t, name, e, nil, nil, nil, changed...)
}

// Health is Endpoint, with the record, the rule and the outcome that led to the alert.
func (d Duties) Health(t *unit.Tx, name string, e *hook.Endpoint, h *hook.Health, trip *hook.Trip, o *hook.Outcome, changed ...string) {
	if name == "" || e.Operational || e.Listener() {
		return
	}
	data := hook.NewEndpointAlert(name, e, h, trip, o, changed...)
	d.record(t, unit.Alert{Name: name, Scope: e.Scope, Data: data, Logged: trip != nil && name != hook.AlertEndpointFailing, Example: hook.AlertExample{Type: name, Tenant: data.Tenant, Endpoint: data.Endpoint, Message: data.Message}})
}

// Changed returns the type of the alert about a change of an endpoint by a caller.
func Changed(old, next *hook.Endpoint) string {
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

// RaiseAlarm publishes that an endpoint is failing, or that it will be disabled. Nodes that
// share the table do it once.
func (d Duties) RaiseAlarm(t *unit.Tx, target *hook.Endpoint, alarm hook.Alarm, h *hook.Health, trip *hook.Trip, o *hook.Outcome) error {
	name := hook.AlertEndpointFailing
	if alarm == hook.AlarmWarned {
		name, alarm = hook.AlertEndpointWarned, alarm|hook.AlarmFailing // a warning says more
	}
	mine, err := setAlarm(t, target, target.Alarm|alarm|hook.AlarmUnwell)
	if err == nil && mine {
		d.Health(t, name, target, h, trip, o)
	}
	return err
}

// Recovered publishes the first success of an endpoint that was failing or was disabled.
func (d Duties) Recovered(t *unit.Tx, target *hook.Endpoint) error {
	mine, err := setAlarm(t, target, 0)
	if err == nil && mine && target.Alarm.Has(hook.AlarmUnwell) {
		d.Endpoint(t, hook.AlertEndpointRecovered, target)
	}
	return err
}

// setAlarm changes the alarms of an endpoint, which are not part of its revision. It
// reports false if another node changed them before.
func setAlarm(t *unit.Tx, target *hook.Endpoint, to hook.Alarm) (bool, error) {
	n, err := t.Exec("set alarm", "UPDATE endpoints SET alarm = ? WHERE id = ? AND alarm = ?", int64(to), target.ID[:], int64(target.Alarm))
	if err != nil || n == 0 {
		return false, err
	}
	next := *target
	next.Alarm = to
	return true, t.SetSnapshot(&next)
}

// Exhausted records the alert about a delivery that failed for good.
func (d Duties) Exhausted(t *unit.Tx, target *hook.Endpoint, failed *hook.Delivery, event *hook.Event, o *hook.Outcome) {
	if target.Operational || target.Listener() {
		return
	}
	a := unit.Alert{Name: hook.AlertDeliveryExhausted, Scope: failed.Scope}
	public := hook.ID{}
	if event != nil {
		public = event.PublicID
	} else {
		a.Event = failed.Event
	}
	data := hook.NewDeliveryAlert(failed, target, public, o.StartedAt)
	if event != nil && event.GivenID != "" {
		data.Event = event.GivenID
	}
	a.Data, a.Example = data, hook.AlertExample{Type: a.Name, Tenant: data.Tenant, Endpoint: data.Endpoint, Message: data.Message}
	d.record(t, a)
}

// Expired records that n deliveries to an endpoint failed because they were held for too
// long. They are only counted.
func (d Duties) Expired(t *unit.Tx, scope hook.Scope, endpoint hook.ID, n int) error {
	target, err := t.Endpoint(scope, endpoint)
	if err != nil || target == nil || target.Operational || target.Listener() {
		return err
	}
	d.record(t, unit.Alert{Name: hook.AlertDeliveryExhausted, Scope: scope, N: int64(n), Example: hook.AlertExample{
		Type: hook.AlertDeliveryExhausted, Tenant: scope.Tenant, Endpoint: endpoint.String(),
		Message: fmt.Sprintf("%d deliveries to endpoint %s of tenant %s failed because they were held for too long.", n, endpoint, scope.Tenant)}})
	return nil
}

// ReplaysEnded records the alerts about those of the replays that have ended in this
// transaction.
func (d Duties) ReplaysEnded(t *unit.Tx, jobs []hook.ReplayJob) {
	for i := range jobs {
		j := &jobs[i]
		if !j.State.Ended() || !j.EndedAt.Equal(t.Now) {
			continue
		}
		if target, err := t.Endpoint(j.Scope, j.Endpoint); err != nil || target != nil && target.Operational {
			continue
		}
		data := hook.NewReplayAlert(j)
		d.record(t, unit.Alert{Name: hook.AlertJobFinished, Scope: j.Scope, Data: data,
			Example: hook.AlertExample{Type: hook.AlertJobFinished, Tenant: data.Tenant, Endpoint: data.Endpoint, Message: data.Message}})
	}
}

// Announce publishes an alert about this node to the operator's endpoints of both modes.
func (s *Alerts) Announce(ctx context.Context, name string, data *hook.ThresholdAlert) error {
	return s.core.Do(ctx, "announce", 4, func(t *unit.Tx) error {
		for _, mode := range []hook.Mode{hook.Live, hook.Test} {
			Duties{s}.record(t, unit.Alert{Name: name, Scope: OperatorOf(mode), Data: data, Example: hook.AlertExample{Type: name, Tenant: hook.OperatorTenant, Message: data.Message}})
		}
		return nil
	})
}

// Flush publishes the alerts of the transaction.
func (d Duties) Flush(u *unit.Tx) error {
	t := d.view(u)
	if len(t.Alerts) == 0 {
		return nil
	}
	left := map[channel]*unit.Alert{} // to a digest
	var order []channel
	rows := 0
	for i := range t.Alerts {
		a := &t.Alerts[i]
		t.logAlert(a)
		operator := OperatorOf(a.Scope.Mode)
		audiences := []hook.Scope{a.Scope, operator}
		if a.Scope == operator {
			audiences = audiences[1:]
		}
		for _, audience := range audiences {
			targets, err := t.wanting(audience, a.Name)
			if err != nil {
				return err
			}
			if len(targets) == 0 {
				continue
			}
			k := channel{audience, a.Name}
			more := 1 + len(targets)
			if a.Data != nil && (rows == 0 || rows+more <= RowsAtOnce) && t.inWindow(k) {
				if err := t.publishAlert(audience, a, targets); err != nil {
					return err
				}
				rows += more
				continue
			}
			if sum := left[k]; sum != nil {
				sum.N += a.N
				continue
			}
			left[k], order = &unit.Alert{Example: a.Example, N: a.N}, append(order, k)
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
	entry, err := t.Scope(audience)
	if err != nil || !entry.Tenant {
		return nil, err
	}
	return t.s.opts.Targets(entry, name, nil), nil
}

// window returns the current window of a channel.
func (t *tx) window(k channel) window {
	w := t.s.windows[k]
	if !w.until.After(t.Now) || w.until.Sub(t.Now) > hook.AlertWindow { // it is over, or the clock was set back
		if len(t.s.windows) >= maxWindows {
			clear(t.s.windows)
		}
		w = window{until: t.Now.Add(hook.AlertWindow)}
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
func (t *tx) logAlert(a *unit.Alert) {
	switch {
	case a.Logged || !t.inWindow(channel{name: a.Name}):
		return
	case slices.Contains([]string{hook.AlertEndpointFailing, hook.AlertDeliveryExhausted, hook.AlertExceeded}, a.Name):
		t.Report("operational event", []any{"type", a.Name, "mode", a.Scope.Mode.String(), "message", a.Example.Message})
	default:
		t.Logs = append(t.Logs, func() {
			t.s.core.Log.Info("operational event", "type", a.Name, "mode", a.Scope.Mode.String(), "message", a.Example.Message)
		})
	}
}

// publishAlert stores the alert as an event of the audience, with its deliveries.
func (t *tx) publishAlert(audience hook.Scope, a *unit.Alert, targets []*hook.Endpoint) error {
	if d, ok := a.Data.(*hook.DeliveryAlert); ok && !a.Event.IsZero() {
		public, given := a.Event, ""
		if _, err := t.Row("read event", "SELECT coalesce(public_id, id) FROM events WHERE id = ?", []any{a.Event[:]}, sqltext.PublicPlace{ID: &public, Given: &given}); err != nil {
			return err
		}
		d.Event, a.Event = hook.PublicText(public, given), hook.ID{}
	}
	text, err := json.Marshal(a.Data)
	if err != nil {
		return fmt.Errorf("write alert: %w", err)
	}
	return t.s.opts.Publish(t.Tx, audience, a.Name, text, targets)
}

// sumAlert leaves alerts to the next digest. However many transactions do so, the rows of a
// window are few. A row that a digest took, or whose transaction failed, is replaced.
func (t *tx) sumAlert(k channel, a *unit.Alert) error {
	t.Summed = true
	w := t.window(k)
	if !w.last.IsZero() {
		n, err := t.Exec("sum up alerts", "UPDATE alert_sums SET n = n + ?, at = ? WHERE id = ?", a.N, sqltext.Micros(t.Now), w.last[:])
		if err != nil || n > 0 {
			return err
		}
		w.first, w.last = hook.ID{}, hook.ID{}
	}
	example, err := json.Marshal(a.Example)
	if err != nil {
		return fmt.Errorf("write alert: %w", err)
	}
	id := t.s.core.IDs.Next()
	if w.first.IsZero() {
		w.first = id
	} else {
		w.last = id
	}
	t.s.windows[k] = w
	_, err = t.Exec("sum up alerts", "INSERT INTO alert_sums (id, mode, tenant, type, n, at, example) VALUES (?, ?, ?, ?, ?, ?, ?)",
		id[:], int64(k.audience.Mode), k.audience.Tenant, k.name, a.N, sqltext.Micros(t.Now), string(example))
	return err
}

const (
	// sumsPage bounds the rows that one digest sums up.
	sumsPage = 1000
	// DigestsPage bounds the audiences that are read at once.
	DigestsPage = 100

	summedScopes = "SELECT DISTINCT mode, tenant FROM alert_sums WHERE (mode, tenant) > (?, ?) ORDER BY mode, tenant LIMIT ?"
	takeSums     = `DELETE FROM alert_sums WHERE id IN (SELECT id FROM alert_sums WHERE mode = ? AND tenant = ? ORDER BY id LIMIT ?)
		RETURNING type, n, at, example`
)

// Statements returns the statements whose plans depend on an index, by name.
func Statements() map[string]string {
	return map[string]string{"summed": summedScopes, "sums": takeSums}
}

// watchDigests makes digests a window after alerts were left to them, also by an earlier
// process.
func (s *Alerts) watchDigests(ctx context.Context) {
	unit.Later(ctx, s.digests, hook.AlertWindow, hook.AlertWindow, func(ctx context.Context) time.Duration {
		more, err := s.Digest(ctx)
		if err != nil && ctx.Err() == nil {
			s.core.Log.Warn("could not sum up operational events, will try again", "error", err)
		}
		if more || err != nil {
			return hook.AlertWindow
		}
		return 0
	})
}

// Digest publishes the digests that are due, each at most once over all nodes. It reports
// whether some are left. The store calls it itself.
func (s *Alerts) Digest(ctx context.Context) (more bool, err error) {
	mode, tenant := int64(-1), "" // below every audience
	for left := true; left; {
		scopes, err := sqltext.Collect(ctx, s.core.Read, func(row sqltext.Scanner) (scope hook.Scope, err error) {
			err = row.Scan(&scope.Mode, &scope.Tenant)
			return scope, err
		}, summedScopes, mode, tenant, DigestsPage)
		if err != nil {
			return false, s.core.ReadError("read sums of alerts", err)
		}
		for _, scope := range scopes {
			full := false
			err := s.core.Submit(ctx, &unit.Op{Name: "digest", Key: scope, Rows: sumsPage, Stays: true, Apply: func(t *unit.Tx) (err error) {
				full, err = (&tx{t, s}).digest(scope)
				return err
			}})
			if err != nil {
				return false, fmt.Errorf("publish digest: %w", err)
			}
			mode, tenant, more = int64(scope.Mode), scope.Tenant, more || full
		}
		left = len(scopes) == DigestsPage
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
	sums, err := unit.Returning(t.Tx, func(row sqltext.Scanner) (a alertSum, err error) {
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
	if err != nil || len(targets) == 0 || !t.s.opts.Wanted {
		return len(sums) == sumsPage, err
	}
	return len(sums) == sumsPage, t.publishAlert(audience, &unit.Alert{Name: hook.AlertDigest, Data: data}, targets)
}
