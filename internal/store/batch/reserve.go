package batch

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Reserve is a file that reserves disk space. It is deleted when the disk is full, so that
// outcomes of attempts can still be recorded, and made again when there is space.
// Only the writer's goroutine changes it. A nil Reserve reserves nothing.
type Reserve struct {
	path  string
	size  int64
	gone  atomic.Bool
	tried time.Time
}

// retryReserve is the least time between two attempts to make the file again.
const retryReserve = 500 * time.Millisecond

// NewReserve makes the file, of size bytes, if there is space for it.
func NewReserve(path string, size int64) *Reserve {
	r := &Reserve{path: path, size: max(size, 0)}
	r.gone.Store(!r.Restore(time.Time{}))
	return r
}

// Spent reports whether the file is missing: the disk was full and has had no space since.
func (r *Reserve) Spent() bool { return r != nil && r.gone.Load() }

// Release deletes the file and reports whether that freed any space.
func (r *Reserve) Release() bool {
	if r == nil || r.gone.Swap(true) {
		return false
	}
	r.tried = time.Now()
	info, err := os.Stat(r.path)
	_ = os.Remove(r.path)
	return err == nil && info.Size() > 0
}

// Restore makes the file again and reports whether there was space. It tries at most once
// every retryReserve.
func (r *Reserve) Restore(now time.Time) bool {
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

// fill allocates the space. On file systems that cannot allocate without writing it writes
// zeros.
func (r *Reserve) fill(f *os.File) error {
	// Somewhat more than the reserve must be free, or the next commit would find the disk full
	// again.
	var fs syscall.Statfs_t
	if info, err := f.Stat(); err == nil && info.Size() < r.size || r.size == 0 {
		if err := syscall.Fstatfs(int(f.Fd()), &fs); err == nil && int64(fs.Bavail)*int64(fs.Bsize) < r.size+r.size/4+64<<10 {
			return syscall.ENOSPC
		}
	}
	if r.size == 0 {
		return nil
	}
	err := syscall.Fallocate(int(f.Fd()), 0, 0, r.size)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		_, err = f.WriteAt(make([]byte, r.size), 0)
	}
	return err
}
