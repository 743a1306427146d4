package deliver_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/deliver"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

var at = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

type rooms struct {
	endpoint *hook.Endpoint
	event    *hook.Event
	reads    int
	err      error
	damaged  error // returned when the event is read

	answer egress.Response
	fail   error
	got    []egress.Request
}

func (r *rooms) Endpoint(context.Context, hook.Scope, hook.ID) (*hook.Endpoint, error) {
	return r.endpoint, r.err
}

func (r *rooms) Event(context.Context, hook.Scope, hook.ID) (*hook.Event, error) {
	r.reads++
	if r.damaged != nil {
		return nil, r.damaged
	}
	return r.event, r.err
}

func (r *rooms) Post(_ context.Context, req egress.Request) (egress.Response, error) {
	r.got = append(r.got, req)
	return r.answer, r.fail
}

func setup(t *testing.T, name string) (*rooms, *deliver.Sender, hook.Job) {
	t.Helper()
	p, ok := profile.Builtin().Get(name)
	if !ok {
		t.Fatalf("no profile %s", name)
	}
	text, encoding, err := p.NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	ids := hook.NewIDs(time.Now)
	r := &rooms{answer: egress.Response{Status: 200}}
	r.event = &hook.Event{ID: ids.Next(), Type: "payment.settled", Data: []byte(`{"id": "x"}`), CreatedAt: at, AcceptedAt: at}
	r.event.PublicID = r.event.ID
	r.endpoint = &hook.Endpoint{
		ID: ids.Next(), URL: "https://hooks.example.com/in", Profile: name, Enablings: 3,
		Secrets: []hook.Secret{{Text: text, Encoding: encoding, Version: 1}},
	}
	s := deliver.New(deliver.Options{
		Store: r, Profiles: profile.Builtin(), Poster: r, Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler),
	})
	job := hook.Job{Event: r.event, Target: r.endpoint, Delivery: hook.Delivery{
		ID: hook.DeliveryID(r.event.ID), Event: r.event.ID, Endpoint: r.endpoint.ID, Profile: p.Hash(),
	}}
	return r, s, job
}

func header(req egress.Request, name string) (values []string) {
	for _, h := range req.Headers {
		if strings.EqualFold(h.Name, name) {
			values = append(values, h.Value)
		}
	}
	return values
}

func TestTheStatusDecides(t *testing.T) {
	for _, c := range []struct {
		profile string
		answer  egress.Response
		success bool
		class   hook.Class
		says    string
	}{
		{"standard", egress.Response{Status: 200}, true, "", ""},
		{"standard", egress.Response{Status: 204}, true, "", ""},
		{"standard", egress.Response{Status: 200, Truncated: true}, true, "", ""},
		{"standard", egress.Response{Status: 200, Truncated: true, TimedOut: true}, true, hook.ClassTruncated, "still coming"},
		{"standard", egress.Response{Status: 500}, false, hook.ClassStatus, "answered 500"},
		{"standard", egress.Response{Status: 500, Truncated: true, TimedOut: true}, false, hook.ClassStatus, "answered 500"},
		{"standard", egress.Response{Status: 302}, false, hook.ClassRedirect, "final address"},
		{"standard", egress.Response{Status: 410}, false, hook.ClassGone, "disabled"},
		{"paysway", egress.Response{Status: 200}, true, "", ""},
		{"paysway", egress.Response{Status: 204}, false, hook.ClassStatus, "Answer 200."},
		{"paysway", egress.Response{Status: 410}, false, hook.ClassStatus, "answered 410"},
	} {
		r, s, job := setup(t, c.profile)
		r.answer = c.answer
		o := s.Send(t.Context(), job)
		if o.Success != c.success || o.Class != c.class || !strings.Contains(o.Message, c.says) || o.Status != c.answer.Status {
			t.Errorf("%s, %d: %+v", c.profile, c.answer.Status, o)
		}
		if o.Policy == nil || o.Enablings != 3 || o.Skipped {
			t.Errorf("%s, %d: policy %v, enablings %d, skipped %v", c.profile, c.answer.Status, o.Policy, o.Enablings, o.Skipped)
		}
	}
}

func TestEveryAttemptSendsTheSameBodySignedAnew(t *testing.T) {
	r, s, job := setup(t, "paysway")
	s.Send(t.Context(), job)
	job.Event, job.Delivery.Attempts = nil, 1 // a retry: the body is read again
	s.Send(t.Context(), job)
	if len(r.got) != 2 || !bytes.Equal(r.got[0].Body, r.got[1].Body) || r.reads != 1 {
		t.Fatalf("bodies %q and %q, %d reads", r.got[0].Body, r.got[1].Body, r.reads)
	}
	for _, req := range r.got {
		if v := header(req, "X-PaySway-Signature"); len(v) != 1 || !strings.HasPrefix(v[0], "t=1795262400,v1=") {
			t.Errorf("signature %q", v)
		}
	}
}

func TestOnlyLiveSecretsSign(t *testing.T) {
	r, s, job := setup(t, "standard")
	old := r.endpoint.Secrets[0]
	old.Version, old.ExpiresAt = 0, at.Add(time.Hour)
	r.endpoint.Secrets = append(r.endpoint.Secrets, old)
	s.Send(t.Context(), job)
	if v := header(r.got[0], "webhook-signature"); len(strings.Fields(v[0])) != 2 {
		t.Errorf("both live secrets sign: %q", v)
	}
	gone := *r.endpoint
	gone.Secrets = []hook.Secret{gone.Secrets[0], old}
	gone.Secrets[1].ExpiresAt = at
	r.endpoint = &gone
	s.Send(t.Context(), job)
	if v := header(r.got[1], "webhook-signature"); len(strings.Fields(v[0])) != 1 {
		t.Errorf("an expired secret signs: %q", v)
	}
}

func TestNothingLeavesUnsigned(t *testing.T) {
	r, s, job := setup(t, "standard")
	for name, secrets := range map[string][]hook.Secret{
		"none": nil, "empty": {{Encoding: hook.EncodingWhsec}}, "expired": {{Text: "whsec_AAAA", Encoding: hook.EncodingWhsec, ExpiresAt: at}},
	} {
		e := *r.endpoint
		e.Secrets = secrets
		r.endpoint = &e
		if o := s.Send(t.Context(), job); o.Class != hook.ClassNotSent || o.Success || o.Policy == nil {
			t.Errorf("%s: %+v", name, o)
		}
	}
	if len(r.got) != 0 {
		t.Errorf("%d requests were sent", len(r.got))
	}
}

func TestStoppedEndpointsAreSkipped(t *testing.T) {
	for _, status := range []hook.Status{hook.Disabled, hook.Tripped, hook.Deleted} {
		r, s, job := setup(t, "standard")
		r.endpoint.Status = status
		if o := s.Send(t.Context(), job); !o.Skipped || len(r.got) != 0 {
			t.Errorf("status %d: %+v", status, o)
		}
		job.Delivery.Kind = hook.TestEvent
		o := s.Send(t.Context(), job)
		if passes := status != hook.Deleted; o.Skipped == passes {
			t.Errorf("status %d: a test event skipped: %v", status, o.Skipped)
		}
	}
	r, s, job := setup(t, "standard")
	r.err = errors.New("disk")
	if o := s.Send(t.Context(), job); !o.Skipped {
		t.Errorf("a store that cannot say: %+v", o)
	}
}

// A header that the format omits because it has no value stays omitted. The endpoint's
// custom header of that name would be mistaken for the value.
func TestALeftOutHeaderIsNotTheEndpoints(t *testing.T) {
	r, s, job := setup(t, "paysway")
	base, _ := profile.Builtin().Get("paysway")
	p, err := profile.Load("own.yaml", []byte(strings.Replace(string(base.Text()), "name: paysway", "name: own", 1)+"\nheaders: {X-Invoice: $event.data.id}\n"))
	if err != nil {
		t.Fatal(err)
	}
	set := profile.Builtin()
	if err := set.Add(p); err != nil {
		t.Fatal(err)
	}
	s = deliver.New(deliver.Options{Store: r, Profiles: set, Poster: r, Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler)})
	job.Delivery.Profile = p.Hash()
	r.endpoint.Profile, r.endpoint.Headers = "own", []hook.Header{{Name: "x-invoice", Value: "forged"}}
	for data, want := range map[string]string{`{"id": "x"}`: "x", `{}`: "", `{"id": "x\r\nX-Invoice: forged"}`: ""} {
		r.event.Data = []byte(data)
		if o := s.Send(t.Context(), job); !o.Success {
			t.Errorf("%s: %+v", data, o)
		}
		if got := strings.Join(header(r.got[len(r.got)-1], "X-Invoice"), ","); got != want {
			t.Errorf("%s: header %q, want %q", data, got, want)
		}
	}
}

func TestTheFormatsHeadersStand(t *testing.T) {
	r, s, job := setup(t, "paywise")
	r.endpoint.Headers = []hook.Header{{Name: "user-agent", Value: "mine"}, {Name: "x-paywise-signature", Value: "forged"}, {Name: "X-Own", Value: "1"}}
	s.Send(t.Context(), job)
	if v := header(r.got[0], "User-Agent"); len(v) != 1 || v[0] != "paywise-webhooks/1.0" {
		t.Errorf("user agent %q", v)
	}
	if v := header(r.got[0], "X-Paywise-Signature"); len(v) != 1 || v[0] == "forged" {
		t.Errorf("signature %q", v)
	}
	if v := header(r.got[0], "X-Own"); len(v) != 1 {
		t.Errorf("own header %q", v)
	}
}

func TestFailuresOfTheWireKeepTheirClass(t *testing.T) {
	r, s, job := setup(t, "standard")
	r.fail = &egress.Failure{Class: hook.ClassTLSExpired, Message: "The certificate has expired."}
	if o := s.Send(t.Context(), job); o.Class != hook.ClassTLSExpired || o.Message != "The certificate has expired." || o.Status != 0 {
		t.Errorf("%+v", o)
	}
}

// A body that is damaged in the store makes a failed attempt that reports it. If it were
// skipped, the delivery would be repeated for ever without a trace. Control: if the store
// is only unavailable, the attempt is skipped.
func TestADamagedEventIsAnAttempt(t *testing.T) {
	r, s, job := setup(t, "standard")
	job.Event = nil
	r.damaged = &hook.Error{Code: hook.CodeInternal, Message: "damaged"}
	if o := s.Send(t.Context(), job); o.Skipped || o.Class != hook.ClassNotSent || o.Policy == nil || len(r.got) != 0 {
		t.Errorf("damaged: %+v, %d requests", o, len(r.got))
	}
	r.damaged = &hook.Error{Code: hook.CodeStorageDown, Message: "later"}
	if o := s.Send(t.Context(), job); !o.Skipped {
		t.Errorf("not available: %+v", o)
	}
}

// An outcome reports that its request was sent twice. Every request names its endpoint,
// whose connections it uses.
func TestARepeatIsSaid(t *testing.T) {
	r, s, job := setup(t, "standard")
	for _, repeated := range []bool{false, true} {
		r.answer, r.fail = egress.Response{Status: 200, Repeated: repeated}, nil
		good := s.Send(t.Context(), job)
		r.fail = &egress.Failure{Class: hook.ClassReset, Message: "Closed.", Repeated: repeated}
		bad := s.Send(t.Context(), job)
		for _, o := range []hook.Outcome{good, bad} {
			if o.Repeated != repeated || strings.Contains(o.Message, "once more") != repeated {
				t.Errorf("repeated %v: %+v", repeated, o)
			}
		}
	}
	for _, req := range r.got {
		if req.Endpoint != r.endpoint.ID {
			t.Errorf("a request of endpoint %v is for %v", r.endpoint.ID, req.Endpoint)
		}
	}
}

// Every request carries the installation's id, in every format, and no custom header of
// the endpoint replaces it.
func TestLoopHeader(t *testing.T) {
	for _, name := range []string{"standard", "paysway", "paywise"} {
		r, s, job := setup(t, name)
		r.endpoint.Headers = []hook.Header{{Name: "cdn-loop", Value: "mine"}, {Name: "X-Mine", Value: "1"}}
		s.Send(t.Context(), job) // control: no id, no header
		marked := deliver.New(deliver.Options{Store: r, Profiles: profile.Builtin(), Poster: r, Now: func() time.Time { return at }, Loop: "0123456789abcdef"})
		marked.Send(t.Context(), job)
		without, with := header(r.got[0], "CDN-Loop"), header(r.got[1], "CDN-Loop")
		if len(without) != 1 || without[0] != "mine" || len(with) != 1 || with[0] != "posthorn; id=0123456789abcdef" || len(header(r.got[1], "X-Mine")) != 1 {
			t.Errorf("%s: %q, %q", name, without, with)
		}
	}
}
