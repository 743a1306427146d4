package demo

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/profile"
	"github.com/posthorn/posthorn/webhook"
)

// receiver is the customer's side of the demo. It verifies with the secret that was shown
// when the endpoint was created, and responds as the scene requires.
type receiver struct {
	url    string
	spec   webhook.Spec
	server *http.Server

	mu    sync.Mutex
	paths map[string]*scene
}

type scene struct {
	verifier *webhook.Verifier
	answers  []int // sent before 200
	got      []reception
}

// reception is one request as it was received.
type reception struct {
	at       time.Time
	header   http.Header
	body     []byte
	answered int
	refused  error
	verifier *webhook.Verifier
}

func newReceiver(p *profile.Profile) (*receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, exit.With(exit.Listen, fmt.Errorf("start receiver: %w", err))
	}
	r := &receiver{url: "http://" + l.Addr().String(), spec: p.Specs()[0], paths: map[string]*scene{}}
	r.server = &http.Server{Handler: r, ReadTimeout: 10 * time.Second}
	go func() {
		// If the receiver ends early, the attempt fails.
		if err := r.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return
		}
	}()
	return r, nil
}

func (r *receiver) close() { _ = r.server.Close() }

// expect configures a path: its secret, and the statuses that it returns before 200.
func (r *receiver) expect(path, secret string, answers ...int) error {
	v, err := webhook.NewVerifier(r.spec, secret)
	if err != nil {
		return fmt.Errorf("use the secret: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths[path] = &scene{verifier: v, answers: answers}
	return nil
}

// ServeHTTP verifies the request over its raw body, and then responds.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.paths[req.URL.Path]
	if s == nil {
		http.NotFound(w, req)
		return
	}
	got := reception{at: time.Now(), header: req.Header, body: body, answered: http.StatusOK, verifier: s.verifier}
	got.refused = s.verifier.Verify(req.Header, body)
	switch {
	case got.refused != nil:
		got.answered = http.StatusUnauthorized
	case len(s.answers) > 0:
		got.answered, s.answers = s.answers[0], s.answers[1:]
	}
	s.got = append(s.got, got)
	w.WriteHeader(got.answered)
}

func (r *receiver) received(path string) []reception {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]reception(nil), r.paths[path].got...)
}
