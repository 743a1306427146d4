package deliver_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/deliver"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// A fault of this machine does not count as an attempt, and is logged once a minute.
// Control: faults of the receiver count.
func TestOurFaultsArePutOff(t *testing.T) {
	r, _, job := setup(t, "standard")
	var log bytes.Buffer
	now := at
	s := deliver.New(deliver.Options{Store: r, Profiles: profile.Builtin(), Poster: r,
		Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 120 {
		for _, class := range []hook.Class{hook.ClassLocalResources, hook.ClassDNSUnavailable, hook.ClassNetworkUnavailable} {
			r.fail = &egress.Failure{Class: class, Message: "Ours."}
			if o := s.Send(t.Context(), job); !o.Skipped || o.Class != class {
				t.Fatalf("%s: %+v", class, o)
			}
		}
		now = now.Add(time.Second)
	}
	if n := strings.Count(log.String(), "\n"); n != 2 || !strings.Contains(log.String(), "attempts=180") {
		t.Errorf("%d lines in two minutes:\n%s", n, log.String())
	}
	for _, class := range []hook.Class{hook.ClassDNSNotFound, hook.ClassDNSTimeout, hook.ClassDNSFailed, hook.ClassRefused,
		hook.ClassConnectTimeout, hook.ClassConnectFailed, hook.ClassReset, hook.ClassTimeout} {
		r.fail = &egress.Failure{Class: class, Message: "Theirs."}
		if o := s.Send(t.Context(), job); o.Skipped || o.Class != class {
			t.Errorf("control: %s: %+v", class, o)
		}
	}
}
