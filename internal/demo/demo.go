// Package demo shows publishing, signing, delivery and retries in a terminal.
package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/internal/server"
)

const (
	demoTenant = "acme"
	demoLimit  = 30 * time.Second // for one scene; the demo's retries take two seconds
	demoTick   = 50 * time.Millisecond
)

// demoSteps replace the profile's own schedule, which is too long to watch.
var demoSteps = []string{"1s", "2s"}

// Command is "posthorn demo".
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "demo", Short: "Show a server publish, sign, deliver and retry events", Args: cli.NoArgs,
		Long: `Start a server with a temporary store and a receiver that verifies every signature,
publish sample events, and print what is sent and received.

The server then keeps running, so that you can try the API, until you press Ctrl-C.
With --once the command ends.`,
	}
	name := cmd.Flags().String("profile", "standard", "profile (wire format) to show")
	listen := cmd.Flags().String("listen", "127.0.0.1:0", "listen address of the API; port 0 for any free port")
	once := cmd.Flags().Bool("once", false, "exit after the demonstration")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return demo(cmd.Context(), cmd.OutOrStdout(), *name, *listen, *once)
	}
	return cmd
}

// stage is a running demo: a node, a receiver and a client of the API.
type stage struct {
	out      io.Writer
	node     *server.Node
	profile  *profile.Profile
	receiver *receiver
	api      *client.Client
	spelling map[string]string // of headers: as net/http gives them, as they are sent
	scene    int
}

func demo(ctx context.Context, out io.Writer, name, listen string, once bool) error {
	dir, err := os.MkdirTemp("", "posthorn-demo-")
	if err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	defer os.RemoveAll(dir)
	s, err := newStage(ctx, out, dir, name, listen)
	if err != nil {
		return err
	}
	defer s.close()
	s.introduce(dir)
	err = s.play(ctx)
	if ctx.Err() != nil {
		fmt.Fprintln(out, "\nStopped.")
		return nil
	}
	if err != nil {
		return err
	}
	if once {
		fmt.Fprintln(out, "\nAll requests were made over HTTP between a server and a receiver on this machine.")
		return nil
	}
	if err := s.stay(ctx); err != nil {
		return err
	}
	link, err := s.node.PagesLink(ctx)
	if err != nil {
		return err
	}
	s.invite(link)
	select {
	case err := <-s.node.Failure():
		return err
	case <-ctx.Done():
		fmt.Fprintln(out, "\nStopped.")
		return nil
	}
}

func newStage(ctx context.Context, out io.Writer, dir, name, listen string) (*stage, error) {
	cfg := &server.Config{}
	cfg.Flags() // the defaults
	cfg.Data, cfg.Profile, cfg.Listen, cfg.Dev = dir, name, listen, true
	cfg.OperatorKey, cfg.OperatorTestKey = "demo-live-"+rand.Text(), "demo-test-"+rand.Text()
	if err := cfg.Check(); err != nil { // not load: the variables of a real server must not lead here
		return nil, err
	}
	// The store is a throw-away and so is its log; what matters is printed.
	n, err := server.Start(ctx, cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return nil, err
	}
	s := &stage{out: out, node: n, api: &client.Client{URL: n.URL(), Key: cfg.OperatorKey, Attempts: 1}}
	s.profile, _ = profile.Builtin().Get(name)
	if s.spelling, err = spellings(s.profile); err == nil {
		s.receiver, err = newReceiver(s.profile)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stage) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.node.Stop(ctx)
	if s.receiver != nil {
		s.receiver.close()
	}
}

// play shows the scenes and returns an error when one did not go as it should.
func (s *stage) play(ctx context.Context) error {
	if _, err := s.api.CreateTenant(ctx, client.NewTenant{ID: demoTenant, Name: "Acme Ltd"}); err != nil {
		return fmt.Errorf("create tenant: %w", err)
	}
	types := s.profile.Catalogue()
	if len(types) == 0 {
		return errors.New("the profile has no sample events to show")
	}
	sample := func(i int) profile.EventType { return types[i%len(types)] }
	if err := s.act(ctx, "A good receiver", sample(0), 1); err != nil {
		return err
	}
	if err := s.act(ctx, "A receiver that fails, then recovers", sample(1), 2, 500); err != nil {
		return err
	}
	if !s.profile.Policy(nil).Success.Has(204) {
		if err := s.act(ctx, "A receiver that answers 204: not a success in this format", sample(2), 2, 204); err != nil {
			return err
		}
	}
	return s.forge()
}

// act publishes one event to a new endpoint that first gives the answers and then
// 200, and shows what went over the wire until the delivery has settled.
func (s *stage) act(ctx context.Context, title string, sample profile.EventType, attempts int, answers ...int) error {
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	s.scene++
	fmt.Fprintf(s.out, "\n%d. %s\n", s.scene, title)
	path := fmt.Sprintf("/hook/%d", s.scene)
	endpoint, err := s.api.CreateEndpoint(ctx, client.NewEndpoint{
		Tenant: demoTenant, URL: s.receiver.url + path, EventTypes: []string{sample.Name},
		Title: title, Retry: &client.Retry{Steps: demoSteps, Then: "repeat"},
	})
	if err != nil {
		return fmt.Errorf("create endpoint: %w", err)
	}
	if err := s.receiver.expect(path, endpoint.Secret, answers...); err != nil {
		return err
	}
	published, err := s.api.Publish(ctx, client.NewEvent{
		Tenant: demoTenant, Type: sample.Name, Data: json.RawMessage(sample.Example),
	}, client.PublishOptions{})
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	s.showPublished(published)
	d, err := s.settled(ctx, published.ID)
	if err != nil {
		return err
	}
	received := s.receiver.received(path)
	s.showReceived(received)
	s.showAttempts(d)
	if err := s.api.DeleteEndpoint(ctx, endpoint.ID); err != nil {
		return fmt.Errorf("delete endpoint: %w", err)
	}
	return check(d, received, attempts)
}

// check holds the scene against what it should have shown.
func check(d client.Delivery, received []reception, attempts int) error {
	if d.State != "succeeded" || d.Attempts != attempts || len(received) != attempts {
		return fmt.Errorf("the delivery is %s after %d attempts and %d requests; it should have succeeded after %d",
			d.State, d.Attempts, len(received), attempts)
	}
	for _, r := range received {
		if r.refused != nil {
			return fmt.Errorf("the receiver refused a signature: %w", r.refused)
		}
	}
	return nil
}

// settled waits until the event's one delivery is over.
func (s *stage) settled(ctx context.Context, event string) (client.Delivery, error) {
	ticker := time.NewTicker(demoTick)
	defer ticker.Stop()
	query := client.DeliveryQuery{Tenant: demoTenant, Event: event}
	for {
		page, err := s.api.Deliveries(ctx, query)
		if err != nil {
			return client.Delivery{}, fmt.Errorf("list deliveries: %w", err)
		}
		if len(page.Data) == 1 && page.Data[0].State != "pending" {
			return s.api.Delivery(ctx, page.Data[0].ID)
		}
		select {
		case <-ctx.Done():
			return client.Delivery{}, fmt.Errorf("the delivery did not settle within %v", demoLimit)
		case err := <-s.node.Failure():
			return client.Delivery{}, err
		case <-ticker.C:
		}
	}
}

// stay creates an endpoint for all event types, so that events published by hand arrive.
func (s *stage) stay(ctx context.Context) error {
	const path = "/hook/yours"
	endpoint, err := s.api.CreateEndpoint(ctx, client.NewEndpoint{
		Tenant: demoTenant, URL: s.receiver.url + path, EventTypes: []string{"*"}, Title: "Whatever you publish",
	})
	if err != nil {
		return fmt.Errorf("create endpoint: %w", err)
	}
	return s.receiver.expect(path, endpoint.Secret)
}

// forge shows that the receiver's check is not a formality.
func (s *stage) forge() error {
	s.scene++
	fmt.Fprintf(s.out, "\n%d. The first request again, one bit of its body flipped\n", s.scene)
	first := s.receiver.received("/hook/1")[0]
	forged := append([]byte(nil), first.body...)
	forged[len(forged)/2] ^= 1
	if err := first.verifier.Verify(first.header, first.body); err != nil {
		return fmt.Errorf("the untouched request does not verify: %w", err)
	}
	err := first.verifier.Verify(first.header, forged)
	if err == nil {
		return errors.New("the receiver accepted a forged request")
	}
	fmt.Fprintf(s.out, "   refused    %v\n", err)
	return nil
}
