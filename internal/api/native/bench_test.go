package native_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/posthorn/posthorn/internal/api/native"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/egress"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// instant is a store that accepts immediately, so that the benchmark measures the
// handler.
type instant struct{ app.Store }

func (instant) Publish(_ context.Context, events []hook.NewEvent, _ func(*hook.Endpoint) hook.ProfileHash, _ *hook.Once) ([]hook.Published, *hook.Replay, error) {
	return []hook.Published{{PublicID: hook.ID{1}, Type: events[0].Type, Tenant: events[0].Scope.Tenant, Deliveries: 1}}, nil, nil
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkPublish measures the handler of a 1 KB publish without network and store.
func BenchmarkPublish(b *testing.B) {
	s, err := app.New(app.Options{Store: instant{}, Profiles: profile.Builtin(), OperatorKey: liveKey, CheckHeaders: egress.CheckHeaders,
		Admit: func(context.Context, string, bool) (string, []app.Warning, error) { return "", nil, nil }})
	if err != nil {
		b.Fatal(err)
	}
	handler := native.New(native.Options{Service: s})
	text := []byte(padded(1024))
	r := httptest.NewRequest("POST", "/v1/events", nil)
	r.Header.Set("Authorization", "Bearer "+liveKey)
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(text))
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		r.Body = io.NopCloser(bytes.NewReader(text))
		handler.ServeHTTP(&discard{header: http.Header{}}, r)
	}
}
