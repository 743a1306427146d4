package svix

import (
	"crypto/sha256"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/api/bodies"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// Bounds of bodies and of payloads, in bytes. An event is as large as in the native API at
// most; the other members of a message come on top.
const (
	maxBody    = 64 << 10
	maxPayload = 256 << 10
	maxMessage = maxPayload + maxBody
)

// object is the JSON object of a body, whose members are taken one by one.
type object struct {
	values map[string]jsontext.Value
	wrong  []detail
}

// optional reads a body that may be left out. A body of unknown length may be empty, too.
func (q *call) optional() (*object, error) {
	if err := q.read(maxBody); err != nil {
		return nil, err
	}
	if len(q.body) == 0 {
		return &object{}, nil
	}
	return q.parse()
}

// object reads the body of at most limit bytes.
func (q *call) object(limit int) (*object, error) {
	if err := q.read(limit); err != nil {
		return nil, err
	}
	return q.parse()
}

func (q *call) read(limit int) (err error) {
	q.body, err = bodies.Read(q.r, q.c, limit)
	return err
}

func (q *call) parse() (*object, error) {
	if coding := strings.Join(q.r.Header["Content-Encoding"], ","); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, &hook.Error{Code: hook.CodeContentEncoding, Message: "Send the body uncompressed."}
	}
	if bodies.MediaType(q.r) != "application/json" {
		return nil, &hook.Error{Code: hook.CodeContentType, Message: "Content-Type must be application/json, in UTF-8."}
	}
	o := &object{}
	if err := strict.Decode(q.body, &o.values); err != nil {
		return nil, err
	}
	if o.values == nil {
		return nil, invalid("", "The body must be an object.")
	}
	return o, nil
}

// null reports whether the member was sent as null.
func (o *object) null(name string) bool { return o.values[name] != nil && o.values[name].Kind() == 'n' }

// has reports whether one of the members was sent, null included.
func (o *object) has(names ...string) bool {
	for _, name := range names {
		if _, ok := o.values[name]; ok {
			return true
		}
	}
	return false
}

// take returns the value of the first of the members that was sent and is not null. It
// returns nil if there is none, or if the value has another kind, which is noted.
func take[T any](o *object, want string, names ...string) *T {
	for _, name := range names {
		value, ok := o.values[name]
		if !ok || value.Kind() == 'n' {
			continue
		}
		v := new(T)
		if err := strict.Decode(value, v); err != nil {
			o.blame(name, "must be "+want)
			return nil
		}
		return v
	}
	return nil
}

// blame notes an error about a member.
func (o *object) blame(member, sentence string) {
	o.wrong = append(o.wrong, detail{located("body", member), sentence, valueError})
}

// refuse notes an error for each of the members that was sent with a value.
func (o *object) refuse(sentence string, members ...string) {
	for _, name := range members {
		if o.has(name) && !o.null(name) {
			o.blame(name, sentence)
		}
	}
}

func (o *object) err() error {
	if len(o.wrong) == 0 {
		return nil
	}
	return &failure{status: http.StatusUnprocessableEntity, details: o.wrong}
}

// query are the parameters of a request.
type query url.Values

func readQuery(r *http.Request) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badQuery("The query string cannot be read: its parameters must be percent-encoded.")
	}
	return query(values), nil
}

func badQuery(sentence string) error {
	return &failure{status: http.StatusBadRequest, code: "generic_error", text: sentence}
}

// flag returns a parameter that is true or false.
func (v query) flag(name string, absent bool) (bool, error) {
	switch url.Values(v).Get(name) {
	case "":
		return absent, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, badQuery(name + " must be true or false.")
}

// number returns a whole number, or -1 if it was not given.
func (v query) number(name string) (int, error) {
	text := url.Values(v).Get(name)
	if text == "" {
		return -1, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, badQuery(name + " must be a whole number.")
	}
	return int(n), nil
}

// at returns a time, or the zero time if it was not given.
func (v query) at(name string) (time.Time, error) {
	text := url.Values(v).Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, strings.ReplaceAll(text, " ", "+")) // a plus that was not encoded
	if err != nil {
		return t, badQuery(name + " must be a time in RFC 3339, such as 2026-01-02T03:04:05Z.")
	}
	return t.UTC(), nil
}

// list returns the entries of a list, which are joined by commas or sent one by one.
func (v query) list(name string) (out []string) {
	for _, text := range v[name] {
		for _, entry := range strings.Split(text, ",") {
			if entry != "" {
				out = append(out, entry)
			}
		}
	}
	return out
}

// once returns how the request is made idempotent, or nil if it has no key. answer renders
// the result; a status of 0 means that it is not kept.
func (q *call) once(answer func(result any) (int, []byte)) (*app.Once, error) {
	values := q.r.Header["Idempotency-Key"]
	if len(values) == 0 {
		return nil, nil
	}
	key := values[0]
	bad := len(values) > 1 || key == "" || len(key) > 255
	for i := 0; i < len(key); i++ {
		bad = bad || key[i] <= ' ' || key[i] > '~'
	}
	if bad {
		return nil, badQuery("The header idempotency-key must be given once, with 1 to 255 visible ASCII characters.")
	}
	place := sha256.Sum256([]byte(q.r.URL.RequestURI()))
	return &app.Once{Route: "svix " + hook.Short(place[:20]), Key: key, BodyHash: sha256.Sum256(q.body), Answer: answer}, nil
}

// repeated sends the first answer to a request that was repeated.
func (q *call) repeated(replay *hook.Replay) error {
	if len(replay.Body) > 0 {
		q.w.Header().Set("Content-Type", "application/json")
	}
	q.w.WriteHeader(replay.Status)
	_, _ = q.w.Write(replay.Body) // an error means that the caller disconnected
	return nil
}

func (q *call) answer(status int, v any) error { return adapter.Answer(q.w, status, v) }

func (q *call) done() error {
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}
