package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/exit"
)

// contextName is what a context may be called: safe on a command line and in a file.
var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`)

// newLogin keeps a server and a key for the commands that follow.
func newLogin() *cobra.Command {
	cmd := &cobra.Command{
		Use: "login [NAME]", Short: "Keep a server and a key for the commands that follow",
		Long: `Ask for a key of the API, try it at the server, and keep both as a context, which
becomes the current one. Log in once for each server and mode; "posthorn context use"
goes from one to the other.

The key is typed on the terminal and not shown, or comes from standard input, --key,
POSTHORN_KEY or POSTHORN_KEY_FILE. It is kept in posthorn/contexts.json in the user's
directory for configuration (~/.config), which only the user may read. Without NAME the
context is called after the host, with -test behind it for a key of test mode.`,
		Example: `  posthorn login --server https://hooks.example.com
  posthorn login staging --server https://hooks.staging.example < key.txt`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && !contextName.MatchString(args[0]) {
				return exit.Usagef("%s takes one NAME: up to 64 letters, digits, dots, underscores, colons and hyphens", cmd.CommandPath())
			}
			return nil
		},
	}
	address := cmd.Flags().String("server", "", "server (POSTHORN_URL); without it "+DefaultURL)
	key := cmd.Flags().String("key", "", "key of the API (POSTHORN_KEY, POSTHORN_KEY_FILE); without it the command asks")
	plain := cmd.Flags().Bool("allow-plain-http", PlainHTTPAllowed(),
		"do not warn of a key that goes over plain http to another machine, where the network between is trusted; kept with the context")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := notEmpty(cmd); err != nil {
			return err
		}
		a := account{URL: firstOf(*address, os.Getenv("POSTHORN_URL"), DefaultURL), PlainHTTP: *plain}
		c := NewClient(a.URL, "")
		if err := CheckURL(a.URL); err != nil {
			return err
		}
		all, err := readContexts() // before the key is typed
		if err != nil {
			return err
		}
		from := ""
		if a.Key, from, err = FindKey(*key); err == nil && a.Key == "" {
			a.Key, from, err = typedKey(cmd, a.URL)
		}
		if err != nil {
			return err
		}
		c.Key = a.Key
		if errors.Is(c.Check(), client.ErrPlainHTTP) {
			c.AllowPlainHTTP = true
			if !*plain {
				fmt.Fprintf(cmd.ErrOrStderr(), "posthorn: warning: %s; --allow-plain-http says that it is\n", Unencrypted(c.URL))
			}
		}
		if err := tryKey(cmd.Context(), &server{Client: c, keyFrom: from}); err != nil {
			return err
		}
		name := nameOf(a)
		if len(args) == 1 {
			name = args[0]
		}
		all.Contexts[name], all.Current = a, name
		if err := all.write(); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "logged in at %s as context %s (%s)\n", PlainText(a.URL), name, whatKey(a.Key))
		return nil
	}
	return cmd
}

// typedKey asks for the key, or reads it from standard input if that is no terminal.
func typedKey(cmd *cobra.Command, url string) (key, from string, err error) {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); ok && IsTerminal(f) {
		key, err = askSecret(cmd.Context(), f, cmd.ErrOrStderr(), "Key for "+PlainText(url)+" (it is not shown):")
	} else {
		var text []byte
		text, err = io.ReadAll(io.LimitReader(in, maxData))
		key = strings.TrimSpace(string(text))
	}
	if err == nil && key == "" {
		err = exit.Usagef("no key was given: type it, pipe it in, or use --key, POSTHORN_KEY or POSTHORN_KEY_FILE")
	}
	return key, "what was given as the key", err
}

// tryKey asks the server for something that needs a key. A publisher key may not see it,
// which it is told, and that is answer enough.
func tryKey(ctx context.Context, s *server) error {
	_, err := s.Endpoints(ctx, client.EndpointQuery{ListOptions: client.ListOptions{Limit: 1}})
	if p, ok := errors.AsType[*client.Problem](err); ok && p.Code == "forbidden" {
		return nil
	}
	if err != nil {
		return s.refused(err)
	}
	return nil
}

// nameOf is what a context is called where nobody said it.
func nameOf(a account) string {
	name := "default"
	if u, err := url.Parse(a.URL); err == nil && contextName.MatchString(u.Host) {
		name = u.Host
	}
	if ModeOf(a.Key) == "test" {
		name += "-test"
	}
	return name
}

// whatKey says what the text of a key says about it.
func whatKey(key string) string {
	if KindOf(key) == "" {
		return "bootstrap key"
	}
	return KindOf(key) + " key, " + ModeOf(key) + " mode"
}
