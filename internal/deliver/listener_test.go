package deliver_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/deliver"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// switchboard is a Listeners for tests.
type switchboard struct {
	answer egress.Response
	err    error
	got    []egress.Request
}

func (s *switchboard) Forward(_ context.Context, target *hook.Endpoint, d *hook.Delivery, r egress.Request) (egress.Response, error) {
	s.got = append(s.got, r)
	return s.answer, s.err
}

// A listener gets the same request as an address. If it is away, no attempt is made.
// Control: a failure of a connected listener counts.
func TestListener(t *testing.T) {
	r, _, job := setup(t, "standard")
	board := &switchboard{answer: egress.Response{Status: 200}}
	options := deliver.Options{Store: r, Profiles: profile.Builtin(), Poster: r, Listeners: board,
		Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler)}
	s := deliver.New(options)
	s.Send(t.Context(), job) // to an address
	if len(r.got) != 1 || len(board.got) != 0 {
		t.Fatalf("%d posted, %d forwarded", len(r.got), len(board.got))
	}
	r.endpoint.URL = hook.ListenURL("dev")
	if o := s.Send(t.Context(), job); !o.Success || len(r.got) != 1 || len(board.got) != 1 {
		t.Fatalf("%+v, %d posted, %d forwarded", o, len(r.got), len(board.got))
	}
	if string(board.got[0].Body) != string(r.got[0].Body) || strings.Join(header(board.got[0], "webhook-signature"), "") != strings.Join(header(r.got[0], "webhook-signature"), "") {
		t.Error("a listener got another request than an address would")
	}
	board.err = &egress.Failure{Class: hook.ClassRefused, Message: "no"}
	if o := s.Send(t.Context(), job); o.Skipped || o.Success || o.Class != hook.ClassRefused || o.Policy == nil {
		t.Errorf("a failure that was reported: %+v", o)
	}
	board.err = hook.ErrAway
	if o := s.Send(t.Context(), job); !o.Skipped {
		t.Errorf("away: %+v", o)
	}
	options.Listeners = nil
	if o := deliver.New(options).Send(t.Context(), job); !o.Skipped {
		t.Errorf("no switchboard: %+v", o)
	}
}
