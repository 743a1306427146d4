package sqlite

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Deleted rows are overwritten (secure_delete), and so are pages that become free. But when
// SQLite moves rows between pages, it leaves copies in the unused part of the page that they
// came from. A copy stays there even after the row itself was deleted. Scrub zeroes the
// unused part of every page. See "B-tree Pages" in https://www.sqlite.org/fileformat.html.

const (
	// scrubRead is how many pages are read at once, and scrubWrite bounds those that one
	// transaction rewrites. scrubPause follows each read.
	scrubRead  = 512
	scrubWrite = 32
	scrubPause = 2 * time.Millisecond
	// scrubMost is the number of pages from which the first byte of an overflow page may look
	// like that of a tree: 128 GiB.
	scrubMost = 1 << 24
)

// Scrub overwrites what the files still have of deleted rows. It reads the whole file once,
// beside the writer, and passes the pages to rewrite to write, which must run its argument
// in a transaction. Then it cuts the log, which has earlier versions of pages. Without write it
// only cuts the log. done is false
// if a reader of another process keeps the log from being cut.
func (db *DB) Scrub(ctx context.Context, _ []string, write func(pages int, do func(sqltext.Conn) error) error) (done bool, err error) {
	if write == nil {
		return db.checkpoints.truncate(ctx), nil
	}
	db.scrubbing.Store(true) // no page moves while they are read one after the other
	defer db.scrubbing.Store(false)
	if !db.checkpoints.truncate(ctx) {
		return false, nil
	}
	file, err := os.Open(db.checkpoints.path)
	if err != nil {
		return false, fmt.Errorf("scrub: %w", err)
	}
	defer func() { _ = file.Close() }()
	size := int(db.checkpoints.pageSize)
	head := make([]byte, size)
	if _, err := file.ReadAt(head, 0); err != nil {
		return false, fmt.Errorf("scrub: %w", err)
	}
	layout := layoutOf(head)
	chunk := make([]byte, scrubRead*size)
	for first := 1; ; first += scrubRead {
		n, err := file.ReadAt(chunk, int64(first-1)*int64(size))
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("scrub: %w", err)
		}
		if first >= scrubMost {
			db.checkpoints.log.Warn("the database is too big to overwrite what page splits left of deleted rows beyond its first 128 GiB")
			break
		}
		var dirty []int
		for i := range n / size {
			if layout.clean(first+i, chunk[i*size:(i+1)*size]) {
				dirty = append(dirty, first+i)
			}
		}
		for len(dirty) > 0 {
			part := dirty[:min(len(dirty), scrubWrite)]
			if err := write(len(part), func(c sqltext.Conn) error { return layout.rewrite(c, part) }); err != nil {
				return false, err
			}
			dirty = dirty[len(part):]
		}
		if n < len(chunk) {
			break
		}
		if err := sqltext.Pause(ctx, scrubPause); err != nil {
			return false, err
		}
	}
	return db.checkpoints.truncate(ctx), nil
}

// layout is how the pages of a file are made up.
type layout struct {
	usable int // bytes of a page that SQLite uses
	maps   int // every so many pages, from the second on, is a map of pages; 0: there are none
}

// layoutOf reads the head of a file.
func layoutOf(head []byte) (l layout) {
	l.usable = len(head) - int(head[20])
	if binary.BigEndian.Uint32(head[52:]) != 0 { // the file can be vacuumed incrementally
		l.maps = l.usable/5 + 1
	}
	return l
}

// rewrite cleans pages inside a transaction, as they are then.
func (l layout) rewrite(c sqltext.Conn, pages []int) error {
	for _, number := range pages {
		var page []byte
		found, err := sqltext.ReadRow(background, c, "SELECT data FROM sqlite_dbpage WHERE pgno = ?", []any{number}, &page)
		if err != nil {
			return fmt.Errorf("scrub: %w", err)
		}
		if !found || !l.clean(number, page) {
			continue // it was freed or changed
		}
		if _, err := c.Exec("UPDATE sqlite_dbpage SET data = ? WHERE pgno = ?", page, int64(number)); err != nil {
			return fmt.Errorf("scrub: %w", err)
		}
	}
	return nil
}

// clean zeroes the unused parts of a page of a tree and reports whether it changed any byte.
// A page that is no page of a tree, or not a sound one, stays as it is.
func (l layout) clean(number int, page []byte) bool {
	head := 0
	if number == 1 {
		head = 100
	}
	if l.maps > 0 && number > 1 && (number-2)%l.maps == 0 {
		return false
	}
	pointers := head + 8
	switch page[head] {
	case 2, 5:
		pointers += 4
	case 10, 13:
	default:
		return false
	}
	at := func(offset int) int { return int(binary.BigEndian.Uint16(page[offset:])) }
	cells, content := at(head+3), at(head+5)
	if content == 0 {
		content = 1 << 16
	}
	end := pointers + 2*cells
	if end > content || content > l.usable {
		return false
	}
	for i := range cells {
		if cell := at(pointers + 2*i); cell < content || cell > l.usable-4 {
			return false
		}
	}
	unused := [][]byte{page[end:content]}
	for block, before := at(head+1), content-1; block != 0; {
		if block <= before || block+4 > l.usable {
			return false
		}
		size := at(block + 2)
		if size < 4 || block+size > l.usable {
			return false
		}
		unused = append(unused, page[block+4:block+size])
		before = block + size - 1
		block = at(block)
	}
	changed := false
	for _, part := range unused {
		if len(bytes.TrimLeft(part, "\x00")) > 0 {
			clear(part)
			changed = true
		}
	}
	return changed
}
