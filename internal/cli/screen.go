package cli

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/posthorn/posthorn/internal/exit"
)

// Screen is the writer of the commands. It escapes characters that do not print, other
// than line feed and tab, as \u and four digits: no text of a server, a payload or a
// receiver reaches the terminal as a control sequence. JSON keeps its meaning, because it
// allows such characters only in strings. It is safe for concurrent use.
type Screen struct {
	mu   sync.Mutex
	to   io.Writer
	rest []byte // the beginning of a character whose end was not written yet
}

// NewScreen returns a Screen that writes to w.
func NewScreen(w io.Writer) *Screen { return &Screen{to: w} }

// Write writes text that is UTF-8; bytes that are not become U+FFFD.
func (s *Screen) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append(s.rest, text...)
	whole := len(all)
	for n := 1; n < utf8.UTFMax && n <= len(all); n++ {
		if utf8.RuneStart(all[len(all)-n]) {
			if !utf8.FullRune(all[len(all)-n:]) {
				whole = len(all) - n
			}
			break
		}
	}
	s.rest = bytes.Clone(all[whole:])
	if _, err := s.to.Write(shownText(all[:whole])); err != nil {
		return 0, err
	}
	return len(text), nil
}

func shownText(text []byte) []byte {
	plain := func(r rune) bool { return r == '\n' || r == '\t' || r != utf8.RuneError && unicode.IsPrint(r) }
	if bytes.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	var out []byte
	for _, r := range string(text) {
		if plain(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, "\\u%04x", unit)
		}
	}
	return out
}

// mayBeEmpty are the flags that commands that create or update accept empty: display
// texts, and a filter that matches nothing.
var mayBeEmpty = []string{"name", "title", "description", "event-types"}

// notEmpty returns an error for a flag with an empty value, such as that of an unset
// variable, because the command would do more than was meant.
func notEmpty(cmd *cobra.Command) error {
	var empty []string
	writes := cmd.Name() == "create" || cmd.Name() == "update"
	cmd.Flags().Visit(func(f *pflag.Flag) {
		list, isList := f.Value.(pflag.SliceValue)
		none := isList && strings.Join(list.GetSlice(), "") == "" || f.Value.Type() == "string" && f.Value.String() == ""
		if none && !(writes && slices.Contains(mayBeEmpty, f.Name)) {
			empty = append(empty, f.Name)
		}
	})
	if len(empty) > 0 {
		return exit.Usagef("--%s is empty; give a value or leave out the flag", empty[0])
	}
	return nil
}
