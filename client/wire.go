package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Time is an instant on the wire, in RFC 3339 format, UTC, with microseconds.
type Time struct{ time.Time }

// timeLayout always has six fractional digits, so that texts sort in time order.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// AppendTime appends the wire form of an instant, without quotation marks.
func AppendTime(dst []byte, t time.Time) []byte { return t.UTC().AppendFormat(dst, timeLayout) }

// MarshalJSON returns the quoted wire form.
func (t Time) MarshalJSON() ([]byte, error) {
	dst := append(make([]byte, 0, len(timeLayout)+2), '"')
	return append(AppendTime(dst, t.Time), '"'), nil
}

// UnmarshalJSON accepts any RFC 3339 text. A null leaves the time unchanged.
func (t *Time) UnmarshalJSON(text []byte) error {
	if bytes.Equal(text, []byte("null")) {
		return nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("read time: %w", err)
	}
	got, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return fmt.Errorf("read time: %w", err)
	}
	t.Time = got.UTC()
	return nil
}

// Optional is a member of a merge patch (RFC 7396): absent, null or a value. The zero value
// is absent.
type Optional[T any] struct {
	Set   bool // the member is sent
	Null  bool // the member is sent as null, which resets it
	Value T
}

// Set returns a member that is sent with the value v.
func Set[T any](v T) Optional[T] { return Optional[T]{Set: true, Value: v} }

// Null returns a member that is sent as null, which resets it to its default.
func Null[T any]() Optional[T] { return Optional[T]{Set: true, Null: true} }

// IsZero reports whether the member is absent. The omitzero option of encoding/json calls
// it.
func (o Optional[T]) IsZero() bool { return !o.Set }

// MarshalJSON returns the value or null.
func (o Optional[T]) MarshalJSON() ([]byte, error) {
	if o.Null {
		return []byte("null"), nil
	}
	return json.Marshal(o.Value)
}

// UnmarshalJSON reads a value or null. Either one sets the member.
func (o *Optional[T]) UnmarshalJSON(text []byte) error {
	o.Set, o.Null = true, bytes.Equal(text, []byte("null"))
	if o.Null {
		return nil
	}
	return json.Unmarshal(text, &o.Value)
}

// Page is one page of a list. Lists are in order from newest to oldest, except for event
// types and profiles, which are in order of name.
type Page[T any] struct {
	Data       []T     `json:"data" nullable:"false" doc:"The rows of the page. It may be shorter than the limit, even empty, and still have a next page."`
	NextCursor *string `json:"next_cursor" doc:"Give it back as cursor to get the next page. null: this is the last one."` // nil on the last page

	// Scanned and Until are set if the search stopped at its bound before the page was full.
	Scanned int   `json:"scanned,omitzero" doc:"Of events and deliveries: so many events were looked at, which is the bound of one request. Absent: the page is full, or the list ends here."`
	Until   *Time `json:"until,omitzero" doc:"Beside scanned: the oldest event that was looked at was accepted then. next_cursor goes on from there."`
}

// Problem is the body of every error response (RFC 9457). It is also the error that the
// methods of [Client] return for such a response. Branch on Code, which is stable; the texts
// are not.
type Problem struct {
	Type      string `json:"type" doc:"A URI that names the code."`
	Title     string `json:"title" doc:"The kind of error, for people."`
	Status    int    `json:"status" doc:"The status of the answer."`
	Detail    string `json:"detail" doc:"What happened and what to do next, for people."`
	Code      string `json:"code" doc:"The stable name of the error. Branch on it. A later server may have more."`
	Field     string `json:"field,omitempty" required:"false" doc:"The member, query parameter or header to blame."`
	RequestID string `json:"request_id" doc:"Finds the request in the server's log."`

	RetryAfter time.Duration `json:"-"` // from a Retry-After header in seconds; 0 if there is none
}

// Error returns the code, the detail, the field and the request id.
func (p *Problem) Error() string {
	text := p.Code + ": " + p.Detail
	if p.Field != "" {
		text += " (" + p.Field + ")"
	}
	if p.RequestID != "" {
		text += " [request " + p.RequestID + "]"
	}
	return text
}

// Version is the response to GET /version.
type Version struct {
	Version string `json:"version" doc:"The version of the server."`
}
