package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf8"
)

// Progress is a line on a terminal that shows the progress of long work and is removed at
// the end. Without a terminal it writes nothing. It is safe for concurrent use.
type Progress struct {
	mu    sync.Mutex
	to    io.Writer // nil: not a terminal
	every time.Duration
	next  time.Time
	shown bool
}

// NewProgress returns a progress line on a writer, such as standard error, if that is a
// terminal. The line changes at most once per interval.
func NewProgress(to io.Writer, every time.Duration) *Progress {
	if !IsTerminal(to) {
		return &Progress{}
	}
	if s, ok := to.(*Screen); ok {
		to = s.to // the line is rewritten with control characters
	}
	return &Progress{to: to, every: every}
}

// Say replaces the text of the line.
func (p *Progress) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.to == nil || p.shown && now.Before(p.next) {
		return
	}
	p.next, p.shown = now.Add(p.every), true
	text := PlainText(fmt.Sprintf(format, args...))
	if utf8.RuneCountInString(text) > 79 {
		text = cut(text, 79)
	}
	fmt.Fprintf(p.to, "\r\x1b[K%s", text)
}

// Done removes the line.
func (p *Progress) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to != nil && p.shown {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
	p.shown = false
}
