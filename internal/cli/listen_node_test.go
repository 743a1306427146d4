package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server/servertest"
)

// crossroads is what a listener meets behind a load balancer: its stream is here, and of
// its answers the first ones reach another node.
type crossroads struct {
	strays  int64  // answers that go astray
	code    string // what the other node says of them
	status  int
	answers atomic.Int64
	taken   chan struct{} // closed by the answer that arrives
}

// ServeHTTP plays both nodes.
func (c *crossroads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/listen/answers" {
		if c.answers.Add(1) <= c.strays {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(c.status)
			fmt.Fprintf(w, `{"title":"T","status":%d,"detail":"Not here.","code":%q}`, c.status, c.code)
			return
		}
		w.WriteHeader(http.StatusNoContent)
		close(c.taken)
		return
	}
	body, _ := json.Marshal(client.ListenDelivery{Token: "z.T", ID: "d", EventType: "a.b", Attempt: 1, Body: []byte("{}"), TimeoutMS: 1000})
	fmt.Fprintf(w, "event: hello\ndata: {\"endpoint\":\"e\"}\n\nevent: delivery\ndata: %s\n\n", body)
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// TestListenFindsItsNode: an answer that reached another node is sent again until it
// reaches the right one; if none takes it the command ends and says why, in place of a
// stream that stalls. Control: a delivery that is not waited for any more ends nothing.
func TestListenFindsItsNode(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    *crossroads
		ends bool
	}{
		{"two go astray", &crossroads{strays: 2, code: "wrong_node", status: 421}, false},
		{"all go astray", &crossroads{strays: 1 << 40, code: "wrong_node", status: 421}, true},
		{"control", &crossroads{strays: 1 << 40, code: "not_found", status: 404}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.taken = make(chan struct{})
			server := httptest.NewServer(tt.c)
			defer server.Close()
			l := &live{&servertest.Live{T: t, API: &client.Client{URL: server.URL}}}
			r := l.listens("key", "--print-only")
			var err error
			ended := false
			select {
			case err = <-r.done:
				ended = true
			case <-tt.c.taken:
			case <-time.After(2 * strayWait):
			}
			if ended != tt.ends {
				t.Fatalf("ended %v: %v", ended, err)
			}
			e, coded := errors.AsType[*exit.Error](err)
			if ended && (!coded || e.Code != exit.Refused || !strings.Contains(err.Error(), "Not here.")) {
				t.Errorf("ended with %v", err)
			}
			if n := tt.c.answers.Load(); tt.c.code == "wrong_node" && !ended && n != 3 || ended && n != 10 || tt.c.code == "not_found" && n != 1 {
				t.Errorf("%d answers were sent", n)
			}
			r.stop()
			if !ended {
				<-r.done
			}
		})
	}
}
