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

// contextName matches the names of contexts, which are safe on a command line and in a file.
var contextName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`)

// newLogin saves a server and a key for later commands.
func newLogin() *cobra.Command {
	cmd := &cobra.Command{
		Use: "login [NAME]", Short: "Save a server and an API key for later commands",
		Long: `Check an API key against a server and save both as a context, which becomes the current
one. Log in once for each server and mode; "posthorn context use" switches between them.

The key is read from the terminal without echo, or from standard input, --key,
POSTHORN_KEY or POSTHORN_KEY_FILE. Contexts are stored in posthorn/contexts.json in the
user's configuration directory (~/.config). Only the user may read the file.

NAME defaults to the host, with the suffix -test for a key in test mode.`,
		Example: `  posthorn login --server https://hooks.example.com
  posthorn login staging --server https://hooks.staging.example < key.txt`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && !contextName.MatchString(args[0]) {
				return exit.Usagef("%s takes one NAME: up to 64 letters, digits, dots, underscores, colons and hyphens", cmd.CommandPath())
			}
			return nil
		},
	}
	address := cmd.Flags().String("server", "", "server URL (POSTHORN_URL, default "+DefaultURL+")")
	key := cmd.Flags().String("key", "", "API key (POSTHORN_KEY, POSTHORN_KEY_FILE, default a prompt)")
	plain := cmd.Flags().Bool("allow-plain-http", PlainHTTPAllowed(),
		"do not warn if the key is sent over plain HTTP to another machine; saved with the context")
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
				fmt.Fprintf(cmd.ErrOrStderr(), "posthorn: warning: %s, or add --allow-plain-http if the network is trusted\n", Unencrypted(c.URL))
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
		fmt.Fprintf(cmd.OutOrStdout(), "logged in to %s as context %s (%s)\n", PlainText(a.URL), name, whatKey(a.Key))
		return nil
	}
	return cmd
}

// typedKey prompts for the key, or reads it from standard input if that is not a terminal.
func typedKey(cmd *cobra.Command, url string) (key, from string, err error) {
	in := cmd.InOrStdin()
	if f, ok := in.(*os.File); ok && IsTerminal(f) {
		key, err = askSecret(cmd.Context(), f, cmd.ErrOrStderr(), "Key for "+PlainText(url)+" (not shown):")
	} else {
		var text []byte
		text, err = io.ReadAll(io.LimitReader(in, maxData))
		key = strings.TrimSpace(string(text))
	}
	if err == nil && key == "" {
		err = exit.Usagef("no key was given: enter it, pipe it in, or use --key, POSTHORN_KEY or POSTHORN_KEY_FILE")
	}
	return key, "the key that was given", err
}

// tryKey makes a request that needs a key. A publisher key is valid although the server
// answers it with forbidden.
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

// nameOf returns the default name of a context.
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

// whatKey describes a key by its text.
func whatKey(key string) string {
	if KindOf(key) == "" {
		return "bootstrap key"
	}
	return KindOf(key) + " key, " + ModeOf(key) + " mode"
}
