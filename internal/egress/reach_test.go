package egress_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

// world is many hosts, each with its own address. Dials fail as configured.
type world struct {
	*egresstest.Resolver
	*egress.Client
	log bytes.Buffer

	mu   sync.Mutex
	fail map[string]error // by address without port, and by network before it: "udp 93.184.0.1"
}

func newWorld() *world {
	w := &world{Resolver: egresstest.NewResolver(), fail: map[string]error{}}
	w.Client = egress.New(egress.Options{AllowHTTP: true, Resolver: w.Resolver, DialContext: w.dial, Log: slog.New(slog.NewTextHandler(&w.log, nil))})
	return w
}

func hostOf(i int) string    { return fmt.Sprintf("h%d.example", i) }
func addressOf(i int) string { return fmt.Sprintf("93.184.%d.%d", i/250, 1+i%250) }

// hosts creates n hosts, which all answer, and clears the failures.
func (w *world) hosts(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.fail)
	for i := range n {
		w.Set(hostOf(i), []string{addressOf(i)})
	}
}

func (w *world) fails(address string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail[address] = err
}

func (w *world) dial(_ context.Context, network, address string) (net.Conn, error) {
	to := netip.MustParseAddrPort(address).Addr().String()
	w.mu.Lock()
	err := w.fail[network+" "+to]
	w.mu.Unlock()
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", err)}
	}
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		if _, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
			io.WriteString(far, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		}
	}()
	return near, nil
}

// try posts to a host and returns the class of the failure.
func (w *world) try(t *testing.T, host string) hook.Class {
	t.Helper()
	_, err := w.Post(t.Context(), egress.Request{URL: "http://" + host + "/", Timeout: 10 * time.Second})
	return classOf(t, err)
}

// A failure because this machine lacks something is its own fault. A failure that a
// receiver or router reports is not.
func TestLocalFaults(t *testing.T) {
	const four, six = "93.184.0.1", "2a00:1450::1"
	unreachable := syscall.ENETUNREACH
	for _, tt := range []struct {
		name      string
		addresses []string
		fail      map[string]error
		had6      bool
		want      hook.Class
	}{
		{"descriptors", []string{four}, map[string]error{"tcp " + four: syscall.EMFILE}, false, hook.ClassLocalResources},
		{"descriptors of the system", []string{four}, map[string]error{"tcp " + four: syscall.ENFILE}, false, hook.ClassLocalResources},
		{"buffers", []string{four}, map[string]error{"tcp " + four: syscall.ENOBUFS}, false, hook.ClassLocalResources},
		{"memory", []string{four}, map[string]error{"tcp " + four: syscall.ENOMEM}, false, hook.ClassLocalResources},
		{"ports", []string{four}, map[string]error{"tcp " + four: syscall.EADDRNOTAVAIL}, false, hook.ClassLocalResources},
		{"interface", []string{four}, map[string]error{"tcp " + four: syscall.ENETDOWN}, false, hook.ClassLocalResources},
		{"route", []string{four}, map[string]error{"tcp " + four: unreachable, "udp " + four: unreachable}, false, hook.ClassLocalResources},
		{"route of IPv6, which was there", []string{six}, map[string]error{"tcp " + six: unreachable, "udp " + six: unreachable}, true, hook.ClassLocalResources},

		{"control: route of IPv6, which never was", []string{six}, map[string]error{"tcp " + six: unreachable, "udp " + six: unreachable}, false, hook.ClassConnectFailed},
		{"control: a router has no route", []string{four}, map[string]error{"tcp " + four: unreachable}, false, hook.ClassConnectFailed},
		{"control: no such host in the network", []string{four}, map[string]error{"tcp " + four: syscall.EHOSTUNREACH}, false, hook.ClassConnectFailed},
		{"control: refused", []string{four}, map[string]error{"tcp " + four: syscall.ECONNREFUSED}, false, hook.ClassRefused},
		{"control: one address ours, the other refuses", []string{six, four},
			map[string]error{"tcp " + six: unreachable, "udp " + six: unreachable, "tcp " + four: syscall.ECONNREFUSED}, true, hook.ClassRefused},
		{"control: reached", []string{four}, nil, false, hook.ClassNone},
	} {
		w := newWorld()
		w.Set("once.example", []string{"2a00:1450::2"})
		if tt.had6 && w.try(t, "once.example") != hook.ClassNone {
			t.Fatal("IPv6 was not reached")
		}
		w.Set("shop.example", tt.addresses)
		for address, err := range tt.fail {
			w.fails(address, err)
		}
		if class := w.try(t, "shop.example"); class != tt.want || class.Ours() != (tt.want == hook.ClassLocalResources) {
			t.Errorf("%s: %q, want %q", tt.name, class, tt.want)
		}
	}
}

// TestNoDescriptors uses up the file descriptors of a process. That is a local fault.
func TestNoDescriptors(t *testing.T) {
	const variable = "EGRESS_TEST_NO_DESCRIPTORS"
	target := os.Getenv(variable)
	if target == "" {
		receiver := egresstest.NewReceiver(t, egresstest.OK())
		t.Setenv(variable, receiver.URL("http", "127.0.0.1"))
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoDescriptors$", "-test.count=1")
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	c := localClient(t)
	post := func() hook.Class {
		_, err := c.Post(t.Context(), egress.Request{URL: target, Body: []byte("x"), Timeout: 5 * time.Second})
		c.CloseIdle()
		return classOf(t, err)
	}
	if class := post(); class != hook.ClassNone {
		t.Fatalf("control: %s", class)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64}); err != nil {
		t.Fatal(err)
	}
	var held []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		held = append(held, f)
	}
	if class := post(); class != hook.ClassLocalResources {
		t.Errorf("with no descriptor left: %q", class)
	}
	for _, f := range held {
		f.Close()
	}
	if class := post(); class != hook.ClassNone {
		t.Errorf("afterwards: %s", class)
	}
}

// If the name service fails for all names, that is this machine's fault for as long as it
// lasts. If one name fails while others are found, it becomes the fault of its domain after
// a while.
func TestNameService(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		alone hook.Class // while other names are found
	}{
		{"refuses", &net.DNSError{Err: "server misbehaving", IsTemporary: true}, hook.ClassDNSFailed},
		{"is silent", nil, hook.ClassDNSTimeout},
		{"control: says that there is no such name", &net.DNSError{Err: "no such host", IsNotFound: true}, hook.ClassDNSNotFound},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.hosts(5)
			if class := w.try(t, hostOf(4)); class != hook.ClassNone {
				t.Fatal(class)
			}
			for i := range 4 {
				w.Fail(hostOf(i), tt.err)
			}
			ours := tt.alone != hook.ClassDNSNotFound
			for range 40 {
				for i := range 4 {
					if class := w.try(t, hostOf(i)); class.Ours() != ours {
						t.Fatalf("name service that %s: %q", tt.name, class)
					}
				}
				time.Sleep(16 * time.Second)
			}
			w.try(t, hostOf(4)) // one is found now; the other names do not change
			if class := w.try(t, hostOf(0)); class != tt.alone {
				t.Errorf("name that %s while others are found: %q", tt.name, class)
			}
		})
	}
}

// While most of at least five hosts fail, failures are the fault of this machine. Attempts
// at hosts that answer succeed.
func TestOutage(t *testing.T) {
	for _, tt := range []struct {
		name          string
		failing, good int
		err           error
		outage        bool
	}{
		{"six of ten", 6, 4, syscall.EHOSTUNREACH, true},
		{"time out", 6, 4, syscall.ETIMEDOUT, true},
		{"five, nobody else was tried", 5, 0, syscall.EHOSTUNREACH, true},
		{"control: too few", 4, 0, syscall.EHOSTUNREACH, false},
		{"control: half", 6, 6, syscall.EHOSTUNREACH, false},
		{"control: they refuse", 6, 4, syscall.ECONNREFUSED, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.hosts(tt.failing + tt.good)
			for i := range tt.failing {
				w.fails("tcp "+addressOf(i), tt.err)
			}
			round := func() (counted, putOff, reached int) {
				for i := tt.failing + tt.good - 1; i >= 0; i-- {
					switch class := w.try(t, hostOf(i)); {
					case class == hook.ClassNone:
						reached++
					case class == hook.ClassNetworkUnavailable:
						putOff++
					default:
						counted++
					}
				}
				return counted, putOff, reached
			}
			counted, putOff, reached := round()
			if (w.Outage() != "") != tt.outage || reached != tt.good || (putOff > 0) != tt.outage {
				t.Errorf("%s: %d counted, %d put off, %d reached, outage %q", tt.name, counted, putOff, reached, w.Outage())
			}
			for range 10 {
				time.Sleep(46 * time.Second) // an attempt of 30 seconds after the longest pause
				counted, putOff, reached = round()
				if (putOff == tt.failing) != tt.outage || (counted == tt.failing) == tt.outage || reached != tt.good {
					t.Errorf("%s, later: %d counted, %d put off, %d reached", tt.name, counted, putOff, reached)
				}
			}
			w.hosts(tt.failing + tt.good)
			if counted, putOff, _ = round(); counted+putOff != 0 || w.Outage() != "" {
				t.Errorf("%s, when all can be reached: %d counted, %d put off, outage %q", tt.name, counted, putOff, w.Outage())
			}
			w.fails("tcp "+addressOf(0), errors.New("broken"))
			if class := w.try(t, hostOf(0)); class != hook.ClassConnectFailed {
				t.Errorf("%s, one host afterwards: %q", tt.name, class)
			}
			began, ended := strings.Count(w.log.String(), "most hosts cannot"), strings.Count(w.log.String(), "can be reached again")
			if tt.outage && (began != 1 || ended != 1) || !tt.outage && began != 0 {
				t.Errorf("%s: log:\n%s", tt.name, w.log.String())
			}
		})
	}
}

// An outage ends when there are no more recent results.
func TestOutageIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.hosts(5)
		for i := range 5 {
			w.fails("tcp "+addressOf(i), syscall.EHOSTUNREACH)
			w.try(t, hostOf(i))
		}
		if w.Outage() == "" {
			t.Error("no outage")
		}
		time.Sleep(121 * time.Second)
		if got := w.Outage(); got != "" {
			t.Error(got)
		}
	})
}
