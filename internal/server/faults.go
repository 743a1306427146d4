package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/exit"
)

// Faults are all errors in a configuration.
type Faults []error

// Error names all of them.
func (f Faults) Error() string { return strings.Join(f.Lines(), "; ") }

// Unwrap returns the faults.
func (f Faults) Unwrap() []error { return f }

// Lines returns the faults as text, sorted.
func (f Faults) Lines() []string {
	var lines []string
	for _, err := range f {
		lines = append(lines, err.Error())
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

func (f *Faults) addf(format string, args ...any) { f.add(fmt.Errorf(format, args...)) }

// add appends an error, or each fault of a Faults.
func (f *Faults) add(err error) {
	if err == nil {
		return
	}
	if more, ok := errors.AsType[Faults](err); ok {
		*f = append(*f, more...)
		return
	}
	*f = append(*f, err)
}

// err is an error with exit code 2, or nil if nothing is wrong.
func (f Faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return exit.With(exit.Usage, f)
}
