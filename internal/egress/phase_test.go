package egress_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

// TestOneDeadline stalls each phase in turn, in virtual time. One deadline covers all
// phases, and the class names the phase in which it passed.
func TestOneDeadline(t *testing.T) {
	const host, public, second, timeout = "shop.example", "93.184.215.14", "93.184.215.15", 30 * time.Second
	never := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, tt := range []struct {
		name    string
		dial    func(context.Context, string, string) (net.Conn, error)
		answers [][]string
		serve   func(t *testing.T, ca *egresstest.CA, c net.Conn)
		want    hook.Class
		late    time.Duration
	}{
		{name: "name", want: hook.ClassDNSUnavailable},
		{name: "connect", answers: [][]string{{public}}, want: hook.ClassConnectTimeout, dial: never},
		{name: "connect to two addresses", answers: [][]string{{public, second}}, want: hook.ClassConnectTimeout, dial: never},
		{name: "handshake", answers: [][]string{{public}}, want: hook.ClassTLSTimeout,
			serve: func(_ *testing.T, _ *egresstest.CA, c net.Conn) { io.Copy(io.Discard, c) }},
		{name: "answer", answers: [][]string{{public}}, want: hook.ClassTimeout,
			serve: func(_ *testing.T, ca *egresstest.CA, c net.Conn) {
				io.Copy(io.Discard, tls.Server(c, ca.Server(host)))
			}},
		{name: "request", answers: [][]string{{public}}, want: hook.ClassTimeout, late: time.Second, // for the end of TLS
			serve: func(t *testing.T, ca *egresstest.CA, c net.Conn) {
				tls.Server(c, ca.Server(host)).Handshake()
				<-t.Context().Done() // without reading
			}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				resolver := egresstest.NewResolver()
				if tt.answers == nil {
					resolver.Fail(host, nil)
				} else {
					resolver.Set(host, tt.answers...)
				}
				ca := egresstest.NewCA(t)
				dial := func(context.Context, string, string) (net.Conn, error) {
					near, far := net.Pipe()
					go func() {
						defer far.Close()
						tt.serve(t, ca, far)
					}()
					return near, nil
				}
				if tt.dial != nil {
					dial = tt.dial
				}
				c := egress.New(egress.Options{Resolver: resolver, DialContext: dial, RootCAs: ca.Pool()})
				start := time.Now()
				_, err := c.Post(t.Context(), egress.Request{URL: "https://" + host + "/", Body: []byte("x"), Timeout: timeout})
				if class := classOf(t, err); class != tt.want {
					t.Errorf("got %q: %v", class, err)
				}
				if took := time.Since(start); took < timeout || took > timeout+tt.late {
					t.Errorf("took %v, want %v to %v later", took, timeout, tt.late)
				}
			})
		})
	}
}

// A name server that never answers delays a change of an endpoint by at most two seconds.
func TestSlowAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := egress.New(egress.Options{Resolver: egresstest.AttackResolver()})
		start := time.Now()
		got, warnings, err := c.Admit(t.Context(), "https://silent.attack.test/", egress.Rules{})
		if err != nil || got == "" || len(warnings) != 1 || warnings[0].Code != "dns_timeout" || time.Since(start) != 2*time.Second {
			t.Errorf("%q, %v, %v after %v", got, warnings, err, time.Since(start))
		}
	})
}

// An attempt that the caller cancels ends at once. It says nothing about the endpoint,
// whatever it was doing, and not that its time was up. Control: the deadline.
func TestCancelledPhases(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"handshake": func(net.Conn) {},
		"body":      egresstest.Answer("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxxx"),
	} {
		for _, cancelled := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				c := egress.New(egress.Options{AllowHTTP: true, Resolver: egresstest.NewResolver().Set("shop.example", []string{"93.184.215.14"}),
					DialContext: func(context.Context, string, string) (net.Conn, error) {
						near, far := net.Pipe()
						go func() {
							serve(far)
							io.Copy(io.Discard, far)
						}()
						return near, nil
					}})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if cancelled {
					time.AfterFunc(time.Second, cancel)
				}
				url := map[string]string{"handshake": "https://shop.example/", "body": "http://shop.example/"}[name]
				start := time.Now()
				res, err := c.Post(ctx, egress.Request{URL: url, Body: []byte("x"), Timeout: 10 * time.Second})
				if took := time.Since(start); took != map[bool]time.Duration{true: time.Second, false: 10 * time.Second}[cancelled] {
					t.Errorf("%s, cancelled %v: it took %v", name, cancelled, took)
				}
				if name == "body" {
					if err != nil || !res.Truncated || res.TimedOut == cancelled {
						t.Errorf("%s, cancelled %v: %+v, %v", name, cancelled, res, err)
					}
					return
				}
				want := map[bool]hook.Class{true: hook.ClassConnectFailed, false: hook.ClassTLSTimeout}[cancelled]
				if class := classOf(t, err); class != want || errors.Is(err, context.Canceled) != cancelled {
					t.Errorf("%s, cancelled %v: %q, %v", name, cancelled, class, err)
				}
			})
		}
	}
}
