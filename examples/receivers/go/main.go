// Program receiver is an example webhook receiver. It verifies every request over its raw
// bytes, handles each event once and responds immediately. It never acts on a request that
// it could not verify.
//
// PROFILE names the wire format. SECRET contains the endpoint's secret, or two of them
// separated by a space during a rotation. PORT is the port on 127.0.0.1. Run it behind your
// TLS proxy.
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/webhook"
)

// format is what a receiver needs to know about a wire format.
type format struct {
	spec webhook.Spec
	read func(header http.Header, body []byte) (event, error) // parses a verified request
}

// event is a verified request. If one of its ids was handled before, so was the event.
type event struct {
	Type string
	Data json.RawMessage
	IDs  []string
}

var formats = map[string]format{
	"standard":        standard,
	"paysway":         paysway,
	"paysway-2025-09": paysway,
	"paywise":         paywise,
}

func main() {
	f, known := formats[cmp.Or(os.Getenv("PROFILE"), "standard")]
	if !known {
		log.Fatal("PROFILE: standard, paysway, paysway-2025-09 or paywise")
	}
	verifier, err := webhook.NewVerifier(f.spec, strings.Fields(os.Getenv("SECRET"))...)
	if err != nil {
		log.Fatal("SECRET: ", err)
	}
	box := &inbox{read: f.read, seen: map[string]bool{}}
	mux := http.NewServeMux()
	// The verifier responds with 400 or 401 itself, and passes on genuine requests.
	mux.Handle("POST /", verifier.Handler(box))
	server := &http.Server{
		Addr:        "127.0.0.1:" + cmp.Or(os.Getenv("PORT"), "3000"),
		Handler:     mux,
		ReadTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute,
	}
	log.Print("listening on ", server.Addr)
	log.Fatal(server.ListenAndServe())
}

// inbox handles each event once.
type inbox struct {
	read func(header http.Header, body []byte) (event, error)
	mu   sync.Mutex
	seen map[string]bool
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	e, err := b.read(r.Header, body)
	if err != nil || e.Type == "" || e.IDs[0] == "" {
		http.Error(w, "the body is not an event", http.StatusBadRequest)
		return
	}
	b.once(e)
	w.WriteHeader(http.StatusOK)
}

// once represents a transaction of your database: look up the ids in a unique column, act,
// insert the ids, commit. Unlike this map, a table survives a restart.
func (b *inbox) once(e event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range e.IDs {
		if b.seen[id] {
			fmt.Println("duplicate", e.Type, e.IDs[0])
			return
		}
	}
	fmt.Println("handled", e.Type, e.IDs[0])
	for _, id := range e.IDs {
		b.seen[id] = true
	}
}
