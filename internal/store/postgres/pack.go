package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Packing gives the space of removed payloads back.
//
// Where a payload was removed, its page of the partition has free space, but nothing is
// added to the partition of a past day, and only the end of a file can be cut off. So once
// retention has passed a day, it is vacuumed, its rows are deleted and inserted again, which
// moves them to the first pages, and it is vacuumed once more. Nobody waits for that: vacuum
// locks nobody out, and the rows are moved in small transactions. Payloads over about 2 kB
// are in a file of their own, which the first vacuum cuts off.

const (
	packPage = 1000 // rows moved in one transaction
	// packDays bounds the days packed by one call.
	packDays = 4
	// packRow is the size in bytes of a row, up to which a day needs no packing.
	packRow = 300
	// packTries is how often a day is packed. It may fail to shrink because a backup or a
	// long query still sees the old versions.
	packTries = 3
)

// packedDay is the comment on the partition of a day that was packed, with the number of
// tries. packedOver means that it needs no more.
const (
	packedDay  = "payloads removed, packed %d times"
	packedOver = "payloads removed, packed"
)

// Pack packs the partitions of days that retention of payloads has passed.
func (p *Days) Pack(ctx context.Context) error {
	conn, err := p.DB.Conn(ctx)
	if err != nil {
		return fmt.Errorf("pack days: %w", err)
	}
	defer func() { _ = conn.Close() }()
	var mark []byte
	err = conn.QueryRowContext(ctx, "SELECT coalesce((SELECT mark FROM retention_marks WHERE class = 0 AND mode = 0 AND tenant = ''), '')").Scan(&mark)
	if err != nil || len(mark) == 0 {
		return sqltext.Wrap("pack days", err)
	}
	passed := hook.ID(mark).Time()
	type day struct {
		name, note string
	}
	days, err := sqltext.Collect(ctx, conn, func(row sqltext.Scanner) (d day, err error) { err = row.Scan(&d.name, &d.note); return d, err },
		`SELECT c.relname::text, coalesce(obj_description(c.oid, 'pg_class'), '') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'events'::regclass AND c.relname <> 'events_default' ORDER BY c.relname`)
	if err != nil {
		return fmt.Errorf("pack days: %w", err)
	}
	left := packDays
	for _, d := range days {
		at, err := time.Parse("events_20060102", d.name)
		if err != nil || at.Add(Span).After(passed) || d.note == packedOver || left == 0 {
			continue
		}
		tries := 0
		_, _ = fmt.Sscanf(d.note, packedDay, &tries)
		if err := p.packDay(ctx, conn, d.name, tries+1); err != nil {
			if state := State(err); errors.Is(err, errNotOurTurn) || ctx.Err() == nil && (state == "55P03" || state == "42P01" || state == "57014") {
				continue // somebody uses it, or another node has dropped it
			}
			return fmt.Errorf("pack %s: %w", d.name, err)
		}
		left--
	}
	return nil
}

// packDay packs one day.
func (p *Days) packDay(ctx context.Context, conn *sql.Conn, name string, try int) error {
	// Vacuum of its own accord runs as fast as it can.
	for set, reset := range map[string]string{"SET vacuum_cost_delay = 2": "RESET vacuum_cost_delay", "SET lock_timeout = '1s'": "RESET lock_timeout"} {
		if _, err := conn.ExecContext(ctx, set); err != nil {
			return err
		}
		defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), reset) }() // the connection belongs to a pool
	}
	if _, err := conn.ExecContext(ctx, "VACUUM "+name); err != nil {
		return err
	}
	size := func() (bytes, rows int64, err error) {
		err = conn.QueryRowContext(ctx, "SELECT pg_relation_size(oid), greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = to_regclass($1)", name).Scan(&bytes, &rows)
		return bytes, rows, err
	}
	before, rows, err := size()
	if err != nil {
		return err
	}
	note := packedOver
	if before > rows*packRow+1<<20 {
		if err := p.moveRows(ctx, conn, name); err != nil {
			return err
		}
		if _, err := conn.ExecContext(ctx, "VACUUM "+name); err != nil {
			return err
		}
		after, _, err := size()
		if err != nil {
			return err
		}
		p.Log.Info("packed a day whose payloads were removed", "day", name, "before", before, "after", after)
		if after > before*3/4 && try < packTries {
			note = fmt.Sprintf(packedDay, try)
		}
	}
	_, err = conn.ExecContext(ctx, "COMMENT ON TABLE "+name+" IS '"+note+"'")
	return err
}

// moveRows inserts every row without a payload once more, oldest first. Whoever waits for
// such a row at that moment does not find it; nothing but its deletion needs to lock it.
func (p *Days) moveRows(ctx context.Context, conn *sql.Conn, name string) error {
	d := &OldDay{conn: conn}
	for after, more := []byte{}, true; more; {
		began := time.Now()
		var last []byte
		err := d.once(ctx, func(tx *sql.Tx) error {
			return tx.QueryRowContext(ctx, `WITH page AS (SELECT id FROM `+name+` WHERE id > $1 ORDER BY id LIMIT $2),
				old AS (DELETE FROM `+name+` e USING page p WHERE e.id = p.id AND e.payload_removed_at IS NOT NULL RETURNING e.*),
				made AS (INSERT INTO `+name+` SELECT * FROM old)
				SELECT coalesce((SELECT id FROM page ORDER BY id DESC LIMIT 1), ''::bytea)`, after, packPage).Scan(&last)
		})
		if err != nil {
			return err
		}
		if after, more = last, len(last) > 0; more {
			if err := sqltext.Pause(ctx, time.Since(began)); err != nil {
				return err
			}
		}
	}
	return nil
}
