package unit

import "github.com/posthorn/posthorn/internal/hook"

// ReplayCounts holds the results of the attempts of a replay.
type ReplayCounts struct{ Delivered, Failed, Dropped int }

// CountReplay adds results of attempts to the counts of a replay, on commit. A zero id means
// that they belong to none.
func (t *Tx) CountReplay(id hook.ID, became ReplayCounts) {
	if id.IsZero() {
		return // not of a replay
	}
	if t.Replays == nil {
		t.Replays = map[hook.ID]ReplayCounts{}
	}
	sum := t.Replays[id]
	t.Replays[id] = ReplayCounts{sum.Delivered + became.Delivered, sum.Failed + became.Failed, sum.Dropped + became.Dropped}
}

// Alert is an alert that a transaction is about to publish.
type Alert struct {
	Name    string
	Scope   hook.Scope // of what it is about
	Data    any        // nil: it is only counted in a digest
	Example hook.AlertExample
	N       int64   // how many it stands for
	Logged  bool    // it has a line in the log of its own
	Event   hook.ID // of a hook.DeliveryAlert whose event is not in memory
}

// Report writes a warning to the log, on commit.
func (t *Tx) Report(message string, line []any) {
	t.Logs = append(t.Logs, func() { t.core.Log.Warn(message, line...) })
}
