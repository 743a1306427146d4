package native

import (
	"crypto/sha256"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/api/bodies"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

var jsonContent = []string{"application/json"}

// publish is POST /v1/events. It is the hot path: it reads the body in one pass without
// reflection and appends the response by hand.
func (a *api) publish(w http.ResponseWriter, r *http.Request) {
	published, replay, err := a.publishOne(w, r)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	if replay != nil {
		answerKept(w, replay)
		return
	}
	var buf [384]byte
	answerBytes(w, http.StatusAccepted, appendPublished(buf[:0], &published))
}

func (a *api) publishOne(w http.ResponseWriter, r *http.Request) (hook.Published, *hook.Replay, error) {
	caller, err := a.authenticate(r)
	if err != nil {
		return hook.Published{}, nil, err
	}
	if _, err := strict.Query(r.URL.RawQuery); err != nil {
		return hook.Published{}, nil, err
	}
	if err := checkContent(r, jsonType); err != nil {
		return hook.Published{}, nil, err
	}
	text, err := bodies.Read(r, caller, MaxEvent)
	if err != nil {
		return hook.Published{}, nil, err
	}
	key, err := idempotencyKey(r.Header["Idempotency-Key"])
	if err != nil {
		return hook.Published{}, nil, err
	}
	event, err := readOne(text)
	if err != nil {
		return hook.Published{}, nil, err
	}
	var once *app.Once
	if key != "" {
		once = &app.Once{Route: "POST /v1/events", Key: key, BodyHash: sha256.Sum256(text), Answer: publishedAnswer}
	}
	return a.o.Service.Publish(adapter.Metered(w, r), caller, event, once)
}

func publishedAnswer(result any) (int, []byte) {
	p, ok := result.(hook.Published)
	if !ok || p.Err != nil {
		return 0, nil
	}
	return http.StatusAccepted, appendPublished(nil, &p)
}

// appendPublished appends the JSON encoding of a client.Published. Tenant and type have
// been checked: none of their characters needs escaping.
func appendPublished(dst []byte, p *hook.Published) []byte {
	dst = append(dst, `{"id":"`...)
	dst = appendEventID(dst, p)
	dst = append(append(dst, `","tenant":"`...), p.Tenant...)
	dst = append(append(dst, `","type":"`...), p.Type...)
	dst = client.AppendTime(append(dst, `","created_at":"`...), p.CreatedAt)
	if !p.DeliverAt.IsZero() {
		dst = client.AppendTime(append(dst, `","deliver_at":"`...), p.DeliverAt)
	}
	dst = strconv.AppendInt(append(dst, `","delivery_count":`...), int64(p.Deliveries), 10)
	return append(appendAdvice(dst, p), '}')
}

func appendEventID(dst []byte, p *hook.Published) []byte {
	if p.GivenID != "" { // its characters need no escapes
		return append(dst, p.GivenID...)
	}
	dst, _ = p.PublicID.AppendText(dst)
	return dst
}

// smallPayload is the size of data, in bytes, up to which there is no warning. Standard
// Webhooks recommends payloads below 20 kB, and a reference instead of larger ones.
const smallPayload = 20_000

// appendAdvice adds warnings about data that some receivers may not accept, and about
// data that does not match the schema of its type.
func appendAdvice(dst []byte, p *hook.Published) []byte {
	if p.Size <= smallPayload && p.Mismatch == nil {
		return dst
	}
	dst = append(dst, `,"warnings":[`...)
	if p.Size > smallPayload {
		dst = strconv.AppendInt(append(dst, `{"code":"payload_large","message":"The data has `...), int64(p.Size), 10)
		dst = append(dst, ` bytes. Some receivers take no more than 20 kB; consider sending an id to fetch the rest by."}`...)
	}
	if p.Mismatch != nil {
		if p.Size > smallPayload {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"code":"event_data_invalid","message":`...)
		dst, _ = jsontext.AppendQuote(dst, p.Mismatch.Message) // invalid UTF-8 is replaced
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func answerBytes(w http.ResponseWriter, status int, body []byte) {
	w.Header()["Content-Type"] = jsonContent
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the caller disconnected
}

func answerKept(w http.ResponseWriter, replay *hook.Replay) {
	w.Header().Set("Idempotency-Replayed", "true")
	answerBytes(w, replay.Status, replay.Body)
}
