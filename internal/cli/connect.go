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

// serverFlags adds the flags that name the server, and returns what makes a client
// of them.
func serverFlags(cmd *cobra.Command) func() (*server, error) {
	address := cmd.Flags().String("server", "", "server (POSTHORN_URL); without it "+DefaultURL)
	key := cmd.Flags().String("key", "", "key of the API (POSTHORN_KEY, POSTHORN_KEY_FILE)")
	name := cmd.Flags().String("context", "", "context of \"posthorn login\" that names server and key (POSTHORN_CONTEXT)")
	plain := cmd.Flags().Bool("allow-plain-http", PlainHTTPAllowed(),
		"do not warn of a key that goes over plain http to another machine, where the network between is trusted (POSTHORN_ALLOW_PLAIN_HTTP=true)")
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
			return nil, exit.Usagef("a key is required: --key, POSTHORN_KEY, POSTHORN_KEY_FILE, or the context that \"posthorn login\" makes")
		}
		if err := CheckURL(c.URL); err != nil {
			return nil, err
		}
		if errors.Is(c.Check(), client.ErrPlainHTTP) {
			c.AllowPlainHTTP = true // networks of containers are without TLS
			if !*plain && !t.PlainHTTP {
				fmt.Fprintf(cmd.ErrOrStderr(), "posthorn: warning: %s; --allow-plain-http says that it is\n", Unencrypted(c.URL))
			}
		}
		return &server{Client: c, keyFrom: t.keyFrom}, nil
	}
}

// PlainHTTPAllowed reports whether the variable says that the network is trusted.
func PlainHTTPAllowed() bool { return os.Getenv("POSTHORN_ALLOW_PLAIN_HTTP") == "true" }

// Unencrypted warns of a key that others may read on its way.
func Unencrypted(address string) string {
	host := "another machine"
	if u, err := url.Parse(address); err == nil {
		host = u.Host
	}
	return "the key goes unencrypted to " + PlainText(host) + "; name the server with https, unless the network between is trusted"
}

// NewClient returns a client for a command: it calls once, and whoever runs the
// command decides about another try.
func NewClient(address, key string) *client.Client {
	return &client.Client{URL: address, Key: key, Attempts: 1, UserAgent: "posthorn/" + build.Version()}
}

// target is the server of a command, with the key for it.
type target struct {
	account
	keyFrom string // where the key came from, for people who look for a wrong one
}

// findTarget puts flags before the environment before the current context. A context is
// server and key together: it is used only where nothing else names either, so that its
// key never goes to another server, and no other key to its server.
func findTarget(address, key, context string) (target, error) {
	key, from, err := FindKey(key)
	if err != nil {
		return target{}, err
	}
	url := firstOf(address, os.Getenv("POSTHORN_URL"))
	named := firstOf(context, os.Getenv("POSTHORN_CONTEXT"))
	switch {
	case context != "" && (address != "" || from == "--key"):
		return target{}, exit.Usagef("--context names server and key: leave --server and --key out")
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
		return target{}, exit.Usagef("there is no context %q; \"posthorn context list\" shows them, \"posthorn login %s\" makes it", named, named)
	}
	return target{chosen, "context " + named}, nil
}

// FindKey is the key that a flag or the environment gives, and which of them; both are
// empty if none does.
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

// CheckURL refuses what is not the address of a server, as --server.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return exit.Usagef("--server: %q is not an address such as %s", text, DefaultURL)
	}
	return nil
}

// nextSteps say what to do about a refusal, by its code.
var nextSteps = map[string]string{
	"forbidden":              "this needs a key of another kind; an operator may do everything",
	"not_found":              "check the id, and that the key is of the right mode and tenant",
	"route_not_found":        "is --server (POSTHORN_URL) the root of the server?",
	"tenant_not_found":       "\"posthorn tenant list\" shows the tenants",
	"endpoint_disabled":      "\"posthorn endpoint enable ID\" enables it",
	"idempotency_key_reused": "take a new --idempotency-key for another request",
}

var errNotPosthorn = exit.With(exit.Unreachable, errors.New("the server's answer was not one of Posthorn; is --server (POSTHORN_URL) right?"))

// refused gives an answer of the server its own exit code and a next step.
func (s *server) refused(err error) error {
	if _, coded := errors.AsType[*exit.Error](err); coded || errors.Is(err, context.Canceled) {
		return err
	}
	p, ok := errors.AsType[*client.Problem](err)
	if !ok {
		return unanswered(err)
	}
	switch next := s.nextStep(p); {
	case strings.HasPrefix(p.Code, "http_"): // somebody else's answer, such as that of a proxy
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
		return "this key is for its own tenant; leave --tenant out"
	}
	return nextSteps[p.Code]
}

// unanswered tells a server that is not there from one that is not Posthorn's.
func unanswered(err error) error {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, shape := errors.AsType[*json.UnmarshalTypeError](err)
	if syntax || shape {
		return errNotPosthorn
	}
	return exit.With(exit.Unreachable, fmt.Errorf("%w; is the server running, and is --server (POSTHORN_URL) right?", err))
}

// ModeOf reads the mode out of the text of a key that the server made.
func ModeOf(key string) string { return keyPart(key, 1, "live", "test") }

// KindOf reads the kind out of the text of a key that the server made.
func KindOf(key string) string { return keyPart(key, 2, "operator", "publisher", "tenant") }

// keyPart is the part of ph_<mode>_<kind>_<random> at the index, if it is one of
// those; empty for a bootstrap key, whose text says nothing.
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
