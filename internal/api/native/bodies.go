package native

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// encode renders a response. Invalid UTF-8, which receivers may have sent, becomes the
// replacement character.
func encode(v any) ([]byte, error) {
	return json.Marshal(v, json.Deterministic(true), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
}

// format defines how huma reads and writes JSON here.
var format = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		if kept, ok := v.(interface{ bytes() ([]byte, error) }); ok {
			text, err := kept.bytes()
			if err == nil {
				_, err = w.Write(text)
			}
			return err
		}
		text, err := encode(v)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	},
	Unmarshal: func(text []byte, v any) error {
		if body, ok := v.(interface{ take([]byte) }); ok {
			body.take(text)
			return nil
		}
		return fmt.Errorf("no way to read a %T", v)
	},
}

// body is a request body of the wire type T, parsed strictly. It keeps the error in
// err, so that errors are handled in one place.
type body[T any] struct {
	value T
	text  []byte
	err   error
}

func (b *body[T]) take(text []byte) {
	b.text = bytes.Clone(text) // huma reuses its buffer
	if b.err = strict.Decode(text, &b.value); b.err == nil {
		b.err = strict.NotEmpty(text, freeText...)
	}
}

// freeText lists the members that may be empty: texts for people.
var freeText = []string{"name", "title", "description"}

// Schema returns the schema of T.
func (b body[T]) Schema(r huma.Registry) *huma.Schema { return schemaOf[T](r) }

// members is the body of a merge patch that is documented as T. It keeps the members as
// they were sent, so that absent and null can be distinguished.
type members[T any] struct {
	values map[string]jsontext.Value
	err    error
}

func (m *members[T]) take(text []byte) {
	if m.err = strict.Decode(text, &m.values); m.err == nil {
		m.err = strict.NotEmpty(text, freeText...)
	}
}

// Schema returns the schema of T.
func (m members[T]) Schema(r huma.Registry) *huma.Schema { return schemaOf[T](r) }

func schemaOf[T any](r huma.Registry) *huma.Schema {
	t := reflect.TypeFor[T]()
	return r.Schema(t, true, t.Name())
}

// reply is a response of the wire type T: a value, or the stored first response.
type reply[T any] struct {
	Status   int
	Replayed string `header:"Idempotency-Replayed"`
	Link     string `header:"Link"`
	ETag     string `header:"ETag"`
	Body     answer[T]
}

type answer[T any] struct {
	value T
	kept  []byte
}

func (a answer[T]) bytes() ([]byte, error) {
	if a.kept != nil {
		return a.kept, nil
	}
	return encode(a.value)
}

// Schema returns the schema of T.
func (a answer[T]) Schema(r huma.Registry) *huma.Schema { return schemaOf[T](r) }

func ok[T any](v T) *reply[T] { return &reply[T]{Status: 200, Body: answer[T]{value: v}} }

// made returns the response to an operation that may be a repetition.
func made[T any](status int, v T, replay *hook.Replay) *reply[T] {
	if replay != nil {
		return &reply[T]{Status: replay.Status, Replayed: "true", Body: answer[T]{kept: replay.Body}}
	}
	return &reply[T]{Status: status, Body: answer[T]{value: v}}
}

// of returns the request to which a handler's context belongs.
func of(ctx context.Context) *request {
	q, _ := ctx.Value(requestKey{}).(*request)
	return q
}

// onceFor reads the Idempotency-Key of a creating request and returns nil if there is
// none. wire converts the app's result to the response.
func onceFor[R, W any](q *request, text []byte, status int, wire func(R) W) (*app.Once, error) {
	key, err := idempotencyKey(q.Header["Idempotency-Key"])
	if err != nil || key == "" {
		return nil, err
	}
	return &app.Once{Route: q.Method + " " + q.URL.Path, Key: key, BodyHash: sha256.Sum256(text),
		Answer: func(result any) (int, []byte) {
			r, isR := result.(R)
			if !isR {
				return 0, nil
			}
			body, err := encode(wire(r))
			if err != nil {
				return 0, nil
			}
			return status, body
		}}, nil
}

// idempotencyKey returns the key. It is empty if the header is absent.
func idempotencyKey(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	good := len(values) == 1 && len(key) >= 1 && len(key) <= 255
	for i := 0; i < len(key) && good; i++ {
		good = ' ' <= key[i] && key[i] <= '~'
	}
	if !good {
		return "", &hook.Error{Code: hook.CodeInvalidRequest, Field: "Idempotency-Key",
			Message: "Idempotency-Key must be one value of 1 to 255 printable ASCII characters."}
	}
	return key, nil
}
