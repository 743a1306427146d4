package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/posthorn/posthorn/client"
)

// list prints one page, or each page as it arrives: memory does not grow with the length
// of the list.
func (c *call) list(api *server, path string, query url.Values) error {
	query.Set("limit", strconv.Itoa(c.limit))
	if c.cursor != "" {
		query.Set("cursor", c.cursor)
	}
	out := c.cmd.OutOrStdout()
	w := newTable(out, c.columns, c.wide)
	progress := &Progress{}
	if !IsTerminal(out) { // on a terminal the rows show the progress
		progress = NewProgress(c.cmd.ErrOrStderr(), progressEvery)
	}
	defer progress.Done()
	waits := patience{left: longestWait, say: c.cmd.ErrOrStderr()}
	for rows := 0; ; {
		var answer json.RawMessage
		if err := api.Do(c.cmd.Context(), c.method, path+"?"+query.Encode(), "", nil, &answer); err != nil {
			if c.all && waits.out(c.cmd.Context(), err) {
				continue
			}
			if rows > 0 {
				fmt.Fprintf(c.cmd.ErrOrStderr(), "The list stopped after row %d; --cursor %s%s continues it.\n", rows, PlainText(query.Get("cursor")), spanFlags(query))
			}
			return api.refused(err)
		}
		var page client.Page[json.RawMessage]
		if err := json.Unmarshal(answer, &page); err != nil || page.Data == nil {
			return errNotPosthorn
		}
		next := ""
		if page.NextCursor != nil {
			next = *page.NextCursor
		}
		if next != "" && next == query.Get("cursor") {
			return errors.New("the server returned the same cursor twice")
		}
		last := next == "" || !c.all
		var err error
		switch {
		case c.asJSON && c.all:
			err = joinPage(out, page.Data, rows == 0, last)
		case c.asJSON:
			_, err = fmt.Fprintf(out, "%s\n", answer)
		default:
			err = w.print(page.Data, rows == 0)
		}
		if err != nil {
			return err
		}
		if rows += len(page.Data); last {
			if page.Scanned > 0 && page.Until != nil && !c.asJSON {
				fmt.Fprintf(c.cmd.ErrOrStderr(), "Looked at %d events, back to %s.\n", page.Scanned, onScreen(page.Until.Time))
			}
			if next != "" && !c.asJSON {
				fmt.Fprintf(c.cmd.ErrOrStderr(), "There are more rows: --all lists all of them, --cursor %s%s continues.\n", PlainText(next), spanFlags(query))
			}
			return nil
		}
		progress.Say("%d rows so far", rows)
		query.Set("cursor", next)
	}
}

// progressEvery is the shortest interval between changes of a progress line.
const progressEvery = 200 * time.Millisecond

// longestWait is how long a command that reads a whole list waits in total for a server
// that limits the request rate: enough for some hundred thousand pages at the usual limit.
const longestWait = time.Hour

// patience is the rest of longestWait.
type patience struct {
	left time.Duration
	told bool
	say  io.Writer
}

// out waits for the Retry-After of the server if the request was rate limited and enough
// patience is left. It reports whether to retry.
func (p *patience) out(ctx context.Context, err error) bool {
	limited, ok := errors.AsType[*client.Problem](err)
	if !ok || limited.Status != http.StatusTooManyRequests || limited.RetryAfter <= 0 || limited.RetryAfter > p.left {
		return false
	}
	if !p.told {
		fmt.Fprintf(p.say, "The server limits the request rate of this key: waiting %v now, and %v in total at most.\n", limited.RetryAfter, longestWait)
		p.told = true
	}
	p.left -= limited.RetryAfter
	timer := time.NewTimer(limited.RetryAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// spanFlags returns the time range of a list as flags with absolute times. A cursor is
// valid only for the same range, and a duration gives another range each time.
func spanFlags(query url.Values) string {
	text := ""
	for _, name := range []string{"after", "before"} {
		if query.Has(name) {
			text += " --" + name + " " + query.Get(name)
		}
	}
	return text
}

// joinPage writes the rows of several pages as one page in the server's format.
func joinPage(out io.Writer, rows []json.RawMessage, first, last bool) error {
	var b bytes.Buffer
	if first {
		b.WriteString(`{"data":[`)
	}
	for i, row := range rows {
		if i > 0 || !first {
			b.WriteByte(',')
		}
		b.Write(row)
	}
	if last {
		b.WriteString("],\"next_cursor\":null}\n")
	}
	_, err := out.Write(b.Bytes())
	return err
}

// memberAt returns a member, or with a dot in the name a member of a member.
func memberAt(members map[string]json.RawMessage, name string) json.RawMessage {
	outer, inner, nested := strings.Cut(name, ".")
	if !nested {
		return members[name]
	}
	var in map[string]json.RawMessage
	if json.Unmarshal(members[outer], &in) != nil {
		return nil
	}
	return in[inner]
}

// printThing writes one object, one member per line in the order of the server, and then
// its lists of objects as tables. It returns the warnings of the object. If the server
// omits the member named empty, it is shown as an empty object, unless retention removed it.
func printThing(out io.Writer, answer json.RawMessage, tables map[string][]string, empty string, wide bool) (warnings []client.Warning, err error) {
	names, members, err := orderedMembers(answer)
	if err != nil || len(names) == 0 {
		return nil, errNotPosthorn
	}
	if empty != "" && members[empty] == nil && members["payload_removed_at"] == nil {
		names, members[empty] = append(names, empty), json.RawMessage("{}")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, name := range names {
		switch {
		case name == "warnings" && json.Unmarshal(members[name], &warnings) == nil:
		case tables[name] == nil:
			printMember(w, name, members[name])
		}
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return warnings, printTables(out, names, members, tables, wide)
}

// whole are the members that are shown as JSON, not a line for each of their members.
var whole = map[string]bool{"data": true, "schema": true, "example": true, "headers": true, "retry": true}

// printMember writes a member. An object is written one member per line: health.held.
func printMember(w io.Writer, name string, value json.RawMessage) {
	names, members, err := orderedMembers(value)
	if err != nil || len(names) == 0 || whole[name] {
		fmt.Fprintf(w, "%s\t%s\n", PlainText(name), cell(value))
		return
	}
	for _, inner := range names {
		printMember(w, name+"."+inner, members[inner])
	}
}

func printTables(out io.Writer, names []string, members map[string]json.RawMessage, tables map[string][]string, wide bool) error {
	for _, name := range names {
		if tables[name] == nil {
			continue
		}
		var rows []json.RawMessage
		if err := json.Unmarshal(members[name], &rows); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		fmt.Fprintf(out, "\n%s: %d\n", name, len(rows))
		if len(rows) == 0 {
			continue
		}
		if err := newTable(out, tables[name], wide).print(rows, true); err != nil {
			return err
		}
		if name == "attempt_log" {
			if err := printAnswers(out, rows); err != nil {
				return err
			}
		}
	}
	return nil
}

// How much of each response of a receiver is shown; --json shows all that is stored.
const (
	answerLines = 12
	answerBytes = 2048
)

// printAnswers writes the response of the receiver to each attempt, and the error.
func printAnswers(out io.Writer, rows []json.RawMessage) error {
	for _, row := range rows {
		var a client.Attempt
		if err := json.Unmarshal(row, &a); err != nil {
			return errNotPosthorn
		}
		message := ""
		if a.Message != nil {
			message = *a.Message
		}
		if message == "" && a.ResponseBody == "" {
			continue
		}
		fmt.Fprintf(out, "\nattempt %d\n", a.Number)
		for _, line := range wrap(PlainText(message), widthOf(out)-2) {
			if line != "" {
				fmt.Fprintf(out, "  %s\n", line)
			}
		}
		text, more := a.ResponseBody, a.ResponseTruncated
		if len(text) > answerBytes {
			text, more = strings.ToValidUTF8(text[:answerBytes], ""), true
		}
		lines := strings.Split(strings.TrimRight(text, "\r\n"), "\n")
		if len(lines) > answerLines {
			lines, more = lines[:answerLines], true
		}
		for _, line := range lines {
			if text != "" {
				fmt.Fprintf(out, "  | %s\n", PlainText(strings.TrimRight(line, "\r")))
			}
		}
		if more {
			fmt.Fprintln(out, "  | … (--json shows the stored response)")
		}
	}
	return nil
}

func orderedMembers(object json.RawMessage) (names []string, members map[string]json.RawMessage, err error) {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, errors.New("it is not a JSON object")
	}
	members = map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		name, _ := t.(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, nil, err
		}
		names, members[name] = append(names, name), value
	}
	return names, members, nil
}

// wireInstant is a time as the server writes it.
var wireInstant = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.\d{6}Z$`)

// onScreen formats a time for display. Flags such as --after accept the format.
func onScreen(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// cell formats a value for display: no quotes, no microseconds, - for nothing.
func cell(value json.RawMessage) string {
	var text string
	var list []json.RawMessage
	switch {
	case len(value) == 0 || bytes.Equal(value, []byte("null")):
		return "-"
	case json.Unmarshal(value, &text) == nil:
		if text == "" {
			return "-"
		}
		return PlainText(wireInstant.ReplaceAllString(text, "${1}Z"))
	case json.Unmarshal(value, &list) == nil:
		parts := []string{}
		for _, item := range list {
			parts = append(parts, cell(item))
		}
		return firstOf(strings.Join(parts, ","), "(none)")
	case string(value) == "true":
		return "yes"
	case string(value) == "false":
		return "no"
	}
	return PlainText(string(value))
}

// PlainText makes a text safe for a terminal: it escapes characters that do not print, such
// as a control sequence in the response of a receiver.
func PlainText(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// Size formats a number of bytes for display, such as "1.5 MiB".
func Size(n uint64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
