package pgtest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/posthorn/posthorn/internal/store/pgtest"
)

// echo is a server that sends everything it receives back twice.
type echo struct {
	mu  sync.Mutex
	got bytes.Buffer
}

func (e *echo) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.got.String()
}

// rig is a Cut in front of an echo.
func rig(t *testing.T) (*pgtest.Cut, *echo, func() net.Conn) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "cut") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", dir+"/.s.PGSQL.5432")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	e := &echo{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 100)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					e.mu.Lock()
					e.got.Write(buf[:n])
					e.mu.Unlock()
					if _, err := conn.Write(bytes.Repeat(buf[:n], 2)); err != nil {
						return
					}
				}
			}()
		}
	}()
	c := pgtest.NewCut(t, pgtest.At(dir))
	u, err := url.Parse(c.URL(t, "postgres:///x?host=/nowhere&user=y"))
	if err != nil {
		t.Fatal(err)
	}
	if u.Query().Get("user") != "y" || u.Path != "/x" || u.Query().Has("host") {
		t.Fatalf("URL %s", u)
	}
	return c, e, func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

// talk sends the words and returns everything that arrives before the connection ends or
// limit has passed.
func talk(t *testing.T, conn net.Conn, words string, limit time.Duration) (string, error) {
	t.Helper()
	if _, err := io.WriteString(conn, words); err != nil {
		return "", err
	}
	return hear(t, conn, 2*len(words), limit)
}

// hear returns the next n bytes, or those that arrived.
func hear(t *testing.T, conn net.Conn, n int, limit time.Duration) (string, error) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, n)
	n, err := io.ReadFull(conn, got)
	return string(got[:n]), err
}

const soon, long = 50 * time.Millisecond, 10 * time.Second

func TestCutAfter(t *testing.T) {
	const words = "twelve bytes"
	for n := range int64(2 * len(words)) {
		c, e, dial := rig(t)
		c.After(n, pgtest.ToClient)
		got, err := talk(t, dial(), words, long)
		if want := (words + words)[:n]; got != want || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("to the client, after %d: %q, want %q, %v", n, got, want, err)
		}
		if c.Bytes(pgtest.ToClient) != n || c.Bytes(pgtest.ToServer) != int64(len(words)) || c.Cuts() != 1 || e.text() != words {
			t.Errorf("to the client, after %d: %d and %d bytes, %d cuts", n, c.Bytes(pgtest.ToServer), c.Bytes(pgtest.ToClient), c.Cuts())
		}
		if n >= int64(len(words)) {
			continue
		}
		c, e, dial = rig(t)
		if got, err := talk(t, dial(), words, long); got != words+words || err != nil {
			t.Fatalf("before the count: %q, %v", got, err)
		}
		c.After(n, pgtest.ToServer)
		_, err = talk(t, dial(), words, long)
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("to the server, after %d: %v", n, err)
		}
		want := words + words[:n]
		eventually(t, "what went through arrives", func() bool { return len(e.text()) >= len(want) })
		if e.text() != want || c.Bytes(pgtest.ToServer) != int64(len(want)) || c.Cuts() != 1 {
			t.Errorf("to the server, after %d: %q, want %q; %d bytes, %d cuts", n, e.text(), want, c.Bytes(pgtest.ToServer), c.Cuts())
		}
		if got, err := talk(t, dial(), words, long); got != words+words || err != nil {
			t.Errorf("it happens once, but then came %q, %v", got, err)
		}
	}
}

func TestCutModes(t *testing.T) {
	c, e, dial := rig(t)
	first := dial()
	if got, err := talk(t, first, "a", long); got != "aa" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	c.Hold()
	if got, err := talk(t, first, "b", soon); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("held: %q, %v", got, err)
	}
	second := dial()
	if got, err := talk(t, second, "c", soon); got != "" || !errors.Is(err, os.ErrDeadlineExceeded) || e.text() != "a" {
		t.Errorf("held, new: %q, %v; the server got %q", got, err, e.text())
	}
	c.Pass()
	for conn, want := range map[net.Conn]string{first: "bb", second: "cc"} {
		if got, err := hear(t, conn, 2, long); got != want || err != nil {
			t.Errorf("let go: %q, %v, want %q", got, err, want)
		}
	}
	c.CutAll()
	for _, conn := range []net.Conn{first, second} {
		if got, err := hear(t, conn, 1, long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("still open: %q, %v", got, err)
		}
	}
	if c.Cuts() != 2 {
		t.Errorf("%d cuts", c.Cuts())
	}
	third := dial()
	if got, err := talk(t, third, "e", long); got != "ee" || err != nil {
		t.Errorf("new after the cut: %q, %v", got, err)
	}
	c.Hold()
	if _, err := talk(t, third, "f", soon); err == nil {
		t.Error("not held")
	}
	c.Refuse() // ends the held connections
	for _, conn := range []net.Conn{third, dial()} {
		if _, err := talk(t, conn, "g", long); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("refused: %v", err)
		}
	}
	c.After(3, pgtest.ToServer)
	c.Pass() // cancels the count
	if got, err := talk(t, dial(), "hijk", long); got != "hijkhijk" || err != nil {
		t.Errorf("passing again: %q, %v", got, err)
	}
	if strings.ContainsAny(e.text(), "fg") {
		t.Errorf("the server got %q", e.text())
	}
}

// TestCutTransaction cuts one transaction at every byte, in both directions. Each time the
// row exists or it does not, and both outcomes must occur.
func TestCutTransaction(t *testing.T) {
	s := pgtest.Shared(t)
	database := s.Database(t)
	direct := connect(t, database)
	exec1(t, direct, "CREATE TABLE kept (n int)")
	c := pgtest.NewCut(t, s)
	transact := func(n int64) error {
		conn, err := pgx.Connect(t.Context(), c.URL(t, database))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.Background()) }()
		if n >= 0 {
			way := pgtest.ToServer
			if n%2 == 1 {
				way = pgtest.ToClient
			}
			c.After(n/2, way)
		}
		_, err = conn.Exec(t.Context(), "BEGIN; INSERT INTO kept VALUES ("+strconv.FormatInt(n, 10)+"); COMMIT")
		return err
	}
	if err := transact(-1); err != nil {
		t.Fatal(err)
	}
	there := map[bool]int{}
	for n := range int64(120) {
		before := c.Cuts()
		err := transact(n)
		c.Pass()
		if err == nil {
			continue // the count exceeds the transaction
		}
		if c.Cuts() == before {
			t.Fatalf("%d: failed without a cut: %v", n, err)
		}
		// The server may still be executing. Its last session ends when it is done.
		eventually(t, "the session ends", func() bool {
			return one(t, direct, "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database()") == "1"
		})
		got := one(t, direct, "SELECT count(*)::text FROM kept WHERE n = "+strconv.FormatInt(n, 10))
		there[got == "1"]++
	}
	t.Logf("committed although cut: %d, not committed: %d", there[true], there[false])
	if there[true] < 10 || there[false] < 10 {
		t.Error("cutting at every byte did not bring about both ends")
	}
	if got := one(t, direct, "SELECT count(*)::text FROM kept WHERE n = -1"); got != "1" {
		t.Errorf("the one that was not cut: %s", got)
	}
}
