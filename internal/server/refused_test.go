package server_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestRefusedRequestIsLogged: the request id of an answer that refuses is in the log,
// whichever API refused, and nothing that the caller sent beside it.
func TestRefusedRequestIsLogged(t *testing.T) {
	l := startLive(t, "--mount", "paysway,paywise")
	for i, tt := range []struct{ method, path, body string }{
		{"POST", "/v1/events", `{"tenant":"acme","s3cr3t":1}`},
		{"GET", "/v1/events/s3cr3t", ""},
		{"GET", "/v1/deliveries?s3cr3t=1", ""},
		{"GET", "/v1/deliveries?limit=s3cr3t", ""},
		{"GET", "/v1/s3cr3t", ""},
		{"POST", "/v1/listen/answers", `{"token":"s3cr3t","status":200}`},
		{"GET", "/webhooks/subscriptions", ""},
		{"GET", "/v1/webhooks/", ""},
	} {
		id := "found-by-" + string(rune('a'+i))
		r, err := http.NewRequestWithContext(t.Context(), tt.method, l.API.URL+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Request-Id", id)
		if !strings.HasPrefix(tt.path, "/webhooks") && tt.path != "/v1/webhooks/" {
			r.Header.Set("Authorization", "Bearer "+l.Config.OperatorKey)
		}
		res, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode < 400 || res.StatusCode > 499 {
			t.Errorf("%s %s: %d, the test wants a refusal", tt.method, tt.path, res.StatusCode)
		}
		if !strings.Contains(l.Log.String(), "request_id="+id+" ") {
			t.Errorf("%s %s: the log does not have request %s", tt.method, tt.path, id)
		}
	}
	if strings.Contains(l.Log.String(), "s3cr3t") {
		t.Error("the log has what a caller sent")
	}
}
