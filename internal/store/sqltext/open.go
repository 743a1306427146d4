package sqltext

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
)

// KeyRecords reads what a database records of its master keys: the check value and the
// last rotation (see package seal). Either may be NULL.
const KeyRecords = `SELECT (SELECT value FROM meta WHERE key = 'master_key_check'), (SELECT value FROM meta WHERE key = 'master_key_rotation')`

// NewestMigration returns the number of the last migration in a directory.
func NewestMigration(files fs.FS) (int64, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return 0, fmt.Errorf("read migrations: %w", err)
	}
	if len(names) == 0 {
		return 0, errors.New("read migrations: there are none")
	}
	return goose.NumericComponent(names[len(names)-1])
}

// Lock locks a file for this process. It returns ErrLocked if another process has the lock.
func Lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, ErrLocked)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}
