package egress_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

// street is a network in virtual time. Each address answers after a time, or with an error,
// or never.
type street struct {
	mu       sync.Mutex
	takes    map[string]time.Duration // for addresses that answer
	refuses  map[string]error
	dialled  []string
	open     int // dials in progress
	most     int
	unclosed int
}

func (s *street) dial(ctx context.Context, _, address string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(address)
	s.mu.Lock()
	s.dialled = append(s.dialled, host)
	s.open++
	s.most = max(s.most, s.open)
	takes, answers := s.takes[host]
	err := s.refuses[host]
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.open--
		s.mu.Unlock()
	}()
	if err != nil {
		return nil, err
	}
	if !answers {
		takes = time.Hour
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(takes):
	}
	near, far := net.Pipe()
	s.mu.Lock()
	s.unclosed++
	s.mu.Unlock()
	go func() {
		defer func() {
			far.Close()
			s.mu.Lock()
			s.unclosed--
			s.mu.Unlock()
		}()
		if _, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
			io.WriteString(far, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
		}
	}()
	return near, nil
}

// TestRace posts twice to a name with several addresses. It checks how long connecting
// took, which addresses were dialled, and how many at once. Late connections are closed.
func TestRace(t *testing.T) {
	const a, b, c, d, e, six = "93.184.215.1", "93.184.215.2", "93.184.215.3", "93.184.215.4", "93.184.215.5", "2606:4700::1"
	const timeout = 30 * time.Second
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	gone := errors.New("no way there")
	for _, tt := range []struct {
		name         string
		answer       []string
		takes        map[string]time.Duration
		refuses      map[string]error
		first, again time.Duration
		dialled      string // by both attempts
		most         int
		class        hook.Class
	}{
		{name: "first answers", answer: []string{a, b}, takes: map[string]time.Duration{a: ms(20), b: 0}, first: ms(20), again: ms(20), dialled: a + " | " + a, most: 1},
		{name: "first is dead", answer: []string{a, b}, takes: map[string]time.Duration{b: ms(10)}, first: ms(260), again: ms(10), dialled: a + " " + b + " | " + b, most: 2},
		{name: "first is refused", answer: []string{a, b}, takes: map[string]time.Duration{b: ms(10)}, refuses: map[string]error{a: gone}, first: ms(10), again: ms(10),
			dialled: a + " " + b + " | " + b, most: 1},
		{name: "first is slow and wins", answer: []string{a, b}, takes: map[string]time.Duration{a: ms(300), b: ms(100)}, first: ms(300), again: ms(300),
			dialled: a + " " + b + " | " + a + " " + b, most: 2},
		{name: "families take turns", answer: []string{six, "2606:4700::2", a}, takes: map[string]time.Duration{a: 0}, first: ms(250), again: 0, dialled: six + " " + a + " | " + a, most: 2},
		{name: "three at once", answer: []string{a, b, c, d, e}, takes: map[string]time.Duration{d: 0}, first: timeout / 2, again: 0,
			dialled: a + " " + b + " " + c + " " + d + " | " + d, most: 3},
		{name: "all are dead", answer: []string{a, b, c}, first: timeout, again: timeout, dialled: a + " " + b + " " + c + " | " + a + " " + b + " " + c, most: 3, class: hook.ClassConnectTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &street{takes: tt.takes, refuses: tt.refuses}
				client := egress.New(egress.Options{AllowHTTP: true, Resolver: egresstest.NewResolver().Set("shop.example", tt.answer), DialContext: s.dial})
				var seen []string
				for _, want := range []time.Duration{tt.first, tt.again} {
					s.dialled = nil
					start := time.Now()
					_, err := client.Post(t.Context(), egress.Request{URL: "http://shop.example/", Body: []byte("x"), Timeout: timeout})
					if class := classOf(t, err); class != tt.class || time.Since(start) != want {
						t.Errorf("%q after %v, want %v: %v", class, time.Since(start), want, err)
					}
					synctest.Wait()
					seen = append(seen, strings.Join(s.dialled, " "))
				}
				if got := strings.Join(seen, " | "); got != tt.dialled || s.most != tt.most {
					t.Errorf("dialled %s, %d at once; want %s, %d", got, s.most, tt.dialled, tt.most)
				}
				if s.open != 0 || s.unclosed != 0 {
					t.Errorf("%d dials and %d connections are left", s.open, s.unclosed)
				}
			})
		})
	}
}

// The remembered address of a name expires, so that the first address is tried first again.
// The number of remembered addresses is bounded.
func TestWaysAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &street{takes: map[string]time.Duration{"93.184.215.2": 0}}
		resolver := egresstest.NewResolver()
		client := egress.New(egress.Options{AllowHTTP: true, Resolver: resolver, DialContext: s.dial})
		post := func(i int) time.Duration {
			host := fmt.Sprintf("h%d.example", i)
			resolver.Set(host, []string{"93.184.215.1", "93.184.215.2"})
			start := time.Now()
			if _, err := client.Post(t.Context(), egress.Request{URL: "http://" + host + "/", Body: []byte("x"), Timeout: time.Minute}); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		for _, tt := range []struct {
			after time.Duration
			took  time.Duration
		}{{0, 250 * time.Millisecond}, {9 * time.Minute, 0}, {2 * time.Minute, 250 * time.Millisecond}, {time.Minute, 0}} {
			time.Sleep(tt.after)
			if took := post(0); took != tt.took {
				t.Errorf("after %v: %v, want %v", tt.after, took, tt.took)
			}
		}
		for i := range egress.MaxWays + 10 {
			post(i)
		}
		if n := client.Ways(); n == 0 || n > egress.MaxWays {
			t.Errorf("%d hosts are remembered", n)
		}
	})
}
