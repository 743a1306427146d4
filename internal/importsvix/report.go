package importsvix

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/posthorn/posthorn/internal/cli"
)

// The kinds of objects and what can become of one.
const (
	types = iota
	applications
	endpoints
	kinds
)

const (
	copied = iota
	there
	differs
	refused
	outcomes
)

var kindNames = [kinds]string{"event types", "applications", "endpoints"}

// report counts what becomes of the objects, and prints what people have to know as it
// happens. It is safe for concurrent use.
type report struct {
	out      io.Writer
	progress *cli.Progress

	mu      sync.Mutex
	counts  [kinds][outcomes]int
	enabled int
	notes   int
}

// add counts an object. A reason is printed.
func (r *report) add(kind, outcome int, name, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[kind][outcome]++
	if reason != "" {
		r.line([outcomes]string{differs: "differs", refused: "not copied"}[outcome], kind, name, reason)
	}
	r.progress.Say("%s, %s", r.seen(applications), r.seen(endpoints))
}

func (r *report) seen(kind int) string {
	n := 0
	for _, count := range r.counts[kind] {
		n += count
	}
	return fmt.Sprintf("%d %s", n, kindNames[kind])
}

func (r *report) line(what string, kind int, name, reason string) {
	r.progress.Done()
	fmt.Fprintf(r.out, "%-10s  %s %s: %s\n", what, strings.TrimSuffix(kindNames[kind], "s"), cli.PlainText(name), cli.PlainText(reason))
}

// made counts an object that was to be copied. Nothing is counted if the import failed.
func (r *report) made(kind int, name, reason string, err error) {
	switch {
	case err != nil:
	case reason != "":
		r.add(kind, refused, name, reason)
	default:
		r.add(kind, copied, name, "")
	}
}

// compared counts an object that was there.
func (r *report) compared(kind int, name string, differences []string) {
	if len(differences) > 0 {
		r.add(kind, differs, name, strings.Join(differences, ", "))
		return
	}
	r.add(kind, there, name, "")
}

// note says what is left to do by hand.
func (r *report) note(kind int, name, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes++
	r.line("by hand", kind, name, text)
}

func (r *report) enable() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enabled++
}

// print prints the table of counts.
func (r *report) print(apply bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress.Done()
	first, enabled := "to copy", "Endpoints to enable"
	if apply {
		first, enabled = "copied", "Endpoints enabled"
	}
	fmt.Fprintf(r.out, "\n%-13s %9s %14s %9s %11s\n", "", first, "already there", "differ", "not copied")
	for kind, counts := range r.counts {
		fmt.Fprintf(r.out, "%-13s %9d %14d %9d %11d\n", kindNames[kind], counts[copied], counts[there], counts[differs], counts[refused])
	}
	if r.enabled > 0 {
		fmt.Fprintf(r.out, "%s: %d\n", enabled, r.enabled)
	}
	if r.notes > 0 {
		fmt.Fprintf(r.out, "To finish by hand: %d (see above)\n", r.notes)
	}
}

// incomplete returns how many objects were not copied.
func (r *report) incomplete() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, counts := range r.counts {
		n += counts[refused]
	}
	return n
}
