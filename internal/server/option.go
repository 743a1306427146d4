package server

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/posthorn/posthorn/internal/exit"
)

// optionError is what is wrong with the value of an option, wherever it came from.
type optionError struct {
	flag string
	err  error
}

func (e *optionError) Error() string { return "--" + e.flag + ": " + e.err.Error() }
func (e *optionError) Unwrap() error { return e.err }

func wrong(flag, format string, args ...any) error {
	return &optionError{flag: flag, err: fmt.Errorf(format, args...)}
}

// filledLists are the options that guard where deliveries may go. A server that starts
// with one of them empty is not the one that was asked for.
var filledLists = []string{"allow-network", "allow-host", "deny-network", "deny-host", "public-url"}

// listValue is a flag that is a list.
type listValue interface {
	pflag.Value
	pflag.SliceValue
}

// filledList is a list that refuses each empty value.
type filledList struct{ listValue }

// Set adds the value's entries, or returns exit.ErrEmptyList.
func (l filledList) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return exit.ErrEmptyList
	}
	return l.listValue.Set(text)
}
