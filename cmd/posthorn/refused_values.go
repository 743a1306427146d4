package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// What is said about values of options, in one place: the option as it was given, the
// value, and what is expected.

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

// wanted says what a value is, by the type of its flag.
var wanted = map[string]string{
	"bool":        "true or false",
	"int":         "a whole number such as 64",
	"float64":     "a number such as 0.5",
	"duration":    "a duration such as 30s or 1h30m",
	"stringSlice": "a list such as a,b",
}

// refusedValue says in plain words what is wrong with a value that a flag did not
// take. source is what the value was given as: a flag, a variable or a line of a file.
func refusedValue(source string, err error) error {
	e, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return usage("%s: %w", source, err)
	}
	flag := e.GetFlag()
	is := wanted[flag.Value.Type()]
	switch {
	case errors.Is(err, errEmptyList):
		return usage("%s: %w", source, errEmptyList)
	case secretFlags[flag.Name]:
		return usage("%s: cannot be read", source)
	case is == "":
		return usage("%s: %q: %w", source, e.GetValue(), e.Unwrap())
	case errors.Is(err, strconv.ErrRange):
		return usage("%s: %q is out of range; give %s", source, e.GetValue(), is)
	}
	return usage("%s: %q is not %s", source, e.GetValue(), is)
}

// missingValue says what a flag that ends the command line lacks.
func missingValue(e *pflag.ValueRequiredError) error {
	if is := wanted[e.GetFlag().Value.Type()]; is != "" {
		return usage("--%s needs a value, %s", e.GetFlag().Name, is)
	}
	return usage("--%s needs a value", e.GetFlag().Name)
}

// errEmptyList is the refusal of a list that says nothing, such as that of a variable
// that is not set.
var errEmptyList = errors.New("the value is empty and would do nothing; give one, or leave the option out")

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

// Set adds the value's entries, or returns errEmptyList.
func (l filledList) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return errEmptyList
	}
	return l.listValue.Set(text)
}
