// Package bodies reads the bodies of requests into memory, within a budget of bytes
// that all listeners of the API share.
//
// A body counts from before it is read until its request is answered. All bodies in
// progress count no more than the budget, and those of one caller at most a quarter
// of it. What does not fit is refused with CodeServerBusy before it is processed. The
// package never waits for memory: a caller that must come back later holds none in the
// meantime.
package bodies

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

const (
	// DefaultBudget is the budget of a server that sets none, in bytes.
	DefaultBudget = 64 << 20
	// shares is the number of callers that can use up the budget.
	shares = 4
	// firstStep is reserved for the first byte of a body, unless the body is shorter.
	firstStep = 16 << 10
)

// Budget bounds the bytes of request bodies in progress. It is safe for concurrent use.
type Budget struct {
	limit, share int64

	mu      sync.Mutex
	used    int64
	callers map[app.Caller]int64
}

// NewBudget returns a budget of the given number of bytes. A quarter of it must hold
// the largest body that any route accepts.
func NewBudget(bytes int64) *Budget {
	return &Budget{limit: bytes, share: bytes / shares, callers: map[app.Caller]int64{}}
}

// Handler counts what next reads with Read, and releases it when next returns.
func (b *Budget) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			c := &counted{ReadCloser: r.Body, budget: b}
			defer c.release()
			r.Body = c
		}
		next.ServeHTTP(w, r)
	})
}

// Used returns the number of bytes of the bodies in progress.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// take reserves n bytes if the expected bytes, which include them, fit now.
func (b *Budget) take(by app.Caller, n, expected int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.callers[by]+expected > b.share {
		return &hook.Error{Code: hook.CodeServerBusy, Message: fmt.Sprintf("The requests that this caller has under way fill its share of the server's memory"+
			" for request bodies, %d MiB. Nothing was stored. Send the request again later, with fewer or smaller ones at once.", b.share>>20)}
	}
	if b.used+expected > b.limit {
		return &hook.Error{Code: hook.CodeServerBusy, Message: fmt.Sprintf("The requests under way fill the server's memory for request bodies, %d MiB."+
			" Nothing was stored. Send the request again later.", b.limit>>20)}
	}
	b.callers[by] += n
	b.used += n
	return nil
}

func (b *Budget) give(by app.Caller, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	if b.callers[by] -= n; b.callers[by] == 0 {
		delete(b.callers, by)
	}
}

// counted is a request body whose bytes in memory are counted.
type counted struct {
	io.ReadCloser
	budget *Budget
	by     app.Caller
	held   int64
}

func (c *counted) take(n, expected int64) error {
	if c == nil {
		return nil // no budget applies to this request
	}
	err := c.budget.take(c.by, n, expected)
	if err == nil {
		c.held += n
	}
	return err
}

func (c *counted) release() {
	if c.held > 0 {
		c.budget.give(c.by, c.held)
	}
}

// caller returns the payer: a tenant in one mode, whichever of its keys is used,
// otherwise the key.
func caller(c app.Caller) app.Caller {
	if c.Tenant != "" {
		return app.Caller{Tenant: c.Tenant, Mode: c.Mode}
	}
	return c
}

// Read reads a body of at most limit bytes into its own memory and counts it for the
// caller. The zero Caller stands for all callers that are not authenticated. If the
// request is not inside a Budget's Handler, only the limit applies.
//
// Memory is reserved in steps as bytes arrive: a sender that announces much and sends
// little holds at most twice what it sent, plus firstStep. A body whose announced
// length does not fit is refused before it is read.
func Read(r *http.Request, by app.Caller, limit int) ([]byte, error) {
	whole := func(size int) int64 { return int64(size) }
	return read(r, by, limit, whole, func(text []byte, size int) []byte {
		return append(make([]byte, 0, size), text...)
	})
}

// Borrow is Read into memory that later requests use again. The caller calls done when
// nothing refers to the text any more, also after an error. Large bodies would otherwise be
// most of what the server allocates. The memory is up to twice as large as the text, at least
// firstStep, and counts as a whole.
func Borrow(r *http.Request, by app.Caller, limit int) (text []byte, done func(), err error) {
	var held *[]byte
	step := 0
	done = func() {
		if held != nil {
			pools[step-1].Put(held)
			held = nil
		}
	}
	text, err = read(r, by, limit, borrowed, func(text []byte, size int) []byte {
		if step == len(pools) {
			return append(make([]byte, 0, size), text...)
		}
		next, ok := pools[step].Get().(*[]byte)
		if !ok {
			memory := make([]byte, firstStep<<step)
			next = &memory
		}
		text = append((*next)[:0:size], text...)
		done()
		held = next
		step++
		return text
	})
	return text, done, err
}

// pools have buffers of firstStep bytes, of twice that, and so on up to 4 MiB.
var pools [9]sync.Pool

// borrowed returns the bytes of the buffer that Borrow takes for a text of a size.
func borrowed(size int) int64 {
	for step := range pools {
		if size <= firstStep<<step {
			return firstStep << step
		}
	}
	return int64(size)
}

// read asks grow for memory of a size, with the text so far. The sizes are firstStep, twice
// that and so on, and the last may be smaller. takes returns the bytes of memory that count
// for a size.
func read(r *http.Request, by app.Caller, limit int, takes func(size int) int64, grow func(text []byte, size int) []byte) ([]byte, error) {
	if r.ContentLength > int64(limit) {
		return nil, TooLarge(limit)
	}
	most := limit
	if r.ContentLength >= 0 {
		most = int(r.ContentLength)
	}
	budget, _ := r.Body.(*counted)
	if budget != nil {
		budget.by = caller(by)
	}
	size := min(firstStep, most)
	if err := budget.take(takes(size), takes(max(size, int(r.ContentLength)))); err != nil {
		return nil, err
	}
	text := grow(nil, size)
	for {
		if len(text) == cap(text) {
			if len(text) == most {
				return text, end(r, limit)
			}
			next := min(2*cap(text), most)
			more := takes(next) - takes(cap(text))
			if err := budget.take(more, more); err != nil {
				return nil, err
			}
			text = grow(text, next)
		}
		n, err := r.Body.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if errors.Is(err, io.EOF) && len(text) < most && r.ContentLength >= 0 {
			err = io.ErrUnexpectedEOF
		}
		if err == io.EOF {
			return text, nil
		}
		if err != nil {
			return nil, cutShort(err)
		}
	}
}

// end checks that a body of unknown length ends at the limit.
func end(r *http.Request, limit int) error {
	if r.ContentLength >= 0 {
		return nil
	}
	var more [1]byte
	_, err := io.ReadFull(r.Body, more[:])
	if err == nil {
		return TooLarge(limit)
	}
	if err != io.EOF {
		return cutShort(err)
	}
	return nil
}

// MediaType returns the media type of a request's body in lower case. It is empty if
// the request has none or several, or a character set other than UTF-8.
func MediaType(r *http.Request) string {
	name, parameters, err := mime.ParseMediaType(strings.Join(r.Header["Content-Type"], ","))
	if charset, given := parameters["charset"]; err != nil || given && !strings.EqualFold(charset, "utf-8") {
		return ""
	}
	return name
}

// TooLarge returns the error for a body of more than limit bytes.
func TooLarge(limit int) error {
	return &hook.Error{Code: hook.CodeTooLarge, Message: fmt.Sprintf("At most %d bytes are accepted here.", limit)}
}

func cutShort(err error) error {
	return &hook.Error{Code: hook.CodeInvalidJSON, Message: "The request body could not be read to its end.", Err: err}
}
