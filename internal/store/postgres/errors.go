package postgres

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/batch"
)

// SQLSTATEs that our own database functions raise (see the migrations).
const (
	ConfigChanged = "PH001" // what nodes have in memory is outdated
	LeaseOver     = "PH002" // other nodes took over this node's work
	NotDurable    = "PH003" // the commit would not wait for the disk
	MovedByOthers = "PH004" // a delivery is not in the expected state
	GivenUp       = "PH005" // the write was given up before it arrived
)

// SQLSTATEs of conflicts over locks.
const (
	lockNotAvailable = "55P03" // the wait was longer than lock_timeout
	deadlock         = "40P01"
)

// SQLSTATEs of prepared statements that no longer work.
const (
	planChanged = "0A000" // a migration changed the type of its result
	notPrepared = "26000" // the server no longer has it
)

// outdated reports whether err comes from an outdated prepared statement, which may work
// once it is prepared again.
func outdated(err error) bool {
	state := State(err)
	return state == planChanged || state == notPrepared
}

// ReadAgain reports whether a read that has failed so many times may succeed on another
// connection, or on the same one after it has discarded its prepared statements.
func ReadAgain(err error, failed int) bool {
	if failed > Readers {
		return false
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	slow, ok := errors.AsType[net.Error](err)
	broken := !connecting && !(ok && slow.Timeout()) // every connection of the pool may be broken
	return IsNetwork(err) && (failed == 1 || broken) || outdated(err)
}

// State returns the SQLSTATE of an error from the server, "" for any other error.
func State(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// lostError means that a connection can no longer be used.
type lostError struct{ err error }

func (e *lostError) Error() string { return "connection to the database lost: " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// Class classifies an error for the batch. The states are those of appendix A of
// PostgreSQL's manual.
func Class(err error) batch.Class {
	if err == nil {
		return batch.NoError
	}
	if _, ok := errors.AsType[*lostError](err); ok {
		return batch.Lost
	}
	if _, ok := errors.AsType[*hook.Error](err); ok {
		return batch.OwnFault
	}
	state := State(err)
	switch state {
	case "":
		if IsNetwork(err) {
			return batch.Unavailable
		}
		return batch.OwnFault
	case "53100": // disk full
		return batch.Full
	case ConfigChanged, LeaseOver, MovedByOthers, GivenUp,
		planChanged, notPrepared, // the connection prepares the statement again
		"40001", deadlock, lockNotAvailable, "57014", // serialization, deadlock, lock or statement timeout
		"23505": // another writer was first; the next run sees its row
		return batch.Again
	case NotDurable, "25006": // read only: this server is now a standby
		return batch.Unavailable
	}
	switch state[:2] {
	case "08", "53", "57", "58", "XX": // connection, resources, operator, system, damage
		return batch.Unavailable
	}
	return batch.OwnFault
}

// IsNetwork reports whether an error comes from the connection and not from the server.
func IsNetwork(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, net.ErrClosed) ||
		pgconn.SafeToRetry(err)
}

// StartError describes why the database cannot be used, in one line without secrets.
func StartError(err error) error {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if text := OneLine(err); !ok && (strings.Contains(text, "TLS") || strings.Contains(text, "tls:") || strings.Contains(text, "x509:")) {
		return fmt.Errorf("PostgreSQL cannot be reached over TLS: %s; check sslmode and sslrootcert in --store, and the server's certificate", text)
	}
	if !ok {
		return fmt.Errorf("PostgreSQL cannot be reached: %s; check the host and port of --store, and that the server runs", OneLine(err))
	}
	switch {
	case e.Code == "28P01" || e.Code == "28000":
		return fmt.Errorf("PostgreSQL refuses the user (%s); check user and password of --store, and pg_hba.conf", e.Message)
	case e.Code == "3D000":
		return fmt.Errorf("%s; create it (createdb) or correct --store", e.Message)
	case e.Code == "42501":
		return fmt.Errorf("the role may not do what Posthorn needs (%s); make it the owner of the database or GRANT ALL ON SCHEMA to it", e.Message)
	case e.Code == "3F000":
		return fmt.Errorf("there is no schema that the role may use (%s); set its search_path or GRANT USAGE, CREATE ON SCHEMA to it", e.Message)
	case e.Code == "42P05" || e.Code == "26000":
		return fmt.Errorf("a pooler in between does not keep prepared statements (%s); add default_query_exec_mode=exec to --store", e.Message)
	case e.Code == NotDurable:
		return fmt.Errorf("%s; both must be on", e.Message)
	case e.Code == "53300" || strings.HasPrefix(e.Message, "remaining connection slots"):
		return fmt.Errorf("PostgreSQL has no connection left (%s); a node needs %d: raise max_connections or close others", e.Message, ConnectionsANode)
	case e.Code == "25006":
		return errReadOnly
	case e.Code == "57P03":
		return fmt.Errorf("PostgreSQL is not ready (%s); try again when it is", e.Message)
	}
	return fmt.Errorf("PostgreSQL: %s (SQLSTATE %s)", e.Message, e.Code)
}

var errReadOnly = errors.New("the database is read only: it is a standby, or default_transaction_read_only is on; name the primary, or both hosts with target_session_attrs=read-write")

// OneLine returns the text of an error without line breaks.
func OneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}
