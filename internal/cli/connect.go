package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/exit"
)

// DefaultURL is where a server on this machine listens.
const DefaultURL = "http://127.0.0.1:8080"

// server is a client of the API that knows where its key came from.
type server struct {
	*client.Client
	keyFrom string
}

// serverFlags adds the flags that name the server and the key, and returns a function that
// makes a client of them.
func serverFlags(cmd *cobra.Command) func() (*server, error) {
	address := cmd.Flags().String("server", "", "server URL (POSTHORN_URL, default "+DefaultURL+")")
	key := cmd.Flags().String("key", "", "API key (POSTHORN_KEY, POSTHORN_KEY_FILE)")
	name := cmd.Flags().String("context", "", "saved server and key, see \"posthorn login\" (POSTHORN_CONTEXT)")
	plain := cmd.Flags().Bool("allow-plain-http", PlainHTTPAllowed(),
		"do not warn if the key is sent over plain HTTP to another machine (POSTHORN_ALLOW_PLAIN_HTTP=true)")
	return func() (*server, error) {
		if err := notEmpty(cmd); err != nil {
			return nil, err
		}
		t, err := findTarget(*address, *key, *name)
		if err != nil {
			return nil, err
		}
		c := NewClient(t.URL, t.Key)
		if c.Key == "" {
			return nil, exit.Usagef("a key is required: use --key, POSTHORN_KEY, POSTHORN_KEY_FILE or \"posthorn login\"")
		}
		if err := CheckURL(c.URL); err != nil {
			return nil, err
		}
		if errors.Is(c.Check(), client.ErrPlainHTTP) {
			c.AllowPlainHTTP = true // container networks often have no TLS
			if !*plain && !t.PlainHTTP {
				fmt.Fprintf(cmd.ErrOrStderr(), "posthorn: warning: %s, or add --allow-plain-http if the network is trusted\n", Unencrypted(c.URL))
			}
		}
		return &server{Client: c, keyFrom: t.keyFrom}, nil
	}
}

// ServerFlags is serverFlags for commands of other packages. from says where the key came
// from, for error messages.
func ServerFlags(cmd *cobra.Command) func() (c *client.Client, from string, err error) {
	find := serverFlags(cmd)
	return func() (*client.Client, string, error) {
		s, err := find()
		if err != nil {
			return nil, "", err
		}
		return s.Client, firstOf(s.keyFrom, "POSTHORN_KEY"), nil
	}
}

// PlainHTTPAllowed reports whether the environment marks the network as trusted.
func PlainHTTPAllowed() bool { return os.Getenv("POSTHORN_ALLOW_PLAIN_HTTP") == "true" }

// Unencrypted returns a warning that the key is sent unencrypted.
func Unencrypted(address string) string {
	host := "another machine"
	if u, err := url.Parse(address); err == nil {
		host = u.Host
	}
	return "the key is sent unencrypted to " + PlainText(host) + "; use an https URL"
}

// NewClient returns a client for a command. It does not retry.
func NewClient(address, key string) *client.Client {
	return &client.Client{URL: address, Key: key, Attempts: 1, UserAgent: "posthorn/" + build.Version()}
}

// target is the server of a command, with the key for it.
type target struct {
	account
	keyFrom string // where the key came from, for error messages
}

// findTarget prefers flags to the environment, and the environment to the current context.
// A context is used only if nothing else names a server or a key, so that its key is never
// sent to another server, and no other key to its server.
func findTarget(address, key, context string) (target, error) {
	key, from, err := FindKey(key)
	if err != nil {
		return target{}, err
	}
	url := firstOf(address, os.Getenv("POSTHORN_URL"))
	named := firstOf(context, os.Getenv("POSTHORN_CONTEXT"))
	switch {
	case context != "" && (address != "" || from == "--key"):
		return target{}, exit.Usagef("--context names server and key: leave out --server and --key")
	case context == "" && (url != "" || key != ""):
		return target{account{URL: firstOf(url, DefaultURL), Key: key}, from}, nil
	}
	all, err := readContexts()
	if err != nil {
		return target{}, err
	}
	if named = firstOf(named, all.Current); named == "" {
		return target{account{URL: DefaultURL}, ""}, nil
	}
	chosen, ok := all.Contexts[named]
	if !ok {
		return target{}, exit.Usagef("there is no context %q; \"posthorn context list\" shows them, \"posthorn login %s\" creates it", named, named)
	}
	return target{chosen, fromContext + named}, nil
}

// Saved is a server and its key from a context.
type Saved struct {
	URL, Key string
	From     string // the context, for messages
	// PlainHTTP says that the network to the server is trusted.
	PlainHTTP bool
}

// FindContext returns what the commands that call the API take from a context: the named
// one, or the current one if neither flags nor the environment name a server or a key. It
// returns nil if they take nothing from one.
func FindContext(address, key, context string) (*Saved, error) {
	t, err := findTarget(address, key, context)
	if err != nil || !strings.HasPrefix(t.keyFrom, fromContext) {
		return nil, err
	}
	return &Saved{t.URL, t.Key, t.keyFrom, t.PlainHTTP}, nil
}

// fromContext begins the origin of a key that came from a context.
const fromContext = "context "

// FindKey returns the key from a flag or the environment, and where it came from. Both are
// empty if there is none.
func FindKey(flag string) (key, from string, err error) {
	if flag != "" {
		return flag, "--key", nil
	}
	if key = os.Getenv("POSTHORN_KEY"); key != "" {
		return key, "POSTHORN_KEY", nil
	}
	path := os.Getenv("POSTHORN_KEY_FILE")
	if path == "" {
		return "", "", nil
	}
	text, err := readPath(path, maxData)
	if err != nil {
		return "", "", exit.Usagef("POSTHORN_KEY_FILE: %w", err)
	}
	if key = strings.TrimRight(string(text), "\r\n"); key == "" {
		return "", "", exit.Usagef("POSTHORN_KEY_FILE: %s is empty", path)
	}
	return key, "POSTHORN_KEY_FILE", nil
}

// CheckURL returns an error about --server if the text is not the URL of a server.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return exit.Usagef("--server: %q is not an address such as %s", text, DefaultURL)
	}
	return nil
}

// nextSteps are what to do about an error of the server, by code.
var nextSteps = map[string]string{
	"forbidden":              "this needs another kind of key; an operator key has full access",
	"not_found":              "check the id, and that the key is of the right mode and tenant",
	"route_not_found":        "is --server (POSTHORN_URL) the root of the server?",
	"tenant_not_found":       "\"posthorn tenant list\" shows the tenants",
	"endpoint_disabled":      "\"posthorn endpoint enable ID\" enables it",
	"idempotency_key_reused": "use a new --idempotency-key for a different request",
}

var errNotPosthorn = exit.With(exit.Unreachable, errors.New("the response is not from a Posthorn server; is --server (POSTHORN_URL) right?"))

// refused adds the exit code and the next step to an error of the server.
func (s *server) refused(err error) error {
	if _, coded := errors.AsType[*exit.Error](err); coded || errors.Is(err, context.Canceled) {
		return err
	}
	p, ok := errors.AsType[*client.Problem](err)
	if !ok {
		return unanswered(err)
	}
	switch next := s.nextStep(p); {
	case strings.HasPrefix(p.Code, "http_"): // the response of something else, such as a proxy
		return exit.With(exit.Unreachable, fmt.Errorf("%w; is --server (POSTHORN_URL) right?", p))
	case next != "":
		return exit.With(exit.Refused, fmt.Errorf("%w; %s", p, next))
	case p.RetryAfter > 0:
		return exit.With(exit.Refused, fmt.Errorf("%w; try again in %v", p, p.RetryAfter))
	}
	return exit.With(exit.Refused, p)
}

func (s *server) nextStep(p *client.Problem) string {
	switch {
	case p.Code == "unauthorized":
		return "check " + firstOf(s.keyFrom, "POSTHORN_KEY")
	case p.Code == "tenant_not_found" && KindOf(s.Key) == "tenant":
		return "a tenant key works for its own tenant only; leave out --tenant"
	}
	return nextSteps[p.Code]
}

// unanswered distinguishes a server that does not answer from one that is not Posthorn's.
func unanswered(err error) error {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, shape := errors.AsType[*json.UnmarshalTypeError](err)
	if syntax || shape {
		return errNotPosthorn
	}
	return exit.With(exit.Unreachable, fmt.Errorf("%w; is the server running, and is --server (POSTHORN_URL) right?", err))
}

// ModeOf returns the mode in the text of a generated key.
func ModeOf(key string) string { return keyPart(key, 1, "live", "test") }

// KindOf returns the kind in the text of a generated key.
func KindOf(key string) string { return keyPart(key, 2, "operator", "publisher", "tenant") }

// keyPart returns the part of ph_<mode>_<kind>_<random> at the index if it is one of the
// values. It is empty for a bootstrap key, which has no parts.
func keyPart(key string, index int, values ...string) string {
	parts := strings.SplitN(key, "_", 4)
	if len(parts) < 4 || parts[0] != "ph" {
		return ""
	}
	for _, value := range values {
		if parts[index] == value {
			return value
		}
	}
	return ""
}
