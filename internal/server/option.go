package server

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/posthorn/posthorn/internal/exit"
)

// optionError is an error in the value of an option, from any source.
type optionError struct {
	flag string
	err  error
}

func (e *optionError) Error() string { return "--" + e.flag + ": " + e.err.Error() }
func (e *optionError) Unwrap() error { return e.err }

func wrong(flag, format string, args ...any) error {
	return &optionError{flag: flag, err: fmt.Errorf(format, args...)}
}

// filledLists are the options about where deliveries may be sent. An empty value of one is
// an error, because the server would start less protected than intended.
var filledLists = []string{"allow-network", "allow-host", "deny-network", "deny-host", "public-url"}

// listValue is a flag that is a list.
type listValue interface {
	pflag.Value
	pflag.SliceValue
}

// filledList is a list that rejects empty values.
type filledList struct{ listValue }

// Set adds the value's entries, or returns exit.ErrEmptyList.
func (l filledList) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return exit.ErrEmptyList
	}
	return l.listValue.Set(text)
}
