package native_test

import (
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store"
)

// challenges returns the data of the challenges that were created for a tenant.
func (h *testAPI) challenges(tenant string) (all []string) {
	h.t.Helper()
	for _, e := range want[client.Page[client.Event]](h, 200, get("/v1/events?limit=250&tenant="+tenant+"&type="+app.ChallengeType)).Data {
		all = append(all, string(want[client.Event](h, 200, get("/v1/events/"+e.ID)).Data))
	}
	return all
}

func TestVerificationOverTheAPI(t *testing.T) {
	h := newTestAPI(t, func(o *app.Options, _ *store.Options) { o.VerifyEndpoints = true })
	h.tenant("acme")
	h.tenant("other")
	tenantKey := h.key("tenant", "acme")
	e := h.endpoint("acme", "*")
	path := "/v1/endpoints/" + e.ID
	v := e.Verification
	if v.State != client.VerificationPending || v.Event == nil || v.VerifiedAt != nil || v.LastAttemptAt != nil || v.Reason != nil ||
		e.Enabled || e.DisabledReason == nil || *e.DisabledReason != client.DisabledUnverified || e.Secret == "" {
		t.Fatalf("%+v", e)
	}
	event := h.event("acme", "a.b")
	d := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?tenant=acme&event="+event.ID)).Data[0]
	if d.State != client.StateHeld || d.Reason == nil || *d.Reason != "endpoint_unverified" {
		t.Errorf("%+v", d)
	}
	if all := h.challenges("acme"); len(all) != 1 || len(all[0]) < len(`{"challenge":""}`)+26 {
		t.Errorf("challenges %v", all)
	}
	for _, c := range []call{post(path+"/test", nil), post("/v1/deliveries/"+d.ID+"/retry", nil), post("/v1/events/"+event.ID+"/resend", `{"endpoint":"`+e.ID+`"}`),
		{"PATCH", path, liveKey, `{"enabled":true,"backlog":"discard"}`, nil}} {
		refused(h, 409, hook.CodeUnverified, "", c)
	}
	if again := h.patch(e.ID, `{"enabled":true,"title":"T","url":"https://hooks.example.com:443/elsewhere?a=b"}`); again.Enabled || *again.Verification.Event != *v.Event {
		t.Errorf("enabled or moved within its host: %+v", again)
	}
	refused(h, 422, hook.CodeInvalidRequest, "verification", call{"PATCH", path, liveKey, `{"verification":{"state":"verified"}}`, nil})
	if same := want[client.Endpoint](h, 202, as(tenantKey, post(path+"/verify", nil))); *same.Verification.Event != *v.Event {
		t.Error("a second challenge while the first is on its way")
	}
	for _, url := range []string{"https://other.example.com/in", "https://other.example.com:8443/in"} {
		moved := h.patch(e.ID, `{"url":"`+url+`"}`)
		if moved.Verification.State != client.VerificationPending || *moved.Verification.Event == *v.Event {
			t.Errorf("%s: %+v", url, moved.Verification)
		}
		v = moved.Verification
	}
	refused(h, 403, hook.CodeForbidden, "", as(tenantKey, post(path+"/verify", `{"trust":true}`)))
	refused(h, 422, hook.CodeUnknownField, "trusted", post(path+"/verify", `{"trusted":true}`))
	trusted := want[client.Endpoint](h, 202, post(path+"/verify", `{"trust":true}`))
	if trusted.Verification.State != client.VerificationVerified || !trusted.Enabled || trusted.Verification.VerifiedAt == nil ||
		!strings.Contains(*trusted.Verification.Reason, "operator") || !strings.Contains(h.log.String(), "audit: endpoint marked as verified") {
		t.Errorf("%+v", trusted)
	}
	if n := len(h.challenges("acme")); n != 3 {
		t.Errorf("%d challenges, want 3", n)
	}
	if n := len(h.challenges("other")); n != 0 {
		t.Errorf("%d challenges of another tenant", n)
	}
	refused(h, 404, hook.CodeNotFound, "", as(h.key("tenant", "other"), post(path+"/verify", nil)))
	if list := want[client.Page[client.Endpoint]](h, 200, get("/v1/endpoints?tenant=acme&disabled_reason=unverified")).Data; len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

// No verification is needed for endpoints that existed before, for those that the
// PaySway and paywise APIs create or move, and for any endpoint without the option.
func TestVerificationIsNotRequired(t *testing.T) {
	for _, on := range []bool{false, true} {
		h := newTestAPI(t, func(o *app.Options, _ *store.Options) { o.VerifyEndpoints = on })
		h.tenant("acme")
		mount, err := h.service.Mount("paysway")
		if err != nil {
			t.Fatal(err)
		}
		caller := app.Caller{Kind: hook.TenantKey, Mode: hook.Live, Tenant: "acme"}
		made, err := mount.CreateEndpoint(t.Context(), caller, app.NewEndpoint{URL: "https://hooks.example.com/", Types: []string{"RECIPIENT.CREATED"}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		url := "https://other.example.com/"
		if moved, err := mount.UpdateEndpoint(t.Context(), caller, made.ID, app.EndpointChange{URL: &url}); err != nil || made.Unverified() || moved.Unverified() || !moved.Receives() {
			t.Errorf("on %v: %+v, %+v, %v", on, made.Verification, moved.Verification, err)
		}
		e := h.endpoint("acme", "*")
		moved := h.patch(e.ID, `{"url":"https://other.example.com/"}`)
		if want := map[bool]string{false: client.VerificationNotRequired, true: client.VerificationPending}[on]; e.Verification.State != want || moved.Verification.State != want || moved.Enabled == on {
			t.Errorf("on %v: %+v, %+v", on, e.Verification, moved.Verification)
		}
		if same := want[client.Endpoint](h, 202, post("/v1/endpoints/"+made.ID.String()+"/verify", nil)); same.Verification.State != client.VerificationNotRequired || !same.Enabled {
			t.Errorf("on %v: %+v", on, same)
		}
	}
}

// When the option is switched off, an endpoint that waits for verification becomes free
// once it is enabled or moved.
func TestVerificationSwitchedOff(t *testing.T) {
	var options app.Options
	h := newTestAPI(t, func(o *app.Options, _ *store.Options) { options, o.VerifyEndpoints = *o, true })
	h.tenant("acme")
	options.Store = h.store
	off, err := app.New(options)
	if err != nil {
		t.Fatal(err)
	}
	yes, title, url := true, "T", "https://other.example.com/"
	for name, c := range map[string]struct {
		change app.EndpointChange
		waits  bool
	}{
		"enabled": {app.EndpointChange{Enabled: &yes}, false},
		"moved":   {app.EndpointChange{URL: &url}, false},
		"titled":  {app.EndpointChange{Title: &title}, true},
	} {
		id, err := hook.ParseID(h.endpoint("acme", "*").ID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := off.UpdateEndpoint(t.Context(), app.Caller{Kind: hook.Operator, Mode: hook.Live}, id, c.change)
		if err != nil || got.Unverified() != c.waits || got.Receives() == c.waits {
			t.Errorf("%s: %+v, %v", name, got.Verification, err)
		}
	}
}

// Creating, moving and verifying endpoints request attempts, and every way counts as
// such. Another tenant is not affected.
func TestChallengesAreNoWeapon(t *testing.T) {
	for _, c := range []struct {
		name   string
		verify bool
		rate   app.Rate
		most   int // of 25 tries in each way
	}{
		{"counted", true, app.Rate{PerSecond: 1, Burst: 10}, 10},
		{"control: not counted", true, app.Rate{}, 75},
		{"without verification nothing is sent", false, app.Rate{PerSecond: 1, Burst: 10}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, keys, now := paced(t, func(o *app.Options) { o.VerifyEndpoints, o.Attempts = c.verify, c.rate })
			h.tenant("other")
			create := `{"url":"https://victim.example/","event_types":["*"]}`
			moving := want[client.Endpoint](h, 201, as(keys[0], post("/v1/endpoints", create)))
			for i := range 25 {
				if w := h.do(as(keys[i%2], post("/v1/endpoints", create))); w.Code == 201 {
					id := strings.Split(w.Body.String(), `"`)[3]
					h.do(as(keys[0], call{method: "DELETE", path: "/v1/endpoints/" + id}))
				}
				host := []string{"victim.example", "victim.example:8443"}[i%2]
				h.do(as(keys[i%2], call{method: "PATCH", path: "/v1/endpoints/" + moving.ID, body: `{"url":"https://` + host + `/"}`}))
				h.do(as(keys[i%2], post("/v1/endpoints/"+moving.ID+"/verify", nil)))
			}
			got := len(h.challenges("acme"))
			if got > c.most || c.most > 0 && got < 5 || c.rate.Burst == 0 && got < 40 {
				t.Errorf("%d challenges, want at most %d", got, c.most)
			}
			if c.most != 10 {
				return
			}
			challenge := want[client.Page[client.Delivery]](h, 200, get("/v1/deliveries?tenant=acme&endpoint="+moving.ID)).Data[0]
			for _, path := range []string{"/v1/endpoints/" + moving.ID + "/verify", "/v1/deliveries/" + challenge.ID + "/retry"} {
				refused(h, 429, hook.CodeRateLimited, "", as(keys[1], post(path, nil)))
			}
			refused(h, 429, hook.CodeRateLimited, "", as(keys[1], post("/v1/endpoints", create)))
			want[client.Endpoint](h, 201, as(h.key("tenant", "other"), post("/v1/endpoints", create)))
			*now = now.Add(time.Second)
			want[client.Endpoint](h, 201, as(keys[1], post("/v1/endpoints", create)))
		})
	}
}
