package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Examination describes a PostgreSQL database for operators. It contains no secret and no
// text of a statement.
type Examination struct {
	Version  string // of the server
	TooOld   bool
	Standby  bool
	Settings map[string]string // by their names in postgresql.conf
	// ClockAhead is how far the database's clock is ahead of this machine's, with an error
	// of at most ClockError.
	ClockAhead, ClockError time.Duration

	Connections int // of other clients, to all databases
	Free        int // connections that this role may still open to this database

	Schema, Ours int64 // versions; if Schema is 0, only Holders and Hidden are set below
	// KeyChecked means that the database records its master key and a key was given.
	// KeyFits means that the two are the same.
	KeyChecked, KeyFits bool
	Nodes               []NodeSeen
	PartitionsAhead     int       // days with partitions, from today without a gap
	InDefault           int64     // recent events in the default partition, at most maxInDefault
	OldInDefault        bool      // the default partition contains older events
	NewestEvent         time.Time // from its id; zero: there is no event
	Dead, Live          int64     // estimated rows in the partitions of deliveries
	Vacuumed            time.Time

	Holders []Holder // of old row versions, oldest first
	Hidden  int      // sessions in this database that the role may not inspect
}

const (
	maxInDefault = 1_000_000
	// youngEvent is the age up to which events in the default partition count as recent.
	youngEvent = 3 * 24 * time.Hour
)

// NodeSeen is a node as recorded in the database.
type NodeSeen struct {
	Epoch   int64
	Name    string
	Version string
	Silent  time.Duration // since it last renewed its lease
	Alive   bool
	Left    bool // it has given up its lease
	Done    bool // its work was taken over
}

// Holder is a session or other object for which PostgreSQL keeps old row versions. Vacuum
// cannot remove rows that were deleted since.
type Holder struct {
	Kind         string        // session, replication slot, standby or prepared transaction
	Name         string        // of the slot or transaction; the application of a session or standby
	PID          int           // 0: none
	User         string        // empty: none
	State        string        // of a session, such as "idle in transaction"; of a slot: active or inactive
	Age          time.Duration // of its transaction; 0: unknown
	Transactions int64         // number of transactions started since
}

// Examine examines a database and changes nothing. It needs no permission beyond
// connecting, but without pg_read_all_stats it cannot inspect the sessions of other roles
// (Hidden). keys may be nil. Errors wrap postgres.ErrURL or postgres.ErrUnusable.
func Examine(ctx context.Context, address string, keys *seal.Keyring) (*Examination, error) {
	config, err := postgres.ParseURL(address)
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, postgres.Refused(postgres.StartError(err))
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	x := &examiner{Examination: &Examination{}, conn: conn, keys: keys}
	for _, look := range []func(context.Context) error{x.server, x.clock, x.room, x.schema, x.holders} {
		if err := look(ctx); err != nil {
			return nil, postgres.Refused(postgres.StartError(err))
		}
	}
	if x.Schema == 0 {
		return x.Examination, nil
	}
	for _, look := range []func(context.Context) error{x.key, x.nodes, x.partitions, x.newest, x.waste} {
		if err := look(ctx); err != nil {
			return nil, postgres.Refused(postgres.StartError(err))
		}
	}
	return x.Examination, nil
}

type examiner struct {
	*Examination
	conn *pgx.Conn
	keys *seal.Keyring
}

func (x *examiner) server(ctx context.Context) error {
	rows, err := x.conn.Query(ctx, `SELECT name, setting FROM pg_settings WHERE name IN
		('server_version', 'synchronous_commit', 'fsync', 'full_page_writes', 'transaction_read_only', 'autovacuum', 'track_counts')`)
	if err != nil {
		return err
	}
	x.Settings = map[string]string{}
	var name, value string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error { x.Settings[name] = value; return nil }); err != nil {
		return err
	}
	x.Version = x.Settings["server_version"]
	return x.conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int < $1::int, pg_is_in_recovery()", postgres.Oldest).Scan(&x.TooOld, &x.Standby)
}

// clock measures three times and uses the fastest answer.
func (x *examiner) clock(ctx context.Context) error {
	x.ClockError = time.Hour
	for range 3 {
		var there time.Time
		before := time.Now()
		if err := x.conn.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&there); err != nil {
			return err
		}
		if way := time.Since(before) / 2; way < x.ClockError {
			x.ClockAhead, x.ClockError = there.Sub(before.Add(way)), way
		}
	}
	return nil
}

// room counts connections against all limits: the server's without the connections reserved
// for administrators, the database's and the role's.
func (x *examiner) room(ctx context.Context) error {
	return x.conn.QueryRow(ctx, `WITH s AS (SELECT datname, usename FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())
		SELECT (SELECT count(*) FROM s), greatest(0, least(
			current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
				- coalesce(current_setting('reserved_connections', true)::int, 0) - (SELECT count(*) FROM s),
			(SELECT CASE WHEN datconnlimit >= 0 THEN datconnlimit - (SELECT count(*) FROM s WHERE s.datname = d.datname) END FROM pg_database d WHERE datname = current_database()),
			(SELECT CASE WHEN rolconnlimit >= 0 THEN rolconnlimit - (SELECT count(*) FROM s WHERE s.usename = rolname) END FROM pg_roles WHERE rolname = current_user)))`).
		Scan(&x.Connections, &x.Free)
}

func (x *examiner) schema(ctx context.Context) error {
	var err error
	if x.Ours, err = postgres.OurSchema(); err != nil {
		return err
	}
	var there bool
	if err := x.conn.QueryRow(ctx, "SELECT to_regclass('goose_db_version') IS NOT NULL").Scan(&there); err != nil || !there {
		return err
	}
	return x.conn.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied").Scan(&x.Schema)
}

func (x *examiner) key(ctx context.Context) error {
	var check, rotation []byte
	err := x.conn.QueryRow(ctx, sqltext.KeyRecords).Scan(&check, &rotation)
	if err != nil || check == nil || x.keys == nil {
		return err
	}
	x.KeyChecked, x.KeyFits = true, x.keys.Fit(check, rotation) == nil
	return nil
}

func (x *examiner) nodes(ctx context.Context) error {
	rows, err := x.conn.Query(ctx, `SELECT epoch, name, version, extract(epoch FROM clock_timestamp() - seen_at)::float8,
		taker = 0 AND NOT gone AND seen_at + lease >= clock_timestamp(), gone, done FROM nodes ORDER BY epoch`)
	if err != nil {
		return err
	}
	var n NodeSeen
	var silent float64
	_, err = pgx.ForEachRow(rows, []any{&n.Epoch, &n.Name, &n.Version, &silent, &n.Alive, &n.Left, &n.Done}, func() error {
		n.Silent = time.Duration(silent * float64(time.Second))
		x.Nodes = append(x.Nodes, n)
		return nil
	})
	return err
}

func (x *examiner) partitions(ctx context.Context) error {
	day := time.Now().UTC().Truncate(postgres.Span)
	for x.PartitionsAhead <= postgres.Ahead {
		var there bool
		err := x.conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", postgres.PartitionName("deliveries", day)).Scan(&there)
		if err != nil {
			return err
		}
		if !there {
			break
		}
		x.PartitionsAhead++
		day = day.Add(postgres.Span)
	}
	// Events that are needed for longer than their partition are carried over to the
	// default one. Only recent events that are younger than the oldest partition should not
	// be there.
	var oldest string
	err := x.conn.QueryRow(ctx, `SELECT coalesce(min(c.relname), '') FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'events'::regclass AND c.relname ~ '^events_[0-9]{8}$'`).Scan(&oldest)
	if err != nil {
		return err
	}
	young := time.Now().Add(-youngEvent)
	if day, err := time.Parse("events_20060102", oldest); err == nil && day.After(young) {
		young = day
	}
	first := sqltext.FirstID(young)
	return x.conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM (SELECT 1 FROM events_default WHERE id >= $1 LIMIT $2) d),
		EXISTS (SELECT 1 FROM events_default WHERE id < $1)`, first[:], maxInDefault).Scan(&x.InDefault, &x.OldInDefault)
}

func (x *examiner) newest(ctx context.Context) error {
	var id []byte
	err := x.conn.QueryRow(ctx, sqltext.NewestEvent).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if len(id) == len(hook.ID{}) {
		x.NewestEvent = hook.ID(id).Time()
	}
	return err
}

func (x *examiner) waste(ctx context.Context) error {
	var vacuumed *time.Time
	err := x.conn.QueryRow(ctx, `SELECT coalesce(sum(n_dead_tup), 0)::bigint, coalesce(sum(n_live_tup), 0)::bigint, max(greatest(last_autovacuum, last_vacuum))
		FROM pg_stat_user_tables s JOIN pg_inherits i ON i.inhrelid = s.relid WHERE i.inhparent = 'deliveries'::regclass`).Scan(&x.Dead, &x.Live, &vacuumed)
	if vacuumed != nil {
		x.Vacuumed = *vacuumed
	}
	return err
}

// holding lists what may keep vacuum from removing old rows of this database: sessions and
// prepared transactions in it, and replication slots and standbys, which are not tied to a
// database. A session holds rows that it can see (backend_xmin) or has written
// (backend_xid). The catalog_xmin of a slot only holds rows of the system catalog, which
// can grow large too.
const holding = `SELECT * FROM (
	SELECT 'session' AS kind, coalesce(application_name, '') AS name, pid, coalesce(usename, '') AS usename, coalesce(state, '') AS state,
		coalesce(extract(epoch FROM clock_timestamp() - xact_start), 0)::float8 AS seconds,
		greatest(age(backend_xmin), age(backend_xid))::bigint AS transactions
	FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type NOT IN ('autovacuum worker', 'walsender')
		AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
	UNION ALL SELECT 'standby', coalesce(application_name, ''), pid, coalesce(usename, ''), coalesce(state, ''), 0, age(backend_xmin)::bigint
	FROM pg_stat_replication WHERE backend_xmin IS NOT NULL
	UNION ALL SELECT 'replication slot', slot_name, coalesce(active_pid, 0), '', CASE WHEN active THEN 'active' ELSE 'inactive' END, 0,
		greatest(age(xmin), age(catalog_xmin))::bigint
	FROM pg_replication_slots WHERE xmin IS NOT NULL OR catalog_xmin IS NOT NULL AND database = current_database()
	UNION ALL SELECT 'prepared transaction', gid, 0, owner, '', extract(epoch FROM clock_timestamp() - prepared)::float8, age(transaction)::bigint
	FROM pg_prepared_xacts WHERE database = current_database()) h ORDER BY transactions DESC, seconds DESC LIMIT 20`

func (x *examiner) holders(ctx context.Context) error {
	rows, err := x.conn.Query(ctx, holding)
	if err != nil {
		return err
	}
	var h Holder
	var seconds float64
	_, err = pgx.ForEachRow(rows, []any{&h.Kind, &h.Name, &h.PID, &h.User, &h.State, &seconds, &h.Transactions}, func() error {
		h.Age = time.Duration(seconds * float64(time.Second))
		x.Holders = append(x.Holders, h)
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for old transactions: %w", err)
	}
	// Only the process of a session is visible if the role may not inspect it.
	return x.conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type IS NULL
		OR datname = current_database() AND query = '<insufficient privilege>'`).Scan(&x.Hidden)
}
