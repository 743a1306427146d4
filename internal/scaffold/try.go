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
	keepSaid = 8 << 10 // bytes of what the handler says
)

// try runs the handler and sends it an event, and one that it has to refuse.
func (p *plan) try(ctx context.Context, out io.Writer, l language) (err error) {
	if _, err := exec.LookPath(l.runtime); err != nil {
		fmt.Fprintf(out, "Not tested: %s is not installed.\n", l.runtime)
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
		_ = os.Remove(filepath.Join(p.dir, "seen.txt")) // what the trial left of PHP's
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
		return h.explain(fmt.Errorf("the handler did not accept the event: %s", lastOf(d)))
	}
	fmt.Fprintf(out, "Tested: a local server sent a signed %s; the handler verified it and responded with %s.\n", cli.PlainText(d.EventType), lastOf(d))
	// The same handler at an endpoint with a secret that it does not have.
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
		return h.explain(fmt.Errorf("the handler did not reject a wrong signature: %s", lastOf(d)))
	}
	fmt.Fprintln(out, "It rejected an event signed with another secret with 401.")
	return nil
}

// running is a server of our own.
type running struct {
	*server.Node
	dir string
}

// startServer opens a server with a throw-away store.
func startServer(ctx context.Context, profileName string) (*running, *client.Client, error) {
	dir, err := os.MkdirTemp("", "posthorn-init-")
	if err != nil {
		return nil, nil, fmt.Errorf("make data directory: %w", err)
	}
	cfg := &server.Config{}
	cfg.Flags() // the defaults
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
	_ = os.RemoveAll(r.dir) // what is left is named posthorn-init-*
}

// freePort is a port that nobody listens on at the moment.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", exit.With(exit.Listen, fmt.Errorf("find a free port: %w", err))
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

// handler is the program that was written, running.
type handler struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it ended

	mu   sync.Mutex
	said strings.Builder
}

// start runs the handler, in a group of processes of its own: some run others.
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
	_ = into.Close() // the handler has its own
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
	_ = syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL) // the group; it may be gone already
	<-h.done
	_ = h.cmd.Wait() // killed: its status says so
}

func (h *handler) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.said.String()
}

// handled reports whether the handler says that it acted on an event.
func (h *handler) handled() bool {
	return strings.HasPrefix(h.text(), "handled ") || strings.Contains(h.text(), "\nhandled ")
}

// explain adds what the handler said.
func (h *handler) explain(err error) error {
	return exit.With(exit.Failed, fmt.Errorf("%w; its output: %s", err, cmp.Or(strings.TrimSpace(h.text()), "nothing")))
}

// settled waits until the event's one delivery has an end.
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
			return client.Delivery{}, errors.New("the handler exited")
		case <-ticker.C:
		}
	}
}

// lastOf is what the last attempt met.
func lastOf(d client.Delivery) string {
	switch {
	case d.LastStatus != nil:
		return fmt.Sprint(*d.LastStatus)
	case d.LastError != nil:
		return *d.LastError
	}
	return d.State
}
