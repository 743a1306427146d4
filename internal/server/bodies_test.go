package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The server's own listener keeps to --request-body-mib.
func TestRequestBodyOption(t *testing.T) {
	for _, value := range []string{"15", "65537", "-1"} {
		if _, err := loaded(t, "", "--request-body-mib", value); err == nil || !strings.Contains(err.Error(), "--request-body-mib") {
			t.Errorf("%s: %v", value, err)
		}
	}
	c, err := loaded(t, "", "--request-body-mib", "16", "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data"), "--operator-key", mountKey)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Start(t.Context(), c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		n.Stop(ctx)
	})
	address := n.api.Addr().String()
	const size = 4 << 20
	batch := func() int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/v1/events/batch", strings.NewReader("["+strings.Repeat(" ", size-2)+"]"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+mountKey)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Expect", "100-continue") // a body that is refused need not be sent
		got, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = got.Body.Close()
		return got.StatusCode
	}
	if status := batch(); status != http.StatusUnprocessableEntity { // control: alone it is read, and holds no event
		t.Fatalf("alone: %d", status)
	}
	// Beside a body that has only begun, the same key has no place for a whole batch.
	for deadline := time.Now().Add(20 * time.Second); ; {
		slow, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(slow, "POST /v1/events/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n[",
			mountKey, size); err != nil {
			t.Fatal(err)
		}
		status := batch()
		_ = slow.Close()
		if status == http.StatusServiceUnavailable {
			return
		}
		if time.Now().After(deadline) { // that the slow one is read first is likely, no more
			t.Fatalf("beside another body: %d", status)
		}
	}
}
