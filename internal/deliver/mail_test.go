package deliver_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/deliver"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// post is a mailer that notes what it gets.
type post struct {
	to       string
	deadline time.Duration
	outcome  hook.Outcome
}

func (p *post) Mail(ctx context.Context, target *hook.Endpoint, _ *hook.Event, _ hook.ID) hook.Outcome {
	end, _ := ctx.Deadline()
	p.to, p.deadline = hook.MailAddress(target.URL), time.Until(end)
	return p.outcome
}

// An e-mail address goes to the mailer, within the timeout and under the policy of its
// profile, and never to the client for URLs.
func TestMail(t *testing.T) {
	r, none, job := setup(t, "standard")
	r.endpoint.URL, r.endpoint.Operational = "mailto:ops@example.com", true
	p := &post{outcome: hook.Outcome{Success: true, Status: 250}}
	s := deliver.New(deliver.Options{Store: r, Profiles: profile.Builtin(), Poster: r, Mailer: p, Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler)})
	o := s.Send(t.Context(), job)
	if !o.Success || o.Status != 250 || p.to != "ops@example.com" || p.deadline <= 0 || p.deadline > 20*time.Second ||
		o.Policy == nil || o.Enablings != 3 || !o.StartedAt.Equal(at) {
		t.Errorf("%+v to %q within %v", o, p.to, p.deadline)
	}
	p.outcome = hook.Outcome{Class: hook.ClassTimeout, Message: "It hangs."}
	if o := s.Send(t.Context(), job); o.Success || o.Skipped || o.Class != hook.ClassTimeout || o.Policy == nil {
		t.Errorf("%+v", o)
	}
	// Without a mail server the attempt fails and is repeated by plan.
	if o := none.Send(t.Context(), job); o.Success || o.Skipped || o.Class != hook.ClassNotSent || o.Policy == nil || !strings.Contains(o.Message, "log") {
		t.Errorf("%+v", o)
	}
	if len(r.got) != 0 {
		t.Errorf("%d requests", len(r.got))
	}
}
