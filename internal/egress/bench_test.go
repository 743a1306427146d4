package egress_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
	"github.com/posthorn/posthorn/internal/hook"
)

// BenchmarkPost measures a request on a kept-alive connection, and the same request with a
// plain http.Client for comparison.
func BenchmarkPost(b *testing.B) {
	payload := bytes.Repeat([]byte("x"), 1024)
	headers := []hook.Header{
		{Name: "Content-Type", Value: "application/json"}, {Name: "User-Agent", Value: "posthorn/1"},
		{Name: "webhook-id", Value: "0198c5a0-0000-7000-8000-000000000000"}, {Name: "webhook-timestamp", Value: "1750000000"},
		{Name: "webhook-signature", Value: "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="},
	}
	receiver := egresstest.NewReceiver(b, egresstest.OK())
	url := receiver.URL("http", "127.0.0.1")
	b.Run("egress", func(b *testing.B) {
		c := newClient(b, egress.Options{AllowHTTP: true, AllowNetworks: loopback})
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Post(b.Context(), egress.Request{URL: url, Headers: headers, Body: payload, Timeout: time.Minute}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain", func(b *testing.B) {
		transport := &http.Transport{}
		b.Cleanup(transport.CloseIdleConnections)
		c := &http.Client{Transport: transport, Timeout: time.Minute}
		b.ReportAllocs()
		for b.Loop() {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(payload))
			if err != nil {
				b.Fatal(err)
			}
			for _, h := range headers {
				req.Header.Set(h.Name, h.Value)
			}
			res, err := c.Do(req)
			if err != nil {
				b.Fatal(err)
			}
			res.Body.Close()
		}
	})
}
