package live

import (
	"context"
	"sync"
	"time"
)

// Bounds of reading pages again.
const (
	rest     = 30               // after a page was read, none is read for so many times as long,
	leastOf  = 20               // with more streams than that for fewer times,
	restLess = 5                // but at least so many
	mostRest = 2 * time.Second  // the longest rest
	readFor  = 10 * time.Second // one page
)

// Look is how a stream reads its page again.
type Look struct {
	// Now is all there is, unless Read is set.
	Now
	// Read makes the page. It must not depend on whose stream it is if Key is not empty:
	// streams with the same key share one answer.
	Read func(context.Context) Now
	Key  string
}

// seen is what a page showed when it was read.
type seen struct {
	Now
	began time.Time
	parts map[string]string // without the large ones; must not be changed
	large string            // see Large
}

func seenNow(now Now, began time.Time) *seen {
	s := &seen{Now: now, began: began, parts: now.parts()}
	if s.HTML = ""; s.parts != nil {
		s.large = Large(s.parts)
	}
	return s
}

// reading is a page that a stream reads for all with its key.
type reading struct {
	done chan struct{} // closed when seen is set
	seen *seen         // nil: the one who read went away
}

// restOf returns for how many times as long as a page took to read none is read.
func restOf(streams int) time.Duration {
	return time.Duration(max(restLess, min(rest, rest*leastOf/max(1, streams))))
}

// looks reads pages for streams: one at a time, with a rest after each, so that all streams
// together take a bounded share of the machine, however many there are.
type looks struct {
	mu   sync.Mutex
	of   map[string]*reading
	turn chan struct{} // held while a page is read, and for the rest
}

// busy returns the channel that is held while a page is read.
func (l *looks) busy() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn == nil {
		l.turn, l.of = make(chan struct{}, 1), map[string]*reading{}
	}
	return l.turn
}

// see reads the page, or waits for a stream that reads the same one now, or takes what it
// showed less than soon ago. It returns nil and the reason when the stream ends before.
// streams returns how many there are.
func (l *looks) see(ctx context.Context, end <-chan string, streams func() int, look *Look) (s *seen, reason string) {
	if look.Read == nil {
		return seenNow(look.Now, time.Now()), ""
	}
	turn := l.busy()
	for {
		mine := &reading{done: make(chan struct{})}
		other := l.join(look.Key, mine)
		if other == nil {
			s, reason = l.read(ctx, end, turn, streams, look)
			l.leave(look.Key, mine, s)
			return s, reason
		}
		select {
		case <-other.done:
		case reason := <-end:
			return nil, reason
		case <-ctx.Done():
			return nil, ""
		}
		if other.seen != nil {
			return other.seen, ""
		}
	}
}

// join returns who reads the page or has just read it, or nil: then mine does.
func (l *looks) join(key string, mine *reading) *reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other := l.of[key]; other != nil && key != "" {
		return other
	}
	l.of[key] = mine
	return nil
}

// leave tells the others what was seen, and lets it be taken for a while.
func (l *looks) leave(key string, mine *reading, s *seen) {
	forget := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.of[key] == mine {
			delete(l.of, key)
		}
	}
	mine.seen = s
	if s == nil || key == "" {
		forget()
	} else {
		time.AfterFunc(soon-time.Since(s.began), forget)
	}
	close(mine.done)
}

// read waits for its turn and reads the page.
func (l *looks) read(ctx context.Context, end <-chan string, turn chan struct{}, streams func() int, look *Look) (*seen, string) {
	select {
	case turn <- struct{}{}:
	case reason := <-end:
		return nil, reason
	case <-ctx.Done():
		return nil, ""
	}
	began := time.Now()
	defer func() { time.AfterFunc(min(restOf(streams())*time.Since(began), mostRest), func() { <-turn }) }()
	// Others may wait for the answer, so it does not end with this stream.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readFor)
	defer cancel()
	return seenNow(look.Read(ctx), began), ""
}
