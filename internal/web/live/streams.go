// Package live keeps pages in browsers up to date: it holds the open streams within their
// bounds, finds the parts of a page that changed, writes them as events, and wakes streams
// when something was committed that their page shows. It knows nothing of any page.
package live

import (
	"sync"
	"time"
)

// Bounds of streams.
const (
	MaxStreams        = 200 // of one Streams
	MaxSessionStreams = 10
	For               = 15 * time.Minute
	Beat              = 15 * time.Second // between comments that keep proxies from closing it
	writeFor          = 5 * time.Second  // for one write
	maxPart           = 32 << 10         // bytes; a larger part is not sent, and its change ends the stream
)

// Stream is one page that is kept up to date.
type Stream struct {
	End             chan string // receives the reason for its end
	session, holder string
}

// Streams are the open streams, oldest first. They are safe for concurrent use, and the zero
// value is ready.
type Streams struct {
	mu     sync.Mutex
	open   []*Stream
	closed bool
	looks  looks
}

// Add opens a stream of a session. Beyond the bound of a session its oldest one ends. Beyond the
// bound of all, the oldest one of the holder with the most ends, so that nobody takes the streams
// of others.
func (s *Streams) Add(session, holder string) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &Stream{make(chan string, 1), session, holder}
	if s.closed {
		one.End <- "restart"
		return one
	}
	of, held, most := 0, map[string]int{}, ""
	for _, other := range s.open {
		if other.session == session {
			of++
		}
		if held[other.holder]++; held[other.holder] > held[most] {
			most = other.holder
		}
	}
	for _, other := range s.open {
		if of >= MaxSessionStreams && other.session == session || of < MaxSessionStreams && len(s.open) >= MaxStreams && other.holder == most {
			s.drop(other)
			other.End <- "limit"
			break
		}
	}
	s.open = append(s.open, one)
	return one
}

func (s *Streams) drop(one *Stream) {
	for i, other := range s.open {
		if other == one {
			s.open = append(s.open[:i:i], s.open[i+1:]...)
			return
		}
	}
}

// Remove closes a stream.
func (s *Streams) Remove(one *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(one)
}

// Close ends all streams, and those that are opened later at once. Browsers open them again at
// the next start.
func (s *Streams) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, one := range s.open {
		one.End <- "restart"
	}
	s.open = nil
}

// Len returns how many streams are open.
func (s *Streams) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}
