package scaffold

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/server"
)

const (
	tenant   = "acme"
	tryLimit = 90 * time.Second // a compiler may have to start
	look     = 50 * time.Millisecond
	keepSaid = 8 << 10 // bytes of the handler's output
)

// try runs the handler and sends it one event that it must accept and one that it must
// refuse.
func (p *plan) try(ctx context.Context, out io.Writer, l language) (err error) {
	if _, err := exec.LookPath(l.runtime); err != nil {
		fmt.Fprintf(out, "Not tried: %s is not installed here.\n", l.runtime)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	node, api, err := startServer(ctx, p.profile)
	if err != nil {
		return err
	}
	defer node.close()
	port, err := freePort()
	if err != nil {
		return err
	}
	endpoint := client.NewEndpoint{Tenant: tenant, URL: "http://localhost:" + port + "/hook", EventTypes: []string{"*"}, Retry: &client.Retry{Steps: []string{"1s"}, Then: "repeat"}}
	good, err := api.CreateEndpoint(ctx, endpoint)
	if err != nil {
		return fmt.Errorf("create endpoint: %w", err)
	}
	h, err := p.start(l, port, good.Secret)
	if err != nil {
		return err
	}
	defer func() {
		h.end()
		_ = os.Remove(filepath.Join(p.dir, "seen.txt")) // left by the PHP handler
	}()
	chosen, _ := profile.Builtin().Get(p.profile) // checked with the flags
	sample := chosen.Catalogue()[0]
	send := func() (client.Delivery, error) {
		made, err := api.Publish(ctx, client.NewEvent{Tenant: tenant, Type: sample.Name, Data: json.RawMessage(sample.Example)}, client.PublishOptions{})
		if err != nil {
			return client.Delivery{}, fmt.Errorf("publish: %w", err)
		}
		return settled(ctx, api, h, made.ID)
	}
	d, err := send()
	if err != nil {
		return h.explain(err)
	}
	if d.State != "succeeded" || !h.handled() {
		return h.explain(fmt.Errorf("the handler did not take the event: %s", lastOf(d)))
	}
	fmt.Fprintf(out, "Tried it: a server here sent %s, signed; the handler verified it and answered %s.\n", cli.PlainText(d.EventType), lastOf(d))
	// The same handler with an endpoint whose secret it does not have.
	if err := api.DeleteEndpoint(ctx, good.ID); err != nil {
		return fmt.Errorf("delete endpoint: %w", err)
	}
	endpoint.Retry = &client.Retry{First: "1s", MaxAttempts: 1}
	if _, err := api.CreateEndpoint(ctx, endpoint); err != nil {
		return fmt.Errorf("create endpoint: %w", err)
	}
	if d, err = send(); err != nil {
		return h.explain(err)
	}
	if d.LastStatus == nil || *d.LastStatus != 401 {
		return h.explain(fmt.Errorf("the handler did not refuse a wrong signature: %s", lastOf(d)))
	}
	fmt.Fprintln(out, "An event that was signed with another secret was refused with 401.")
	return nil
}

// running is a server started by this package.
type running struct {
	*server.Node
	dir string
}

// startServer starts a server with a temporary store.
func startServer(ctx context.Context, profileName string) (*running, *client.Client, error) {
	dir, err := os.MkdirTemp("", "posthorn-init-")
	if err != nil {
		return nil, nil, fmt.Errorf("make data directory: %w", err)
	}
	cfg := &server.Config{}
	cfg.Flags() // sets the defaults
	cfg.Data, cfg.Profile, cfg.Listen, cfg.Dev = dir, profileName, "127.0.0.1:0", true
	cfg.OperatorKey, cfg.OperatorTestKey = "init-live-"+rand.Text(), "init-test-"+rand.Text()
	if err := cfg.Check(); err != nil {
		_ = os.RemoveAll(dir) // it is empty
		return nil, nil, err
	}
	n, err := server.Start(context.WithoutCancel(ctx), cfg, slog.New(slog.DiscardHandler), io.Discard)
	r := &running{n, dir}
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, nil, err
	}
	api := &client.Client{URL: n.URL(), Key: cfg.OperatorKey, Attempts: 1}
	if _, err := api.CreateTenant(ctx, client.NewTenant{ID: tenant}); err != nil {
		r.close()
		return nil, nil, fmt.Errorf("create tenant: %w", err)
	}
	return r, api, nil
}

func (r *running) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	r.Stop(ctx)
	_ = os.RemoveAll(r.dir) // any remains are named posthorn-init-*
}

// freePort returns a port on which nothing is listening at the moment.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", exit.With(exit.Listen, fmt.Errorf("find a free port: %w", err))
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// handler is the running process of the generated program.
type handler struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process ends

	mu   sync.Mutex
	said strings.Builder
}

// start runs the handler in a process group of its own, because some handlers start other
// processes.
func (p *plan) start(l language, port, secret string) (*handler, error) {
	argv := l.command(port)
	h := &handler{cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	h.cmd.Dir = p.dir
	environment := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "POSTHORN_") })
	h.cmd.Env = append(environment, "PROFILE="+p.profile, "SECRET="+secret, "PORT="+port, "GOWORK=off", "GOFLAGS=", "PYTHONDONTWRITEBYTECODE=1")
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output, into, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	h.cmd.Stdout, h.cmd.Stderr = into, into
	err = h.cmd.Start()
	_ = into.Close() // the handler has its own copy
	if err != nil {
		_ = output.Close()
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	go func() {
		defer close(h.done)
		defer output.Close()
		for lines := bufio.NewScanner(output); lines.Scan(); {
			h.mu.Lock()
			if h.said.Len() < keepSaid {
				h.said.WriteString(lines.Text() + "\n")
			}
			h.mu.Unlock()
		}
	}()
	return h, nil
}

func (h *handler) end() {
	_ = syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL) // the process group; it may have ended already
	<-h.done
	_ = h.cmd.Wait() // killed, as its status shows
}

func (h *handler) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said.String()
}

// handled reports whether the handler's output shows that it acted on an event.
func (h *handler) handled() bool {
	return strings.HasPrefix(h.text(), "handled ") || strings.Contains(h.text(), "\nhandled ")
}

// explain adds the handler's output to an error.
func (h *handler) explain(err error) error {
	return exit.With(exit.Failed, fmt.Errorf("%w; it said: %s", err, cmp.Or(strings.TrimSpace(h.text()), "nothing")))
}

// settled waits until the only delivery of the event is settled.
func settled(ctx context.Context, api *client.Client, h *handler, event string) (client.Delivery, error) {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		page, err := api.Deliveries(ctx, client.DeliveryQuery{Tenant: tenant, Event: event})
		if err == nil && len(page.Data) == 1 && page.Data[0].State != "pending" {
			return page.Data[0], nil
		}
		select {
		case <-ctx.Done():
			return client.Delivery{}, errors.New("the handler did not answer in time")
		case <-h.done:
			return client.Delivery{}, errors.New("the handler ended")
		case <-ticker.C:
		}
	}
}

// lastOf returns the outcome of the last attempt.
func lastOf(d client.Delivery) string {
	switch {
	case d.LastStatus != nil:
		return fmt.Sprint(*d.LastStatus)
	case d.LastError != nil:
		return *d.LastError
	}
	return d.State
}
