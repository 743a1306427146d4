package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/hook"
)

// nouns of the API, each a command.
var nouns = []noun{tenantNoun, keyNoun, endpointNoun, eventNoun, eventTypeNoun, deliveryNoun, replayNoun, partnerUserNoun, portalNoun, auditNoun, masterKeyNoun, eraseNoun}

// newNouns returns the commands that call the API.
func newNouns() []*cobra.Command {
	var all []*cobra.Command
	for _, n := range nouns {
		cmd := &cobra.Command{
			Use: n.name, Short: n.short, Args: NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		}
		for _, v := range n.verbs {
			cmd.AddCommand(newVerb(v))
		}
		if n.name == eventTypeNoun.name {
			cmd.AddCommand(newApplyTypes(), newExportTypes(), newImportTypes(), newDiffTypes())
		}
		if n.name == eventNoun.name {
			publish := newSend()
			publish.Use, publish.Short = "publish", `Publish an event; same as "posthorn send"`
			publish.Example = strings.ReplaceAll(publish.Example, "posthorn send", "posthorn event publish")
			cmd.AddCommand(publish)
		}
		all = append(all, cmd)
	}
	return all
}

// call is one verb with its arguments and flags.
type call struct {
	verb
	cmd    *cobra.Command
	server func() (*server, error)
	arg    string
	body   string
	reset  []string
	once   string
	cursor string
	limit  int
	all    bool
	asJSON bool
	wide   bool
	yes    bool
	noWait bool
	wait   bool
}

func newVerb(v verb) *cobra.Command {
	cmd := &cobra.Command{Use: v.name, Short: v.short, Example: v.example, Args: NoArgs}
	if v.arg != "" {
		cmd.Use += " " + v.arg
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return exit.Usagef("%s takes one %s", cmd.CommandPath(), v.arg)
			}
			return nil
		}
	}
	c := &call{verb: v, cmd: cmd, server: serverFlags(cmd)}
	for _, p := range v.params {
		c.addFlag(p)
	}
	f := cmd.Flags()
	f.BoolVar(&c.asJSON, "json", false, "print the response as JSON")
	if v.columns != nil {
		f.IntVar(&c.limit, "limit", 50, "rows per page, 1 to 250")
		f.StringVar(&c.cursor, "cursor", "", "cursor to start from: next_cursor of the previous page")
		f.BoolVar(&c.all, "all", false, "list all pages; waits if the server limits the request rate")
	}
	if v.columns != nil || v.tables != nil {
		f.BoolVar(&c.wide, "wide", false, "show all columns in full instead of fitting the terminal or 80 characters")
	}
	if v.method == http.MethodDelete || v.asks {
		f.BoolVarP(&c.yes, "yes", "y", false, "skip the confirmation; required without a terminal")
	}
	if c.writes() {
		f.StringVar(&c.body, "body", "", "request body: a JSON object, @FILE, or - for standard input; other flags override its fields")
	}
	if v.method == http.MethodPatch && v.fixed == nil {
		f.StringSliceVar(&c.reset, "reset", nil, "comma-separated fields to reset to their defaults, such as description")
	}
	if v.waits {
		f.BoolVar(&c.noWait, "no-wait", false, "do not wait for the outcome")
	}
	if v.follows != nil {
		f.BoolVar(&c.wait, "wait", false, "wait until the job ends, and show its progress")
	}
	if v.once {
		f.StringVar(&c.once, "idempotency-key", "", "idempotency key: repeating the command with the same key has no further effect")
	}
	completeFromServer(cmd, c.server)
	if list, _, one := strings.Cut(v.path, "/{}"); v.arg != "" && one {
		complete := completeIDs(list, c.server)
		cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return complete(cmd, args, begun)
		}
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			c.arg = args[0]
		}
		return c.run()
	}
	return cmd
}

// writes reports whether the request has a body.
func (c *call) writes() bool {
	return c.method != http.MethodGet && (len(c.params) > 0 || c.fixed != nil || c.argMember != "")
}

func (c *call) addFlag(p param) {
	f := c.cmd.Flags()
	switch p.kind {
	case asList:
		f.StringSlice(p.flag, nil, p.usage)
	case asPairs:
		f.StringArray(p.flag, nil, p.usage)
	case asSwitch:
		f.Bool(p.flag, false, p.usage)
	default:
		f.String(p.flag, "", p.usage)
	}
	completeFlag(c.cmd, p.flag, p.values)
}

// completeFlag registers fixed values for shell completion.
func completeFlag(cmd *cobra.Command, flag string, values []string) {
	if len(values) > 0 {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails on an unknown flag only
	}
}

// firstOf returns the first text that is not empty.
func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

func (c *call) run() error {
	path := strings.ReplaceAll(c.path, "{}", url.PathEscape(c.arg))
	members, err := c.members()
	if err != nil {
		return err
	}
	if err := c.complete(members); err != nil {
		return err
	}
	query, err := c.query(members)
	if err != nil {
		return err
	}
	api, err := c.server()
	if err != nil {
		return err
	}
	if c.columns != nil {
		return c.list(api, path, query)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var body any
	if c.writes() {
		body = objectOf(members)
	}
	if err := c.confirm(api); err != nil {
		return err
	}
	note := ""
	if c.before != nil && !c.asJSON {
		note = c.before(c, api)
	}
	var answer json.RawMessage
	if err := api.Do(c.cmd.Context(), c.method, path, c.once, body, &answer); err != nil {
		return api.refused(c.enabling(api, err, members))
	}
	if c.wait {
		if answer, err = c.follow(api, answer); err != nil {
			return err
		}
	}
	if err := c.print(answer, note); err != nil {
		return err
	}
	if c.waits && !c.noWait && !c.asJSON {
		return c.outcome(api, answer)
	}
	if members["even_if_disabled"] != nil && !c.asJSON {
		return c.retried(api, answer)
	}
	return nil
}

// confirm asks before something is deleted. Without a terminal it requires --yes.
func (c *call) confirm(api *server) error {
	if c.method != http.MethodDelete && !c.asks || c.yes {
		return nil
	}
	in := c.cmd.InOrStdin()
	if !IsTerminal(in) {
		return exit.Usagef("%s asks for confirmation and there is no terminal; add --yes", c.cmd.CommandPath())
	}
	question := fmt.Sprintf("%s. %s %s at %s: continue?", c.short, strings.TrimPrefix(c.cmd.CommandPath(), "posthorn "), PlainText(c.arg), api.URL)
	yes, err := askYes(c.cmd.Context(), in, c.cmd.ErrOrStderr(), question)
	if err != nil {
		return err
	}
	if !yes {
		return exit.With(exit.Failed, errors.New("nothing was done"))
	}
	return nil
}

// complete checks the required flags before anything is sent: a wrong server must not
// get a request with the key.
func (c *call) complete(members map[string]json.RawMessage) error {
	for _, p := range c.params {
		if _, given := members[p.name()]; p.required && !given {
			return exit.Usagef("--%s is required", p.flag)
		}
	}
	return nil
}

// print writes the response to standard output, and notes about it to standard error.
func (c *call) print(answer json.RawMessage, note string) error {
	out := c.cmd.OutOrStdout()
	if len(answer) == 0 && c.done == "" {
		return errNotPosthorn
	}
	switch {
	case c.asJSON && len(answer) == 0:
		return nil
	case c.asJSON:
		_, err := fmt.Fprintf(out, "%s\n", answer)
		return err
	case len(answer) == 0:
		_, err := fmt.Fprintf(out, c.done+"\n", PlainText(c.arg))
		return err
	}
	warnings, err := printThing(out, answer, c.tables, c.empty, c.wide)
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		fmt.Fprintln(c.cmd.ErrOrStderr(), "warning: "+PlainText(warning.Message))
	}
	if c.told != nil {
		note = c.told(answer)
	}
	if note = firstOf(note, strings.ReplaceAll(c.note, "{}", PlainText(c.arg))); note != "" {
		fmt.Fprintln(c.cmd.ErrOrStderr(), note)
	}
	return nil
}

// members returns the values of the flags as JSON, by member.
func (c *call) members() (map[string]json.RawMessage, error) {
	members := map[string]json.RawMessage{}
	stdin := &onceReader{in: c.cmd.InOrStdin()}
	if c.body != "" {
		text, err := readObject(stdin, "body", c.body)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &members); err != nil {
			return nil, exit.Usagef("--body: %w", err)
		}
	}
	if c.argMember != "" {
		members[c.argMember] = quoted(c.arg)
	}
	for name, value := range c.fixed {
		members[name] = json.RawMessage(value)
	}
	for _, name := range c.reset {
		members[name] = json.RawMessage("null")
	}
	for _, p := range c.params {
		if !c.cmd.Flags().Changed(p.flag) {
			continue
		}
		value, err := c.value(p, stdin)
		if err != nil {
			return nil, err
		}
		if value != nil {
			members[p.name()] = value
		}
	}
	if c.method == http.MethodPatch && len(members) == 0 {
		return nil, exit.Usagef("nothing to change: give at least one flag; \"%s --help\" lists them", c.cmd.CommandPath())
	}
	return members, nil
}

// value reads one flag that was given. It returns nil for a switch that is off.
func (c *call) value(p param, stdin io.Reader) (json.RawMessage, error) {
	f := c.cmd.Flags()
	switch p.kind {
	case asList:
		list, err := f.GetStringSlice(p.flag)
		if err != nil {
			return nil, err
		}
		return p.entries(list)
	case asPairs:
		list, err := f.GetStringArray(p.flag)
		if err != nil {
			return nil, err
		}
		pairs := map[string]string{}
		for _, pair := range list {
			name, value, ok := strings.Cut(pair, ":")
			if name = strings.TrimSpace(name); !ok || name == "" {
				return nil, exit.Usagef("--%s: %q must be \"name:value\"", p.flag, pair)
			}
			pairs[name] = strings.TrimSpace(value)
		}
		return encode(pairs)
	case asSwitch:
		if on, err := f.GetBool(p.flag); err != nil || !on {
			return nil, err
		}
		return json.RawMessage(p.sets), nil
	}
	text, err := f.GetString(p.flag)
	if err != nil {
		return nil, err
	}
	switch p.kind {
	case asNumber:
		if _, err := strconv.ParseFloat(text, 64); err != nil || !json.Valid([]byte(text)) {
			return nil, exit.Usagef("--%s: %q is not a number", p.flag, text)
		}
		return json.RawMessage(text), nil
	case asObject:
		return readObject(stdin, p.flag, text)
	case asExpiry:
		if left, err := duration.Parse(text); err == nil {
			text = time.Now().Add(left).UTC().Format(time.RFC3339Nano)
		} else if _, err := hook.ParseTime(text); err != nil {
			return nil, exit.Usagef("--%s: %q is neither a duration from now such as 90d or 12h nor a time such as 2026-11-21T22:00:00Z", p.flag, text)
		}
	case asTime:
		if ago, err := duration.Parse(text); err == nil {
			text = time.Now().Add(-ago).UTC().Format(time.RFC3339Nano)
		} else if _, err := hook.ParseTime(text); err != nil {
			return nil, exit.Usagef("--%s: %q is neither a time such as 2026-11-21T22:00:00Z nor a duration such as 24h or 7d, that long ago", p.flag, text)
		}
	case asDuration:
		d, err := duration.Parse(text)
		if err != nil {
			return nil, exit.Usagef("--%s: %w", p.flag, err)
		}
		text = d.String()
	case asSecret:
		if text, err = readSecret(stdin, p.flag, text); err != nil {
			return nil, err
		}
	}
	return encode(text)
}

// entries checks and encodes the entries of a list, without spaces around them.
func (p param) entries(list []string) (json.RawMessage, error) {
	entries := []string{}
	for _, entry := range list {
		entry = strings.TrimSpace(entry)
		if p.entry != nil && !p.entry(entry) {
			return nil, exit.Usagef("--%s: the entry %q is not %s", p.flag, entry, p.entryIs)
		}
		entries = append(entries, entry)
	}
	return encode(entries)
}

func encode(v any) (json.RawMessage, error) { return json.Marshal(v) }

// objectOf writes members sorted by name, each unchanged: the same command sends the same
// body, which an Idempotency-Key relies on.
func objectOf(members map[string]json.RawMessage) json.RawMessage {
	var names []string
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	body := json.RawMessage{'{'}
	for i, name := range names {
		if i > 0 {
			body = append(body, ',')
		}
		quoted, _ := json.Marshal(name) // a string: cannot fail
		body = append(append(append(body, quoted...), ':'), members[name]...)
	}
	return append(body, '}')
}

// query moves the members that belong in the query out of members.
func (c *call) query(members map[string]json.RawMessage) (url.Values, error) {
	query := url.Values{}
	for _, p := range c.params {
		name := p.name()
		value, given := members[name]
		if !given || !p.query && c.method != http.MethodGet {
			continue
		}
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return nil, err
		}
		query.Set(name, text)
		delete(members, name)
	}
	return query, nil
}

// name returns the name of the member or query parameter.
func (p param) name() string { return firstOf(p.member, strings.ReplaceAll(p.flag, "-", "_")) }

// onceReader is standard input, which only one flag may read.
type onceReader struct {
	in   io.Reader
	used bool
}

// Read reads and marks the input as used.
func (r *onceReader) Read(b []byte) (int, error) {
	r.used = true
	return r.in.Read(b)
}

// readSecret reads a secret given literally, as @FILE, or as - for standard input. It
// strips the line feed at the end.
func readSecret(stdin io.Reader, flag, arg string) (string, error) {
	text, err := readGiven(stdin, flag, arg)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", exit.Usagef("--%s: the secret is empty", flag)
	}
	return secret, nil
}

// readObject reads a JSON object given literally, as @FILE, or as - for standard input.
func readObject(stdin io.Reader, flag, arg string) (json.RawMessage, error) {
	text, err := readGiven(stdin, flag, arg)
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil || object == nil {
		return nil, exit.Usagef("--%s: not a JSON object such as %s%s", flag, firstOf(objectExamples[flag], `{"id": "p_1"}`), jsonFault(err))
	}
	return text, nil
}

// readGiven reads the value of a flag: the text itself, @FILE, or - for standard input. It
// reads at most maxData bytes.
func readGiven(stdin io.Reader, flag, arg string) ([]byte, error) {
	text := []byte(arg)
	var err error
	switch {
	case arg == "-":
		if taken, ok := stdin.(*onceReader); ok && taken.used {
			return nil, exit.Usagef("--%s: standard input is already read by another flag", flag)
		}
		text, err = readFile(stdin, "-", maxData)
	case strings.HasPrefix(arg, "@"):
		text, err = readPath(arg[1:], maxData)
	}
	if err != nil {
		return nil, exit.Usagef("--%s: %w", flag, err)
	}
	if len(text) > maxData {
		return nil, exit.Usagef("--%s: longer than %d bytes", flag, maxData)
	}
	return text, nil
}

// objectExamples are examples for the flags that do not take an arbitrary object.
var objectExamples = map[string]string{
	"retry":  `{"steps": ["5s", "1m"]}`,
	"schema": `{"type": "object"}`,
	"body":   `{"name": "value"}`,
}

// jsonFault describes a syntax error with its position; empty if the text is valid JSON.
func jsonFault(err error) string {
	fault, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return ""
	}
	return fmt.Sprintf(": byte %d: %v", fault.Offset, fault)
}
