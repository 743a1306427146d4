package accounts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// Revisions: earlier states of an endpoint, which show why an event did or did not reach
// it (read.Lists.History).
//
// A revision is appended only if a visible field changed. An endpoint keeps a bounded
// number of them. Beyond the bound, revisions during which no event was accepted are
// dropped first, because no one can request them, and then the oldest. Housekeeping drops
// revisions that ended before the oldest stored event.
const (
	// MaxRevisions bounds the revisions of an endpoint.
	MaxRevisions = 32
	// MaxRevisionBytes bounds their URLs, types and channels together; the newest may exceed it.
	MaxRevisionBytes = 128 << 10
	// RevisionPage bounds the rows that one operation deletes.
	RevisionPage = 500
)

// AppendRevision records the state of an endpoint from now on.
func (d Duties) AppendRevision(t *unit.Tx, e *hook.Endpoint, types string) error {
	old, err := t.Endpoint(e.Scope, e.ID)
	if err != nil {
		return err
	}
	url := hook.MaskURL(e.URL)
	if old != nil && old.Status == e.Status && old.Profile == e.Profile && hook.MaskURL(old.URL) == url && slices.Equal(old.Types, e.Types) && slices.Equal(old.Channels, e.Channels) {
		return nil
	}
	if _, err := t.Exec("append revision", `INSERT INTO endpoint_revisions (endpoint, revision, mode, tenant, at, url, types, channels, status, profile)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, e.ID[:], e.Revision, int64(e.Scope.Mode), e.Scope.Tenant, sqltext.Micros(t.Now), url,
		types, e.Channels.Text(), int64(e.Status), e.Profile); err != nil {
		return err
	}
	if old == nil {
		return nil
	}
	return (&tx{t, d.accounts}).trimRevisions(e.Scope, e.ID)
}

// revision is the size and the beginning of a stored revision.
type revision struct{ number, at, bytes int64 }

// fitting returns how many of the revisions, newest first, an endpoint may keep.
func fitting(list []revision) int {
	bytes := int64(0)
	for i, r := range list {
		if bytes += r.bytes; i == MaxRevisions || i > 0 && bytes > MaxRevisionBytes {
			return i
		}
	}
	return len(list)
}

// trimRevisions drops the revisions of an endpoint that exceed its bounds.
func (t *tx) trimRevisions(scope hook.Scope, id hook.ID) error {
	list, err := sqltext.Collect(background, t.Conn, func(row sqltext.Scanner) (r revision, err error) {
		err = row.Scan(&r.number, &r.at, &r.bytes)
		return r, err
	}, `SELECT revision, at, octet_length(url) + octet_length(types) + octet_length(channels) FROM endpoint_revisions
		WHERE endpoint = ? ORDER BY revision DESC LIMIT ?`, id[:], MaxRevisions+1)
	if err != nil || fitting(list) == len(list) {
		return sqltext.Wrap("read revisions", err)
	}
	kept := list[:1:1]
	for i, r := range list[1:] {
		asked, err := t.acceptedBetween(scope, r.at, list[i].at)
		if err != nil {
			return err
		}
		if asked {
			kept = append(kept, r)
			continue
		}
		if _, err := t.Exec("drop revision", "DELETE FROM endpoint_revisions WHERE endpoint = ? AND revision = ?", id[:], r.number); err != nil {
			return err
		}
	}
	n := fitting(kept)
	if n == len(kept) {
		return nil
	}
	_, err = t.Exec("drop old revisions", dropRevisionsUpTo, id[:], kept[n].number, int64(RevisionPage))
	return err
}

// dropRevisionsUpTo deletes a page of the oldest revisions of an endpoint.
const dropRevisionsUpTo = `DELETE FROM endpoint_revisions WHERE (endpoint, revision) IN
	(SELECT endpoint, revision FROM endpoint_revisions WHERE endpoint = ? AND revision <= ? ORDER BY revision LIMIT ?)`

// looked is how many events acceptedBetween examines. There are more than one only if
// several were accepted within a millisecond, or the clock was ahead once.
const looked = 20

// acceptedBetween reports whether an event of the scope may have been accepted between two
// times, both inclusive.
func (t *tx) acceptedBetween(scope hook.Scope, from, to int64) (bool, error) {
	low := sqltext.FirstID(sqltext.FromMicros(from))
	times, err := sqltext.Collect(background, t.Conn, func(row sqltext.Scanner) (at int64, err error) {
		err = row.Scan(&at)
		return at, err
	}, "SELECT accepted_at FROM events WHERE mode = ? AND tenant = ? AND id >= ? ORDER BY id LIMIT ?", int64(scope.Mode), scope.Tenant, low[:], looked)
	if err != nil {
		return false, sqltext.Wrap("look for events", err)
	}
	for _, at := range times {
		switch {
		case at > to:
			return false, nil
		case at >= from:
			return true, nil
		}
	}
	return len(times) == looked, nil
}

// Revisions that housekeeping drops: those that ended before the oldest event, and those
// that exceed the bound in stores of earlier releases.
const (
	endpointsWithOldRevisions = `SELECT DISTINCT r.endpoint FROM endpoint_revisions r WHERE r.at < ?
		AND EXISTS (SELECT 1 FROM endpoint_revisions p WHERE p.endpoint = r.endpoint AND p.revision > r.revision AND p.at < ?) LIMIT 10000`
	endpointsWithManyRevisions = "SELECT endpoint FROM endpoint_revisions GROUP BY endpoint HAVING count(*) > ? LIMIT 10000"
	lastOfOldRevisions         = "SELECT coalesce(max(revision), 0) - 1 FROM endpoint_revisions WHERE endpoint = ? AND at < ?"
	lastOfManyRevisions        = "SELECT revision FROM endpoint_revisions WHERE endpoint = ? ORDER BY revision DESC LIMIT 1 OFFSET ?"
)

// dropRevisions drops the revisions that no one can request, in pages. The time of an
// event is taken as one day earlier, because the clocks of nodes may differ.
func (s *Accounts) dropRevisions(ctx context.Context) error {
	oldest, err := sqltext.Collect(ctx, s.core.Read, sqltext.ScanID, "SELECT id FROM events ORDER BY id LIMIT 1")
	if err != nil {
		return s.core.ReadError("read oldest event", err)
	}
	until := s.core.Now()
	if len(oldest) > 0 && oldest[0].Time().Before(until) {
		until = oldest[0].Time()
	}
	before := sqltext.Micros(until.Add(-24 * time.Hour))
	for _, c := range []struct {
		find  string
		args  []any
		last  string
		bound int64
	}{
		{endpointsWithOldRevisions, []any{before, before}, lastOfOldRevisions, before},
		{endpointsWithManyRevisions, []any{MaxRevisions}, lastOfManyRevisions, MaxRevisions},
	} {
		ids, err := sqltext.Collect(ctx, s.core.Read, sqltext.ScanID, c.find, c.args...)
		if err != nil {
			return s.core.ReadError("find revisions that nobody can ask for", err)
		}
		if err := s.dropRevisionsOf(ctx, ids, c.last, c.bound); err != nil {
			return fmt.Errorf("drop revisions: %w", err)
		}
	}
	return nil
}

// dropRevisionsOf drops, for each endpoint, the revisions up to the one that last finds. A
// page is shared by as many endpoints as it has rows.
func (s *Accounts) dropRevisionsOf(ctx context.Context, ids []hook.ID, last string, bound int64) error {
	for len(ids) > 0 {
		var done int
		err := s.maintain(ctx, "drop revisions", RevisionPage, func(t *tx) error {
			done = 0
			for left := int64(RevisionPage); left > 0 && done < len(ids); done++ {
				id := ids[done]
				var number int64
				if _, err := t.Row("find old revisions", last, []any{id[:], bound}, &number); err != nil {
					return err
				}
				n, err := t.Exec("drop old revisions", dropRevisionsUpTo, id[:], number, left)
				if err != nil {
					return err
				}
				if left -= n + 1; left <= 0 {
					break // the endpoint may have more
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if ids = ids[done:]; len(ids) > 0 {
			if err := sqltext.Pause(ctx, unit.PagePause); err != nil {
				return err
			}
		}
	}
	return nil
}
