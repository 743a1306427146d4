package store

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// reserve is a file that holds disk space back. It is deleted when the disk is
// full, so that outcomes of attempts can still be recorded, and made again when
// there is space. Only the writer changes it.
type reserve struct {
	path  string
	size  int64
	gone  atomic.Bool
	tried time.Time
}

// retryReserve is how often the writer tries to make the file again.
const retryReserve = 500 * time.Millisecond

func newReserve(path string, size int64) *reserve {
	r := &reserve{path: path, size: max(size, 0)}
	r.gone.Store(!r.restore(time.Time{}))
	return r
}

// spent reports that the disk was full and has not had space since.
func (r *reserve) spent() bool { return r != nil && r.gone.Load() }

// release deletes the file and reports whether that freed anything. There is none on
// PostgreSQL.
func (r *reserve) release() bool {
	if r == nil || r.gone.Swap(true) {
		return false
	}
	r.tried = time.Now()
	info, err := os.Stat(r.path)
	_ = os.Remove(r.path)
	return err == nil && info.Size() > 0
}

// restore makes the file again and reports whether there is space.
func (r *reserve) restore(now time.Time) bool {
	if !r.tried.IsZero() && now.Sub(r.tried) < retryReserve {
		return false
	}
	r.tried = now
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return false
	}
	err = r.fill(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(r.path)
		return false
	}
	r.gone.Store(false)
	return true
}

// fill takes the space. File systems that cannot allocate without writing get
// zeros.
func (r *reserve) fill(f *os.File) error {
	// A little more than the reserve must be free, or the next commit would find
	// the disk full again.
	var fs unix.Statfs_t
	if info, err := f.Stat(); err == nil && info.Size() < r.size || r.size == 0 {
		if err := unix.Fstatfs(int(f.Fd()), &fs); err == nil && int64(fs.Bavail)*int64(fs.Bsize) < r.size+r.size/4+64<<10 {
			return unix.ENOSPC
		}
	}
	if r.size == 0 {
		return nil
	}
	err := unix.Fallocate(int(f.Fd()), 0, 0, r.size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		_, err = f.WriteAt(make([]byte, r.size), 0)
	}
	return err
}
