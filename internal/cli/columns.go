package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// table prints rows in aligned columns that fit a width. The choice of columns depends only
// on their names: the same command always shows the same columns.
type table struct {
	out     io.Writer
	columns []string
	width   int  // columns of characters; 0: as wide as it gets
	short   bool // heads are short
	gap     int  // between columns, on this page
}

// Gaps between columns, in spaces: narrow where a wide gap would truncate a cell.
const (
	wideGap   = 2
	narrowGap = 1
)

// dispensable are the columns that are dropped if there is no room, in this order.
var dispensable = []string{"address", "last_used_at", "expires_at", "next_attempt_at", "endpoint", "created_at", "ended_at", "disabled_reason", "profile", "test", "event_types", "verification.state", "last_error", "accepted_at", "url", "message"}

// shortHeads replace names that are longer than the values of their columns.
var shortHeads = map[string]string{"last_status": "LAST", "attempts": "TRIES", "number": "#", "duration_ms": "MS", "processed": "DONE", "delivered": "OK", "event_types": "TYPES", "verification.state": "VERIFIED"}

// roomOf is the smallest useful width of a column, if it is not that of its head.
var roomOf = map[string]int{"id": 36, "endpoint": 36, "event": 36, "url": 20, "last_error": 16, "error": 12, "message": 24, "state": 9, "kind": 9, "duration_ms": 6, "reason": 13, "tenant": 8, "type": 8, "name": 8, "partner": 8, "user": 8}

// flexible columns may be cut; ids, times, numbers and words are shown whole.
var flexible = []string{"tenant", "name", "url", "event_types", "event_type", "type", "description", "user", "partner", "last_error", "error", "profile"}

// wrapped columns are sentences, which continue on the next line. They come last.
var wrapped = []string{"message", "description"}

// newTable makes a table of the columns; wide shows all of them, whole.
func newTable(out io.Writer, columns []string, wide bool) *table {
	t := &table{out: out, columns: slices.Clone(columns)}
	if wide {
		return t
	}
	t.width, t.short = widthOf(out), true
	for _, name := range dispensable {
		if t.least() <= t.width {
			break
		}
		if name == "endpoint" && t.columns[0] == "endpoint" || name == "url" && !slices.Contains(t.columns, "message") {
			continue // it is what the row is about
		}
		t.columns = slices.DeleteFunc(t.columns, func(c string) bool { return c == name })
	}
	return t
}

func (t *table) head(column string) string {
	if short := shortHeads[column]; short != "" && t.short {
		return short
	}
	return strings.ToUpper(column)
}

// least is the width that the columns need at least.
func (t *table) least() int {
	n := wideGap * (len(t.columns) - 1)
	for _, c := range t.columns {
		room := max(utf8.RuneCountInString(t.head(c)), roomOf[c])
		if strings.HasSuffix(c, "_at") || c == "at" {
			room = len("2026-11-21T22:00:00Z")
		}
		n += room
	}
	return n
}

// print writes rows, with a head if it is the first page.
func (t *table) print(rows []json.RawMessage, head bool) error {
	var lines [][]string
	if head {
		var heads []string
		for _, c := range t.columns {
			heads = append(heads, t.head(c))
		}
		lines = append(lines, heads)
	}
	for _, row := range rows {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(row, &members); err != nil {
			return fmt.Errorf("read row: %w", err)
		}
		var cells []string
		for _, c := range t.columns {
			cells = append(cells, cell(memberAt(members, c)))
		}
		lines = append(lines, cells)
	}
	widths := t.fit(lines)
	var b strings.Builder
	for _, cells := range lines {
		t.line(&b, cells, widths)
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

// fit are the widths of the columns for these cells: as wide as they are, and if that is
// too much, the widest of those that may be cut less.
func (t *table) fit(lines [][]string) []int {
	widths := make([]int, len(t.columns))
	total := 0
	for i := range t.columns {
		for _, cells := range lines {
			widths[i] = max(widths[i], utf8.RuneCountInString(cells[i]))
		}
		total += widths[i]
	}
	gaps := len(t.columns) - 1
	if t.gap = wideGap; t.width > 0 && total+gaps*wideGap > t.width {
		t.gap = narrowGap
	}
	for total += gaps * t.gap; t.width > 0 && total > t.width; {
		widest := -1
		for i, c := range t.columns {
			last := i == len(t.columns)-1
			if (slices.Contains(flexible, c) || last && slices.Contains(wrapped, c)) && widths[i] > 8 && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
		total--
	}
	return widths
}

// line writes one row; a sentence at its end goes on below.
func (t *table) line(b *strings.Builder, cells []string, widths []int) {
	last := len(cells) - 1
	indent := 0
	for i, text := range cells {
		if i < last {
			text = cut(text, widths[i])
			b.WriteString(text)
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+t.gap))
			indent += widths[i] + t.gap
			continue
		}
		if !slices.Contains(wrapped, t.columns[i]) {
			b.WriteString(cut(text, widths[i]))
			break
		}
		for n, part := range wrap(text, max(widths[i], 1)) {
			if n > 0 {
				b.WriteString("\n" + strings.Repeat(" ", indent))
			}
			b.WriteString(part)
		}
	}
	b.WriteByte('\n')
}

// cut truncates a text to a width in characters and marks the end with an ellipsis.
func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(width-1, 0)]) + "…"
}

// wrap breaks a text at its spaces into lines of at most so many characters.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		for utf8.RuneCountInString(word) > width {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			runes := []rune(word)
			lines, word = append(lines, string(runes[:width])), string(runes[width:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
