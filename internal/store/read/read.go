// Package read implements lists, searches and statistics.
//
// The package guarantees that every search examines a bounded number of rows and returns a
// cursor to continue from, that each scope runs one search at a time, and that a list sees
// the last commit. It never sees an uncommitted transaction of the writer, and it changes
// nothing.
package read

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/store/directory"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Lists reads from one database. Its methods are safe for concurrent use.
type Lists struct {
	// Scan is how many rows a page of a list examines before it returns a cursor to
	// continue from.
	Scan int
	// First is how many a page of events or deliveries examines at first. Most pages find
	// enough in them.
	First int

	db     *sqltext.Reader
	dir    *directory.Directory
	known  *directory.KeyCache
	shared bool
	now    func() time.Time
	log    *slog.Logger
	fail   func(act string, err error) error
	slots  slots

	aheadLogged atomic.Bool
}

// Options are the options of New. All but Shared are required.
type Options struct {
	Reader    *sqltext.Reader
	Directory *directory.Directory
	Keys      *directory.KeyCache
	Shared    bool // other nodes change endpoints too
	Now       func() time.Time
	Log       *slog.Logger
	// Fail maps the error of a read to the error that callers get.
	Fail func(act string, err error) error
}

// New returns the lists of a database.
func New(o Options) *Lists {
	return &Lists{Scan: defaultScan, First: firstScan, db: o.Reader, dir: o.Directory, known: o.Keys, shared: o.Shared, now: o.Now, log: o.Log, fail: o.Fail}
}
