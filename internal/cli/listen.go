package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/hook"
)

const (
	firstReconnect = 500 * time.Millisecond
	lastReconnect  = 15 * time.Second
	strayWait      = 2 * time.Second // for the stream to end before an answer that no node takes ends the command
)

func newListen() *cobra.Command {
	cmd := &cobra.Command{
		Use: "listen", Short: "Receive events on this machine, without a public address", Args: NoArgs,
		Long: `Connect to a running server and receive the events of a tenant on this machine. Requests
have the headers, body and signature that any endpoint gets. The connection is outgoing,
so this machine needs no public address.

Events are kept while no listener is connected and delivered when it reconnects. A
delivery without a response, for example because this process was killed, is sent again.
The command reconnects by itself and runs until Ctrl-C.

The server and the key come from flags, POSTHORN_URL and POSTHORN_KEY, or a context.`,
		Example: `  posthorn listen --forward http://localhost:3000/hook
  posthorn listen --forward http://localhost:3000/hook --types 'payment.*,refund.settled'
  posthorn listen --print-only --save captures`,
	}
	f := cmd.Flags()
	l := &listener{}
	server := serverFlags(cmd)
	f.Lookup("key").Usage = "tenant key, or operator key with --tenant (POSTHORN_KEY, POSTHORN_KEY_FILE)"
	f.StringVar(&l.forward, "forward", "", "URL to forward requests to: localhost, an IP address or a public name")
	f.BoolVar(&l.printOnly, "print-only", false, "print requests and respond with 200, without forwarding")
	f.StringVar(&l.asks.Name, "name", "dev", "name of this listener; each name has its own deliveries and one connection")
	f.StringSliceVar(&l.asks.Types, "types", nil, "comma-separated event types and prefixes such as payment.* (default all)")
	f.StringVar(&l.asks.Profile, "profile", "", "profile (wire format) (default that of the last connection, at first the server's default)")
	f.StringVar(&l.asks.Tenant, "tenant", "", "tenant ID; required with an operator key")
	f.StringVar(&l.save, "save", "", "directory to save each request to, as raw HTTP for \"posthorn verify\"")
	f.BoolVar(&l.remove, "remove", false, "delete the listener's endpoint on exit, so that no events are kept for it")
	f.BoolVar(&l.asJSON, "json", false, "print one JSON object per line")
	completeFromServer(cmd, server)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := l.checkWhere(); err != nil {
			return err
		}
		var err error
		if l.api, err = server(); err != nil {
			return err
		}
		l.out = cmd.OutOrStdout()
		return l.start(cmd.Context())
	}
	return cmd
}

// listener is a running posthorn listen.
type listener struct {
	api       *server
	asks      client.ListenOptions
	forward   string
	printOnly bool
	save      string // directory for the requests; empty: none
	remove    bool
	asJSON    bool
	out       io.Writer
	poster    *egress.Client

	mu    sync.Mutex     // guards what follows, and printing
	shown map[string]int // deliveries by id: how often each came
	came  int
	again int
	id    string // of the endpoint; empty before the first connection
}

// checkWhere checks the flags that name where deliveries go.
func (l *listener) checkWhere() error {
	switch {
	case l.printOnly && l.forward != "":
		return exit.Usagef("--forward and --print-only cannot be combined")
	case !l.printOnly && l.forward == "":
		return exit.Usagef("--forward URL or --print-only is required")
	case l.save == "":
		return nil
	}
	if err := os.MkdirAll(l.save, 0o700); err != nil {
		return exit.Usagef("--save: %w", err)
	}
	return nil
}

// start checks the options and listens until ctx ends.
func (l *listener) start(ctx context.Context) error {
	l.shown = map[string]int{}
	// The local handler is reached as any endpoint is, but without the egress guard: the
	// user named its address on the command line.
	l.poster = egress.New(egress.Options{AllowHTTP: true, AllowLocal: true,
		AllowNetworks: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}})
	defer l.poster.CloseIdle()
	if l.forward != "" {
		canonical, _, err := l.poster.Admit(ctx, l.forward, egress.Rules{IPHosts: true})
		if err != nil {
			return exit.Usagef("--forward: %w", err)
		}
		l.forward = canonical
	}
	return l.run(ctx)
}

// run connects, and reconnects after a pause whenever the connection breaks.
func (l *listener) run(ctx context.Context) error {
	for pause := firstReconnect; ; pause = min(2*pause, lastReconnect) {
		connected, err := l.connect(ctx)
		if ctx.Err() != nil {
			return l.leave(ctx)
		}
		if final := l.ended(err); final != nil {
			return final
		}
		if connected {
			pause = firstReconnect
		}
		wait := pause/2 + rand.N(pause)/2
		l.note("%v; reconnecting in %v", err, wait.Round(100*time.Millisecond))
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// goodbyeWithin bounds the request that --remove makes at the end.
const goodbyeWithin = 10 * time.Second

// leave prints a summary, and deletes the endpoint with --remove.
func (l *listener) leave(ctx context.Context) error {
	l.note("stopped: %d received, %d of them repeated", l.came, l.again)
	if l.id == "" {
		return nil
	}
	if !l.remove {
		l.note("events are still kept for this listener (30 days by default); to stop that, run: posthorn endpoint delete %s", PlainText(l.id))
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeWithin)
	defer cancel()
	if err := l.api.DeleteEndpoint(ctx, l.id); err != nil {
		return l.api.refused(fmt.Errorf("--remove: %w", err))
	}
	l.note("removed: no events are kept for this listener")
	return nil
}

// connect listens on one connection until it ends and its deliveries are finished.
func (l *listener) connect(ctx context.Context) (connected bool, err error) {
	s, err := l.api.Listen(ctx, l.asks)
	if err != nil {
		return false, err
	}
	defer s.Close()
	l.greet(&s.Hello)
	var underWay sync.WaitGroup
	defer underWay.Wait()
	var stray atomic.Pointer[client.Problem]
	for {
		d, err := s.Next()
		if p := stray.Load(); p != nil {
			return true, p
		}
		if err != nil {
			return true, err
		}
		underWay.Go(func() {
			p, ok := errors.AsType[*client.Problem](l.receive(ctx, &d))
			if !ok || p.Code != "wrong_node" {
				return
			}
			select { // for the node that is missing to be one that has just ended
			case <-ctx.Done():
			case <-time.After(strayWait):
				stray.Store(p)
				s.Close()
			}
		})
	}
}

// ended returns the error that ends the command, or nil if reconnecting may help.
func (l *listener) ended(err error) error {
	if end, ok := errors.AsType[*client.ListenEnd](err); ok {
		switch end.Code {
		case "shutting_down", "stalled":
			return nil
		case "unauthorized":
			return exit.With(exit.KeyRevoked, fmt.Errorf("%s No events are lost: they are kept for the next listener with this name", end.Message))
		case "replaced":
			return exit.With(exit.Replaced, fmt.Errorf("%s Give each listener its own --name", end.Message))
		}
		return exit.With(exit.Refused, end)
	}
	p, ok := errors.AsType[*client.Problem](err)
	switch {
	case !ok || p.Status >= http.StatusInternalServerError || p.Status == http.StatusTooManyRequests:
		return nil
	case p.Code == "unauthorized":
		return exit.With(exit.KeyRevoked, fmt.Errorf("%w; check %s", p, l.api.keyFrom))
	case p.Field == "tenant" && l.asks.Tenant == "":
		return exit.Usagef("--tenant is needed with an operator key")
	}
	return l.api.refused(p)
}

// receive forwards one request and reports the result to the server. The error is that of
// the report.
func (l *listener) receive(ctx context.Context, d *client.ListenDelivery) error {
	if err := l.keep(d); err != nil {
		l.note("--save: %v", err)
	}
	began := time.Now()
	answer := client.ListenAnswer{Token: d.Token, Status: http.StatusOK}
	if !l.printOnly {
		answer = l.pass(ctx, d)
	}
	if ctx.Err() != nil {
		return nil // stopped in the middle: the server offers it again
	}
	took := time.Since(began)
	err := l.api.AnswerListen(ctx, answer)
	if p, ok := errors.AsType[*client.Problem](err); ok && p.Code != "not_found" && p.Code != "wrong_node" && p.Status < http.StatusInternalServerError {
		// The server does not take what the local handler put into its answer.
		// Its status is what counts.
		answer.Headers, answer.Body, answer.Message = "", nil, ""
		err = l.api.AnswerListen(ctx, answer)
	}
	l.show(d, &answer, took, err)
	return err
}

// maxShownAnswer is how much of the local response's headers is reported, in bytes.
const maxShownAnswer = 16 << 10

// pass makes the request that the server would have made.
func (l *listener) pass(ctx context.Context, d *client.ListenDelivery) client.ListenAnswer {
	r := egress.Request{URL: l.forward, Headers: headersOf(d), Body: d.Body, Timeout: time.Duration(d.TimeoutMS) * time.Millisecond}
	res, err := l.poster.Post(ctx, r)
	if f, ok := errors.AsType[*egress.Failure](err); ok && f.Class.Ours() {
		// To the server this machine and the local handler are one receiver.
		return client.ListenAnswer{Token: d.Token, Error: string(hook.ClassConnectFailed), Message: "The local handler could not be connected to."}
	} else if ok {
		return client.ListenAnswer{Token: d.Token, Error: string(f.Class), Message: f.Message}
	}
	lines := string(res.Headers)
	if len(lines) > maxShownAnswer {
		lines = lines[:strings.LastIndexByte(lines[:maxShownAnswer], '\n')+1]
	}
	return client.ListenAnswer{Token: d.Token, Status: res.Status, Headers: lines, Body: res.Body, Truncated: res.Truncated,
		TimedOut: res.TimedOut, RetryAfterMS: res.RetryAfter.Milliseconds()}
}
