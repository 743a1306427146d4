package proof_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// front is a proxy in front of the API, under an address that the server does not know as
// its own. It limits the number of forwarded requests, and may remove CDN-Loop.
type front struct {
	url   string
	asked atomic.Int64
}

func newFront(t *testing.T, to string, most int64, strip bool) *front {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &front{url: "http://" + l.Addr().String()}
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.asked.Add(1) > most {
			return // the loop has gone on long enough
		}
		body := io.Reader(r.Body)
		if strip {
			body = http.NoBody // a retry takes no body and would refuse one
		}
		out, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.RequestURI(), body)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		out.Header = r.Header.Clone()
		if strip {
			out.Header.Del("CDN-Loop")
		}
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	})}
	go func() { _ = srv.Serve(l) }() // ends with Close
	t.Cleanup(func() { srv.Close() })
	return f
}

// ring creates five endpoints of a tenant. Through the proxy and with the tenant's own key,
// the URL of each requests one more attempt of the next one's delivery. ring starts the loop
// and returns the delivery whose attempt it requested.
func ring(t *testing.T, n *node, through *front) string {
	t.Helper()
	const size = 5
	n.tenant("acme")
	key := n.tenantKey("acme").Key
	r := newReceiver(t, nil)
	var made []endpoint
	for range size {
		made = append(made, n.endpoint("acme", r.url, nil))
	}
	event := n.publish("acme", "a.b", `{}`)
	r.await(t, size, 10*time.Second)
	of := map[string]string{}
	eventually(t, 10*time.Second, "all deliveries", func() bool {
		list(n, "/v1/deliveries?tenant=acme&state=succeeded&event="+event.ID, func(d delivery) { of[d.Endpoint] = d.ID })
		return len(of) == size
	})
	for i, e := range made {
		a, err := n.try(t.Context(), "PATCH", "/v1/endpoints/"+e.ID, key, []byte(`{"url":"`+through.url+`/v1/deliveries/`+of[made[(i+1)%size].ID]+
			`/retry","headers":{"Authorization":"Bearer `+key+`"}}`))
		if err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s %v", a.status, a.body, err)
		}
	}
	first := of[made[0].ID]
	if a, err := n.try(t.Context(), "POST", "/v1/deliveries/"+first+"/retry", key, nil); err != nil || a.status != http.StatusAccepted {
		t.Fatalf("%d %s %v", a.status, a.body, err)
	}
	return first
}

// A loop of endpoints that request each other's attempts ends with the first attempt (RFC
// 8586).
func TestLoopEndsAtOne(t *testing.T) {
	n := startNode(t)
	through := newFront(t, n.url, 1000, false)
	first := ring(t, n, through)
	eventually(t, 10*time.Second, "the attempt", func() bool {
		var d struct {
			Attempts   int `json:"attempts"`
			AttemptLog []struct {
				Status int `json:"status"`
			} `json:"attempt_log"`
		}
		n.must(200, "GET", "/v1/deliveries/"+first, nil).json(t, &d)
		for _, a := range d.AttemptLog {
			if a.Status == http.StatusLoopDetected {
				return true
			}
		}
		return false
	})
	eventually(t, 10*time.Second, "no attempt under way", func() bool {
		busy, err := n.gauge("posthorn_in_flight")
		return err == nil && busy == 0
	})
	if asked := through.asked.Load(); asked != 1 {
		t.Errorf("%d requests came back to the API, want 1", asked)
	}
	if log := n.logTail(); strings.Contains(log, "request failed") {
		t.Error("a tenant can fill the log with loops")
	}
}

// The control: without the header the loop continues until the proxy ends it.
func TestLoopGoesOnWithoutTheHeader(t *testing.T) {
	n := startNode(t)
	through := newFront(t, n.url, 25, true)
	ring(t, n, through)
	eventually(t, 20*time.Second, "25 rounds", func() bool { return through.asked.Load() >= 25 })
}

// An endpoint may not use the public URL of the API.
func TestPublicURLIsNoEndpoint(t *testing.T) {
	for _, own := range []bool{true, false} { // the second is the control
		var args []string
		if own {
			args = append(args, "--public-url", "https://localhost")
		}
		n := startNode(t, args...)
		n.tenant("acme")
		want := http.StatusUnprocessableEntity
		if !own {
			want = http.StatusCreated
		}
		a := n.must(want, "POST", "/v1/endpoints", object{"tenant": "acme", "url": "http://LOCALHOST.:4000/x", "event_types": []string{"*"}})
		if code, field := a.problem(); own && (code != "endpoint_url_address_not_allowed" || field != "url") {
			t.Errorf("%s %s: %s", code, field, a.body)
		}
	}
}
