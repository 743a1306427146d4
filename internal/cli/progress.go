package cli

import (
	"fmt"
	"io"
	"sync"
	"time"
	"unicode/utf8"
)

// Progress is one line on a terminal that says how far long work is, and is gone when it
// is done. Where there is no terminal it writes nothing. It is safe for concurrent use.
type Progress struct {
	mu    sync.Mutex
	to    io.Writer // nil: nobody looks
	every time.Duration
	next  time.Time
	shown bool
}

// NewProgress makes the line on a writer, such as standard error, if that is a terminal.
// It changes at most so often.
func NewProgress(to io.Writer, every time.Duration) *Progress {
	if !IsTerminal(to) {
		return &Progress{}
	}
	if s, ok := to.(*Screen); ok {
		to = s.to // the line is written anew with control characters of our own
	}
	return &Progress{to: to, every: every}
}

// Say shows a text in place of the one before.
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

// Done takes the line away.
func (p *Progress) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to != nil && p.shown {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
	p.shown = false
}
