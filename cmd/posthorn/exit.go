package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The exit codes, documented in docs/operating.md. Scripts may branch on them.
const (
	exitOK         = 0
	exitFailed     = 1  // anything without a code of its own
	exitUsage      = 2  // a wrong flag, variable, file member or argument
	exitListen     = 10 // the address cannot be listened on, such as a port that is taken
	exitLocked     = 11 // another process works in the data directory
	exitMasterKey  = 12 // the master key cannot be read, or is not the one of the store
	exitSchema     = 13 // the store was written by a newer version
	exitStorage    = 14 // the disk failed while serving: nothing more was acknowledged
	exitOpen       = 15 // the store cannot be opened
	exitIncomplete = 16 // stopped before all attempts under way were finished; they are repeated
	exitRefused    = 20 // the server refused a request of a client command

	exitUnreachable = 21 // a client command got no answer from a server, or not one of Posthorn
	exitKeyRevoked  = 22 // listen: the key is not valid, or not any more
	exitReplaced    = 23 // listen: another listener of the same name connected
)

// exitError is an error that ends the process with a code of its own.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func exitWith(code int, err error) error { return &exitError{code: code, err: err} }

func usage(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// flagError says what is wrong with a command line: the value of a flag, or a name that
// is not known, with the flags there are.
func flagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return refusedValue("--"+e.GetFlag().Name, err)
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return missingValue(e)
	}
	text := err.Error()
	if strings.HasPrefix(text, "unknown flag") || strings.HasPrefix(text, "unknown shorthand flag") {
		return usage("%s; %s", text, suggestFlag(cmd, text))
	}
	return &exitError{code: exitUsage, err: errors.New(text)}
}

// formerFlags are names that people try and that stand for another flag.
var formerFlags = map[string]string{"url": "server", "target": "url"}

func suggestFlag(cmd *cobra.Command, text string) string {
	name := strings.Trim(text[strings.LastIndex(text, ":")+1:], " -")
	if renamed := formerFlags[name]; cmd.Flags().Lookup(renamed) != nil {
		return fmt.Sprintf("did you mean --%s?", renamed)
	}
	if best := nearest(name, flagNames(cmd.Flags())); best != "" {
		return fmt.Sprintf("did you mean --%s?", best)
	}
	return fmt.Sprintf("\"%s --help\" lists them", cmd.CommandPath())
}

// nearest returns the name within two edits of the word, or one that it begins.
func nearest(word string, names []string) string {
	best, distance := "", 3
	for _, name := range names {
		if d := edits(word, name); d < distance {
			best, distance = name, d
		}
	}
	if best == "" && len(word) > 2 {
		for _, name := range names {
			if strings.HasPrefix(name, word) {
				return name
			}
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}
