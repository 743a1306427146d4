// Program receiver is an example webhook receiver that uses only the standard library. It
// verifies every request over its raw bytes, handles each event once and responds
// immediately.
//
// PROFILE names the wire format. SECRET contains the endpoint's secret, or two of them
// separated by a space during a rotation. PORT is the port on 127.0.0.1. Run it behind your
// TLS proxy.
package main

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// format is what a receiver needs to know about a wire format.
type format struct {
	key    func(secret string) ([]byte, error)                      // decodes a secret to a key
	verify func(header http.Header, body []byte, keys [][]byte) int // returns 200, or the status of the refusal
	read   func(header http.Header, body []byte) (event, error)     // parses a verified request
}

// event is a verified request. If one of its ids was handled before, so was the event.
type event struct {
	Type string
	Data json.RawMessage
	IDs  []string
}

var formats = map[string]format{"standard": standard, "paysway": paysway, "paysway-2025-09": paysway, "paywise": paywise}

func main() {
	f, known := formats[cmp.Or(os.Getenv("PROFILE"), "standard")]
	if !known {
		log.Fatal("PROFILE: standard, paysway, paysway-2025-09 or paywise")
	}
	box := &inbox{format: f, seen: map[string]bool{}}
	for _, secret := range strings.Fields(os.Getenv("SECRET")) {
		key, err := f.key(secret)
		if err != nil {
			log.Fatal("SECRET: ", err, "; copy it whole, as it was shown with the endpoint")
		}
		box.keys = append(box.keys, key)
	}
	if len(box.keys) == 0 {
		log.Fatal("SECRET is empty; it holds the endpoint's secret")
	}
	mux := http.NewServeMux()
	mux.Handle("POST /", box)
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
	format
	keys [][]byte
	mu   sync.Mutex
	seen map[string]bool
}

func (b *inbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)) // the raw bytes, which were signed
	if err != nil {
		http.Error(w, "cannot read the body", http.StatusBadRequest)
		return
	}
	if status := b.verify(r.Header, body, b.keys); status != http.StatusOK {
		http.Error(w, "not verified", status)
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

// sign returns the HMAC-SHA256 of the concatenated parts.
func sign(key []byte, parts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

// fresh reports whether a timestamp in Unix seconds is within five minutes of now.
func fresh(timestamp string) bool {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	return err == nil && time.Since(time.Unix(seconds, 0)).Abs() <= 5*time.Minute
}

var errSecret = errors.New("not a secret of this format")
