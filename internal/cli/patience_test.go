package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
)

// limited is a server, without a network, of a list of so many pages of one row. It takes a
// call each second, and says so to those that come earlier.
type limited struct {
	pages      int
	retryAfter string
	next       time.Time // before it calls are refused
	refused    int
}

func (s *limited) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r}
	body := ""
	if time.Now().Before(s.next) {
		s.refused++
		answer.StatusCode, body = http.StatusTooManyRequests, `{"code":"rate_limited","title":"Rate limited","status":429,"detail":"Slower."}`
		answer.Header.Set("Retry-After", s.retryAfter)
	} else {
		s.next = time.Now().Add(time.Second)
		page, next := 1, "null"
		_, _ = fmt.Sscan(r.URL.Query().Get("cursor"), &page) // the first has none
		if page < s.pages {
			next = fmt.Sprintf(`"%d"`, page+1)
		}
		body = fmt.Sprintf(`{"data":[{"id":"row-%d"}],"next_cursor":%s}`, page, next)
	}
	answer.Body = io.NopCloser(strings.NewReader(body))
	return answer, nil
}

// listed reads the list as the command does.
func listed(t *testing.T, s *limited, all bool) (out, errOut string, err error) {
	t.Helper()
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	var o, e bytes.Buffer
	cmd.SetOut(&o)
	cmd.SetErr(&e)
	api := &server{Client: &client.Client{URL: "http://127.0.0.1:1", Key: "k", Attempts: 1, HTTP: &http.Client{Transport: s}}}
	c := &call{verb: verb{method: http.MethodGet, columns: []string{"id"}}, cmd: cmd, all: all, limit: 1, asJSON: true}
	err = c.list(api, "/v1/events", map[string][]string{})
	return o.String(), e.String(), err
}

// A whole list is read at the pace that the server allows, and each row comes once. What
// the server asks for beyond the bound is not waited for.
func TestWholeListWaitsForTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, begun := &limited{pages: 5, retryAfter: "1"}, time.Now()
		out, errOut, err := listed(t, s, true)
		var page client.Page[struct{ ID string }]
		if err != nil || json.Unmarshal([]byte(out), &page) != nil || len(page.Data) != 5 || page.Data[4].ID != "row-5" || s.refused != 4 {
			t.Errorf("%v, %d refusals: %s", err, s.refused, out)
		}
		if strings.Count(errOut, "waiting 1s") != 1 || time.Since(begun) != 4*time.Second {
			t.Errorf("after %v: %q", time.Since(begun), errOut)
		}
	})
	synctest.Test(t, func(t *testing.T) { // the control: one page is the caller's own to repeat
		s := &limited{pages: 5, retryAfter: "1", next: time.Now().Add(time.Second)}
		if _, errOut, err := listed(t, s, false); err == nil || !strings.Contains(err.Error(), "try again in 1s") || errOut != "" || s.refused != 1 {
			t.Errorf("%v %q", err, errOut)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := &limited{pages: 5, retryAfter: "3601"}
		if _, errOut, err := listed(t, s, true); err == nil || !strings.Contains(errOut, "The list stopped after row 1; --cursor 2 continues it.") || s.refused != 1 {
			t.Errorf("%v %q", err, errOut)
		}
	})
	synctest.Test(t, func(t *testing.T) { // a server that never has enough
		s, begun := &limited{pages: 5, retryAfter: "600", next: time.Now().Add(24 * time.Hour)}, time.Now()
		if _, _, err := listed(t, s, true); err == nil || time.Since(begun) != longestWait {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}
