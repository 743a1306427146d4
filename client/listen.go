package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// ListenOptions say who listens and for what. Name is required.
type ListenOptions struct {
	Name    string   // 1 to 32 letters, digits, dots, underscores and hyphens
	Tenant  string   // for operator keys
	Types   []string // entries of a filter; none: every type
	Profile string   // wire format; empty: as before, at first the server's default
}

// ListenHello is the first thing a listener is told.
type ListenHello struct {
	Endpoint   string   `json:"endpoint"`
	Tenant     string   `json:"tenant"`
	Mode       string   `json:"mode"`
	URL        string   `json:"url"`
	Profile    string   `json:"profile"`
	EventTypes []string `json:"event_types"`
	Secret     string   `json:"secret"` // what the deliveries are signed with
	Held       int      `json:"held"`   // deliveries that waited
}

// ListenHeader is one header of a delivery, in its spelling and place.
type ListenHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ListenDelivery is a request that the listener is to make in the server's place.
type ListenDelivery struct {
	Token     string         `json:"token"` // for the answer
	ID        string         `json:"id"`
	EventType string         `json:"event_type"`
	Attempt   int            `json:"attempt"` // from 1
	Headers   []ListenHeader `json:"headers"`
	Body      []byte         `json:"body"`       // base64 on the wire
	TimeoutMS int64          `json:"timeout_ms"` // the receiver's deadline
}

// ListenAnswer is what came of a delivery: an answer with its Status, or an Error.
type ListenAnswer struct {
	Token        string `json:"token"`
	Status       int    `json:"status,omitempty"`
	Headers      string `json:"headers,omitempty"` // lines of "Name: value\n", at most 16 KiB
	Body         []byte `json:"body,omitempty"`    // base64 on the wire; the first bytes, at most 16 KiB
	Truncated    bool   `json:"truncated,omitempty"`
	TimedOut     bool   `json:"timed_out,omitempty"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
	Error        string `json:"error,omitempty"` // class, such as connection_refused
	Message      string `json:"message,omitempty"`
}

// ListenEnd says that the server ended the connection, and why: Code is
// unauthorized, replaced, endpoint_disabled, endpoint_deleted, shutting_down or
// stalled.
type ListenEnd struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Error returns the sentence and the code.
func (e *ListenEnd) Error() string { return e.Message + " (" + e.Code + ")" }

const (
	longestLine   = 8 << 20          // of the stream, in bytes: the largest delivery fits many times
	longestSilent = 45 * time.Second // three heartbeats
	helloWithin   = 20 * time.Second
)

// Listening is an open connection of a listener. Next is for one goroutine.
type Listening struct {
	Hello ListenHello

	body   io.Closer
	lines  *bufio.Scanner
	cancel context.CancelFunc
	idle   *time.Timer
	silent atomic.Bool
}

// Listen connects a listener and returns once the server has said hello. A refusal
// comes back as a *Problem. The caller closes what it gets; cancelling ctx ends it
// too.
func (c *Client) Listen(ctx context.Context, o ListenOptions) (*Listening, error) {
	q := url.Values{"name": {o.Name}}
	for name, value := range map[string]string{"tenant": o.Tenant, "types": strings.Join(o.Types, ","), "profile": o.Profile} {
		if value != "" {
			q.Set(name, value)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &Listening{cancel: cancel}
	l.idle = time.AfterFunc(helloWithin, func() {
		l.silent.Store(true)
		cancel()
	})
	if err := l.open(ctx, c, "/v1/listen?"+q.Encode()); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Listening) open(ctx context.Context, c *Client, path string) error {
	req, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return fmt.Errorf("build request: %w", err)
	}
	req.Header.Set("Accept", "text/event-stream")
	transport := http.DefaultTransport
	if c.HTTP != nil && c.HTTP.Transport != nil {
		transport = c.HTTP.Transport
	}
	resp, err := transport.RoundTrip(req) // a Client's timeout would end the stream, a redirect would carry the key away
	if err != nil {
		return fmt.Errorf("call server: %w", err)
	}
	l.body = resp.Body
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return fmt.Errorf("read answer: %w", err)
		}
		return problemOf(resp, body)
	}
	l.lines = bufio.NewScanner(resp.Body)
	l.lines.Buffer(make([]byte, 0, 64<<10), longestLine)
	name, data, err := l.event()
	if err != nil {
		return err
	}
	if name != "hello" {
		return fmt.Errorf("read stream: %q instead of hello", name)
	}
	if err := json.Unmarshal(data, &l.Hello); err != nil {
		return fmt.Errorf("read stream: %w", err)
	}
	return nil
}

// Next waits for the next delivery. A *ListenEnd says that the server ended the
// connection; any other error that it broke.
func (l *Listening) Next() (ListenDelivery, error) {
	for {
		name, data, err := l.event()
		if err != nil {
			return ListenDelivery{}, err
		}
		switch name {
		case "delivery":
			var d ListenDelivery
			if err := json.Unmarshal(data, &d); err != nil {
				return d, fmt.Errorf("read stream: %w", err)
			}
			return d, nil
		case "end":
			end := &ListenEnd{}
			if err := json.Unmarshal(data, end); err != nil {
				return ListenDelivery{}, fmt.Errorf("read stream: %w", err)
			}
			return ListenDelivery{}, end
		}
	}
}

// event reads one server-sent event, as far as this stream uses the format: one
// line of data each, and comments as heartbeats.
func (l *Listening) event() (name string, data []byte, err error) {
	for l.lines.Scan() {
		l.idle.Reset(longestSilent)
		line := l.lines.Text()
		switch {
		case line == "" && name != "":
			return name, data, nil
		case strings.HasPrefix(line, "event: "):
			name = strings.TrimPrefix(line, "event: ")
		case strings.HasPrefix(line, "data: "):
			data = []byte(strings.TrimPrefix(line, "data: "))
		}
	}
	switch err := l.lines.Err(); {
	case l.silent.Load():
		return "", nil, errors.New("read stream: the server is silent")
	case err != nil:
		return "", nil, fmt.Errorf("read stream: %w", err)
	}
	return "", nil, fmt.Errorf("read stream: %w", io.ErrUnexpectedEOF)
}

// Close ends the connection.
func (l *Listening) Close() {
	l.idle.Stop()
	l.cancel()
	if l.body != nil {
		_ = l.body.Close() // cancelled already
	}
}

// AnswerListen tells what came of a delivery. A *Problem with code not_found says
// that the server does not wait for it any more and will offer it again.
func (c *Client) AnswerListen(ctx context.Context, a ListenAnswer) error {
	return c.Do(ctx, http.MethodPost, "/v1/listen/answers", "", a, nil)
}
