package store

import (
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// exchange is a list of statements that go out together. An error of one is the
// error of all.
type exchange struct {
	p     *pg
	batch pgconn.Batch
	err   error
	count int
}

func (p *pg) exchange() *exchange { return &exchange{p: p} }

// add appends a statement. Its arguments are in the binary format.
func (x *exchange) add(query string, types []uint32, args [][]byte) {
	if x.err != nil {
		return
	}
	if x.p.fault != nil {
		if x.err = x.p.fault(query); x.err != nil {
			return
		}
	}
	x.count++
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
		x.p.wait()
		known, x.err = x.p.raw.PgConn().Prepare(background, fmt.Sprintf("posthorn_%d", len(x.p.hot)), query, types)
		if x.err != nil {
			x.err = x.p.lost(x.err)
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
	x.p.wait()
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
			break // results.Close says it again
		}
		values = append(values, value)
	}
	if err := results.Close(); err != nil {
		return nil, x.p.lost(err)
	}
	return values, nil
}

// start adds the beginning of the transaction, if it has none yet, and the rows that
// were gathered.
func (x *exchange) start() {
	p := x.p
	if !p.begun {
		x.add("BEGIN ISOLATION LEVEL READ COMMITTED", nil, nil) // whatever the role's default: the guard must see what others committed
		p.begun = true
	}
	for _, b := range p.tables {
		if b.table == attemptsTable && p.moves.rows() > 0 {
			x.add(moveRows, append(typesOf(moveKinds), oidBytea, oidBytea), append(p.moves.wire(), p.least[:], p.greatest[:]))
		}
		if b.rows() > 0 {
			x.add(b.table.arrays, typesOf(b.table.kinds), b.wire())
		}
	}
}

// flush writes what was gathered, because something is to be read or changed that
// may depend on it.
func (p *pg) flush() error {
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
	guard = "SELECT posthorn_guard($1, $2, $3, $4, $5, $6)"
	// cleanHealth ends the records of endpoints that answered well.
	cleanHealth = "DELETE FROM health WHERE endpoint = ANY($1::bytea[])"
	// raiseBounds runs while nobody can publish: what is there now is to be held,
	// whatever clock gave it its id, and what comes later is not.
	raiseBounds = `UPDATE endpoints SET sweep_bound = greatest(sweep_bound, (SELECT id || '\x00'::bytea FROM events ORDER BY id DESC LIMIT 1))
		WHERE id = ANY($1::bytea[])`
	raiseFloor = `UPDATE config SET floor = greatest(floor, (SELECT sweep_bound FROM endpoints WHERE id = ANY($1::bytea[])
		ORDER BY sweep_bound DESC LIMIT 1))`
	tellNews = `WITH c AS (UPDATE config SET news = news + cardinality($2::int8[]) RETURNING news)
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

// ending is the last exchange of a transaction: what was gathered, the guard and
// COMMIT.
type ending struct {
	*exchange
	guard         int // the place of the guard
	values        [][]byte
	epoch, number int64 // by which the write is known
}

// ending makes it. What was gathered is in there and forgotten here.
func (p *pg) ending(t *tx) *ending {
	c := p.store.cluster
	p.number++
	x := p.exchange()
	x.start()
	if len(t.clean) > 0 {
		x.add(cleanHealth, oneArray, [][]byte{idArray(t.clean)})
	}
	e := &ending{exchange: x, guard: x.count, epoch: p.store.Epoch(), number: p.number}
	p.last = e
	x.add(guard, guardArgs, [][]byte{int8Arg(e.epoch), int8Arg(p.lane), int8Arg(e.number), int8Arg(c.version), boolArg(t.config), boolArg(c.durable)})
	if len(t.holds) > 0 {
		ids := [][]byte{idArray(t.holds)}
		x.add(raiseBounds, oneArray, ids)
		x.add(raiseFloor, oneArray, ids)
	}
	if t.news != nil && t.news.rows() > 0 {
		x.add(tellNews, append(oneInt, append(typesOf(newsKinds), oidInt8)...),
			append(append([][]byte{int8Arg(p.store.Epoch())}, t.news.wire()...), int8Arg(micros(t.now))))
		x.add(notify, nil, nil)
	}
	x.add("COMMIT", nil, nil)
	p.forget()
	return e
}

// send is the exchange itself. It may run beside the writer, on a lane that is busy.
func (e *ending) send() (err error) {
	e.p.sentAt.Store(max(1, e.p.store.cluster.sinceStart()))
	defer e.p.sentAt.Store(0)
	e.values, err = e.run()
	return err
}

// sent notes that the transaction was committed.
func (e *ending) sent() {
	c := e.p.store.cluster
	e.p.begun = false
	e.p.acknowledged = max(e.p.acknowledged, e.number)
	c.back()
	if e.guard < len(e.values) && len(e.values[e.guard]) == 8 {
		c.version = max(c.version, int64(binary.BigEndian.Uint64(e.values[e.guard])))
	}
	c.seenVersion.Store(c.version)
}

// commit ends the transaction and waits for the answer.
func (p *pg) commit(t *tx) error {
	e := p.ending(t)
	if err := e.send(); err != nil {
		return err
	}
	p.store.cluster.careful = false
	e.sent()
	return nil
}

func (p *pg) rollback() {
	p.forget()
	if p.raw == nil || p.raw.IsClosed() || p.raw.PgConn().TxStatus() == 'I' {
		p.begun = false
		return
	}
	p.wait()
	if _, err := p.raw.PgConn().Exec(background, "ROLLBACK").ReadAll(); err != nil {
		p.disconnect()
	}
	p.begun = false
}
