package egress_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/egress/egresstest"
)

// early answers when the request has begun, and closes the connection with the rest of the
// request unread, which resets the connection.
func early(status int, body string) egresstest.Script {
	return func(c net.Conn) {
		io.ReadFull(c, make([]byte, 1000))
		fmt.Fprintf(c, "HTTP/1.1 %d Early\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
	}
}

// The response of a receiver that closes before it has read the whole request is read.
// Control: the standard library's transport loses some of these responses.
func TestEarlyAnswer(t *testing.T) {
	const host = "shop.example"
	body := bytes.Repeat([]byte("x"), 8<<20)
	ca := egresstest.NewCA(t)
	plain := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), ServerName: host}}
	defer plain.CloseIdleConnections()
	loses := func(url string) bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := plain.RoundTrip(r)
		if err != nil {
			return true
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return err != nil || string(text) != "why"
	}
	lost := false
	for _, scheme := range []string{"http", "https"} {
		for _, status := range []int{200, 401, 413} {
			receiver := egresstest.NewReceiver(t, early(status, "why"))
			if scheme == "https" {
				receiver = egresstest.NewTLSReceiver(t, ca.Server(host), early(status, "why"))
			}
			c := newClient(t, egress.Options{AllowHTTP: true, AllowNetworks: loopback, RootCAs: ca.Pool(),
				Resolver: egresstest.NewResolver().Set(host, []string{"127.0.0.1"})})
			for range 10 {
				res, err := c.Post(t.Context(), egress.Request{URL: receiver.URL(scheme, host), Body: body})
				if err != nil || res.Status != status || string(res.Body) != "why" {
					t.Fatalf("%s, %d: %d %q: %v", scheme, status, res.Status, res.Body, err)
				}
			}
			for n := 0; n < 100 && !lost; n++ {
				lost = loses(receiver.URL(scheme, "127.0.0.1"))
			}
		}
	}
	if !lost {
		t.Error("control: the plain transport lost no answer of 600, so the test proves nothing")
	}
}
