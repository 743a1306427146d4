package store

import (
	"context"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// background is the context of statements on the writer: nothing cancels them.
var background = context.Background()

// claimRows claims due deliveries for this process.
func (t *tx) claimRows(shares []sqltext.Share, now time.Time) (*sqltext.Claimed, error) {
	if err := t.Mark(); err != nil {
		return nil, err
	}
	claimed, err := t.Conn.Claim(shares, t.s.Epoch(), now)
	if err != nil {
		t.Rows++ // as in Exec
		return nil, sqltext.Wrap("claim deliveries", err)
	}
	t.Rows += len(claimed.Deliveries)
	return claimed, nil
}

// Room before the commit: whether a new delivery is handed over or waits.
//
// Memory for jobs is bounded, and a delivery that does not fit waits in the table,
// unowned, until a claim takes it. This is decided before the insert, because deciding it
// after the commit would cost a second write for each such row. roomFor calls Options.Room
// once for each endpoint and transaction, and counts down from its result. Only the writer
// hands over new jobs, so the result still holds at the commit. A row is inserted as owned
// if and only if its job is handed over on commit.

// txJobs bounds the jobs that one transaction hands over. The rest wait in the table.
const txJobs = 4096

// roomFor takes one place in memory for a job of the endpoint and reports whether there
// was one.
func (t *tx) roomFor(target *hook.Endpoint) bool {
	if t.s.opts.Room == nil || t.s.opts.Committed == nil {
		return false
	}
	if len(t.Jobs) >= txJobs { // Room bounds one endpoint at a time, not their sum
		return false
	}
	left, ok := t.Room[target.ID]
	if !ok {
		left = t.s.opts.Room(target)
		if t.Room == nil {
			t.Room = map[hook.ID]int{}
		}
	}
	t.Room[target.ID] = left - 1
	return left > 0
}

// Flush writes the rows that are written once for each transaction. It is not part of the
// commit, so losing the connection here loses no result of a commit.
func (t *tx) Flush() error {
	t.Unguard()
	if err := t.FlushHealth(); err != nil {
		return err
	}
	if err := t.s.replays.Flush(t.Tx); err != nil {
		return err
	}
	if err := t.s.alerts.Flush(t.Tx); err != nil {
		return err
	}
	return t.Tx.Flush()
}

// committed applies the effects. It runs after the commit and before any caller is
// answered, so that no job depends on a caller that has gone. If the process crashes in
// between, Recover finds the work.
func (t *tx) committed() {
	s := t.s
	s.core.Apply(t.Tx)
	if t.Profiles && s.opts.ProfilesKept != nil {
		s.opts.ProfilesKept()
	}
	if t.Catalogue && s.opts.CatalogueChanged != nil {
		s.opts.CatalogueChanged()
	}
	s.stats.events.Add(t.Counts.Events)
	s.stats.deliveries.Add(t.Counts.Deliveries)
	s.stats.attempts.Add(t.Counts.Attempts)
	s.stats.staleSettles.Add(t.StaleSettles)
	commit := hook.Commit{Jobs: t.Jobs, Changed: t.Changed, Dropped: t.Dropped, Returned: t.Returned, Replays: t.Run, Erasures: t.Erasures}
	for _, d := range t.Due {
		commit.Due = append(commit.Due, d)
	}
	if s.opts.Committed != nil && len(commit.Jobs)+len(commit.Due)+len(commit.Changed)+len(commit.Dropped)+len(commit.Returned)+len(commit.Replays)+len(commit.Erasures) > 0 {
		s.opts.Committed(commit)
	}
	for _, report := range t.Logs {
		report()
	}
	if t.Sweeps {
		s.wakeSweeper()
	}
}

func (s *Store) wakeSweeper() { unit.Wake(s.sweeps) }
