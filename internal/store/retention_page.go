package store

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// droppedPage is what one page of retention did.
type droppedPage struct {
	last   hook.ID // the event to go on behind
	more   bool    // there may be more behind it
	events int64   // that were dropped
}

// oldDelivery is a delivery of an old event.
type oldDelivery struct {
	event, endpoint hook.ID
	attempts        int
	needed          bool
}

// tablesOf puts the names of the tables that hold the old events into a statement: all
// there are on SQLite, one partition of each on PostgreSQL. What lies between two events
// of a partition may be in another one, where nobody has judged it.
func tablesOf(events, query string) string {
	suffix := strings.TrimPrefix(events, "events")
	return strings.NewReplacer("{events}", events, "{deliveries}", "deliveries"+suffix, "{attempts}", "attempts"+suffix).Replace(query)
}

const (
	oldPage       = "SELECT id FROM {events} WHERE id > ? AND id < ? ORDER BY id LIMIT ?"
	oldDeliveries = "SELECT d.event, d.endpoint, d.attempts, " + stillNeeded + ` FROM {deliveries} d
		WHERE d.event >= ? AND d.event <= ? ORDER BY d.event, d.endpoint LIMIT ?`
	oldOneshots = "SELECT DISTINCT event FROM oneshots WHERE event >= ? AND event <= ?"
	neededEvent = "SELECT d.event FROM {deliveries} d WHERE d.event = ? AND " + stillNeeded + " LIMIT 1"
)

// dropper drops what is older than a moment out of one table of events, with what hangs
// on it.
type dropper struct {
	*tx
	from  string
	until time.Time
	after hook.ID // the event to begin behind
}

func (d *dropper) text(query string) string { return tablesOf(d.from, query) }

// page drops what may go of the next events. The rows are locked before they are judged:
// on PostgreSQL another node may be asked for one more attempt of them.
//
// A page is bounded in rows. An event that has more than fit goes in several pages: its
// deliveries with their attempts first, the event with the last of them. What a crash
// leaves in between is an old event with fewer deliveries, which the next time drops. If
// somebody asks meanwhile for one of these to be sent again, it is kept as it is then.
func (d *dropper) page() (page droppedPage, err error) {
	var mine bool
	if _, err := d.row("take turn", "SELECT {turn}", nil, &mine); err != nil || !mine {
		return page, err // another node is at it
	}
	bound := sqltext.FirstID(d.until)
	ids, err := sqltext.Collect(background, d.c, sqltext.ScanID, d.text(oldPage)+"{lock}", d.after[:], bound[:], retentionPage)
	if err != nil || len(ids) == 0 {
		return page, sqltext.Wrap("read old events", err)
	}
	first, last := ids[0], ids[len(ids)-1]
	rows, err := sqltext.Collect(background, d.c, func(row sqltext.Scanner) (o oldDelivery, err error) {
		err = row.Scan(sqltext.Blob(o.event[:]), sqltext.Blob(o.endpoint[:]), &o.attempts, &o.needed)
		return o, err
	}, d.text(oldDeliveries)+"{lock}", sqltext.Micros(d.until), first[:], last[:], retentionRows)
	if err != nil {
		return page, sqltext.Wrap("read old deliveries", err)
	}
	page.more = len(ids) == retentionPage
	if len(rows) == retentionRows { // the last event may have more
		cut := rows[len(rows)-1].event
		if cut == first {
			return d.part(first, rows)
		}
		n, _ := slices.BinarySearchFunc(ids, cut, func(a, b hook.ID) int { return bytes.Compare(a[:], b[:]) })
		ids, page.more = ids[:n], true
	}
	return d.whole(ids, rows, page)
}

// whole drops those of the events that may go, as far as the page takes them.
func (d *dropper) whole(ids []hook.ID, rows []oldDelivery, page droppedPage) (droppedPage, error) {
	keep, cost := map[hook.ID]bool{}, map[hook.ID]int{}
	needed, err := sqltext.Collect(background, d.c, sqltext.ScanID, oldOneshots, ids[0][:], ids[len(ids)-1][:])
	if err != nil {
		return page, sqltext.Wrap("read single shots of old events", err)
	}
	for _, id := range needed {
		keep[id] = true
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
		if total += 1 + cost[id]; total <= retentionRows {
			continue
		}
		if i == 0 {
			return d.part(id, rows)
		}
		ids, page.more = ids[:i], true
		break
	}
	for _, r := range runsWithout(ids, keep) {
		if err := d.run(r.low, r.high); err != nil {
			return page, err
		}
		page.events += int64(r.events)
	}
	page.last = ids[len(ids)-1]
	return page, nil
}

// part drops some of an event that has more rows than a page: the first of its
// deliveries with their attempts. The event itself is left for a later page.
func (d *dropper) part(event hook.ID, rows []oldDelivery) (droppedPage, error) {
	needed, err := sqltext.Collect(background, d.c, sqltext.ScanID, d.text(neededEvent), event[:], sqltext.Micros(d.until))
	if err == nil && len(needed) == 0 {
		needed, err = sqltext.Collect(background, d.c, sqltext.ScanID, oldOneshots, event[:], event[:])
	}
	if err != nil || len(needed) > 0 {
		return droppedPage{last: event, more: true}, sqltext.Wrap("read what is needed", err)
	}
	again := droppedPage{last: d.after, more: true}
	total, last := 0, rows[0].endpoint
	for _, o := range rows {
		if total += 1 + o.attempts; total > retentionRows || o.event != event {
			break
		}
		last = o.endpoint
	}
	if first := &rows[0]; 1+first.attempts > retentionRows {
		n, err := d.exec("drop old attempts", d.text(`DELETE FROM {attempts} WHERE (event, endpoint, number) IN
			(SELECT event, endpoint, number FROM {attempts} WHERE event = ? AND endpoint = ? LIMIT ?)`), event[:], first.endpoint[:], int64(retentionRows))
		if err != nil || n == retentionRows {
			return again, err // it may have more
		}
	}
	for _, table := range []string{"{attempts}", "{deliveries}"} {
		if _, err := d.exec("drop part of an old event", d.text("DELETE FROM "+table+" WHERE event = ? AND endpoint <= ?"), event[:], last[:]); err != nil {
			return again, err
		}
	}
	return again, nil
}

// run is a run of events that follow each other and may all go.
type run struct {
	low, high hook.ID
	events    int
}

func runsWithout(ids []hook.ID, keep map[hook.ID]bool) (runs []run) {
	open := false
	for _, id := range ids {
		switch {
		case keep[id]:
			open = false
		case open:
			last := &runs[len(runs)-1]
			last.high, last.events = id, last.events+1
		default:
			runs, open = append(runs, run{id, id, 1}), true
		}
	}
	return runs
}

// dropIDs forgets the ids that platforms gave to events that go.
const dropIDs = "DELETE FROM event_ids WHERE {idkey} IN (SELECT {idcols} FROM {events} WHERE id >= ? AND id <= ? AND public_id IS NOT NULL)"

// run drops the events from low to high with everything that hangs on them.
func (d *dropper) run(low, high hook.ID) error {
	for _, statement := range []string{
		"DELETE FROM {attempts} WHERE event >= ? AND event <= ?",
		"DELETE FROM {deliveries} WHERE event >= ? AND event <= ?",
		dropIDs,
		"DELETE FROM {events} WHERE id >= ? AND id <= ?",
	} {
		if _, err := d.exec("drop old events", d.text(statement), low[:], high[:]); err != nil {
			return err
		}
	}
	return nil
}
