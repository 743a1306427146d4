package web

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// sideFor bounds a read that a page can do without.
const sideFor = time.Second

// side is a read for one box of a page, which the page can do without. What the box says
// instead is written to missing.
type side struct {
	missing *string
	what    string // what is read, in the log
	read    func(*visit) error
}

// beside makes reads at the same time, each for a second at most. One that fails leaves its box
// with a sentence; the others stand.
func (v *visit) beside(sides ...side) {
	var all sync.WaitGroup
	for _, one := range sides {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(v.quiet, sideFor)
			defer cancel()
			limited := *v
			acting, end := context.WithTimeout(v.ctx(), sideFor)
			defer end()
			limited.quiet, limited.r = ctx, v.r.WithContext(acting)
			page.Run(func() error { return one.read(&limited) }, func(err error) {
				*one.missing = v.missed(one.what, err, ctx.Err() != nil)
			})
		})
	}
	all.Wait()
}

// missed logs why a part of the page could not be read, and returns what the page says instead.
// late means that it took too long.
func (v *visit) missed(what string, err error, late bool) string {
	gone := v.quiet.Err() != nil // nobody waits for the page any more
	if !gone && !hook.Logged(err) {
		v.h.o.Log.ErrorContext(v.quiet, "a part of a page could not be read", "part", what, "path", loggedPath(v.r), "request", page.RequestID(v.r), "error", err)
	}
	return missingWords(err, late && !gone)
}

// missingWords says why a box is empty and what to do. It has no detail of the store.
func missingWords(err error, late bool) string {
	if late || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("Reading it took longer than %s. The rest of this page is as it should be. Load the page again, or choose a shorter time.", span(sideFor))
	}
	if e, ok := errors.AsType[*hook.Error](err); ok && page.Status(e.Code) < 500 {
		return e.Message
	}
	return "The server could not read it. The rest of this page is as it should be. Load the page again; if this stays, the log of the server says more: look for the request id at the foot of the page."
}
