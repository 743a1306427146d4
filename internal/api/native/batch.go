package native

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posthorn/posthorn/internal/api/adapter"
	"github.com/posthorn/posthorn/internal/api/bodies"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

const ndjson = "application/x-ndjson"

// batch is POST /v1/events/batch.
func (a *api) batch(w http.ResponseWriter, r *http.Request) {
	results, replay, err := a.publishMany(w, r)
	switch {
	case err != nil:
		a.refuse(w, r, err)
	case replay != nil:
		answerKept(w, replay)
	default:
		answerBytes(w, http.StatusAccepted, results)
	}
}

func (a *api) publishMany(w http.ResponseWriter, r *http.Request) ([]byte, *hook.Replay, error) {
	caller, err := a.authenticate(r)
	if err != nil {
		return nil, nil, err
	}
	if _, err := strict.Query(r.URL.RawQuery); err != nil {
		return nil, nil, err
	}
	if err := checkContent(r, jsonType, ndjson); err != nil {
		return nil, nil, err
	}
	text, done, err := bodies.Borrow(r, caller, MaxBatch)
	defer done()
	if err != nil {
		return nil, nil, err
	}
	key, err := idempotencyKey(r.Header["Idempotency-Key"])
	if err != nil {
		return nil, nil, err
	}
	read := readArray
	if bodies.MediaType(r) == ndjson {
		read = readLines
	}
	events, err := read(text)
	if err != nil {
		return nil, nil, err
	}
	for i := range events { // so that no delivery in memory keeps the whole text
		events[i].Data = bytes.Clone(events[i].Data)
	}
	if len(events) == 0 {
		return nil, nil, &hook.Error{Code: hook.CodeInvalidRequest, Message: "A batch holds at least one event."}
	}
	// The store's writer may call render after this request has ended. render must not
	// use the response headers, which belong to the server by then.
	ctx, id := r.Context(), w.Header().Get(requestIDHeader)
	render := func(results []hook.Published) []byte { return a.appendResults(ctx, id, results) }
	var once *app.Once
	if key != "" {
		once = &app.Once{Route: "POST /v1/events/batch", Key: key, BodyHash: sha256.Sum256(text),
			Answer: func(result any) (int, []byte) {
				results, _ := result.([]hook.Published)
				return http.StatusAccepted, render(results)
			}}
	}
	done() // nothing refers to the text any more, and the write may have to wait
	results, replay, err := a.o.Service.PublishBatch(adapter.Metered(w, r), caller, events, once)
	if err != nil || replay != nil {
		return nil, replay, err
	}
	return render(results), nil, nil
}

// readArray parses a JSON array of events. A text that is not strict JSON is refused as
// a whole, because none of its items can be trusted.
func readArray(text []byte) ([]app.Event, error) {
	if err := strict.CheckDepth(text, strict.MaxDepth+2); err != nil { // data is nested two levels down
		return nil, err
	}
	d := decoders.Get().(*jsontext.Decoder)
	defer giveBack(d)
	d.Reset(bytes.NewBuffer(text))
	if kind := d.PeekKind(); kind != '[' && kind != 0 {
		return nil, strict.Wrong("", "an array of events")
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, strict.Syntax(err)
	}
	events := make([]app.Event, 0, min(app.MaxBatch, len(text)/512+1))
	for d.PeekKind() != ']' {
		if len(events) == app.MaxBatch {
			return nil, errTooMany
		}
		start := d.InputOffset()
		event, err := readEvent(d, text)
		if err != nil {
			return nil, strict.Syntax(err)
		}
		if size := len(bytes.TrimLeft(text[start:d.InputOffset()], ", \t\r\n")); size > MaxEvent {
			event.Err = bodies.TooLarge(MaxEvent)
		}
		events = append(events, event)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, strict.Syntax(err)
	}
	return events, readEnd(d)
}

var errTooMany = &hook.Error{Code: hook.CodeInvalidRequest, Message: fmt.Sprintf("A batch holds at most %d events.", app.MaxBatch)}

// readLines parses one event per line and skips blank lines. A bad line affects only
// itself.
func readLines(text []byte) ([]app.Event, error) {
	events := make([]app.Event, 0, min(app.MaxBatch, bytes.Count(text, []byte("\n"))+1))
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if len(events) == app.MaxBatch {
			return nil, errTooMany
		}
		if len(line) > MaxEvent {
			events = append(events, app.Event{Err: bodies.TooLarge(MaxEvent)})
			continue
		}
		event, err := readOne(line)
		event.Err = err
		events = append(events, event)
	}
	return events, nil
}

// appendResults appends the JSON encoding of a client.BatchResults.
func (a *api) appendResults(ctx context.Context, requestID string, results []hook.Published) []byte {
	dst := append(make([]byte, 0, 80*len(results)+16), `{"results":[`...)
	for i := range results {
		if i > 0 {
			dst = append(dst, ',')
		}
		if err := results[i].Err; err != nil {
			problem, _ := encode(problemOf(ctx, a.o.Log, requestID, err))
			dst = append(append(append(dst, `{"error":`...), problem...), '}')
			continue
		}
		dst = append(dst, `{"id":"`...)
		dst = appendEventID(dst, &results[i])
		dst = strconv.AppendInt(append(dst, `","delivery_count":`...), int64(results[i].Deliveries), 10)
		dst = append(appendAdvice(dst, &results[i]), '}')
	}
	return append(dst, "]}"...)
}
