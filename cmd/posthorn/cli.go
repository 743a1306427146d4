package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
)

// newNouns are the commands that call the API.
func newNouns() []*cobra.Command {
	var all []*cobra.Command
	for _, n := range []noun{tenantNoun, keyNoun, endpointNoun, eventNoun, eventTypeNoun, deliveryNoun} {
		cmd := &cobra.Command{
			Use: n.name, Short: n.short, Args: noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		}
		for _, v := range n.verbs {
			cmd.AddCommand(newVerb(v))
		}
		if n.name == eventNoun.name {
			publish := newSend()
			publish.Use, publish.Short = "publish", `Publish one event; the same as "posthorn send"`
			publish.Example = strings.ReplaceAll(publish.Example, "posthorn send", "posthorn event publish")
			cmd.AddCommand(publish)
		}
		all = append(all, cmd)
	}
	return all
}

// call is one verb with what the command line says.
type call struct {
	verb
	cmd    *cobra.Command
	server func() (*client.Client, error)
	arg    string
	body   string
	reset  []string
	once   string
	cursor string
	limit  int
	all    bool
	asJSON bool
}

func newVerb(v verb) *cobra.Command {
	cmd := &cobra.Command{Use: v.name, Short: v.short, Example: v.example, Args: noArgs}
	if v.arg != "" {
		cmd.Use += " " + v.arg
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return usage("%s takes one %s", cmd.CommandPath(), v.arg)
			}
			return nil
		}
	}
	c := &call{verb: v, cmd: cmd, server: serverFlags(cmd)}
	for _, p := range v.params {
		c.addFlag(p)
	}
	f := cmd.Flags()
	f.BoolVar(&c.asJSON, "json", false, "print the server's answer as it is")
	if v.columns != nil {
		f.IntVar(&c.limit, "limit", 50, "rows of a page, 1 to 250")
		f.StringVar(&c.cursor, "cursor", "", "where to go on: next_cursor of the page before")
		f.BoolVar(&c.all, "all", false, "go on to the end of the list")
	}
	if c.writes() {
		f.StringVar(&c.body, "body", "", "the whole request body as JSON, @FILE, or - for standard input; flags are laid over it")
	}
	if v.method == http.MethodPatch && v.fixed == nil {
		f.StringSliceVar(&c.reset, "reset", nil, "members to set back to their defaults, such as title,retry")
	}
	if v.once {
		f.StringVar(&c.once, "idempotency-key", "", "repeat the command with the same key and it happens once")
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
	return c.method != http.MethodGet && (len(c.params) > 0 || c.fixed != nil)
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

// completeFlag offers fixed values to the shell.
func completeFlag(cmd *cobra.Command, flag string, values []string) {
	if len(values) > 0 {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails on an unknown flag only
	}
}

// serverFlags adds the flags that name the server, and returns what makes a client
// of them.
func serverFlags(cmd *cobra.Command) func() (*client.Client, error) {
	address := cmd.Flags().String("url", "", "server (POSTHORN_URL); empty: "+defaultURL)
	key := cmd.Flags().String("key", "", "key of the API (POSTHORN_KEY)")
	return func() (*client.Client, error) {
		c := &client.Client{URL: firstOf(*address, os.Getenv("POSTHORN_URL"), defaultURL), Key: firstOf(*key, os.Getenv("POSTHORN_KEY"))}
		if c.Key == "" {
			return nil, usage("--key or POSTHORN_KEY is required")
		}
		return c, checkURL(c.URL)
	}
}

const defaultURL = "http://127.0.0.1:8080"

func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usage("--url: %q is not an address such as %s", text, defaultURL)
	}
	return nil
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
	api, err := c.server()
	if err != nil {
		return err
	}
	path := strings.ReplaceAll(c.path, "{}", url.PathEscape(c.arg))
	members, err := c.members()
	if err != nil {
		return err
	}
	query, err := c.query(members)
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
	var answer json.RawMessage
	if err := api.Do(c.cmd.Context(), c.method, path, c.once, body, &answer); err != nil {
		return refused(err)
	}
	return c.print(answer)
}

func (c *call) print(answer json.RawMessage) error {
	out := c.cmd.OutOrStdout()
	switch {
	case c.asJSON && len(answer) == 0:
		return nil
	case c.asJSON:
		_, err := fmt.Fprintf(out, "%s\n", answer)
		return err
	case len(answer) == 0:
		_, err := fmt.Fprintf(out, c.done+"\n", plainText(c.arg))
		return err
	}
	if err := printThing(out, answer, c.tables); err != nil {
		return err
	}
	if c.note != "" {
		fmt.Fprintln(c.cmd.ErrOrStderr(), c.note)
	}
	return nil
}

// members are what the flags say, by member, as JSON.
func (c *call) members() (map[string]json.RawMessage, error) {
	members := map[string]json.RawMessage{}
	stdin := &onceReader{in: c.cmd.InOrStdin()}
	if c.body != "" {
		text, err := readObject(stdin, "body", c.body)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &members); err != nil {
			return nil, usage("--body: %w", err)
		}
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
		return nil, usage("nothing to change: name at least one flag; \"%s --help\" lists them", c.cmd.CommandPath())
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
		return encode(append([]string{}, list...))
	case asPairs:
		list, err := f.GetStringArray(p.flag)
		if err != nil {
			return nil, err
		}
		pairs := map[string]string{}
		for _, pair := range list {
			name, value, ok := strings.Cut(pair, ":")
			if !ok {
				return nil, usage("--%s: give it as \"Name: value\"", p.flag)
			}
			pairs[strings.TrimSpace(name)] = strings.TrimSpace(value)
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
			return nil, usage("--%s: %q is not a number", p.flag, text)
		}
		return json.RawMessage(text), nil
	case asObject:
		return readObject(stdin, p.flag, text)
	case asTime:
		if ago, err := time.ParseDuration(text); err == nil {
			text = time.Now().Add(-ago).UTC().Format(time.RFC3339Nano)
		}
	}
	return encode(text)
}

func encode(v any) (json.RawMessage, error) { return json.Marshal(v) }

// objectOf writes members in the order of their names, each byte for byte: the same
// command sends the same body, which an Idempotency-Key relies on.
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

// query takes out of the members what goes into the query.
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

// name is that of the member or query parameter.
func (p param) name() string { return firstOf(p.member, strings.ReplaceAll(p.flag, "-", "_")) }

// onceReader is standard input, which only one flag can have.
type onceReader struct {
	in   io.Reader
	used bool
}

// Read marks the input as taken.
func (r *onceReader) Read(b []byte) (int, error) {
	r.used = true
	return r.in.Read(b)
}

// readObject reads a JSON object given as it is, as @FILE, or as - for standard input.
func readObject(stdin io.Reader, flag, arg string) (json.RawMessage, error) {
	text := []byte(arg)
	var err error
	switch {
	case arg == "-":
		if taken, ok := stdin.(*onceReader); ok && taken.used {
			return nil, usage("--%s: standard input is read by another flag already", flag)
		}
		text, err = readFile(stdin, "-", maxData)
	case strings.HasPrefix(arg, "@"):
		text, err = readPath(arg[1:], maxData)
	}
	if err != nil {
		return nil, usage("--%s: %w", flag, err)
	}
	if len(text) > maxData {
		return nil, usage("--%s: longer than %d bytes", flag, maxData)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(text, &object); err != nil || object == nil {
		return nil, usage("--%s: not a JSON object", flag)
	}
	return text, nil
}

// nextSteps say what to do about a refusal, by its code.
var nextSteps = map[string]string{
	"unauthorized":           "check POSTHORN_KEY",
	"forbidden":              "this needs a key of another kind; an operator may do everything",
	"not_found":              "check the id, and that the key is of the right mode and tenant",
	"tenant_not_found":       "\"posthorn tenant list\" shows the tenants",
	"endpoint_disabled":      "\"posthorn endpoint enable ID\" enables it",
	"idempotency_key_reused": "take a new --idempotency-key for another request",
}

// refused gives an answer of the server its own exit code and a next step.
func refused(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	p, ok := errors.AsType[*client.Problem](err)
	if !ok {
		return exitWith(exitUnreachable, fmt.Errorf("%w; is the server running, and is POSTHORN_URL right?", err))
	}
	switch next := nextSteps[p.Code]; {
	case next != "":
		return exitWith(exitRefused, fmt.Errorf("%w; %s", p, next))
	case p.RetryAfter > 0:
		return exitWith(exitRefused, fmt.Errorf("%w; try again in %v", p, p.RetryAfter))
	}
	return exitWith(exitRefused, p)
}
