package importsvix

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/posthorn/posthorn/internal/build"
)

// Bounds of a call.
const (
	tries        = 8                // of one request
	firstPause   = time.Second / 2  // doubles with each try
	longestPause = 30 * time.Second // without Retry-After
	longestAsked = 2 * time.Minute  // the longest Retry-After that is waited for
	maxAnswer    = 16 << 20         // bytes
	pageSize     = 100              // rows
	maxPages     = 1 << 20          // of one list
)

// remote is a server that speaks Svix's API. It is safe for concurrent use.
type remote struct {
	name       string // for error messages
	url, token string
	http       *http.Client
	// answered is set by the first answer. Before, a connection that fails is not tried
	// again: the URL is probably wrong.
	answered atomic.Bool
}

var defaultHTTP = &http.Client{
	Timeout:       time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token stays here
	Transport: func() http.RoundTripper {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = workers
		return t
	}(),
}

// refusal is an answer other than 2xx.
type refusal struct {
	server     string
	status     int
	code, text string
	retryAfter time.Duration // 0: not said
}

// Error says who answered what.
func (r *refusal) Error() string {
	return fmt.Sprintf("%s answered %d: %s", r.server, r.status, strings.TrimSuffix(cmp.Or(r.text, http.StatusText(r.status)), "."))
}

// statusOf returns the status of a refusal, or 0.
func statusOf(err error) int {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.status
	}
	return 0
}

// aboutItem reports whether a server refused one thing and would take another.
func aboutItem(err error) bool {
	return slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, statusOf(err))
}

// errShape is an answer of 2xx that is not in Svix's format.
type errShape struct{ server string }

// Error says whose answer it is.
func (e errShape) Error() string { return "the answer of " + e.server + " is not one of Svix's API" }

// get reads path, below /api/v1/, into out.
func (r *remote) get(ctx context.Context, path string, out any) error {
	return r.call(ctx, http.MethodGet, path, nil, out)
}

// call sends a request until it is answered, at most tries times. A POST has an idempotency
// key, the same in each try.
func (r *remote) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	key := ""
	if method == http.MethodPost {
		key = "import-" + rand.Text()
	}
	for n := 1; ; n++ {
		err := r.once(ctx, method, path, key, body, out)
		wait, again := r.again(n, err)
		if !again || n == tries {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// again reports whether the n-th try of a request may be followed by another, and when.
func (r *remote) again(n int, err error) (time.Duration, bool) {
	pause := min(firstPause<<(n-1), longestPause)
	pause = pause/2 + mathrand.N(pause/2)
	if e, ok := errors.AsType[*refusal](err); ok {
		waits := e.status == http.StatusTooManyRequests || e.status >= 500 && e.status != http.StatusNotImplemented
		return max(pause, e.retryAfter), waits && e.retryAfter <= longestAsked
	}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, shape := errors.AsType[errShape](err)
	final := err == nil || certificate || shape || errors.Is(err, context.Canceled) || !r.answered.Load()
	return pause, !final
}

func (r *remote) once(ctx context.Context, method, path, key string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(r.url, "/")+"/api/v1/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	req.Header.Set("User-Agent", "posthorn/"+build.Version())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	got, err := cmp.Or(r.http, defaultHTTP).Do(req)
	if err != nil {
		return fmt.Errorf("call %s: %w", r.name, err)
	}
	defer func() { _ = got.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(got.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", r.name, err)
	}
	r.answered.Store(true)
	if len(text) > maxAnswer {
		return errShape{r.name}
	}
	if got.StatusCode/100 != 2 {
		return r.refused(got, text)
	}
	if out != nil && json.Unmarshal(text, out) != nil {
		return errShape{r.name}
	}
	return nil
}

// refused reads an error in one of Svix's two shapes.
func (r *remote) refused(got *http.Response, text []byte) *refusal {
	out := &refusal{server: r.name, status: got.StatusCode}
	if seconds, err := strconv.Atoi(got.Header.Get("Retry-After")); err == nil && seconds > 0 {
		out.retryAfter = time.Duration(min(seconds, 1<<20)) * time.Second
	} else if at, err := http.ParseTime(got.Header.Get("Retry-After")); err == nil {
		out.retryAfter = max(0, time.Until(at))
	}
	var answer struct {
		Code   string          `json:"code"`
		Detail json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(text, &answer) != nil {
		return out
	}
	out.code = answer.Code
	var list []struct {
		Loc []string `json:"loc"`
		Msg string   `json:"msg"`
	}
	if json.Unmarshal(answer.Detail, &out.text) != nil && json.Unmarshal(answer.Detail, &list) == nil {
		var parts []string
		for _, d := range list[:min(len(list), 3)] {
			at := ""
			if len(d.Loc) > 1 {
				at = strings.Join(d.Loc[1:], "/") + ": "
			}
			parts = append(parts, at+d.Msg)
		}
		out.text = strings.Join(parts, "; ")
	}
	if len(out.text) > 500 {
		out.text = strings.ToValidUTF8(out.text[:500], "") + "..."
	}
	return out
}

// page is one page of a list.
type page[T any] struct {
	Data     *[]T    `json:"data"`
	Iterator *string `json:"iterator"`
	Done     bool    `json:"done"`
}

// each calls do for every row of a list, page by page. path may have a query.
func each[T any](ctx context.Context, r *remote, path string, do func(T) error) error {
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	path += separator + "limit=" + strconv.Itoa(pageSize)
	from, mark := "", "" // mark is an iterator of before: iterators that go in a circle come by it again
	for n := range maxPages {
		at := path
		if from != "" {
			at += "&iterator=" + url.QueryEscape(from)
		}
		var got page[T]
		if err := r.get(ctx, at, &got); err != nil {
			return err
		}
		if got.Data == nil {
			return errShape{r.name}
		}
		for _, row := range *got.Data {
			if err := do(row); err != nil {
				return err
			}
		}
		if got.Done {
			return nil
		}
		if got.Iterator == nil || *got.Iterator == "" || *got.Iterator == from || *got.Iterator == mark {
			break
		}
		if from = *got.Iterator; n&(n+1) == 0 { // further apart each time, so that every circle fits between
			mark = from
		}
	}
	return fmt.Errorf("the list %s of %s does not end", strings.SplitN(path, "?", 2)[0], r.name)
}

// application, endpoint and eventType are what is read of Svix's objects.
type application struct {
	ID       string            `json:"id"`
	UID      *string           `json:"uid"`
	Name     string            `json:"name"`
	Throttle *int              `json:"throttleRate"`
	Rate     *int              `json:"rateLimit"` // what older servers call it
	Metadata map[string]string `json:"metadata"`
}

// rate returns the rate limit, or nil.
func (a application) rate() *int { return cmp.Or(a.Throttle, a.Rate) }

type endpoint struct {
	ID          string            `json:"id"`
	UID         *string           `json:"uid"`
	URL         string            `json:"url"`
	Description string            `json:"description"`
	Disabled    bool              `json:"disabled"`
	Types       *[]string         `json:"eventTypes"`
	Filter      *[]string         `json:"filterTypes"` // what older servers call them
	Channels    *[]string         `json:"channels"`
	Throttle    *int              `json:"throttleRate"`
	Rate        *int              `json:"rateLimit"`
	Metadata    map[string]string `json:"metadata"`
}

func (e endpoint) rate() *int { return cmp.Or(e.Throttle, e.Rate) }

// headers are the headers of an endpoint. The values of those in Sensitive are not shown.
type headers struct {
	Headers   map[string]string `json:"headers"`
	Sensitive []string          `json:"sensitive"`
}

// newEndpoint is what the target gets. Members that are absent are null.
type newEndpoint struct {
	UID         string            `json:"uid"`
	URL         string            `json:"url"`
	Description string            `json:"description,omitempty"`
	Disabled    bool              `json:"disabled,omitempty"`
	Types       *[]string         `json:"filterTypes,omitempty"`
	Channels    *[]string         `json:"channels,omitempty"`
	Throttle    *int              `json:"throttleRate,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	Secret      string            `json:"secret"`
}

type newApplication struct {
	UID      string            `json:"uid"`
	Name     string            `json:"name"`
	Throttle *int              `json:"throttleRate,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

type eventType struct {
	Name        string                      `json:"name"`
	Description string                      `json:"description"`
	Archived    bool                        `json:"archived"`
	Deprecated  bool                        `json:"deprecated"`
	Group       *string                     `json:"groupName,omitempty"`
	Schemas     *map[string]json.RawMessage `json:"schemas,omitempty"`
	Flag        *string                     `json:"featureFlag,omitempty"`
	Flags       *[]string                   `json:"featureFlags,omitempty"`
}
