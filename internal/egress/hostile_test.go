package egress_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

// hostile is a malicious receiver, and the result of an attempt at it.
type hostile struct {
	name      string
	script    egresstest.Script
	class     hook.Class
	status    int
	truncated bool
}

// once writes the parts after the first request and keeps the connection open.
func once(parts ...string) egresstest.Script {
	return egresstest.Requests(func(c net.Conn) bool {
		for _, p := range parts {
			if _, err := io.WriteString(c, p); err != nil {
				return false
			}
		}
		return true
	})
}

// endless writes the head and then the part repeatedly, with a pause after each.
func endless(head, part string, pause time.Duration, limit int) egresstest.Script {
	return egresstest.Requests(func(c net.Conn) bool {
		if _, err := io.WriteString(c, head); err != nil {
			return false
		}
		for range limit {
			if _, err := io.WriteString(c, part); err != nil {
				return false
			}
			if pause > 0 {
				timer := time.NewTimer(pause)
				<-timer.C
			}
		}
		return true
	})
}

func reset(c net.Conn) {
	if tcp, ok := c.(interface{ SetLinger(int) error }); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}

func gzipBomb(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range 8 {
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func hostiles(t *testing.T) []hostile {
	const many = 1 << 30
	ok := "HTTP/1.1 200 OK\r\n"
	chunk := strings.Repeat("x", 32<<10)
	bomb := gzipBomb(t)
	line := "X-Padding: " + strings.Repeat("x", 1000) + "\r\n"
	return []hostile{
		{name: "endless body", script: endless(ok+"\r\n", chunk, 0, many), status: 200, truncated: true},
		{name: "endless chunks", script: endless(ok+"Transfer-Encoding: chunked\r\n\r\n", "8000\r\n"+chunk+"\r\n", 0, many), status: 200, truncated: true},
		{name: "dripping body", script: endless(ok+"Content-Length: 1000\r\n\r\n", "x", 20*time.Millisecond, 1000), status: 200, truncated: true},
		{name: "gzip bomb", script: once(fmt.Sprintf("%sContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", ok, len(bomb), bomb)), status: 200},
		{name: "100 MB of headers", script: endless(ok, line, 0, 100_000), class: hook.ClassHeadersTooLarge},
		{name: "one header of 100 MB", script: endless(ok+"X: ", chunk, 0, 3200), class: hook.ClassHeadersTooLarge},
		{name: "a million interim answers", script: endless("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 0, 1_000_000), class: hook.ClassHeadersTooLarge},
		{name: "header without end", script: endless(ok, "X-A: 1\r\n", 20*time.Millisecond, 1000), class: hook.ClassTimeout},
		{name: "dripping header", script: endless("", "H", 20*time.Millisecond, 1), class: hook.ClassTimeout},
		{name: "chunk larger than said", script: once(ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n"), status: 200, truncated: true},
		{name: "chunk without size", script: once(ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"), status: 200, truncated: true},
		{name: "chunk of 2^64", script: once(ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n"), status: 200, truncated: true},
		{name: "chunk smaller than said", script: once(ok + "Transfer-Encoding: chunked\r\n\r\nfff\r\nabc\r\n"), status: 200, truncated: true},
		{name: "two content lengths", script: once(ok + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), class: hook.ClassResponseInvalid},
		{name: "negative content length", script: once(ok + "Content-Length: -1\r\n\r\nabcd"), class: hook.ClassResponseInvalid},
		{name: "length of 2^62", script: once(ok + "Content-Length: 4611686018427387904\r\n\r\nabcd"), status: 200, truncated: true},
		{name: "unasked upgrade", script: once("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc"), status: 101},
		{name: "never answering", script: once(), class: hook.ClassTimeout},
		{name: "never closing", script: once(ok + "\r\nabc"), status: 200, truncated: true},
		{name: "reset in the body", script: egresstest.Requests(func(c net.Conn) bool {
			io.WriteString(c, ok+"Content-Length: 100\r\n\r\nabc")
			reset(c)
			return false
		}), status: 200, truncated: true},
		{name: "reset before the answer", script: egresstest.Requests(func(c net.Conn) bool { reset(c); return false }), class: hook.ClassReset},
		{name: "close in the header", script: egresstest.Requests(func(c net.Conn) bool { io.WriteString(c, ok+"X-A: 1\r\n"); return false }), class: hook.ClassReset},
		{name: "not HTTP", script: once("SSH-2.0-OpenSSH_9.9\r\n\r\n"), class: hook.ClassResponseInvalid},
		{name: "HTTP/2 preface", script: once("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), class: hook.ClassResponseInvalid},
		{name: "control character in a header", script: once(ok + "X-A: a\x01b\r\nContent-Length: 0\r\n\r\n"), class: hook.ClassResponseInvalid},
		{name: "bare CR in a header", script: once(ok + "X-A: a\rX-B: c\r\nContent-Length: 0\r\n\r\n"), class: hook.ClassResponseInvalid},
	}
}

// TestHostileReceivers posts to all of them concurrently, in at least 200 attempts.
func TestHostileReceivers(t *testing.T) {
	const deadline = 4 * time.Second
	goroutines := goleak.IgnoreCurrent()
	var receivers []*egresstest.Receiver
	list := hostiles(t)
	for _, h := range list {
		receivers = append(receivers, egresstest.NewReceiver(t, h.script))
	}
	c := localClient(t)
	before := fromSystem()

	var mu sync.Mutex
	var wg sync.WaitGroup
	var slowest time.Duration
	attempts := 0
	for range 8 {
		for i, h := range list {
			attempts++
			wg.Go(func() {
				start := time.Now()
				res, err := c.Post(t.Context(), egress.Request{URL: receivers[i].URL("http", "127.0.0.1"), Body: []byte("BODY"), Timeout: deadline})
				took := time.Since(start)
				class := classOf(t, err)
				if class != h.class || res.Status != h.status || res.Truncated != h.truncated {
					t.Errorf("%s: %q, status %d, truncated %v: %v", h.name, class, res.Status, res.Truncated, err)
				}
				if len(res.Body) > 16<<10 || len(res.Headers) > 64<<10 {
					t.Errorf("%s: kept %d and %d bytes", h.name, len(res.Body), len(res.Headers))
				}
				mu.Lock()
				defer mu.Unlock()
				slowest = max(slowest, took)
			})
		}
	}
	wg.Wait()
	grown := fromSystem() - before
	if slowest > deadline+5*time.Second {
		t.Errorf("an attempt took %v, the deadline was %v", slowest, deadline)
	}
	if grown > 64<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	c.CloseIdle()
	for _, r := range receivers {
		r.Close()
	}
	goleak.VerifyNone(t, goroutines)
	t.Logf("%d receivers, %d attempts at once: slowest %v with a deadline of %v, memory %+d MiB, goroutines left 0",
		len(list), attempts, slowest.Round(time.Millisecond), deadline, grown>>20)
}

// fromSystem returns the bytes that the process has obtained from the system, without those
// of the race detector.
func fromSystem() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}
