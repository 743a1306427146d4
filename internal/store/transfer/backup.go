package transfer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Errors of Backup and Restore that callers branch on.
var (
	// ErrExists means that the output file exists already. Nothing is ever overwritten.
	ErrExists = errors.New("the file exists")
	// ErrOccupied means that there is already a store at the target.
	ErrOccupied = errors.New("there is a store already")
	// ErrNoStore means that a file contains no store.
	ErrNoStore = errors.New("there is no store in this file")
)

// backupAt is the key in a backup's table meta that stores when the backup was made.
const backupAt = "backup_at"

// Contents is the result of checking a database file. It contains no secret.
type Contents struct {
	Bytes        int64
	At           time.Time // when the backup was started; zero: the file was not made by Backup
	Schema, Ours int64     // versions of the file's schema and of this release's
	KeyChecked   bool      // a master key was given, and it is the right one

	Tenants, Endpoints, Events int64
	Pending, Held              int64     // deliveries that must still be sent
	NewestEvent                time.Time // from its id; zero: there is no event
}

// Backup copies the store in the SQLite file from to the new file to. A server may use the
// store meanwhile. The copy contains every write that was acknowledged before Backup was
// called. Backup writes to.partial, checks it as Check does, syncs it and then renames it,
// so a file at to is always complete. Errors wrap ErrExists, ErrNoStore, ErrCorrupt,
// ErrNewerSchema or ErrMasterKeyMismatch where applicable. After an error no file is left
// behind.
func Backup(ctx context.Context, from, to string, keys *seal.Keyring, now time.Time) (*Contents, error) {
	if err := holdsFile(from); err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", to, cmpErr(err, ErrExists))
	}
	part := to + ".partial"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// SQLite would create the file readable by others.
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(part) }()
	if err := sqlite.CopyTo(ctx, from, part); err != nil {
		return nil, err
	}
	if err := sqlite.SetMeta(ctx, part, backupAt, now.UnixMicro()); err != nil {
		return nil, err
	}
	c, err := Check(ctx, part, keys)
	if err != nil {
		return nil, err
	}
	return c, putInPlace(part, to)
}

// Check reads a whole database file, which nobody may be using, and returns what it
// contains. It changes nothing. If keys is nil, it does not check the master key. Errors
// are those of Backup.
func Check(ctx context.Context, path string, keys *seal.Keyring) (*Contents, error) {
	if err := holdsFile(path); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c := &Contents{}
	var err error
	if c.Schema, c.Ours, err = sqlite.SchemaVersion(ctx, path); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case c.Schema == 0:
		return nil, fmt.Errorf("%s: %w", path, ErrNoStore)
	case c.Schema > c.Ours:
		return nil, fmt.Errorf("%s: schema %d, this release knows %d: %w", path, c.Schema, c.Ours, sqltext.ErrNewerSchema)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	c.Bytes = info.Size()
	db, err := sqlite.OpenUnchanged(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	if err := sqlite.CheckIntegrity(ctx, db); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := c.read(ctx, db, keys); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if c.NewestEvent, err = sqlite.NewestEvent(ctx, path); err != nil {
		return nil, err
	}
	return c, nil
}

// read checks the master key and counts the content of the file.
func (c *Contents) read(ctx context.Context, db *sql.DB, keys *seal.Keyring) error {
	if keys != nil {
		if err := checkKey(ctx, db, keys); err != nil {
			return err
		}
		c.KeyChecked = true
	}
	var at int64
	err := db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM tenants WHERE deleted_at = 0), (SELECT count(*) FROM endpoints),
		(SELECT count(*) FROM events), (SELECT count(*) FROM deliveries WHERE state = ?), (SELECT count(*) FROM deliveries WHERE state = ?),
		coalesce((SELECT value FROM meta WHERE key = ?), 0)`, hook.Pending, hook.Held, backupAt).
		Scan(&c.Tenants, &c.Endpoints, &c.Events, &c.Pending, &c.Held, &at)
	if err != nil {
		return sqlite.Opening("count", err)
	}
	if at != 0 {
		c.At = time.UnixMicro(at).UTC()
	}
	return nil
}

// Restored is the result of Restore.
type Restored struct {
	Contents
	Aside string // new path of the previous store; empty if there was none
}

// Restore replaces the database at to with a copy of the backup at from. It holds the
// server's lock meanwhile and checks the copy before it replaces anything. If there is a
// store at to, Restore keeps it under another name if replace is true, and returns
// ErrOccupied otherwise. It never deletes a store. Errors wrap ErrLocked or ErrOccupied, or
// are those of Backup. After such an error the previous store is unchanged.
func Restore(ctx context.Context, from, to string, keys *seal.Keyring, replace bool, now time.Time) (*Restored, error) {
	if err := holdsFile(from); err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	lock, err := sqltext.Lock(to + ".lock")
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }()
	occupied := holdsFile(to) == nil
	if occupied && !replace {
		return nil, fmt.Errorf("%s: %w", to, ErrOccupied)
	}
	part := to + ".partial"
	defer func() { _ = os.Remove(part) }()
	if err := copyFile(from, part); err != nil {
		return nil, err
	}
	c, err := Check(ctx, part, keys)
	if err != nil {
		return nil, err
	}
	if err := sqlite.SetMeta(ctx, part, backupAt, 0); err != nil {
		return nil, err
	}
	done := &Restored{Contents: *c}
	if occupied {
		if done.Aside, err = setAside(ctx, to, now); err != nil {
			return nil, err
		}
	}
	if err := putInPlace(part, to); err != nil {
		if done.Aside != "" {
			err = fmt.Errorf("%w; the previous store is complete under the name %s", err, done.Aside)
		}
		return nil, err
	}
	return done, nil
}

// setAside links the database at path to a second name and returns that name. It leaves no
// file beside path that would be taken for the log of the next database.
func setAside(ctx context.Context, path string, now time.Time) (string, error) {
	aside := path + ".before-" + now.UTC().Format("20060102T150405Z")
	moved := sqlite.MoveLog(ctx, path) // a damaged database keeps its log under the new name
	if err := os.Link(path, aside); err != nil {
		return "", err
	}
	for _, end := range []string{"-wal", "-shm"} {
		var err error
		if moved == nil {
			err = os.Remove(path + end)
		} else {
			err = os.Rename(path+end, aside+end)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return aside, nil
}

// holdsFile returns an error unless path is a non-empty file.
func holdsFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file")
	case err != nil:
		return err
	case info.IsDir():
		return errors.New("this is a directory; name the file in it, such as posthorn.db")
	case info.Size() == 0:
		return ErrNoStore
	}
	return nil
}

// copyFile copies a file with mode 0600. If it runs as root, the copy gets the owner of its
// directory.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	_ = os.Remove(to)
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if info, statErr := os.Stat(filepath.Dir(to)); err == nil && statErr == nil && os.Geteuid() == 0 {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			err = out.Chown(int(owner.Uid), int(owner.Gid))
		}
	}
	return errors.Join(err, out.Close())
}

// putInPlace syncs a file, renames it and syncs its directory. It also removes the files
// that SQLite left beside it.
func putInPlace(part, to string) error {
	for _, end := range []string{"-wal", "-shm", "-journal"} {
		_ = os.Remove(part + end)
	}
	if err := syncPath(part); err != nil {
		return err
	}
	if err := os.Rename(part, to); err != nil {
		return err
	}
	return syncPath(filepath.Dir(to))
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// cmpErr returns err, or instead if err is nil.
func cmpErr(err, instead error) error {
	if err != nil {
		return err
	}
	return instead
}
