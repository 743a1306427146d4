// Package exit holds the exit codes, and the errors that end a command with one.
package exit

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The exit codes, documented in docs/operating.md. Scripts may branch on them.
const (
	OK         = 0
	Failed     = 1  // anything without a code of its own
	Usage      = 2  // a wrong flag, variable, file member or argument
	Listen     = 10 // the address cannot be listened on, such as a port that is taken
	Locked     = 11 // another process works in the data directory
	MasterKey  = 12 // the master key cannot be read, or is not the one of the store
	Schema     = 13 // the store was written by a newer version
	Storage    = 14 // the disk failed while serving: nothing more was acknowledged
	Open       = 15 // the store cannot be opened
	Incomplete = 16 // stopped before all attempts under way were finished; they are repeated
	Refused    = 20 // the server refused a request of a client command

	Unreachable = 21 // a client command got no answer from a server, or not one of Posthorn
	KeyRevoked  = 22 // listen: the key is not valid, or not any more
	Replaced    = 23 // listen: another listener of the same name connected
)

// Error is an error that ends the process with a code of its own.
type Error struct {
	Code int
	Err  error
}

// Error is the text of the error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error without its code.
func (e *Error) Unwrap() error { return e.Err }

// With gives an error a code.
func With(code int, err error) error { return &Error{Code: code, Err: err} }

// Usagef is an error of wrong use.
func Usagef(format string, args ...any) error {
	return &Error{Code: Usage, Err: fmt.Errorf(format, args...)}
}

// FlagError says what is wrong with a command line: the value of a flag, or a name that
// is not known, with the flags there are.
func FlagError(cmd *cobra.Command, err error) error {
	if e, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return RefusedValue("--"+e.GetFlag().Name, err)
	}
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return missingValue(e)
	}
	text := err.Error()
	if strings.HasPrefix(text, "unknown flag") || strings.HasPrefix(text, "unknown shorthand flag") {
		return Usagef("%s; %s", text, suggestFlag(cmd, text))
	}
	return &Error{Code: Usage, Err: errors.New(text)}
}

// formerFlags are names that people try and that stand for another flag.
var formerFlags = map[string]string{"url": "server", "target": "url"}

func suggestFlag(cmd *cobra.Command, text string) string {
	name := strings.Trim(text[strings.LastIndex(text, ":")+1:], " -")
	if renamed := formerFlags[name]; cmd.Flags().Lookup(renamed) != nil {
		return fmt.Sprintf("did you mean --%s?", renamed)
	}
	if best := Nearest(name, FlagNames(cmd.Flags())); best != "" {
		return fmt.Sprintf("did you mean --%s?", best)
	}
	return fmt.Sprintf("\"%s --help\" lists them", cmd.CommandPath())
}

// Nearest returns the name within two edits of the word, or one that it begins.
func Nearest(word string, names []string) string {
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

// FlagNames are the names of a set of flags.
func FlagNames(f *pflag.FlagSet) []string {
	var names []string
	f.VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
	return names
}
