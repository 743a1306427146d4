package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

const (
	sessionMax  = 12 * time.Hour   // since the log-in
	sessionIdle = 30 * time.Minute // since the last request
	maxSessions = 1000             // on one node; beyond it, the least recently used one is dropped
)

// session is the state of a log-in: the hash of an operator key for one mode or for both.
// The text of a key is never stored.
type session struct {
	keys    map[hook.Mode][32]byte
	last    hook.Mode // the mode that was viewed last
	begun   time.Time
	seen    time.Time
	address string // of the log-in, for the log
}

func (s *session) over(now time.Time) bool {
	return now.Sub(s.begun) >= sessionMax || now.Sub(s.seen) >= sessionIdle
}

// sessions holds the sessions of this node, indexed by the SHA-256 of the cookie's value. It
// is safe for concurrent use. Sessions end with the process.
type sessions struct {
	mu sync.Mutex
	in map[[32]byte]session
}

// begin stores a session and returns the value of its cookie.
func (s *sessions) begin(one session, now time.Time) string {
	var value [32]byte
	_, _ = rand.Read(value[:]) // never fails
	text := base64.RawURLEncoding.EncodeToString(value[:])
	one.seen = now
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == nil {
		s.in = map[[32]byte]session{}
	}
	if len(s.in) >= maxSessions {
		s.makeRoom(now)
	}
	s.in[sha256.Sum256([]byte(text))] = one
	return text
}

// makeRoom drops expired sessions, or else the least recently used one.
func (s *sessions) makeRoom(now time.Time) {
	var oldest [32]byte
	var seen time.Time
	for hash, one := range s.in {
		if one.over(now) {
			delete(s.in, hash)
			continue
		}
		if seen.IsZero() || one.seen.Before(seen) {
			oldest, seen = hash, one.seen
		}
	}
	if len(s.in) >= maxSessions {
		delete(s.in, oldest)
	}
}

// find returns the session of a cookie's value and records its use.
func (s *sessions) find(value string, now time.Time) (session, bool) {
	hash := sha256.Sum256([]byte(value))
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.in[hash]
	if !ok {
		return session{}, false
	}
	if one.over(now) {
		delete(s.in, hash)
		return session{}, false
	}
	one.seen = now
	s.in[hash] = one
	return one, true
}

// peek is find without recording a use.
func (s *sessions) peek(value string, now time.Time) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.in[sha256.Sum256([]byte(value))]
	return one, ok && !one.over(now)
}

// look records the mode that was viewed last.
func (s *sessions) look(value string, mode hook.Mode) {
	hash := sha256.Sum256([]byte(value))
	s.mu.Lock()
	defer s.mu.Unlock()
	if one, ok := s.in[hash]; ok {
		one.last = mode
		s.in[hash] = one
	}
}

// end ends the session of a cookie's value.
func (s *sessions) end(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.in, sha256.Sum256([]byte(value)))
}
