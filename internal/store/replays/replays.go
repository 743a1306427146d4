// Package replays is attempts of events of the past at one endpoint, by the thousand: it owns
// which events a replay has still to examine, how many of its attempts are under way, and who
// runs it.
//
// A replay is a row with the range of events that is left to examine. A step makes a page of
// attempts and shrinks the range in one transaction. So however the process ends, no match is
// handled twice and none is skipped: the next process continues from the range. The fence
// decides who runs the job. Taking over, pausing, resuming or cancelling a job raises the
// fence, and a step of the previous holder is then refused.
//
// An attempt of a replay is a single shot with the replay's id. It waits in the table and
// never takes the place of a new event in memory. Whatever deletes the single shot records its
// result, and the counts are added once per transaction. The transaction that completes the
// counts ends the job.
//
// It never makes an attempt, and never changes the schedule of a delivery.
package replays

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/read"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Options say what replays need. All are required.
type Options struct {
	Core  *unit.Core
	Lists *read.Lists
	// Deliver stores a delivery that an event lacks. It waits in the table.
	Deliver func(t *unit.Tx, e *hook.Event, target *hook.Endpoint, profile hook.ProfileHash) error
	// Ended is told of replays that may have ended in the transaction.
	Ended func(t *unit.Tx, jobs []hook.ReplayJob)
}

// Replayer has the operations. Its methods are safe for concurrent use.
type Replayer struct {
	opts  Options
	core  *unit.Core
	lists *read.Lists
}

// New returns the operations, and what other operations of the store ask of them.
func New(o Options) (*Replayer, Duties) {
	s := &Replayer{opts: o, core: o.Core, lists: o.Lists}
	return s, Duties{s}
}

// Duties are what the other operations of a store ask for. They are not part of what a store
// offers.
type Duties struct{ replays *Replayer }

// background is the context of statements on the writer: nothing cancels them.
var background = context.Background()

// tx is the view of a transaction, see package unit.
type tx struct {
	*unit.Tx
	s *Replayer
}

func (s *Replayer) doFor(ctx context.Context, scope hook.Scope, name string, rows int, apply func(*tx) error) error {
	return s.core.DoFor(ctx, scope, name, rows, func(t *unit.Tx) error { return apply(&tx{t, s}) })
}

// replayOver is true for a job whose last attempt is counted by the statement that
// contains it. Its argument is the number of attempts that the statement adds.
const replayOver = "state = 0 AND exhausted = 1 AND requested = delivered + failed + dropped + ?"

// Flush adds the counts to the rows in the order of their ids, so that nodes
// lock rows in one order.
func (d Duties) Flush(t *unit.Tx) error {
	for _, id := range slices.SortedFunc(maps.Keys(t.Replays), func(a, b hook.ID) int { return bytes.Compare(a[:], b[:]) }) {
		c, now := t.Replays[id], sqltext.Micros(t.Now)
		all := int64(c.Delivered + c.Failed + c.Dropped)
		counted, err := unit.Returning(t, read.ScanReplay, `UPDATE replays SET delivered = delivered + ?, failed = failed + ?, dropped = dropped + ?, updated_at = ?,
			ended_at = CASE WHEN `+replayOver+` THEN ? ELSE ended_at END, state = CASE WHEN `+replayOver+` THEN 2 ELSE state END WHERE id = ?
			RETURNING `+read.ReplayColumns, int64(c.Delivered), int64(c.Failed), int64(c.Dropped), now, all, now, all, id[:])
		if err != nil {
			return sqltext.Wrap("count replay", err)
		}
		d.replays.opts.Ended(t, counted)
	}
	return nil
}

// CreateReplay counts what a replay would send and stores the replay, to be run by this
// process. A replay that matches nothing is done at once. CreateReplay returns
// CodeEndpointDisabled if the endpoint is not enabled, unless the replay is set to hold,
// and CodeReplayLimit if too many replays run or are paused. An empty tenant means every
// tenant of the mode.
func (s *Replayer) CreateReplay(ctx context.Context, n hook.NewReplay, once *hook.Once) (hook.ReplayJob, *hook.Replay, error) {
	target, err := s.lists.EndpointNow(ctx, n.Scope, n.Endpoint)
	if err != nil {
		return hook.ReplayJob{}, nil, err
	}
	n.Scope = target.Scope
	low, high, err := s.lists.ReplayRange(ctx, &n.Filter)
	if err != nil {
		return hook.ReplayJob{}, nil, err
	}
	preview, err := s.lists.PreviewReplay(ctx, n)
	if err != nil {
		return hook.ReplayJob{}, nil, err
	}
	var made hook.ReplayJob
	var replay *hook.Replay
	err = s.doFor(ctx, n.Scope, "create replay", 1, func(t *tx) (err error) {
		made = hook.ReplayJob{NewReplay: n, Low: low, High: high, Total: preview.Matched, Exact: preview.Exact}
		replay, err = t.Once(once, func() (any, bool, error) {
			result, keep, err := t.createReplay(&made)
			if err == nil {
				t.Audited(hook.ActReplayCreated, "replay", made.ID.String(), made.Scope, "endpoint "+made.Endpoint.String())
			}
			return result, keep, err
		})
		return err
	})
	if err != nil {
		return hook.ReplayJob{}, nil, err
	}
	return made, replay, nil
}

func (t *tx) createReplay(j *hook.ReplayJob) (any, bool, error) {
	target, err := t.EndpointByID(j.Scope, j.Endpoint)
	if err != nil {
		return nil, false, err
	}
	if target.Status != hook.Enabled && !j.Hold {
		return nil, false, errReplayDisabled()
	}
	j.ID, j.CreatedAt, j.UpdatedAt, j.Owner, j.Fence = t.s.core.IDs.Next(), t.Now, t.Now, t.s.core.Peers.Epoch(), 1
	if j.Total == 0 && j.Exact {
		j.State, j.EndedAt, j.Exhausted = hook.ReplayDone, t.Now, true
	} else if err := t.replaysBounded(j.Scope); err != nil {
		return nil, false, err
	}
	filter, err := json.Marshal(j.Filter)
	if err != nil {
		return nil, false, sqltext.Wrap("encode filter", err)
	}
	_, err = t.Exec("insert replay", `INSERT INTO replays (id, mode, tenant, endpoint, source, filter, newest, rate, hold, state, reason, low, high,
		exhausted, total, exact, requested, created, skipped, delivered, failed, dropped, owner, fence, created_at, updated_at, ended_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, 0, ?, ?, ?, ?, ?)`,
		j.ID[:], int64(j.Scope.Mode), j.Scope.Tenant, j.Endpoint[:], string(j.Source), string(filter), sqltext.Number(j.Newest), j.Rate, sqltext.Number(j.Hold),
		int64(j.State), j.Low[:], j.High[:], sqltext.Number(j.Exhausted), int64(j.Total), sqltext.Number(j.Exact), j.Owner, j.Fence,
		sqltext.Micros(j.CreatedAt), sqltext.Micros(j.UpdatedAt), sqltext.Micros(j.EndedAt))
	if err != nil {
		return nil, false, err
	}
	// Replays that end at once are bounded by nothing else. One may be deleted for each
	// that is made, and a few more.
	if _, err = t.Exec("drop old replays", `DELETE FROM replays WHERE id IN (SELECT id FROM replays
		WHERE mode = ? AND tenant = ? AND ended_at > 0 ORDER BY id DESC LIMIT 10 OFFSET ?)`, int64(j.Scope.Mode), j.Scope.Tenant, int64(replaysKept)); err != nil {
		return nil, false, err
	}
	t.runReplay(j)
	return *j, true, nil
}

// runReplay hands a running replay to this process on commit.
func (t *tx) runReplay(j *hook.ReplayJob) {
	if j.State == hook.ReplayRunning {
		t.Run = append(t.Run, hook.ReplayRef{ID: j.ID, Fence: j.Fence, Rate: j.Rate})
	}
}

func errReplayDisabled() *hook.Error {
	return &hook.Error{Code: hook.CodeEndpointDisabled, Field: "endpoint",
		Message: "The endpoint is disabled. Enable it first, or ask for a replay that waits until it is enabled, with \"hold\"."}
}

// replaysBounded refuses another replay if too many run or are paused.
func (t *tx) replaysBounded(scope hook.Scope) error {
	var own, all int
	_, err := t.Row("count replays", "SELECT (SELECT count(*) FROM replays WHERE state < 2 AND mode = ? AND tenant = ?), (SELECT count(*) FROM replays WHERE state < 2)",
		[]any{int64(scope.Mode), scope.Tenant}, &own, &all)
	switch {
	case err != nil:
		return err
	case own >= hook.MaxTenantReplays:
		return &hook.Error{Code: hook.CodeReplayLimit, Message: fmt.Sprintf(
			"%d replays of this tenant run or are paused; no more are allowed. Wait until one is done, or cancel one.", own)}
	case all >= hook.MaxReplays:
		return &hook.Error{Code: hook.CodeReplayLimit, Message: fmt.Sprintf(
			"%d replays run or are paused on this server; no more are allowed. Wait until one is done, or cancel one.", all)}
	}
	return nil
}

// PauseReplay, ResumeReplay and CancelReplay change the state of a replay. Attempts that
// are already requested are still made, unless the replay is cancelled. The methods return
// CodeReplayEnded if the replay has ended, and change nothing if it already is in that
// state. An empty tenant means every tenant of the mode.
func (s *Replayer) PauseReplay(ctx context.Context, scope hook.Scope, id hook.ID) (hook.ReplayJob, error) {
	return s.moveReplay(ctx, scope, id, "pause replay", func(t *tx, j *hook.ReplayJob) error {
		j.State = hook.ReplayPaused
		return nil
	})
}

// ResumeReplay makes this process run a paused replay. It returns CodeEndpointDisabled if
// the endpoint is not enabled and the replay is not set to hold.
func (s *Replayer) ResumeReplay(ctx context.Context, scope hook.Scope, id hook.ID) (hook.ReplayJob, error) {
	return s.moveReplay(ctx, scope, id, "resume replay", func(t *tx, j *hook.ReplayJob) error {
		target, err := t.EndpointByID(j.Scope, j.Endpoint)
		if err != nil {
			return err
		}
		if target.Status != hook.Enabled && !j.Hold {
			return errReplayDisabled()
		}
		j.State, j.Reason = hook.ReplayRunning, hook.ReasonNone
		if j.Exhausted && j.Pending() <= 0 {
			j.State = hook.ReplayDone
		}
		return nil
	})
}

// CancelReplay ends a replay. Its attempts that wait in the table are not made.
func (s *Replayer) CancelReplay(ctx context.Context, scope hook.Scope, id hook.ID) (hook.ReplayJob, error) {
	return s.moveReplay(ctx, scope, id, "cancel replay", func(t *tx, j *hook.ReplayJob) error {
		j.State = hook.ReplayCancelled
		return Duties{t.s}.DropShots(t.Tx, "endpoint = ? AND replay = ? AND owner = 0", j.Scope, j.Endpoint[:], j.ID[:])
	})
}

func (s *Replayer) moveReplay(ctx context.Context, scope hook.Scope, id hook.ID, name string, move func(t *tx, j *hook.ReplayJob) error) (hook.ReplayJob, error) {
	var j hook.ReplayJob
	err := s.doFor(ctx, scope, name, 1, func(t *tx) (err error) {
		if j, err = t.findReplay(scope, id); err != nil {
			return err
		}
		was := j.State
		if was.Ended() {
			return &hook.Error{Code: hook.CodeReplayEnded, Message: "The replay is " + was.String() + " already. Create another one for what is left."}
		}
		if err := move(t, &j); err != nil || j.State == was {
			return err
		}
		if err := t.saveReplay(&j); err != nil {
			return err
		}
		act := hook.ActReplayResumed
		switch j.State {
		case hook.ReplayPaused:
			act = hook.ActReplayPaused
		case hook.ReplayCancelled:
			act = hook.ActReplayCancelled
		}
		t.Audited(act, "replay", id.String(), j.Scope)
		j.Moved = true
		t.s.opts.Ended(t.Tx, []hook.ReplayJob{j})
		return nil
	})
	if err != nil {
		return hook.ReplayJob{}, err
	}
	return j, nil
}

func (t *tx) findReplay(scope hook.Scope, id hook.ID) (hook.ReplayJob, error) {
	found, err := sqltext.Collect(background, t.Conn, read.ScanReplay, "SELECT "+read.ReplayColumns+
		" FROM replays r WHERE r.id = ? AND r.mode = ? AND (? = '' OR r.tenant = ?){lock}", id[:], int64(scope.Mode), scope.Tenant, scope.Tenant)
	if err != nil {
		return hook.ReplayJob{}, sqltext.Wrap("find replay", err)
	}
	if len(found) == 0 {
		return hook.ReplayJob{}, hook.NotFound("replay")
	}
	return found[0], nil
}

// saveReplay writes a new state of a replay and takes it from the process that ran it.
func (t *tx) saveReplay(j *hook.ReplayJob) error {
	j.UpdatedAt, j.Fence, j.Owner = t.Now, j.Fence+1, t.s.core.Peers.Epoch()
	if j.State.Ended() {
		j.EndedAt = t.Now
	}
	t.runReplay(j)
	_, err := t.Exec("update replay", "UPDATE replays SET state = ?, reason = ?, owner = ?, fence = ?, updated_at = ?, ended_at = ? WHERE id = ?",
		int64(j.State), string(j.Reason), j.Owner, j.Fence, sqltext.Micros(j.UpdatedAt), sqltext.Micros(j.EndedAt), j.ID[:])
	return err
}

// DropShots deletes the attempts of replays that match a condition on oneshots.
// Their number is bounded by what replays may have waiting at one endpoint.
func (d Duties) DropShots(t *unit.Tx, which string, scope hook.Scope, args ...any) error {
	gone, err := unit.Returning(t, sqltext.ScanID, "DELETE FROM oneshots WHERE "+which+" RETURNING replay", args...)
	t.AddOpen(scope, -len(gone))
	for _, id := range gone {
		t.CountReplay(id, unit.ReplayCounts{Dropped: 1})
	}
	return sqltext.Wrap("drop attempts of replays", err)
}

// End ends the replays of a deleted endpoint together with their attempts.
func (d Duties) End(t *unit.Tx, target *hook.Endpoint) error {
	now := sqltext.Micros(t.Now)
	ended, err := unit.Returning(t, read.ScanReplay, `UPDATE replays SET state = 4, reason = ?, dropped = requested - delivered - failed, fence = fence + 1,
		updated_at = ?, ended_at = ? WHERE state < 2 AND mode = ? AND tenant = ? AND endpoint = ? RETURNING `+read.ReplayColumns,
		string(hook.ReplayEndpointDeleted), now, now, int64(target.Scope.Mode), target.Scope.Tenant, target.ID[:])
	d.replays.opts.Ended(t, ended)
	return sqltext.Wrap("end replays", err)
}

// TakeOver makes this process run the replays of an ended process. Their number is
// bounded by hook.MaxReplays.
func (d Duties) TakeOver(ctx context.Context, dead string) error {
	s := d.replays
	return s.core.Recover(ctx, "take over replays", hook.MaxReplays, func(u *unit.Tx) error {
		t := &tx{u, s}
		left, err := unit.Returning(t.Tx, read.ScanReplay, "UPDATE replays SET owner = ?, fence = fence + 1 WHERE state < 2 AND state = 0 AND "+dead+
			" RETURNING "+read.ReplayColumns, t.s.core.Peers.Epoch())
		for i := range left {
			t.runReplay(&left[i])
		}
		return sqltext.Wrap("take over replays", err)
	})
}

// StepReplay handles the next matches of a replay, at most most of them.
func (s *Replayer) StepReplay(ctx context.Context, ref hook.ReplayRef, most int, profileOf func(*hook.Endpoint) hook.ProfileHash) (hook.ReplayStep, error) {
	over, wait := hook.ReplayStep{Over: true}, hook.ReplayStep{Waiting: true}
	j, err := s.runningReplay(ctx, ref)
	if err != nil || j == nil || j.Exhausted {
		return over, err
	}
	target, err := s.lists.Endpoint(ctx, j.Scope, j.Endpoint)
	switch {
	case hook.CodeOf(err) == hook.CodeNotFound && err != nil:
		return wait, nil // the deletion ends the replay and informs the job in memory
	case err != nil:
		return wait, err
	case target.Status != hook.Enabled && !j.Hold:
		return over, s.pauseDisabled(ctx, j)
	case !target.Receives():
		return wait, nil
	}
	waiting, err := s.lists.ReplayWaiting(ctx, j.Endpoint)
	if err != nil || waiting >= hook.ReplayPending {
		return wait, err
	}
	page, err := s.lists.ReplayPage(ctx, j, target, min(most, hook.ReplayPending-waiting))
	if err != nil {
		return wait, err
	}
	step := hook.ReplayStep{}
	err = unit.Counted(ctx, s.core, unit.Op{Name: "replay", Key: j.Scope, Rows: 2 * len(page.Matches), Apply: func(t *unit.Tx) (err error) {
		step, err = (&tx{t, s}).replayPage(*j, &page, profileOf)
		return err
	}}, s.core.Submit)
	return step, err
}

// runningReplay reads a replay, or returns nil if this process no longer runs it.
func (s *Replayer) runningReplay(ctx context.Context, ref hook.ReplayRef) (*hook.ReplayJob, error) {
	found, err := sqltext.Collect(ctx, s.core.Read, read.ScanReplay, "SELECT "+read.ReplayColumns+" FROM replays r WHERE r.id = ? AND r.state = 0 AND r.fence = ?", ref.ID[:], ref.Fence)
	if err != nil {
		return nil, s.core.ReadError("read replay", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return &found[0], nil
}

// pauseDisabled pauses a replay whose endpoint was disabled.
func (s *Replayer) pauseDisabled(ctx context.Context, j *hook.ReplayJob) error {
	_, err := s.moveReplay(ctx, j.Scope, j.ID, "pause replay", func(t *tx, now *hook.ReplayJob) error {
		target, err := t.Endpoint(j.Scope, j.Endpoint)
		if err == nil && now.Fence == j.Fence && target != nil && target.Status != hook.Enabled {
			now.State, now.Reason = hook.ReplayPaused, hook.ReplayEndpointDisabled
		}
		return err
	})
	if code := hook.CodeOf(err); err != nil && (code == hook.CodeReplayEnded || code == hook.CodeNotFound) {
		return nil
	}
	return err
}

// replayPage makes the attempts of a page and shrinks the range, if the row still equals
// j. A full backlog of the tenant ends the page early.
func (t *tx) replayPage(j hook.ReplayJob, page *read.ReplayPage, profileOf func(*hook.Endpoint) hook.ProfileHash) (hook.ReplayStep, error) {
	step := hook.ReplayStep{}
	target, err := t.Endpoint(j.Scope, j.Endpoint)
	if err != nil {
		return step, err
	}
	if target == nil || !target.Receives() {
		step.Waiting = true
		return step, nil
	}
	last, end := page.Last, page.End
	for i := range page.Matches {
		full, err := t.BacklogFull(j.Scope, 1)
		if err != nil {
			return step, err
		}
		if full != nil && i == 0 {
			return step, full
		}
		if full != nil {
			last, end = page.Matches[i-1].Event, false
			break
		}
		if err := t.replayOne(&j, &page.Matches[i], target, profileOf); err != nil {
			return step, err
		}
		step.Done++
	}
	for _, id := range page.Gone {
		if c := bytes.Compare(id[:], last[:]); end || c == 0 || c < 0 != j.Newest {
			j.Skipped++
		}
	}
	low, high := j.Low, j.High
	if !last.IsZero() {
		low, high = j.After(last, j.Low, j.High)
	}
	now := sqltext.Micros(t.Now)
	over, ended := int64(0), int64(0) // the end state and time if no attempt is left either
	if end {
		over, ended = int64(hook.ReplayDone), now
	}
	moved, err := unit.Returning(t.Tx, read.ScanReplay, `UPDATE replays SET low = ?, high = ?, exhausted = ?, requested = ?, created = ?, skipped = ?, updated_at = ?,
		state = CASE WHEN delivered + failed + dropped = ? THEN ? ELSE state END, ended_at = CASE WHEN delivered + failed + dropped = ? THEN ? ELSE ended_at END
		WHERE id = ? AND state = 0 AND fence = ? AND low = ? AND high = ? RETURNING `+read.ReplayColumns,
		low[:], high[:], sqltext.Number(end), int64(j.Requested), int64(j.Created), int64(j.Skipped), now,
		int64(j.Requested), over, int64(j.Requested), ended, j.ID[:], j.Fence, j.Low[:], j.High[:])
	if err == nil && len(moved) == 0 {
		return step, errReplayMoved
	}
	t.s.opts.Ended(t.Tx, moved)
	step.Over = end
	return step, sqltext.Wrap("move replay", err)
}

// errReplayMoved undoes a page of a replay that was changed concurrently.
var errReplayMoved = &hook.Error{Code: hook.CodeConflict, Message: "The replay was changed meanwhile."}

// replayOne handles one match in its current state and counts it in j.
func (t *tx) replayOne(j *hook.ReplayJob, m *hook.ReplayMatch, target *hook.Endpoint, profileOf func(*hook.Endpoint) hook.ProfileHash) error {
	row, exists, err := t.ReadDelivery(m.Event, j.Endpoint)
	if err != nil {
		return err
	}
	now := *m
	now.Exists, now.State, now.LastStatus, now.LastError = exists, row.State, row.LastStatus, row.LastError
	asked := false
	if exists {
		var removed time.Time
		if asked, removed, err = t.ShotRequested(&row); err != nil {
			return err
		}
		now.PayloadGone = !removed.IsZero()
	}
	switch {
	case asked || now.PayloadGone || !j.Matches(&now, target):
		j.Skipped++
		return nil
	case exists:
		j.Requested++
		return t.requestReplay(&row, j, target)
	}
	var removed, deliver int64
	if ok, err := t.Row("read event", "SELECT coalesce(payload_removed_at, 0), coalesce(deliver_at, 0) FROM events WHERE id = ? AND mode = ? AND tenant = ?{lock}",
		[]any{m.Event[:], int64(j.Scope.Mode), j.Scope.Tenant}, &removed, &deliver); err != nil || !ok || removed != 0 {
		j.Skipped++ // retention dropped the event or its payload
		return err
	}
	j.Created++
	e := &hook.Event{ID: m.Event, PublicID: m.PublicID, GivenID: m.GivenID, Scope: j.Scope, Kind: m.Kind, Type: m.Type, Channels: m.Channels, AcceptedAt: m.AcceptedAt, DeliverAt: sqltext.FromMicros(deliver)}
	return t.s.opts.Deliver(t.Tx, e, target, profileOf(target))
}

// requestReplay stores a single shot for a replay. It waits in the table.
func (t *tx) requestReplay(row *hook.Delivery, j *hook.ReplayJob, target *hook.Endpoint) error {
	t.AddOpen(row.Scope, 1)
	t.NoteDue(target, t.Now)
	return t.Insert("insert single shot", sqltext.OneShots, row.Event[:], row.Endpoint[:], int64(row.Scope.Mode), row.Scope.Tenant,
		int64(hook.ByReplay), sqltext.Micros(t.Now), int64(0), j.ID[:])
}

// replayKept is how long an ended replay is kept, and replaysKept how many of them of a
// tenant in one mode.
const (
	replayKept  = 90 * 24 * time.Hour
	replaysKept = 1000
	// dropPage bounds the rows that one operation deletes.
	dropPage = 500
)

// DropOld deletes replays that ended more than replayKept ago.
func (d Duties) DropOld(ctx context.Context) error {
	_, err := d.replays.core.InPages(ctx, "drop replays", "DELETE FROM replays WHERE id IN (SELECT id FROM replays WHERE ended_at > 0 AND ended_at <= "+
		strconv.FormatInt(sqltext.Micros(d.replays.core.Now().Add(-replayKept)), 10)+" LIMIT ?)", dropPage)
	return err
}
