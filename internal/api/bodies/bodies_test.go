package bodies_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posthorn/posthorn/internal/api/bodies"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

const mib = 1 << 20

// piece is a body of which only a part has arrived.
type piece struct {
	io.Reader
	stuck, goOn chan struct{}
}

func halfSent(text string) *piece {
	p := &piece{stuck: make(chan struct{}), goOn: make(chan struct{})}
	p.Reader = io.MultiReader(strings.NewReader(text), pause{p})
	return p
}

type pause struct{ *piece }

func (p pause) Read([]byte) (int, error) {
	close(p.stuck)
	<-p.goOn
	return 0, io.EOF
}

func request(text io.Reader, length int64) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", text)
	r.ContentLength = length
	return r
}

// read sends one request through the budget and returns what its handler read.
func read(b *bodies.Budget, by app.Caller, r *http.Request, limit int) (text []byte, err error) {
	b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, err = bodies.Read(r, by, limit)
	})).ServeHTTP(httptest.NewRecorder(), r)
	return text, err
}

func TestReadIsWhatWasSent(t *testing.T) {
	b := bodies.NewBudget(16 * mib)
	for _, size := range []int{0, 1, 100, 16 << 10, 16<<10 + 1, 32 << 10, 100_000, 4*mib - 1, 4 * mib} {
		sent := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for _, length := range []int64{int64(size), -1} {
			got, err := read(b, app.Caller{}, request(bytes.NewReader(sent), length), 4*mib)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes, Content-Length %d: %d came, %v", size, length, len(got), err)
			}
		}
	}
	for name, c := range map[string]struct {
		size   int
		length int64
		want   hook.Code
	}{
		"announced too large": {0, 1001, hook.CodeTooLarge},
		"found too large":     {1001, -1, hook.CodeTooLarge},
		"cut short":           {999, 1000, hook.CodeInvalidJSON},
		"at the limit":        {1000, -1, ""},
	} {
		_, err := read(b, app.Caller{}, request(strings.NewReader(strings.Repeat("x", c.size)), c.length), 1000)
		if (err != nil || c.want != "") && hook.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	_, err := read(b, app.Caller{}, request(io.MultiReader(strings.NewReader("x"), broken{}), -1), 1000)
	if hook.CodeOf(err) != hook.CodeInvalidJSON || !errors.Is(err, errBroken) {
		t.Errorf("a broken connection: %v", err)
	}
	if b.Used() != 0 {
		t.Errorf("%d bytes were not given back", b.Used())
	}
}

var errBroken = errors.New("connection reset")

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// A sender that announces 4 MiB and sends little holds little, so that it does not use
// up the share of others.
func TestSlowSenderHoldsWhatItSent(t *testing.T) {
	b := bodies.NewBudget(16 * mib)
	for _, c := range []struct {
		sent int
		most int64
	}{{0, 16 << 10}, {1, 16 << 10}, {100_000, 2 * 100_000}, {mib, 2 * mib}} {
		p := halfSent(strings.Repeat("x", c.sent))
		done := make(chan error)
		go func() {
			_, err := read(b, app.Caller{}, request(p, 4*mib), 4*mib)
			done <- err
		}()
		<-p.stuck
		if used := b.Used(); used < int64(c.sent) || used > c.most {
			t.Errorf("with %d bytes sent of 4 MiB %d are held, want at most %d", c.sent, used, c.most)
		}
		close(p.goOn)
		if err := <-done; hook.CodeOf(err) != hook.CodeInvalidJSON {
			t.Errorf("a body that was cut short: %v", err)
		}
	}
	if b.Used() != 0 {
		t.Errorf("%d bytes were not given back", b.Used())
	}
}

// Bodies count until their requests are answered. One caller gets a quarter, and all
// callers together get no more than the budget.
func TestSharesOfTheBudget(t *testing.T) {
	b := bodies.NewBudget(16 * mib)
	var release []func()
	hold := func(by app.Caller, size int64) error {
		var err error
		answered, read := make(chan struct{}), make(chan struct{})
		done := make(chan struct{})
		h := b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err = bodies.Read(r, by, 4*mib)
			close(read)
			<-answered
		}))
		go func() {
			defer close(done)
			h.ServeHTTP(httptest.NewRecorder(), request(bytes.NewReader(make([]byte, size)), size))
		}()
		<-read
		if err != nil {
			close(answered)
			<-done
			return err
		}
		release = append(release, func() { close(answered); <-done })
		return nil
	}
	id := func(n byte) app.Caller { return app.Caller{Kind: hook.Publisher, Mode: hook.Live, KeyID: hook.ID{n}} }
	if err := hold(id(1), 3*mib); err != nil {
		t.Fatal(err)
	}
	if err := hold(id(1), mib+1); hook.CodeOf(err) != hook.CodeServerBusy {
		t.Errorf("more than a quarter for one key: %v", err)
	}
	if err := hold(id(1), mib); err != nil {
		t.Errorf("the rest of the quarter: %v", err)
	}
	// Two keys of one tenant share a quarter; its other mode has its own.
	acme := id(2)
	acme.Tenant = "acme"
	second := acme
	second.KeyID = hook.ID{3}
	if err := hold(acme, 4*mib); err != nil {
		t.Errorf("another caller: %v", err)
	}
	if err := hold(second, 1); hook.CodeOf(err) != hook.CodeServerBusy {
		t.Errorf("another key of the same tenant: %v", err)
	}
	test := acme
	test.Mode = hook.Test
	if err := hold(test, 4*mib); err != nil {
		t.Errorf("the other mode: %v", err)
	}
	if err := hold(id(4), 4*mib); err != nil || b.Used() != 16*mib {
		t.Errorf("%v, %d bytes used", err, b.Used())
	}
	err := hold(id(5), 1)
	if hook.CodeOf(err) != hook.CodeServerBusy || !strings.Contains(err.Error(), "Nothing was stored") {
		t.Errorf("beyond the budget: %v", err)
	}
	release[0]()
	if err := hold(id(5), 3*mib); err != nil {
		t.Errorf("after one was answered: %v", err)
	}
	for _, answer := range release[1:] {
		answer()
	}
	if b.Used() != 0 {
		t.Errorf("%d bytes were not given back", b.Used())
	}
}

// Borrowed memory counts as a whole, however little of it the text fills.
func TestBorrowedMemoryCounts(t *testing.T) {
	b := bodies.NewBudget(64 * mib)
	for size, held := range map[int]int64{0: 16 << 10, 1: 16 << 10, 16 << 10: 16 << 10, 16<<10 + 1: 32 << 10, 100_000: 128 << 10, 2*mib + 1: 4 * mib, 4 * mib: 4 * mib, 5*mib + 1: 5*mib + 1} {
		for _, length := range []int64{int64(size), -1} {
			if length < 0 && int64(size) == held {
				continue // it asks for the next buffer before it sees the end
			}
			b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, done, err := bodies.Borrow(r, app.Caller{}, 5*mib+1)
				defer done()
				if used := b.Used(); err != nil || used != held {
					t.Errorf("%d bytes, Content-Length %d: %d bytes count, want %d: %v", size, length, used, held, err)
				}
			})).ServeHTTP(httptest.NewRecorder(), request(bytes.NewReader(make([]byte, size)), length))
		}
	}
	small := bodies.NewBudget(4 * (2*mib + 1))
	for read, want := range map[string]hook.Code{"Read": "", "Borrow": hook.CodeServerBusy} { // Read is the control: its memory is no larger than the text
		small.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			var err error
			if read == "Read" {
				_, err = bodies.Read(r, app.Caller{}, 4*mib)
			} else {
				_, done, refused := bodies.Borrow(r, app.Caller{}, 4*mib)
				defer done()
				err = refused
			}
			if (err != nil || want != "") && hook.CodeOf(err) != want {
				t.Errorf("%s of 2 MiB and a byte: %v", read, err)
			}
		})).ServeHTTP(httptest.NewRecorder(), request(bytes.NewReader(make([]byte, 2*mib+1)), 2*mib+1))
	}
	if b.Used()+small.Used() != 0 {
		t.Errorf("%d and %d bytes were not given back", b.Used(), small.Used())
	}
}

// A handler that panics also releases its bytes.
func TestPanicGivesBack(t *testing.T) {
	b := bodies.NewBudget(16 * mib)
	defer func() {
		if recover() == nil || b.Used() != 0 {
			t.Errorf("%d bytes held after a panic", b.Used())
		}
	}()
	b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, err := bodies.Read(r, app.Caller{}, 100); err != nil || b.Used() == 0 {
			t.Error(err, b.Used())
		}
		panic("boom")
	})).ServeHTTP(httptest.NewRecorder(), request(strings.NewReader("12345"), 5))
}

// Borrowed memory holds what was sent, and a text that was given back is not read again.
func TestBorrowIsWhatWasSent(t *testing.T) {
	b := bodies.NewBudget(16 * mib)
	for i, size := range []int{4 * mib, 0, 1, 100, 16 << 10, 16<<10 + 1, 100_000, 4*mib - 1, 4 * mib, 5 * mib} {
		sent := bytes.Repeat([]byte{byte('a' + i)}, size)
		for _, length := range []int64{int64(size), -1} {
			b.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				text, done, err := bodies.Borrow(r, app.Caller{}, 4*mib)
				defer done()
				if size > 4*mib {
					if hook.CodeOf(err) != hook.CodeTooLarge {
						t.Errorf("%d bytes: %v", size, err)
					}
					return
				}
				if err != nil || !bytes.Equal(text, sent) {
					t.Errorf("%d bytes, Content-Length %d: %d came, %v", size, length, len(text), err)
				}
			})).ServeHTTP(httptest.NewRecorder(), request(bytes.NewReader(sent), length))
		}
	}
	if b.Used() != 0 {
		t.Errorf("%d bytes were not given back", b.Used())
	}
}
