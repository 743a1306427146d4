package upkeep

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// DroppedPage is the result of one page of retention.
type DroppedPage struct {
	Last   hook.ID // the next page begins after this event
	More   bool    // there may be more events after it
	Events int64   // the number of events dropped
}

// oldDelivery is a delivery of an old event.
type oldDelivery struct {
	event, endpoint hook.ID
	attempts        int
	needed          bool
}

// tablesOf inserts the names of the tables that hold the old events into a statement: the
// whole tables on SQLite, one partition of each on PostgreSQL. A range between two events
// of a partition may cover events of another partition, which were not checked.
func tablesOf(events, query string) string {
	suffix := strings.TrimPrefix(events, "events")
	return strings.NewReplacer("{events}", events, "{deliveries}", "deliveries"+suffix, "{attempts}", "attempts"+suffix).Replace(query)
}

const (
	oldPage       = "SELECT id FROM {events} WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
	oldDeliveries = "SELECT d.event, d.endpoint, d.attempts, " + stillNeeded + ` FROM {deliveries} d
		WHERE d.event >= ? AND d.event <= ? ORDER BY d.event, d.endpoint LIMIT ?`
	oldOneshots = "SELECT DISTINCT event FROM oneshots WHERE event >= ? AND event <= ?"
	oldTags     = "SELECT event, count(*) FROM event_tags WHERE event >= ? AND event <= ? GROUP BY event"
	dropTags    = "DELETE FROM event_tags WHERE event IN (SELECT id FROM {events} WHERE id >= ? AND id <= ?)"
	neededEvent = "SELECT d.event FROM {deliveries} d WHERE d.event = ? AND " + stillNeeded + " LIMIT 1"
)

// dropper drops old events from one table of events, with all their rows.
type dropper struct {
	*tx
	from  string
	until time.Time
	after hook.ID // the page begins after this event
}

func (d *dropper) text(query string) string { return tablesOf(d.from, query) }

// page drops the next events that are no longer needed. It locks the rows before it checks
// them, because on PostgreSQL another node may be about to resend one of the events.
//
// A page is bounded in rows. An event with more rows is dropped in several pages: first
// its deliveries with their attempts, then the event with the last of them. A crash in
// between leaves an old event with fewer deliveries, and the next run drops it. If one of
// the remaining deliveries is resent in the meantime, the event is kept as it then is.
func (d *dropper) page() (page DroppedPage, err error) {
	var mine bool
	if _, err := d.Row("take turn", "SELECT {turn}", nil, &mine); err != nil || !mine {
		return page, err // another node is dropping events
	}
	bound := sqltext.FirstID(d.until)
	ids, err := sqltext.Collect(background, d.Conn, sqltext.ScanID, d.text(oldPage)+"{lock}", d.after[:], bound[:], retentionPage)
	if err != nil || len(ids) == 0 {
		return page, sqltext.Wrap("read old events", err)
	}
	first, last := ids[0], ids[len(ids)-1]
	rows, err := sqltext.Collect(background, d.Conn, func(row sqltext.Scanner) (o oldDelivery, err error) {
		err = row.Scan(sqltext.Blob(o.event[:]), sqltext.Blob(o.endpoint[:]), &o.attempts, &o.needed)
		return o, err
	}, d.text(oldDeliveries)+"{lock}", sqltext.Micros(d.until), first[:], last[:], RetentionRows)
	if err != nil {
		return page, sqltext.Wrap("read old deliveries", err)
	}
	page.More = len(ids) == retentionPage
	if len(rows) == RetentionRows { // the last event may have more rows
		cut := rows[len(rows)-1].event
		if cut == first {
			return d.dropPart(first, rows)
		}
		n, _ := slices.BinarySearchFunc(ids, cut, func(a, b hook.ID) int { return bytes.Compare(a[:], b[:]) })
		ids, page.More = ids[:n], true
	}
	return d.dropWhole(ids, rows, page)
}

// DropPage drops a page of the events of a table before until, which begins after an event.
func (d Duties) DropPage(t *unit.Tx, from string, until time.Time, after hook.ID) (DroppedPage, error) {
	return (&dropper{tx: &tx{t, d.keeper}, from: from, until: until, after: after}).page()
}

// dropWhole drops the events that are no longer needed, up to the page's bound.
func (d *dropper) dropWhole(ids []hook.ID, rows []oldDelivery, page DroppedPage) (DroppedPage, error) {
	keep, cost := map[hook.ID]bool{}, map[hook.ID]int{}
	needed, err := sqltext.Collect(background, d.Conn, sqltext.ScanID, oldOneshots, ids[0][:], ids[len(ids)-1][:])
	if err != nil {
		return page, sqltext.Wrap("read single shots of old events", err)
	}
	for _, id := range needed {
		keep[id] = true
	}
	tagged, err := sqltext.Collect(background, d.Conn, func(row sqltext.Scanner) (o oldDelivery, err error) {
		err = row.Scan(sqltext.Blob(o.event[:]), &o.attempts)
		return o, err
	}, oldTags, ids[0][:], ids[len(ids)-1][:])
	if err != nil {
		return page, sqltext.Wrap("read tags of old events", err)
	}
	for _, o := range tagged {
		cost[o.event] += o.attempts
	}
	for _, o := range rows {
		cost[o.event] += 1 + o.attempts
		keep[o.event] = keep[o.event] || o.needed
	}
	total := 0
	for i, id := range ids {
		if keep[id] {
			continue
		}
		if total += 1 + cost[id]; total <= RetentionRows {
			continue
		}
		if i == 0 {
			return d.dropPart(id, rows)
		}
		ids, page.More = ids[:i], true
		break
	}
	for _, r := range runsWithout(ids, keep) {
		if err := d.dropRun(r.low, r.high); err != nil {
			return page, err
		}
		page.Events += int64(r.events)
	}
	page.Last = ids[len(ids)-1]
	return page, nil
}

// dropPart drops part of an event that has more rows than a page: its first deliveries
// with their attempts. The event itself is left for a later page.
func (d *dropper) dropPart(event hook.ID, rows []oldDelivery) (DroppedPage, error) {
	needed, err := sqltext.Collect(background, d.Conn, sqltext.ScanID, d.text(neededEvent), event[:], sqltext.Micros(d.until))
	if err == nil && len(needed) == 0 {
		needed, err = sqltext.Collect(background, d.Conn, sqltext.ScanID, oldOneshots, event[:], event[:])
	}
	if err != nil || len(needed) > 0 {
		return DroppedPage{Last: event, More: true}, sqltext.Wrap("check whether an old event is needed", err)
	}
	again := DroppedPage{Last: d.after, More: true}
	total, last := 0, rows[0].endpoint
	for _, o := range rows {
		if total += 1 + o.attempts; total > RetentionRows || o.event != event {
			break
		}
		last = o.endpoint
	}
	if first := &rows[0]; 1+first.attempts > RetentionRows {
		n, err := d.Exec("drop old attempts", d.text(`DELETE FROM {attempts} WHERE (event, endpoint, number) IN
			(SELECT event, endpoint, number FROM {attempts} WHERE event = ? AND endpoint = ? LIMIT ?)`), event[:], first.endpoint[:], int64(RetentionRows))
		if err != nil || n == RetentionRows {
			return again, err // there may be more attempts
		}
	}
	for _, table := range []string{"{attempts}", "{deliveries}"} {
		if _, err := d.Exec("drop part of an old event", d.text("DELETE FROM "+table+" WHERE event = ? AND endpoint <= ?"), event[:], last[:]); err != nil {
			return again, err
		}
	}
	return again, nil
}

// eventRun is a range of consecutive events that are all dropped.
type eventRun struct {
	low, high hook.ID
	events    int
}

func runsWithout(ids []hook.ID, keep map[hook.ID]bool) (runs []eventRun) {
	open := false
	for _, id := range ids {
		switch {
		case keep[id]:
			open = false
		case open:
			last := &runs[len(runs)-1]
			last.high, last.events = id, last.events+1
		default:
			runs, open = append(runs, eventRun{id, id, 1}), true
		}
	}
	return runs
}

// dropIDs deletes the ids that platforms assigned to the dropped events.
const dropIDs = "DELETE FROM event_ids WHERE {idkey} IN (SELECT {idcols} FROM {events} WHERE id >= ? AND id <= ? AND public_id IS NOT NULL)"

// dropRun drops the events from low to high with all their rows.
func (d *dropper) dropRun(low, high hook.ID) error {
	for _, statement := range []string{
		"DELETE FROM {attempts} WHERE event >= ? AND event <= ?",
		"DELETE FROM {deliveries} WHERE event >= ? AND event <= ?",
		dropIDs,
		dropTags,
		"DELETE FROM {events} WHERE id >= ? AND id <= ?",
	} {
		if _, err := d.Exec("drop old events", d.text(statement), low[:], high[:]); err != nil {
			return err
		}
	}
	return nil
}
