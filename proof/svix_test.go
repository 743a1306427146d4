package proof_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	svix "github.com/svix/svix-webhooks/go"
	"github.com/svix/svix-webhooks/go/models"
	"github.com/svix/svix-webhooks/go/utils"
)

// Svix's own library for Go against the running binary. What the receiver got is verified
// by its verifier.

// svixRun makes the calls and notes their outcomes.
type svixRun struct {
	t        *testing.T
	ctx      context.Context
	client   *svix.Svix
	outcomes []svixOutcome
	stop     bool // at the first failure

	recv                     *receiver
	down                     func(bool) // makes the receiver fail
	unique, uid, kind, epUID string
	app                      *models.ApplicationOut
	ep                       *models.EndpointOut
	key                      string
	payload                  map[string]any
	msg, failing             *models.MessageOut
}

type svixOutcome struct {
	call string
	err  error
}

func newSvixRun(t *testing.T, base, token string) *svixRun {
	t.Helper()
	at, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	c, err := svix.New(token, &svix.SvixOptions{ServerUrl: at, RetrySchedule: &[]time.Duration{}})
	if err != nil {
		t.Fatal(err)
	}
	return &svixRun{t: t, ctx: t.Context(), client: c}
}

func (r *svixRun) step(call string, do func() error) {
	if r.stop && len(r.failures()) > 0 {
		return
	}
	r.outcomes = append(r.outcomes, svixOutcome{call, do()})
}

// failures returns the calls that failed.
func (r *svixRun) failures() (list []string) {
	for _, o := range r.outcomes {
		if o.err != nil {
			list = append(list, fmt.Sprintf("%s: %v", o.call, o.err))
		}
	}
	return list
}

// refused returns an error unless the call was refused with the status, and the body has the
// text.
func refused(err error, status int, text string) error {
	e, ok := errors.AsType[*svix.Error](err)
	if !ok {
		return fmt.Errorf("not refused by the server: %v", err)
	}
	if e.Status() != status || !strings.Contains(string(e.Body()), text) {
		return fmt.Errorf("%d %s, want %d with %q", e.Status(), e.Body(), status, text)
	}
	return nil
}

func must(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func ptr[T any](v T) *T { return &v }

// calls makes the calls of the conformance table. down says whether the receiver fails.
func (r *svixRun) calls(recv *receiver, down func(bool)) {
	r.recv, r.down = recv, down
	r.unique = fmt.Sprint(time.Now().UnixNano())
	r.uid, r.kind, r.epUID = "acme-"+r.unique, "invoice.paid-"+r.unique, "ep1"
	r.payload = map[string]any{"amount": "49.90", "n": 7.0}
	for _, part := range []func(){r.applications, r.types, r.endpoints, r.channels, r.messages, r.refusals, r.attempts, r.jobs} {
		part()
		if r.stop && len(r.failures()) > 0 {
			return
		}
	}
}

// ok runs then, unless the server refused the call.
func ok(err error, then func() error) error {
	if err == nil {
		return then()
	}
	if e, is := errors.AsType[*svix.Error](err); is {
		return fmt.Errorf("%d %s", e.Status(), e.Body())
	}
	return err
}

// verify returns the n-th request that the receiver got, which verifies with each secret.
func (r *svixRun) verify(n int, secrets ...string) (receipt, error) {
	got := r.recv.await(r.t, n, 20*time.Second)[n-1]
	for _, secret := range secrets {
		w, err := svix.NewWebhook(secret)
		if err != nil {
			return got, err
		}
		if err := w.Verify(got.body, got.header); err != nil {
			return got, err
		}
	}
	return got, nil
}

func (r *svixRun) applications() {
	ctx, c := r.ctx, r.client
	r.step("health.get", func() error { return c.Health.Get(ctx) })
	r.step("application.create", func() (err error) {
		r.app, err = c.Application.Create(ctx, models.ApplicationIn{Name: "Acme", Uid: &r.uid, Metadata: &map[string]string{"plan": "gold"}}, nil)
		return ok(err, func() error {
			return must(r.app.Name == "Acme" && r.app.Uid != nil && *r.app.Uid == r.uid && r.app.Metadata["plan"] == "gold" && r.app.Id != "", "%+v", r.app)
		})
	})
	if r.app == nil {
		return
	}
	r.step("application.create again: 409", func() error {
		_, err := c.Application.Create(ctx, models.ApplicationIn{Name: "Acme", Uid: &r.uid}, nil)
		return refused(err, 409, `"conflict"`)
	})
	r.step("application.create throttleRate 0: 422", func() error {
		_, err := c.Application.Create(ctx, models.ApplicationIn{Name: "Acme", ThrottleRate: ptr(uint16(0))}, nil)
		return refused(err, 422, "throttleRate")
	})
	r.step("application.getOrCreate", func() error {
		got, err := c.Application.GetOrCreate(ctx, models.ApplicationIn{Name: "Acme", Uid: &r.uid}, nil)
		return ok(err, func() error { return must(got.Id == r.app.Id, "%s, not %s", got.Id, r.app.Id) })
	})
	r.step("application.get", func() error {
		got, err := c.Application.Get(ctx, r.uid)
		return ok(err, func() error { return must(got.Id == r.app.Id && got.Name == "Acme", "%+v", got) })
	})
	r.step("application.get unknown: 404", func() error {
		_, err := c.Application.Get(ctx, "nobody")
		return refused(err, 404, `"not_found"`)
	})
	r.step("application.create without uid, list forward and back", func() error {
		for i := range 5 {
			made, err := c.Application.Create(ctx, models.ApplicationIn{Name: fmt.Sprint("listed ", i)}, nil)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(made.Id, "app_") || len(made.Id) != 31 || made.Uid != nil {
				return fmt.Errorf("%+v", made)
			}
		}
		var names []string
		var pages []*models.ListResponseApplicationOut
		o := &svix.ApplicationListOptions{Limit: ptr(uint64(2))}
		for {
			page, err := c.Application.List(ctx, o)
			if err != nil {
				return err
			}
			pages = append(pages, page)
			for _, one := range page.Data {
				names = append(names, one.Id)
			}
			if page.Done || len(pages) > 50 {
				break
			}
			o.Iterator = page.Iterator
		}
		seen := map[string]bool{}
		for _, id := range names {
			seen[id] = true
		}
		if len(seen) != len(names) || len(names) < 6 {
			return fmt.Errorf("%d of %d differ", len(seen), len(names))
		}
		for i := len(pages) - 1; i > 0; i-- {
			back, err := c.Application.List(ctx, &svix.ApplicationListOptions{Limit: ptr(uint64(2)), Iterator: pages[i].PrevIterator})
			if err != nil {
				return err
			}
			if len(back.Data) != 2 || back.Data[0].Id != pages[i-1].Data[0].Id || back.Data[1].Id != pages[i-1].Data[1].Id || back.Done != (i == 1) {
				return fmt.Errorf("back from page %d: %+v", i, back)
			}
		}
		return nil
	})
	r.step("application.list descending; limit 251: 422", func() error {
		page, err := c.Application.List(ctx, &svix.ApplicationListOptions{Order: ptr(models.ORDERING_DESCENDING)})
		if err != nil {
			return err
		}
		if len(page.Data) < 2 || page.Data[0].Name != "listed 4" {
			return fmt.Errorf("first is %+v", page.Data[0])
		}
		_, err = c.Application.List(ctx, &svix.ApplicationListOptions{Limit: ptr(uint64(251))})
		return refused(err, 422, `"query"`)
	})
	r.step("application.update, and of an unknown one", func() error {
		got, err := c.Application.Update(ctx, r.uid, models.ApplicationIn{Name: "Acme 2", Uid: &r.uid})
		if err != nil {
			return err
		}
		made, err := c.Application.Update(ctx, "new-"+r.unique, models.ApplicationIn{Name: "made"})
		return ok(err, func() error {
			return must(got.Name == "Acme 2" && len(got.Metadata) == 0 && made.Name == "made", "%+v %+v", got, made)
		})
	})
	r.step("application.patch; uid null: 422", func() error {
		got, err := c.Application.Patch(ctx, r.uid, models.ApplicationPatch{Metadata: &map[string]string{"a": "b"}})
		if err != nil {
			return err
		}
		if got.Name != "Acme 2" || got.Metadata["a"] != "b" {
			return fmt.Errorf("%+v", got)
		}
		_, err = c.Application.Patch(ctx, r.uid, models.ApplicationPatch{Uid: utils.NewNullableFromPtr[string](nil)})
		return refused(err, 422, "uid")
	})
}

func (r *svixRun) types() {
	ctx, c := r.ctx, r.client
	r.step("eventType.create; again: 409", func() error {
		schemas := map[string]any{"1": map[string]any{"type": "object", "examples": []any{map[string]any{"id": "in_1"}}}}
		got, err := c.EventType.Create(ctx, models.EventTypeIn{Name: r.kind, Description: "Paid", Schemas: &schemas, GroupName: ptr("invoices")}, nil)
		if err != nil {
			return ok(err, nil)
		}
		if got.Name != r.kind || got.Description != "Paid" || got.Schemas == nil {
			return fmt.Errorf("%+v", got)
		}
		_, err = c.EventType.Create(ctx, models.EventTypeIn{Name: r.kind, Description: "Paid"}, nil)
		return refused(err, 409, "event_type_exists")
	})
	r.step("eventType.list, get, update, patch", func() error {
		page, err := c.EventType.List(ctx, &svix.EventTypeListOptions{WithContent: ptr(true), IncludeArchived: ptr(true)})
		if err != nil {
			return ok(err, nil)
		}
		if !slices.ContainsFunc(page.Data, func(e models.EventTypeOut) bool { return e.Name == r.kind && e.Schemas != nil }) {
			return fmt.Errorf("not listed: %+v", page)
		}
		if _, err := c.EventType.Get(ctx, r.kind); err != nil {
			return ok(err, nil)
		}
		patched, err := c.EventType.Patch(ctx, r.kind, models.EventTypePatch{Description: ptr("Paid in full"), GroupName: utils.NewNullableFromPtr[string](nil)})
		return ok(err, func() error {
			return must(patched.Description == "Paid in full" && patched.GroupName == nil && patched.Schemas != nil, "%+v", patched)
		})
	})
	r.step("eventType.delete archives, create revives, expunge deletes", func() error {
		name := "old-" + r.unique
		if _, err := c.EventType.Update(ctx, name, models.EventTypeUpdate{Description: "made by update"}); err != nil {
			return ok(err, nil)
		}
		if err := c.EventType.Delete(ctx, name, nil); err != nil {
			return ok(err, nil)
		}
		got, err := c.EventType.Get(ctx, name)
		if err != nil || got.Archived == nil || !*got.Archived {
			return fmt.Errorf("%+v %v", got, err)
		}
		if _, err := c.EventType.Create(ctx, models.EventTypeIn{Name: name, Description: "again"}, nil); err != nil {
			return ok(err, nil)
		}
		if err := c.EventType.Delete(ctx, name, &svix.EventTypeDeleteOptions{Expunge: ptr(true)}); err != nil {
			return ok(err, nil)
		}
		_, err = c.EventType.Get(ctx, name)
		return refused(err, 404, "not_found")
	})
}

func (r *svixRun) endpoints() {
	ctx, c := r.ctx, r.client
	r.step("endpoint.create", func() (err error) {
		r.ep, err = c.Endpoint.Create(ctx, r.uid, models.EndpointIn{Url: r.recv.url + "/one", Uid: &r.epUID, FilterTypes: []string{r.kind}, Description: ptr("first"),
			Metadata: &map[string]string{"k": "v"}, ThrottleRate: ptr(uint16(100))}, nil)
		return ok(err, func() error {
			return must(strings.HasPrefix(r.ep.Id, "ep_") && len(r.ep.Id) == 30 && r.ep.Uid != nil && *r.ep.Uid == r.epUID && len(r.ep.FilterTypes) == 1 && r.ep.Metadata["k"] == "v" &&
				r.ep.ThrottleRate != nil && *r.ep.ThrottleRate == 100 && r.ep.RateLimit != nil && *r.ep.RateLimit == 100 && r.ep.Version == 1, "%+v", r.ep)
		})
	})
	if r.ep == nil {
		return
	}
	for what, in := range map[string]models.EndpointIn{
		"bad scheme": {Url: "ftp://example.com/"}, "unknown type": {Url: r.recv.url, FilterTypes: []string{"nobody.knows"}},
		"bad secret": {Url: r.recv.url, Secret: ptr("whsec_%")}, "bad uid": {Url: r.recv.url, Uid: ptr("ep_x")},
	} {
		r.step("endpoint.create "+what+": 422", func() error {
			_, err := c.Endpoint.Create(ctx, r.uid, in, nil)
			return refused(err, 422, `"loc"`)
		})
	}
	r.step("endpoint.create with a uid in use: 409", func() error {
		_, err := c.Endpoint.Create(ctx, r.uid, models.EndpointIn{Url: r.recv.url, Uid: &r.epUID}, nil)
		return refused(err, 409, "conflict")
	})
	r.step("endpoint.get by id and uid; of another application: 404", func() error {
		one, err := c.Endpoint.Get(ctx, r.uid, r.ep.Id)
		if err != nil {
			return ok(err, nil)
		}
		two, err := c.Endpoint.Get(ctx, r.uid, r.epUID)
		if err != nil || one.Id != two.Id {
			return fmt.Errorf("%+v %v", two, err)
		}
		_, err = c.Endpoint.Get(ctx, "new-"+r.unique, r.ep.Id)
		return refused(err, 404, "not_found")
	})
	r.step("endpoint.list both ways", func() error {
		for i := range 3 {
			if _, err := c.Endpoint.Create(ctx, r.uid, models.EndpointIn{Url: fmt.Sprintf("%s/more%d", r.recv.url, i), FilterTypes: []string{r.kind}, Disabled: ptr(true)}, nil); err != nil {
				return ok(err, nil)
			}
		}
		first, err := c.Endpoint.List(ctx, r.uid, &svix.EndpointListOptions{Limit: ptr(uint64(2))})
		if err != nil {
			return ok(err, nil)
		}
		second, err := c.Endpoint.List(ctx, r.uid, &svix.EndpointListOptions{Limit: ptr(uint64(2)), Iterator: first.Iterator})
		if err != nil {
			return ok(err, nil)
		}
		back, err := c.Endpoint.List(ctx, r.uid, &svix.EndpointListOptions{Limit: ptr(uint64(2)), Iterator: second.PrevIterator})
		return ok(err, func() error {
			return must(len(first.Data) == 2 && !first.Done && second.Done && second.Data[1].Id == r.ep.Id && back.Data[0].Id == first.Data[0].Id && back.Done, "%+v %+v %+v", first, second, back)
		})
	})
	r.step("endpoint.patch", func() error {
		got, err := c.Endpoint.Patch(ctx, r.uid, r.epUID, models.EndpointPatch{FilterTypes: utils.NewNullableFromPtr[[]string](nil), ThrottleRate: utils.NewNullableFromPtr[uint16](nil)})
		return ok(err, func() error {
			return must(got.FilterTypes == nil && got.ThrottleRate == nil && got.Description == "first" && got.Metadata["k"] == "v", "%+v", got)
		})
	})
	r.step("endpoint.update clears; unknown: made", func() error {
		got, err := c.Endpoint.Update(ctx, r.uid, r.ep.Id, models.EndpointUpdate{Url: r.recv.url + "/one", Uid: &r.epUID, FilterTypes: []string{r.kind}})
		if err != nil {
			return ok(err, nil)
		}
		made, err := c.Endpoint.Update(ctx, r.uid, "later", models.EndpointUpdate{Url: r.recv.url + "/later", Disabled: ptr(true)})
		return ok(err, func() error {
			return must(got.Description == "" && len(got.Metadata) == 0 && made.Id != got.Id, "%+v", got)
		})
	})
	r.step("endpoint headers: update, patch, get; svix-: 422", func() error {
		if err := c.Endpoint.UpdateHeaders(ctx, r.uid, r.ep.Id, models.EndpointHeadersIn{Headers: map[string]string{"X-One": "1", "Authorization": "s"}}); err != nil {
			return ok(err, nil)
		}
		if err := c.Endpoint.PatchHeaders(ctx, r.uid, r.ep.Id, models.EndpointHeadersPatchIn{Headers: map[string]string{"X-Two": "2"}, DeleteHeaders: []string{"Authorization"}}); err != nil {
			return ok(err, nil)
		}
		got, err := c.Endpoint.GetHeaders(ctx, r.uid, r.ep.Id)
		if err != nil || !slices.Equal(got.Sensitive, []string{"X-One", "X-Two"}) {
			return fmt.Errorf("%+v %v", got, err)
		}
		err = c.Endpoint.UpdateHeaders(ctx, r.uid, r.ep.Id, models.EndpointHeadersIn{Headers: map[string]string{"svix-id": "x"}})
		return refused(err, 422, "headers")
	})
}

func (r *svixRun) messages() {
	ctx, c := r.ctx, r.client
	r.step("message.create: delivered, verified, svix-id is its id", func() error {
		out, err := c.Endpoint.GetSecret(ctx, r.uid, r.ep.Id)
		if err != nil {
			return ok(err, nil)
		}
		r.key = out.Key
		n := len(r.recv.receipts())
		if r.msg, err = c.Message.Create(ctx, r.uid, models.MessageIn{EventType: r.kind, Payload: r.payload, EventId: ptr("evt-" + r.unique)}, nil); err != nil {
			return ok(err, nil)
		}
		got, err := r.verify(n+1, r.key)
		if err != nil {
			return err
		}
		var body map[string]any
		if err := json.Unmarshal(got.body, &body); err != nil {
			return err
		}
		return must(got.header.Get("svix-id") == r.msg.Id && got.header.Get("webhook-id") == r.msg.Id && body["amount"] == "49.90" && len(body) == 2 && got.header.Get("X-One") == "1" && r.msg.Payload["amount"] == "49.90",
			"%v %s %+v", got.header, got.body, r.msg)
	})
	if r.msg == nil {
		return
	}
	r.step("a changed body does not verify", func() error {
		got := r.recv.receipts()[len(r.recv.receipts())-1]
		w, err := svix.NewWebhook(r.key)
		if err != nil {
			return err
		}
		return must(w.Verify(append(slices.Clone(got.body), ' '), got.header) != nil, "it verifies")
	})
	r.step("message.create with an eventId in use: 409", func() error {
		_, err := c.Message.Create(ctx, r.uid, models.MessageIn{EventType: r.kind, Payload: r.payload, EventId: ptr("evt-" + r.unique)}, nil)
		return refused(err, 409, "conflict")
	})
	r.step("message.create twice with an idempotency key: one", func() error {
		o := &svix.MessageCreateOptions{IdempotencyKey: ptr("key-" + r.unique)}
		one, err := c.Message.Create(ctx, r.uid, models.MessageIn{EventType: r.kind, Payload: r.payload}, o)
		if err != nil {
			return ok(err, nil)
		}
		two, err := c.Message.Create(ctx, r.uid, models.MessageIn{EventType: r.kind, Payload: r.payload}, o)
		return ok(err, func() error { return must(one.Id == two.Id, "%s %s", one.Id, two.Id) })
	})
	r.step("message.create with application: made on the way; wrong: 422; none: 404", func() error {
		way := "way-" + r.unique
		in := models.MessageIn{EventType: r.kind, Payload: r.payload, Application: &models.ApplicationIn{Name: "Way", Uid: &way}}
		if _, err := c.Message.Create(ctx, way, in, nil); err != nil {
			return ok(err, nil)
		}
		if got, err := c.Application.Get(ctx, way); err != nil || got.Name != "Way" {
			return fmt.Errorf("%+v %v", got, err)
		}
		_, err := c.Message.Create(ctx, "other-"+r.unique, in, nil)
		if err := refused(err, 422, "application_uid_mismatch"); err != nil {
			return err
		}
		in.Application = nil
		_, err = c.Message.Create(ctx, "other-"+r.unique, in, nil)
		return refused(err, 404, "not_found")
	})
}

func (r *svixRun) refusals() {
	ctx, c := r.ctx, r.client
	for what, in := range map[string]models.MessageIn{
		"tags": {Tags: []string{"x"}}, "deliverAt in two days": {DeliverAt: ptr(time.Now().Add(48 * time.Hour))}, "retention": {PayloadRetentionPeriod: ptr(int64(5))},
		"a raw text": {TransformationsParams: &map[string]any{"rawPayload": "no json"}}, "no payload": {},
	} {
		r.step("message.create with "+what+": 422", func() error {
			if in.EventType = r.kind; what != "no payload" {
				in.Payload = r.payload
			}
			_, err := c.Message.Create(ctx, r.uid, in, nil)
			return refused(err, 422, `"loc"`)
		})
	}
	r.step("message.create of 2 MB: 413", func() error {
		_, err := c.Message.Create(ctx, r.uid, models.MessageIn{EventType: r.kind, Payload: map[string]any{"x": strings.Repeat("x", 2<<20)}}, nil)
		return refused(err, 413, "payload_too_large")
	})
	r.step("message.create raw object: sent byte for byte", func() error {
		n := len(r.recv.await(r.t, 2, 20*time.Second))
		raw := `{ "a": 1.0,  "b": [1 ,2] }`
		if _, err := c.Message.Create(ctx, r.uid, *svix.NewMessageInRaw(r.kind, raw, nil), nil); err != nil {
			return ok(err, nil)
		}
		got, err := r.verify(n+1, r.key)
		return ok(err, func() error { return must(string(got.body) == raw, "%s", got.body) })
	})
	r.step("message.get by id, by eventId, without content", func() error {
		one, err := c.Message.Get(ctx, r.uid, r.msg.Id, nil)
		if err != nil {
			return ok(err, nil)
		}
		two, err := c.Message.Get(ctx, r.uid, "evt-"+r.unique, &svix.MessageGetOptions{WithContent: ptr(false)})
		return ok(err, func() error {
			return must(one.Id == two.Id && one.Payload["amount"] == "49.90" && len(two.Payload) == 0 && two.EventId != nil, "%+v %+v", one, two)
		})
	})
	r.step("message.list: filters, before, after, iterators", func() error {
		all, err := c.Message.List(ctx, r.uid, nil)
		if err != nil {
			return ok(err, nil)
		}
		zone := time.FixedZone("x", 3600)
		first, err := c.Message.List(ctx, r.uid, &svix.MessageListOptions{Limit: ptr(uint64(1)), EventTypes: &[]string{r.kind}, After: ptr(time.Now().Add(-time.Hour).In(zone)), Before: ptr(time.Now().Add(time.Hour).In(zone))})
		if err != nil {
			return ok(err, nil)
		}
		second, err := c.Message.List(ctx, r.uid, &svix.MessageListOptions{Limit: ptr(uint64(1)), Iterator: first.Iterator})
		if err != nil {
			return ok(err, nil)
		}
		back, err := c.Message.List(ctx, r.uid, &svix.MessageListOptions{Limit: ptr(uint64(1)), Iterator: second.PrevIterator})
		if err != nil {
			return ok(err, nil)
		}
		none, err := c.Message.List(ctx, r.uid, &svix.MessageListOptions{After: ptr(time.Now().Add(time.Hour))})
		return ok(err, func() error {
			return must(len(all.Data) == 3 && all.Done && all.Data[2].Id == r.msg.Id && all.Data[2].Payload["amount"] == "49.90" && first.Data[0].Id == all.Data[0].Id && all.Data[2].EventId != nil && *all.Data[2].EventId == "evt-"+r.unique &&
				second.Data[0].Id == all.Data[1].Id && back.Data[0].Id == first.Data[0].Id && len(none.Data) == 0, "%+v %+v %+v %+v", all, first, second, back)
		})
	})
	r.step("message.precheck", func() error {
		yes, err := c.Message.Precheck(ctx, r.uid, models.MessagePrecheckIn{EventType: r.kind}, nil)
		if err != nil {
			return ok(err, nil)
		}
		no, err := c.Message.Precheck(ctx, r.uid, models.MessagePrecheckIn{EventType: "nothing"}, nil)
		return ok(err, func() error { return must(yes.Active && !no.Active, "%v %v", yes, no) })
	})
}

func (r *svixRun) attempts() {
	ctx, c := r.ctx, r.client
	r.step("a failing receiver: attempts by message and by endpoint, get", func() (err error) {
		r.down(true)
		if r.failing, err = c.Message.Create(ctx, r.uid, models.MessageIn{EventType: r.kind, Payload: r.payload}, nil); err != nil {
			return ok(err, nil)
		}
		var page *models.ListResponseMessageAttemptOut
		eventually(r.t, 20*time.Second, "an attempt", func() bool {
			page, err = c.MessageAttempt.ListByMsg(ctx, r.uid, r.failing.Id, nil)
			return err != nil || len(page.Data) > 0
		})
		if err != nil {
			return ok(err, nil)
		}
		one := page.Data[0]
		if one.Status != models.MESSAGESTATUS_FAIL || one.ResponseStatusCode != 500 || one.TriggerType != models.MESSAGEATTEMPTTRIGGERTYPE_SCHEDULED || one.MsgId != r.failing.Id || one.EndpointId != r.ep.Id {
			return fmt.Errorf("%+v", one)
		}
		got, err := c.MessageAttempt.Get(ctx, r.uid, r.failing.Id, one.Id, nil)
		if err != nil || got.Id != one.Id {
			return fmt.Errorf("%+v %v", got, err)
		}
		_, err = c.MessageAttempt.Get(ctx, r.uid, r.msg.Id, one.Id, nil)
		if err := refused(err, 404, "not_found"); err != nil {
			return err
		}
		of, err := c.MessageAttempt.ListByEndpoint(ctx, r.uid, r.ep.Id, &svix.MessageAttemptListByEndpointOptions{Status: ptr(models.MESSAGESTATUS_FAIL), WithMsg: ptr(true)})
		return ok(err, func() error { return must(len(of.Data) >= 1 && of.Data[0].MsgId == r.failing.Id, "%+v", of) })
	})
	r.step("messageAttempt.listAttemptedMessages and -Destinations", func() error {
		page, err := c.MessageAttempt.ListAttemptedMessages(ctx, r.uid, r.ep.Id, nil)
		if err != nil {
			return ok(err, nil)
		}
		sent, err := c.MessageAttempt.ListAttemptedMessages(ctx, r.uid, r.ep.Id, &svix.MessageAttemptListAttemptedMessagesOptions{Status: ptr(models.MESSAGESTATUS_SUCCESS)})
		if err != nil {
			return ok(err, nil)
		}
		to, err := c.MessageAttempt.ListAttemptedDestinations(ctx, r.uid, r.failing.Id, nil)
		return ok(err, func() error {
			return must(len(page.Data) == 4 && page.Data[0].Id == r.failing.Id && page.Data[0].Status == models.MESSAGESTATUS_SENDING && page.Data[0].NextAttempt != nil && len(sent.Data) == 3 &&
				len(to.Data) == 1 && to.Data[0].Id == r.ep.Id && to.Data[0].Status == models.MESSAGESTATUS_SENDING, "%+v %+v", page, to)
		})
	})
	r.step("messageAttempt.resend", func() error {
		r.down(false)
		n := len(r.recv.receipts())
		if _, err := c.MessageAttempt.Resend(ctx, r.uid, r.failing.Id, r.ep.Id, nil); err != nil {
			return ok(err, nil)
		}
		if _, err := r.verify(n+1, r.key); err != nil {
			return err
		}
		var page *models.ListResponseMessageAttemptOut
		var err error
		eventually(r.t, 20*time.Second, "the resent attempt", func() bool {
			page, err = c.MessageAttempt.ListByMsg(ctx, r.uid, r.failing.Id, &svix.MessageAttemptListByMsgOptions{Status: ptr(models.MESSAGESTATUS_SUCCESS)})
			return err != nil || len(page.Data) > 0
		})
		return ok(err, func() error {
			return must(page.Data[0].TriggerType == models.MESSAGEATTEMPTTRIGGERTYPE_MANUAL && page.Data[0].ResponseStatusCode == 200, "%+v", page.Data[0])
		})
	})
	r.step("messageAttempt.resend to a disabled endpoint: 409", func() error {
		off, err := c.Endpoint.Create(ctx, r.uid, models.EndpointIn{Url: r.recv.url + "/off", Disabled: ptr(true)}, nil)
		if err != nil {
			return ok(err, nil)
		}
		_, err = c.MessageAttempt.Resend(ctx, r.uid, r.msg.Id, off.Id, nil)
		return refused(err, 409, "conflict")
	})
}

func (r *svixRun) jobs() {
	ctx, c := r.ctx, r.client
	r.step("endpoint.rotateSecret: both verify, then one", func() error {
		if err := c.Endpoint.RotateSecret(ctx, r.uid, r.ep.Id, models.EndpointSecretRotateIn{}, nil); err != nil {
			return ok(err, nil)
		}
		next, err := c.Endpoint.GetSecret(ctx, r.uid, r.ep.Id)
		if err != nil || next.Key == r.key {
			return fmt.Errorf("%v %v", next, err)
		}
		n := len(r.recv.receipts())
		if _, err := c.Message.Create(ctx, r.uid, models.MessageIn{EventType: r.kind, Payload: r.payload}, nil); err != nil {
			return ok(err, nil)
		}
		if _, err := r.verify(n+1, r.key, next.Key); err != nil {
			return err
		}
		own := "whsec_" + strings.Repeat("QUJD", 8)
		if err := c.Endpoint.RotateSecret(ctx, r.uid, r.ep.Id, models.EndpointSecretRotateIn{GracePeriodSeconds: ptr(uint32(0)), Key: &own}, nil); err != nil {
			return ok(err, nil)
		}
		if _, err := c.Message.Create(ctx, r.uid, models.MessageIn{EventType: r.kind, Payload: r.payload}, nil); err != nil {
			return ok(err, nil)
		}
		if _, err := r.verify(n+2, own); err != nil {
			return err
		}
		if _, err := r.verify(n+2, r.key); err == nil {
			return errors.New("the oldest secret still verifies")
		}
		return refused(c.Endpoint.RotateSecret(ctx, r.uid, r.ep.Id, models.EndpointSecretRotateIn{Key: ptr("whsec_%")}, nil), 422, `"key"`)
	})
	r.step("endpoint.recover, replayMissing, bulkReplay, backgroundTask", func() error {
		hour := time.Now().Add(-time.Hour)
		one, err := c.Endpoint.Recover(ctx, r.uid, r.ep.Id, models.RecoverIn{Since: hour}, nil)
		if err != nil {
			return ok(err, nil)
		}
		if _, err := c.Endpoint.ReplayMissing(ctx, r.uid, r.ep.Id, models.ReplayIn{Since: hour}, nil); err != nil {
			return ok(err, nil)
		}
		bulk, err := c.Endpoint.BulkReplay(ctx, r.uid, r.ep.Id, models.BulkReplayIn{Since: hour, EventTypes: []string{r.kind}, Status: ptr(models.MESSAGESTATUS_SUCCESS)}, nil)
		if err != nil {
			return ok(err, nil)
		}
		var task *models.BackgroundTaskOut
		eventually(r.t, 20*time.Second, "the end of the task", func() bool {
			task, err = c.BackgroundTask.Get(ctx, bulk.Id)
			return err != nil || task.Status == models.BACKGROUNDTASKSTATUS_FINISHED
		})
		if err != nil {
			return ok(err, nil)
		}
		list, err := c.BackgroundTask.List(ctx, nil)
		if err != nil {
			return ok(err, nil)
		}
		sent := fmt.Sprint(task.Data["messagesSent"])
		if sent == "0" || len(list.Data) < 3 || one.Task != models.BACKGROUNDTASKTYPE_ENDPOINT_RECOVER {
			return fmt.Errorf("%+v %+v", task, list)
		}
		_, err = c.Endpoint.Recover(ctx, r.uid, r.ep.Id, models.RecoverIn{Since: time.Now().Add(-15 * 24 * time.Hour)}, nil)
		return refused(err, 422, "since")
	})
	r.step("endpoint.getStats; until in the future: 400", func() error {
		if _, err := c.Endpoint.GetStats(ctx, r.uid, r.ep.Id, nil); err != nil {
			return ok(err, nil)
		}
		_, err := c.Endpoint.GetStats(ctx, r.uid, r.ep.Id, &svix.EndpointGetStatsOptions{Until: ptr(time.Now().Add(time.Hour))})
		return refused(err, 400, "invalid_range")
	})
	r.step("endpoint.sendExample: svix.ping, a type with an example, an unknown one: 404", func() error {
		n := len(r.recv.receipts())
		if _, err := c.Endpoint.SendExample(ctx, r.uid, r.ep.Id, models.EventExampleIn{EventType: "svix.ping"}, nil); err != nil {
			return ok(err, nil)
		}
		if _, err := c.Endpoint.SendExample(ctx, r.uid, r.ep.Id, models.EventExampleIn{EventType: r.kind}, nil); err != nil {
			return ok(err, nil)
		}
		r.recv.await(r.t, n+2, 20*time.Second)
		_, err := c.Endpoint.SendExample(ctx, r.uid, r.ep.Id, models.EventExampleIn{EventType: "nobody.knows"}, nil)
		return refused(err, 404, "not_found")
	})
	r.step("authentication.appPortalAccess, dashboardAccess: the link opens the portal; expireAll", func() error {
		out, err := c.Authentication.AppPortalAccess(ctx, r.uid, models.AppPortalAccessIn{Capabilities: []models.AppPortalCapability{models.APPPORTALCAPABILITY_VIEW_BASE}, Expiry: ptr(uint64(3600))}, nil)
		if err != nil {
			return ok(err, nil)
		}
		if !strings.Contains(out.Url, "/portal/enter/") {
			return errors.New(out.Url)
		}
		old, err := c.Authentication.DashboardAccess(ctx, r.uid, nil) // without a body
		if err != nil || !strings.Contains(old.Url, "/portal/enter/") {
			return fmt.Errorf("%+v %v", old, err)
		}
		return ok(c.Authentication.ExpireAll(ctx, r.uid, models.ApplicationTokenExpireIn{}, nil), func() error { return nil })
	})
	r.step("not supported, one request each: integrations, expunge", func() error {
		_, err := c.Integration.List(ctx, r.uid, nil)
		if err := refused(err, 404, "not_supported"); err != nil {
			return err
		}
		return refused(c.Message.ExpungeContent(ctx, r.uid, r.msg.Id), 404, "not_supported")
	})
	r.step("endpoint.delete; its attempts stay listed", func() error {
		if err := c.Endpoint.Delete(ctx, r.uid, r.ep.Id); err != nil {
			return ok(err, nil)
		}
		_, err := c.Endpoint.Get(ctx, r.uid, r.ep.Id)
		if err := refused(err, 404, "not_found"); err != nil {
			return err
		}
		to, err := c.MessageAttempt.ListAttemptedDestinations(ctx, r.uid, r.msg.Id, nil)
		return ok(err, func() error { return must(len(to.Data) == 1 && to.Data[0].Id == r.ep.Id, "%+v", to) })
	})
	r.step("application.delete", func() error {
		if err := c.Application.Delete(ctx, r.uid); err != nil {
			return ok(err, nil)
		}
		_, err := c.Application.Get(ctx, r.uid)
		return refused(err, 404, "not_found")
	})
}

// switchable returns a receiver that can be told to fail.
func switchable(t *testing.T) (*receiver, func(bool)) {
	t.Helper()
	failing := make(chan bool, 1)
	failing <- false
	recv := newReceiver(t, func(receipt) int {
		now := <-failing
		failing <- now
		if now {
			return 500
		}
		return 200
	})
	return recv, func(fail bool) {
		<-failing
		failing <- fail
	}
}

// startSvix starts a node with the API on each database.
func startSvix(t *testing.T, do func(t *testing.T, n *node)) {
	for name, store := range map[string]func(t *testing.T) []string{
		"SQLite":     func(*testing.T) []string { return nil },
		"PostgreSQL": func(t *testing.T) []string { return []string{"--store", newPostgres(t, "").url()} },
	} {
		t.Run(name, func(t *testing.T) {
			do(t, startNode(t, append([]string{"--mount", "svix", "--profile", "svix", "--allow-reveal"}, store(t)...)...))
		})
	}
}

func TestSvixLibraryForGo(t *testing.T) {
	startSvix(t, func(t *testing.T, n *node) {
		recv, down := switchable(t)
		r := newSvixRun(t, n.url, liveKey)
		r.calls(recv, down)

		wrong := newSvixRun(t, n.url, "not-a-key")
		r.step("a wrong token: 401", func() error {
			_, err := wrong.client.Application.List(t.Context(), nil)
			return refused(err, 401, "authentication_failed")
		})
		for _, o := range r.outcomes {
			if o.err != nil {
				t.Errorf("%-70s %v", o.call, o.err)
			} else {
				t.Logf("%-70s as Svix", o.call)
			}
		}
		t.Logf("FIGURE %d groups of calls of Svix's library for Go 1.99.1, %d failed", len(r.outcomes), len(r.failures()))
	})
}

// TestSvixLibraryNotices is the control: an answer with one broken member fails the run.
func TestSvixLibraryNotices(t *testing.T) {
	n := startNode(t, "--mount", "svix", "--profile", "svix", "--allow-reveal")
	for name, change := range map[string][2]string{"status": {`"status":2`, `"status":9`}, "duration": {`"responseDurationMs":`, `"responseDurationMs":0.5,"x":`},
		"data": {`"data":[`, `"rows":[`}, "channels": {`"channels":["c1"]`, `"channels":["c9"]`}} {
		recv, down := switchable(t)
		to, err := url.Parse(n.url)
		if err != nil {
			t.Fatal(err)
		}
		proxy := httputil.NewSingleHostReverseProxy(to)
		proxy.ModifyResponse = func(answer *http.Response) error {
			body, err := io.ReadAll(answer.Body)
			if err != nil {
				return err
			}
			body = bytes.ReplaceAll(body, []byte(change[0]), []byte(change[1]))
			answer.Body, answer.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			answer.Header.Set("Content-Length", fmt.Sprint(len(body)))
			return nil
		}
		front := httptest.NewServer(proxy)
		r := newSvixRun(t, front.URL, liveKey)
		r.stop = true
		r.calls(recv, down)
		front.Close()
		if len(r.failures()) == 0 {
			t.Errorf("%s: nobody noticed", name)
		}
	}
}

// TestSvixLibraryForJavaScript runs node/svix.mjs with both majors of the library, and on
// SQLite once with a broken member of the answers, which it must notice.
func TestSvixLibraryForJavaScript(t *testing.T) {
	startSvix(t, func(t *testing.T, n *node) {
		for _, c := range []struct{ major, broken string }{{"1", ""}, {"2", ""}, {"1", "data"}} {
			if c.broken != "" && strings.HasSuffix(t.Name(), "PostgreSQL") {
				continue
			}
			cmd := exec.CommandContext(t.Context(), "node", filepath.Join("node", "svix.mjs"))
			cmd.Env = append(os.Environ(), "SERVER="+n.url, "TOKEN="+liveKey, "MAJOR="+c.major, "BREAK="+c.broken)
			out, err := cmd.CombinedOutput()
			t.Logf("major %s, broken %q:\n%s", c.major, c.broken, out)
			if failed := err != nil; failed != (c.broken != "") || c.broken == "" && bytes.Count(out, []byte("as Svix\n")) != 11 {
				t.Errorf("major %s, broken %q: %v", c.major, c.broken, err)
			}
		}
	})
}

// TestSvixQuickStarts runs programs that make the first steps with Svix's libraries. Two of
// their lines are changed: the token and the server. The control is a token that is changed
// to a wrong one.
func TestSvixQuickStarts(t *testing.T) {
	n := startNode(t, "--mount", "svix", "--profile", "svix", "--allow-reveal")
	at, err := url.Parse(n.url)
	if err != nil {
		t.Fatal(err)
	}
	goFile, err := filepath.Abs(filepath.Join("quickstart", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	program := func(file, token, server string, change map[string]string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines, changed := strings.Split(string(text), "\n"), 0
		for i, line := range lines {
			if now, ok := change[line]; ok {
				lines[i], changed = strings.NewReplacer("TOKEN", token, "HOST", at.Host, "SERVER", server).Replace(now), changed+1
			}
		}
		if changed != 2 {
			t.Fatalf("%s: %d lines changed", file, changed)
		}
		return strings.Join(lines, "\n")
	}
	inGo := func(token string) *exec.Cmd {
		dir := t.TempDir()
		text := program(goFile, token, n.url, map[string]string{`const token = "testsk_AUTH_TOKEN.eu"`: `const token = "TOKEN"`,
			`var server = &url.URL{Scheme: "https", Host: "api.eu.svix.com"}`: `var server = &url.URL{Scheme: "http", Host: "HOST"}`})
		changed, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
		list, err := json.Marshal(map[string]map[string]string{"Replace": {goFile: changed}})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.WriteFile(changed, []byte(text), 0o600), os.WriteFile(overlay, list, 0o600)); err != nil {
			t.Fatal(err)
		}
		return exec.CommandContext(t.Context(), "go", "run", "-overlay", overlay, "./quickstart")
	}
	inJavaScript := func(token string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "node", "--input-type=module", "-")
		cmd.Dir = "node"
		cmd.Stdin = strings.NewReader(program(filepath.Join("node", "quickstart.mjs"), token, n.url, map[string]string{`const token = "testsk_AUTH_TOKEN.eu";`: `const token = "TOKEN";`,
			`const serverUrl = "https://api.eu.svix.com";`: `const serverUrl = "SERVER";`}))
		return cmd
	}
	for name, run := range map[string]func(token string) *exec.Cmd{"Go": inGo, "JavaScript": inJavaScript} {
		if out, err := run(liveKey).CombinedOutput(); err != nil || string(out) != "verified invoice.paid\nattempts 1\n" {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if out, err := run("wrong").CombinedOutput(); err == nil || strings.Contains(string(out), "verified") {
			t.Errorf("%s with a wrong token: %v\n%s", name, err, out)
		}
	}
}
