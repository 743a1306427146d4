package listen_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// A server's write timeout does not end a stream.
func TestStreamOutlivesWriteTimeout(t *testing.T) {
	h := newRooms(t)
	server := httptest.NewUnstartedServer(h.handler())
	server.Config.WriteTimeout = 300 * time.Millisecond
	server.Start()
	t.Cleanup(func() { h.hub.Close(); server.Close() })
	key := h.key(hook.TenantKey, "acme")
	r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/v1/listen?name=dev", nil)
	r.Header.Set("Authorization", "Bearer "+key.Text)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	time.AfterFunc(time.Second, h.hub.Close)
	var seen []string
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			seen = append(seen, name)
		}
	}
	if strings.Join(seen, " ") != "hello end" {
		t.Errorf("%v; want hello, and end after the timeout", seen)
	}
}
