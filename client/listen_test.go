package client_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthorn/posthorn/client"
)

// piped is a transport whose single response is written by the test. Like the real
// transport, it ends the body when the request's context ends.
type piped struct{ body *io.PipeReader }

func (p piped) RoundTrip(r *http.Request) (*http.Response, error) {
	go func() {
		<-r.Context().Done()
		p.body.CloseWithError(r.Context().Err())
	}()
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: p.body}, nil
}

func say(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Errorf("write stream: %v", err)
	}
}

const hello = "event: hello\ndata: {\"url\":\"listen:dev\"}\n\n"

// A connection without heartbeats is abandoned. The control is a connection with heartbeats,
// which stays open indefinitely.
func TestListenNoticesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		go say(t, w, hello)
		c := &client.Client{URL: "http://posthorn.test", HTTP: &http.Client{Transport: piped{r}, Timeout: time.Second}}
		l, err := c.Listen(t.Context(), client.ListenOptions{Name: "dev"})
		if err != nil || l.Hello.URL != "listen:dev" {
			t.Fatalf("%+v, %v", l, err)
		}
		defer l.Close()
		go func() {
			for range 40 { // ten minutes
				time.Sleep(15 * time.Second)
				say(t, w, ": still here\n\n")
			}
			say(t, w, "event: delivery\ndata: {\"token\":\"x\",\"body\":\"aGk=\"}\n\n")
		}()
		d, err := l.Next()
		if err != nil || d.Token != "x" || string(d.Body) != "hi" {
			t.Fatalf("%+v, %v", d, err)
		}
		began := time.Now()
		if _, err := l.Next(); err == nil || !strings.Contains(err.Error(), "silent") || time.Since(began) != 45*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestListenReadsTheStream(t *testing.T) {
	for name, c := range map[string]struct{ stream, says string }{
		"no hello":        {"event: end\ndata: {}\n\n", "instead of hello"},
		"nothing":         {"", "unexpected EOF"},
		"cut in an event": {hello + "event: delivery\ndata: {\"token\":\"x\"}\n", "unexpected EOF"},
		"not JSON":        {hello + "event: delivery\ndata: {\n\n", "read stream"},
		"endless line":    {hello + "data: " + strings.Repeat("x", 9<<20), "too long"},
		"an end":          {hello + "event: new\ndata: {}\n\nevent: end\ndata: {\"code\":\"replaced\",\"message\":\"Gone.\"}\n\n", "Gone. (replaced)"},
	} {
		r, w := io.Pipe()
		go func() {
			_, err := io.WriteString(w, c.stream)
			w.CloseWithError(errors.Join(err, nil)) // unread data is no error in this test
		}()
		api := &client.Client{URL: "http://posthorn.test", HTTP: &http.Client{Transport: piped{r}}}
		l, err := api.Listen(t.Context(), client.ListenOptions{Name: "dev"})
		if err == nil {
			_, err = l.Next()
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}
