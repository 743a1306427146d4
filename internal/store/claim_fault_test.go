package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqlite"
)

// A claim that fails after it claimed some rows is undone, even with other operations in
// its batch. Otherwise a row that is owned without a job would wait until the next start.
func TestAClaimThatFailsHalfWayTakesNothing(t *testing.T) {
	f := newFaulty(t)
	f.opts.Room = nil
	ctx := t.Context()
	scope := hook.Scope{Tenant: "acme", Mode: hook.Live}
	if _, _, err := f.CreateTenant(ctx, hook.Tenant{ID: scope.Tenant}, nil); err != nil {
		t.Fatal(err)
	}
	claim := hook.Claim{Now: time.Now().Add(time.Hour)}
	for range 2 {
		e, _, err := f.CreateEndpoint(ctx, hook.Endpoint{Scope: scope, Types: hook.Filter{"*"}, Secrets: []hook.Secret{{Text: "s"}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		claim.Shares = append(claim.Shares, hook.Share{Scope: scope, Endpoint: e.ID, Limit: 1})
	}
	publish := func() error {
		_, _, err := f.Publish(context.Background(), []hook.NewEvent{{Scope: scope, Type: "a", Data: []byte("{}")}},
			func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }, nil)
		return err
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}

	running, hold := make(chan struct{}), make(chan struct{})
	go func() {
		_ = f.do(context.Background(), "block", 0, func(*tx) error { close(running); <-hold; return nil })
	}()
	<-running
	answers := make(chan error, 1)
	go func() { answers <- publish() }()
	within(t, 5*time.Second, "queued", func() bool { return f.Stats().Queued == 1 })
	claimed := make(chan error, 1)
	go func() { _, err := f.Claim(context.Background(), claim); claimed <- err }()
	within(t, 5*time.Second, "queued", func() bool { return f.Stats().Queued == 2 })
	taken := 0
	f.core.Engine.(*sqlite.DB).Conn().Fault = func(query string) error { // blocks the writer
		if strings.HasPrefix(query, "UPDATE deliveries SET owner = ?, fence = ?") {
			if taken++; taken > 1 {
				return errInjected
			}
		}
		return nil
	}
	close(hold)
	if err := <-claimed; !errors.Is(err, errInjected) || taken < 2 {
		t.Errorf("control: the claim took %d rows and got %v", taken, err)
	}
	if err := <-answers; err != nil {
		t.Errorf("its neighbour got %v", err)
	}
	var owned int
	if err := f.core.Read.QueryRowContext(ctx, "SELECT count(*) FROM deliveries WHERE owner <> 0").Scan(&owned); err != nil || owned != 0 {
		t.Errorf("%d rows are owned and nobody has them, %v", owned, err)
	}
}
