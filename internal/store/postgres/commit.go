package postgres

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// exchange is a list of statements that are sent together. If one fails, the whole exchange
// fails.
type exchange struct {
	p     *Conn
	batch pgconn.Batch
	err   error
	count int
	rows  int // rows that are sent with it
	bytes int
}

func (p *Conn) exchange() *exchange { return &exchange{p: p} }

// add appends a statement. Its arguments must be in the binary format.
func (x *exchange) add(query string, types []uint32, args [][]byte) {
	if x.err != nil {
		return
	}
	if x.p.Fault != nil {
		if x.err = x.p.Fault(query); x.err != nil {
			return
		}
	}
	x.count++
	for _, arg := range args {
		x.bytes += len(arg)
	}
	formats := []int16{1}
	if len(args) == 0 {
		formats = nil
	}
	if x.p.hot == nil {
		x.batch.ExecParams(query, args, types, formats, []int16{1})
		return
	}
	known := x.p.hot[query]
	if known == nil {
		x.p.wait(x.rows, x.bytes)
		known, x.err = x.p.raw.PgConn().Prepare(background, fmt.Sprintf("posthorn_%d", len(x.p.hot)), query, types)
		if x.err != nil {
			x.err = x.p.Lost(x.err)
			return
		}
		x.p.hot[query] = known
	}
	x.batch.ExecStatement(known, args, formats, []int16{1})
}

// run sends the statements and returns the first column of the first row of each.
func (x *exchange) run() ([][]byte, error) {
	if x.err != nil {
		return nil, x.err
	}
	x.p.wait(x.rows, x.bytes)
	results := x.p.raw.PgConn().ExecBatch(background, &x.batch)
	values := make([][]byte, 0, x.count)
	for results.NextResult() {
		reader := results.ResultReader()
		var value []byte
		for first := true; reader.NextRow(); first = false {
			if row := reader.Values(); first && len(row) > 0 {
				value = append(value, row[0]...)
			}
		}
		if _, err := reader.Close(); err != nil {
			break // results.Close returns the same error
		}
		values = append(values, value)
	}
	if err := results.Close(); err != nil {
		return nil, x.p.Lost(err)
	}
	return values, nil
}

// start adds BEGIN, if it has not been sent yet, and the gathered rows.
func (x *exchange) start() {
	p := x.p
	if !p.begun {
		x.add("BEGIN ISOLATION LEVEL READ COMMITTED", nil, nil) // the guard must see what others committed
		p.begun = true
	}
	for _, b := range p.tables {
		if b.table == sqltext.Attempts && p.moves.rows() > 0 {
			x.rows += p.moves.rows()
			x.add(MoveText, append(typesOf(moveKinds), oidBytea, oidBytea), append(p.moves.wire(), p.least[:], p.greatest[:]))
		}
		if b.rows() > 0 {
			x.rows += b.rows()
			x.add(b.table.Arrays, typesOf(b.table.Kinds), b.wire())
		}
	}
}

// flush sends the gathered rows, because the next statement may depend on them.
func (p *Conn) flush() error {
	gathered := p.moves.rows()
	for _, b := range p.tables {
		gathered += b.rows()
	}
	if p.begun && gathered == 0 {
		return nil
	}
	x := p.exchange()
	x.start()
	_, err := x.run()
	p.forget()
	return err
}

const (
	// GuardText is the statement that decides whether the transaction may commit.
	GuardText = "SELECT posthorn_guard($1, $2, $3, $4, $5, $6)"
	// cleanHealth deletes the health records of endpoints that responded well.
	cleanHealth = "DELETE FROM health WHERE endpoint = ANY($1::bytea[])"
	// raiseBounds runs while nobody can publish. Events that exist now must be held,
	// whichever clock created their ids; later events must not.
	raiseBounds = `UPDATE endpoints SET sweep_bound = greatest(sweep_bound, (SELECT id || '\x00'::bytea FROM events ORDER BY id DESC LIMIT 1))
		WHERE id = ANY($1::bytea[])`
	raiseFloor = `UPDATE config SET floor = greatest(floor, (SELECT sweep_bound FROM endpoints WHERE id = ANY($1::bytea[])
		ORDER BY sweep_bound DESC LIMIT 1))`
	tellChanges = `WITH c AS (UPDATE config SET news = news + cardinality($2::int8[]) RETURNING news)
		INSERT INTO news (seq, node, kind, mode, tenant, event, endpoint, at)
		SELECT c.news - cardinality($2::int8[]) + u.n, $1, u.kind, u.mode, u.tenant, u.event, u.endpoint, $7
		FROM c, unnest($2::int8[], $3::int8[], $4::text[], $5::bytea[], $6::bytea[]) WITH ORDINALITY AS u(kind, mode, tenant, event, endpoint, n)`
	notify = "SELECT pg_notify('posthorn', '')"
)

var (
	oneInt    = []uint32{oidInt8}
	guardArgs = []uint32{oidInt8, oidInt8, oidInt8, oidInt8, 16, 16}
	oneArray  = typesOf("b")
)

func int8Arg(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func boolArg(v bool) []byte {
	if v {
		return []byte{1}
	}
	return []byte{0}
}

// Guard contains what the database function posthorn_guard checks with a commit.
type Guard struct {
	Epoch   int64 // of the node, whose lease must not be over
	Writer  int64 // index of the connection in the node
	Number  int64 // of the write on that connection, greater than any before
	Version int64 // of the configuration that the node has in memory
	Durable bool  // the commit must wait for the disk
}

// Commit is the last exchange of a transaction: the gathered rows, the guard and COMMIT.
type Commit struct {
	x       *exchange
	guard   int // the index of the guard among the statements
	version int64
}

// End returns the last exchange of the transaction. The exchange contains the gathered
// rows; End removes them from p.
func (p *Conn) End(g Guard, with sqltext.Ending) *Commit {
	x := p.exchange()
	x.start()
	if len(with.Clean) > 0 {
		x.add(cleanHealth, oneArray, [][]byte{idArray(with.Clean)})
	}
	c := &Commit{x: x, guard: x.count}
	x.add(GuardText, guardArgs, [][]byte{int8Arg(g.Epoch), int8Arg(g.Writer), int8Arg(g.Number), int8Arg(g.Version), boolArg(with.Config), boolArg(g.Durable)})
	if len(with.Holds) > 0 {
		ids := [][]byte{idArray(with.Holds)}
		x.add(raiseBounds, oneArray, ids)
		x.add(raiseFloor, oneArray, ids)
	}
	if len(with.Changes) > 0 {
		x.add(tellChanges, append(oneInt, append(typesOf(changeKinds), oidInt8)...),
			append(append([][]byte{int8Arg(g.Epoch)}, changeArrays(with.Changes)...), int8Arg(sqltext.Micros(with.At))))
		x.add(notify, nil, nil)
	}
	x.add("COMMIT", nil, nil)
	p.forget()
	return c
}

// changeKinds are the kinds of a change's columns: kind, mode, tenant, event, endpoint.
const changeKinds = "iitbb"

func changeArrays(changes []sqltext.Change) [][]byte {
	rows := newColumns(changeKinds)
	for _, c := range changes {
		_ = rows.add(c.Kind, int64(c.Scope.Mode), c.Scope.Tenant, c.Ref.Event[:], c.Ref.Endpoint[:]) // cannot fail
	}
	return rows.wire()
}

// idArray returns ids as an array in the binary format. The ids are sorted, so that nodes
// that lock the same rows do so in the same order.
func idArray(ids []hook.ID) []byte {
	slices.SortFunc(ids, func(a, b hook.ID) int { return slices.Compare(a[:], b[:]) })
	c := column{oid: oidBytea}
	for _, id := range slices.Compact(ids) {
		_ = c.add(id[:]) // cannot fail: add accepts bytes
	}
	return c.wire()
}

// Send sends the exchange and waits for the answer. It may run in another goroutine while
// nothing else uses the connection.
func (c *Commit) Send() error {
	values, err := c.x.run()
	if err != nil {
		return err
	}
	if c.guard < len(values) && len(values[c.guard]) == 8 {
		c.version = int64(binary.BigEndian.Uint64(values[c.guard]))
	}
	return nil
}

// Version returns the version of the configuration after the commit, 0 if it is unknown.
func (c *Commit) Version() int64 { return c.version }

// Ended records that the transaction was committed.
func (p *Conn) Ended() { p.begun = false }

// Single reports whether the transaction executed no statement before, so that the commit
// is the only exchange.
func (p *Conn) Single() bool { return !p.begun }

// Rollback ends a transaction without a commit.
func (p *Conn) Rollback() {
	p.forget()
	p.begun = false
	if !p.Connected() {
		return
	}
	p.wait(0, 0)
	if p.raw.PgConn().TxStatus() != 'I' {
		if _, err := p.raw.PgConn().Exec(background, "ROLLBACK").ReadAll(); err != nil {
			p.Disconnect()
			return
		}
	}
	if p.outdated {
		p.prepareAnew()
	}
}

// prepareAnew discards the prepared statements, here and on the server.
func (p *Conn) prepareAnew() {
	if err := p.raw.DeallocateAll(background); err != nil {
		p.Disconnect()
		return
	}
	p.outdated = false
	clear(p.hot)
}
