package paywise_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

var deliveryMembers = []string{"attempts", "created", "error", "event", "id", "next_attempt_at", "response_status", "status", "updated"}

// attempt records attempts of the endpoint's due deliveries with the status, at most
// most.
func (h *testAPI) attempt(id string, status, most int) int {
	h.t.Helper()
	endpoint, err := hook.ParseID(id)
	if err != nil {
		h.t.Fatal(err)
	}
	now := time.Now().Add(time.Duration(h.ahead.Load()))
	claimed, err := h.store.Claim(h.t.Context(), hook.Claim{Now: now, Shares: []hook.Share{{Scope: acme, Endpoint: endpoint, Limit: most}}})
	if err != nil {
		h.t.Fatal(err)
	}
	var done []hook.Settlement
	for _, job := range claimed.Jobs {
		o := hook.Outcome{StartedAt: now, Duration: time.Millisecond, Status: status, Success: status/100 == 2, Enablings: job.Target.Enablings,
			Policy: &hook.Policy{Retry: hook.Retry{Steps: []time.Duration{time.Minute}}, Trip: hook.Trip{Count: hook.TripAttempts, N: 3}}}
		if !o.Success {
			o.Class, o.Message = hook.ClassStatus, fmt.Sprintf("The endpoint answered %d.", status)
		}
		done = append(done, hook.Settlement{Job: job, Outcome: o})
	}
	if _, err := h.store.Settle(h.t.Context(), done); err != nil {
		h.t.Fatal(err)
	}
	return len(done)
}

var acme = hook.Scope{Tenant: "acme", Mode: hook.Live}

func (h *testAPI) publish(eventType string) {
	h.t.Helper()
	got, _, err := h.service.Publish(h.t.Context(), h.operator, app.Event{Tenant: "acme", Type: eventType, Data: []byte("{}")}, nil)
	if err != nil || got.Deliveries != 1 {
		h.t.Fatalf("%+v %v", got, err)
	}
}

// Every state of a delivery has paywise's word, and the filters find it by that word.
func TestDeliveries(t *testing.T) {
	h := newTestAPI(t)
	key := h.tenant("acme", hook.Live).Text
	id := h.create(key, good)["id"].(string)
	one := path + id + "/"

	h.publish("mandate.created")
	h.attempt(id, 200, 1) // success
	h.publish("mandate.created")
	h.attempt(id, 500, 1)
	h.ahead.Add(int64(2 * time.Minute))
	h.attempt(id, 503, 1) // failed
	h.publish("payment.created")
	h.attempt(id, 204, 1) // success: the failure count is 0 again
	h.publish("mandate.created")
	h.attempt(id, 404, 1)        // retrying
	h.publish("payment.created") // pending

	list := h.page(one+"deliveries/", key)
	want := []struct{ event, status, attempts, response, failure, next string }{
		{"payment.created", "pending", "0", "<nil>", "<nil>", "yes"},
		{"mandate.created", "retrying", "1", "404", "The endpoint answered 404.", "yes"},
		{"payment.created", "success", "1", "204", "<nil>", "<nil>"},
		{"mandate.created", "failed", "2", "503", "The endpoint answered 503.", "<nil>"},
		{"mandate.created", "success", "1", "200", "<nil>", "<nil>"},
	}
	if list.Count != len(want) || len(list.Results) != len(want) {
		t.Fatalf("%+v", list)
	}
	for i, w := range want {
		row := list.Results[i]
		next := fmt.Sprint(row["next_attempt_at"])
		if instant.MatchString(next) {
			next = "yes"
		}
		if row["event"] != w.event || row["status"] != w.status || fmt.Sprint(row["attempts"]) != w.attempts || fmt.Sprint(row["response_status"]) != w.response ||
			fmt.Sprint(row["error"]) != w.failure || next != w.next || len(row) != len(deliveryMembers) ||
			!instant.MatchString(row["created"].(string)) || row["updated"].(string) < row["created"].(string) {
			t.Errorf("row %d: %v, want %v", i, row, w)
		}
	}
	for query, count := range map[string]int{"?status=pending": 1, "?status=retrying": 1, "?status=success": 2, "?status=failed": 1,
		"?event=mandate.created": 3, "?event=mandate.created&status=success": 1, "?event=none": 0, "?limit=2": 5, "?limit=2&offset=4": 5, "?offset=99": 5} {
		if got := h.page(one+"deliveries/"+query, key); got.Count != count {
			t.Errorf("%s: count %d, want %d", query, got.Count, count)
		}
	}
	if got := h.page(one+"deliveries/?limit=2&offset=4&status=success", key); got.Count != 2 || len(got.Results) != 0 || got.Next != "" {
		t.Errorf("%+v", got)
	}
	h.fields("status", h.api("GET", one+"deliveries/?status=held", key, ""), "status")
	h.fields("limit", h.api("GET", one+"deliveries/?limit=0", key, ""), "limit")
	for _, name := range []string{"event", "status", "limit", "offset"} { // none of these may show more than was requested
		h.fields(name, h.api("GET", one+"deliveries/?"+name+"=", key, ""), name)
		h.fields(name, h.api("GET", one+"deliveries/?"+name+"=1&"+name+"=1", key, ""), name)
		if got := h.api("GET", one+"deliveries/?"+name+"=%zz", key, ""); got.status != 400 || !strings.Contains(got.text, `{"detail":"The query string cannot be read`) {
			t.Errorf("%s: %d %s", name, got.status, got.text)
		}
	}
	if off := h.page(one+"deliveries/?limit=2&offset=2", key); off.Results[0]["id"] != list.Results[2]["id"] || off.Next == "" || off.Previous == "" {
		t.Errorf("%+v", off)
	}
	// Held deliveries are pending. Deleting the endpoint cancels them where nobody can
	// see it any more, so the test cancels one directly.
	h.has(h.api("PATCH", one, key, `{"enabled":false}`), 200, shown...)
	h.settled(func() bool { return h.page(one+"deliveries/?status=pending", key).Count == 2 })
	delivery, err := hook.ParseID(list.Results[0]["id"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.service.CancelDelivery(t.Context(), h.operator, delivery); err != nil {
		t.Fatal(err)
	}
	if got := h.page(one+"deliveries/?status=failed", key); got.Count != 2 || got.Results[0]["id"] != list.Results[0]["id"] {
		t.Errorf("%+v", got)
	}
	if sent := h.has(h.api("POST", one+"test/", key, ""), 202, deliveryMembers...); h.page(one+"deliveries/", key).Results[0]["id"] != sent["id"] {
		t.Error("the test event is not the newest delivery, although a disabled endpoint can be tested")
	}
}

// settled waits for background work of the store.
func (h *testAPI) settled(done func() bool) {
	h.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if done() {
			return
		}
		<-tick.C
	}
	h.t.Fatal("it did not come to pass")
}

// Failures disable the endpoint and stay visible until it is enabled again.
func TestHealthOnShow(t *testing.T) {
	h := newTestAPI(t)
	key := h.tenant("acme", hook.Live).Text
	id := h.create(key, good)["id"].(string)
	one := path + id + "/"
	for range 3 {
		h.publish("mandate.created")
	}
	h.attempt(id, 500, 2)
	got := h.has(h.api("GET", one, key, ""), 200, shown...)
	if got["enabled"] != true || got["consecutive_failures"] != 2.0 || !instant.MatchString(fmt.Sprint(got["last_failure_at"])) {
		t.Errorf("%v", got)
	}
	h.attempt(id, 500, 1)
	tripped := h.page(path+"?enabled=false", key)
	if tripped.Count != 1 || tripped.Results[0]["consecutive_failures"] != 3.0 || tripped.Results[0]["enabled"] != false {
		t.Errorf("%+v", tripped)
	}
	h.has(h.api("PATCH", one, key, `{"description":"still down"}`), 200, shown...)
	h.publish("mandate.created") // held, not lost
	if got := h.has(h.api("GET", one, key, ""), 200, shown...); got["enabled"] != false || got["consecutive_failures"] != 3.0 {
		t.Errorf("something other than enabling brought it back: %v", got)
	}
	if got := h.has(h.api("PATCH", one, key, `{"enabled":true}`), 200, shown...); got["enabled"] != true || got["consecutive_failures"] != 0.0 || got["last_failure_at"] != nil {
		t.Errorf("%v", got)
	}
	if got := h.page(one+"deliveries/", key); got.Count != 4 {
		t.Errorf("%d deliveries, 4 events", got.Count)
	}
}

// A partner's key acts for the tenant of a user that an operator granted, and for no
// other tenant.
func TestPartners(t *testing.T) {
	h := newTestAPI(t)
	partner, company, stranger := h.tenant("partner", hook.Live).Text, h.tenant("acme", hook.Live).Text, h.tenant("other", hook.Live).Text
	partnerTest := h.tenant("partner", hook.Test).Text
	grant, _, err := h.service.CreatePartnerUser(t.Context(), h.operator, "partner", "user-1", "acme", nil)
	if err != nil {
		t.Fatal(err)
	}
	as := func(key, user, method, path, body string) answer {
		return h.do(method, path, map[string]string{"Authorization": "Bearer " + key, "X-User-Id": user, "Content-Type": "application/json"}, body)
	}
	made := h.has(as(partner, "user-1", "POST", path, good), 201, withSecret()...)
	one := path + made["id"].(string) + "/"
	h.has(h.api("GET", one, company, ""), 200, shown...) // it belongs to the company
	h.has(as(partner, "user-1", "GET", one, ""), 200, shown...)
	h.detail("without the user", h.api("GET", one, partner, ""), 404, "")
	before := h.rows()
	for name, got := range map[string]answer{
		"unknown user": as(partner, "user-2", "GET", one, ""), "empty user": as(partner, "", "GET", one, ""),
		"another's user": as(stranger, "user-1", "GET", one, ""), "the company itself": as(company, "user-1", "GET", one, ""),
		"other mode": as(partnerTest, "user-1", "POST", path, good), "odd user": as(partner, "user 1", "PATCH", one, `{"enabled":false}`),
	} {
		h.detail(name, got, 403, "")
	}
	h.detail("no key", h.do("GET", one, map[string]string{"X-User-Id": "user-1"}, ""), 401, "")
	if h.rows() != before {
		t.Error("something was changed")
	}
	if _, _, err := h.service.CreatePartnerUser(t.Context(), h.operator, "partner", "user-1", "other", nil); hook.CodeOf(err) != hook.CodeConflict {
		t.Errorf("a second grant for the user: %v", err)
	}
	for _, c := range [][3]string{{"nobody", "u", "acme"}, {"partner", "u", "nobody"}} {
		if _, _, err := h.service.CreatePartnerUser(t.Context(), h.operator, c[0], c[1], c[2], nil); hook.CodeOf(err) != hook.CodeTenantNotFound {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, _, err := h.service.PartnerUsers(t.Context(), app.Caller{Kind: hook.TenantKey, Mode: hook.Live, Tenant: "partner"}, "", hook.Page{}); hook.CodeOf(err) != hook.CodeForbidden {
		t.Errorf("a tenant lists grants: %v", err)
	}
	if err := h.service.DeletePartnerUser(t.Context(), app.Caller{Kind: hook.Operator, Mode: hook.Test}, grant.ID); hook.CodeOf(err) != hook.CodeNotFound {
		t.Errorf("the other mode's operator ends a grant: %v", err)
	}
	if err := h.service.DeletePartnerUser(t.Context(), h.operator, grant.ID); err != nil {
		t.Fatal(err)
	}
	h.detail("ended", as(partner, "user-1", "GET", one, ""), 403, "")
}

// An unavailable store is reported in paywise's format, with Retry-After.
func TestStoreAway(t *testing.T) {
	h := newTestAPI(t)
	key := h.tenant("acme", hook.Live).Text
	h.create(key, good) // the key is cached from now on
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	got := h.api("POST", path, key, good)
	if h.detail("closed", got, 503, ""); got.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}
