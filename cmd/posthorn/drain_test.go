package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/server"
)

// serveLive runs serve on the configuration and returns what ends it and its result.
func serveLive(t *testing.T, args ...string) (address, key string, end context.CancelFunc, done chan error) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, key = free.Addr().String(), "drain-0123456789abcdef0123456789abcdef"
	free.Close()
	cfg := &server.Config{}
	flags := cfg.Flags()
	if err := flags.Parse(append([]string{"--listen", address, "--data", t.TempDir(), "--synchronous", "off", "--operator-key", key, "--create-tenants", "--log-level", "error"}, args...)); err != nil {
		t.Fatal(err)
	}
	if err := cfg.Load(flags, ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done = make(chan error, 1)
	go func() { done <- serve(ctx, cfg, io.Discard) }()
	t.Cleanup(cancel)
	return address, key, cancel, done
}

// ask makes a request on a connection of its own.
func ask(t *testing.T, method, url, key, body string) (status int, closes bool, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(r)
	if err != nil {
		return 0, false, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Close, err
}

// TestDrainDelay: a node that is told to end says so at /readyz and goes on accepting and
// answering for a while; whoever keeps a connection is told to make a new one. Control:
// without the delay the next connection is refused.
func TestDrainDelay(t *testing.T) {
	const event = `{"tenant":"acme","type":"a.b","data":{}}`
	for _, delay := range []time.Duration{3 * time.Second, 0} {
		address, key, end, done := serveLive(t, "--drain-delay", delay.String())
		url := "http://" + address
		ready := func() int {
			status, _, err := ask(t, "GET", url+"/readyz", key, "")
			if err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) {
				t.Logf("readyz: %v", err)
			}
			return status
		}
		for deadline := time.Now().Add(20 * time.Second); ready() != 200; <-time.After(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the node does not get ready")
			}
		}
		if status, closes, err := ask(t, "POST", url+"/v1/events", key, event); status != 202 || closes || err != nil {
			t.Fatalf("publish before: %d, closes %v: %v", status, closes, err)
		}
		began := time.Now()
		end()
		if delay == 0 {
			if err := <-done; err != nil {
				t.Error(err)
			}
			if _, _, err := ask(t, "POST", url+"/v1/events", key, event); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("control: a node that has ended answers: %v", err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("control: the end took %v", took)
			}
			continue
		}
		for deadline := time.Now().Add(2 * time.Second); ready() != 503; <-time.After(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the node does not say that it is not ready")
			}
		}
		if status, closes, err := ask(t, "POST", url+"/v1/events", key, event); status != 202 || !closes || err != nil {
			t.Errorf("publish while draining: %d, closes %v: %v", status, closes, err)
		}
		if page, err := (&client.Client{URL: url, Key: key}).Events(t.Context(), client.EventQuery{}); err != nil || len(page.Data) != 2 {
			t.Errorf("events while draining: %d: %v", len(page.Data), err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < delay {
			t.Errorf("ended after %v, before the delay of %v", took, delay)
		}
	}
}
