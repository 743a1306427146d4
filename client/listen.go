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

// ListenOptions describe a listener and what it listens for. Name is required.
type ListenOptions struct {
	Name    string   // 1 to 32 letters, digits, dots, underscores and hyphens
	Tenant  string   // required with an operator key
	Types   []string // entries of the filter; empty means every type
	Profile string   // wire format; empty keeps the listener's format, which is initially the server's default
}

// ListenHello is the first message that a listener receives.
type ListenHello struct {
	Endpoint   string   `json:"endpoint" format:"uuid" doc:"The id of the listener."`
	Tenant     string   `json:"tenant" doc:"The tenant that it listens for."`
	Mode       string   `json:"mode" doc:"The mode of the key."`
	URL        string   `json:"url" doc:"The name of the listener, as listen:NAME."`
	Profile    string   `json:"profile" doc:"Name of the wire format."`
	EventTypes []string `json:"event_types" doc:"Its filter."`
	Secret     string   `json:"secret" doc:"What the deliveries are signed with."` // signs the deliveries
	Held       int      `json:"held" doc:"Deliveries that waited for it."`         // deliveries that waited for the listener
}

// ListenHeader is one header of a delivery, with its exact spelling and in its position.
type ListenHeader struct {
	Name  string `json:"name" doc:"In its spelling."`
	Value string `json:"value" doc:"As it is to be sent."`
}

// ListenDelivery is a request that the listener makes on the server's behalf.
type ListenDelivery struct {
	Token     string         `json:"token" doc:"Give it back with the answer."` // to be returned in the ListenAnswer
	ID        string         `json:"id" format:"uuid" doc:"The id of the delivery."`
	EventType string         `json:"event_type" doc:"The type of the event."`
	Attempt   int            `json:"attempt" doc:"Number of the attempt, from 1."` // from 1
	Headers   []ListenHeader `json:"headers" doc:"The headers of the request, in their order."`
	Body      []byte         `json:"body" doc:"The body of the request, base64."`                // base64 on the wire
	TimeoutMS int64          `json:"timeout_ms" doc:"The receiver's deadline, in milliseconds."` // the receiver's deadline
}

// ListenAnswer is the outcome of a delivery: either a response with its Status, or an Error.
type ListenAnswer struct {
	Token        string `json:"token" doc:"The token of the delivery."`
	Status       int    `json:"status,omitempty" doc:"Status of the answer, 100 to 999. Absent beside error."`
	Headers      string `json:"headers,omitempty" doc:"Lines of Name: value, at most 16 KiB."`                       // lines of "Name: value\n", at most 16 KiB
	Body         []byte `json:"body,omitempty" doc:"The first bytes of the answer, base64, at most 16 KiB of them."` // base64 on the wire; the first bytes, at most 16 KiB
	Truncated    bool   `json:"truncated,omitempty" doc:"The answer was longer than body."`
	TimedOut     bool   `json:"timed_out,omitempty" doc:"The deadline passed before the answer was complete."`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty" doc:"What Retry-After asked for, in milliseconds. 0: nothing."`
	Error        string `json:"error,omitempty" doc:"Class of a failure without an answer, such as connection_refused."` // class, such as connection_refused
	Message      string `json:"message,omitempty" doc:"What happened, a sentence, at most 300 bytes."`
}

// ListenEnd reports that the server ended the connection, and why. Code is unauthorized,
// replaced, endpoint_disabled, endpoint_deleted, shutting_down or stalled. Next returns it
// as an error.
type ListenEnd struct {
	Code    string `json:"code" doc:"Why: unauthorized, replaced, endpoint_disabled, endpoint_deleted, shutting_down or stalled."`
	Message string `json:"message" doc:"The same as a sentence."`
}

// Error returns the message and the code.
func (e *ListenEnd) Error() string { return e.Message + " (" + e.Code + ")" }

const (
	longestLine   = 8 << 20          // of the stream, in bytes; many times the largest delivery
	longestSilent = 45 * time.Second // three heartbeats
	helloWithin   = 20 * time.Second
)

// Listening is the open connection of a listener. It must not be used by several goroutines
// at once, except for Close.
type Listening struct {
	Hello ListenHello

	body   io.Closer
	lines  *bufio.Scanner
	cancel context.CancelFunc
	idle   *time.Timer
	silent atomic.Bool
}

// Listen connects a listener and returns once the server has sent its hello. A refusal is
// returned as a [*Problem]. The caller must call Close on the result; cancelling ctx also
// ends the connection. Listen does not retry. It uses the Transport of Client.HTTP, without its
// timeout, and does not follow redirects.
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
	resp, err := transport.RoundTrip(req) // a Client would apply its timeout to the stream, and follow redirects with the key
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

// Next waits for the next delivery. A [*ListenEnd] means that the server ended the
// connection. Any other error means that the connection broke or sent nothing for 45
// seconds.
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

// event reads one server-sent event. It supports the part of the format that this stream
// uses: one line of data for each event, and comments as heartbeats.
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
		_ = l.body.Close() // already cancelled
	}
}

// answerTries is the maximum number of times an answer is sent to find the node that expects
// it.
const answerTries = 10

// AnswerListen reports the outcome of a delivery to the server. A [*Problem] with code
// not_found means that the server no longer waits for the answer and will offer the delivery
// again.
//
// Behind a load balancer, only the node that holds the listener's connection accepts the
// answer. The other nodes refuse it with code wrong_node. AnswerListen then sends it again
// on a new connection, up to ten times in all.
func (c *Client) AnswerListen(ctx context.Context, a ListenAnswer) error {
	for try := 1; ; try++ {
		err := c.Do(ctx, http.MethodPost, "/v1/listen/answers", "", a, nil)
		var p *Problem
		if !errors.As(err, &p) || p.Code != CodeWrongNode || try == answerTries {
			return err
		}
		httpc := c.HTTP
		if httpc == nil {
			httpc = defaultHTTP
		}
		httpc.CloseIdleConnections() // a reused connection leads to the same node
	}
}
