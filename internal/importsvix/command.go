// Package importsvix copies applications, endpoints and event types from a server that
// speaks Svix's API to Posthorn, through that API on both sides. The target is asked what it
// has: nothing is kept between two runs, and nothing is copied twice.
package importsvix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
)

// tokenName is the variable with the token of the source.
const tokenName = "SVIX_AUTH_TOKEN"

// Command is "posthorn import".
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use: "import", Short: "Copy from another system", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSvix())
	return cmd
}

func newSvix() *cobra.Command {
	cmd := &cobra.Command{
		Use: "svix", Short: "Copy applications, endpoints and event types from Svix", Args: cli.NoArgs,
		Long: `Copy event types, applications (as tenants) and endpoints from a running Svix server, or
from the hosted service, to a running Posthorn, through their APIs. Endpoints keep their
secret, so their receivers notice nothing. Without --apply this is a dry run: both servers
are only read.

The variable ` + tokenName + ` has the token of the Svix organization. The server needs
--mount svix, or --profile svix, and an operator key; the key decides the mode.

Repeat the command after an interruption: what is at the server already is compared, not
copied again. Nothing at the server is overwritten. The uid of an application becomes the
id of its tenant. What has no uid gets its id at Svix, so that programs that have kept the
id find it. Messages and attempts are not copied.

docs/from-svix.md has the order of steps that loses no message.

Exit codes: 0 everything is at the server, 1 something could not be copied, or the import
was interrupted, 20 a server refused the token or the key, 21 no answer from a server.`,
		Example: `  export ` + tokenName + `=...
  posthorn import svix --from https://api.eu.svix.com
  posthorn import svix --from https://api.eu.svix.com --apply --disabled
  posthorn import svix --from https://api.eu.svix.com --app acme --apply --enable`,
	}
	target := cli.ServerFlags(cmd)
	m := &importer{}
	f := cmd.Flags()
	from := f.String("from", "", "URL of the Svix server")
	f.BoolVar(&m.apply, "apply", false, "write to the server; without it, only say what would be done")
	f.BoolVar(&m.disabled, "disabled", false, "create every endpoint disabled, so that nothing is sent yet")
	f.BoolVar(&m.enable, "enable", false, "enable endpoints that are there, disabled, and otherwise the same as enabled ones of the source")
	f.BoolVar(&m.secrets, "compare-secrets", false, "also compare the secrets of endpoints that are there; the server needs --allow-reveal")
	f.StringSliceVar(&m.apps, "app", nil, "id or uid of an application to copy, may be repeated (default all)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		to, keyFrom, err := target()
		if err != nil {
			return err
		}
		token := os.Getenv(tokenName)
		switch {
		case *from == "":
			return exit.Usagef("--from is required: the URL of the Svix server, such as https://api.eu.svix.com")
		case cli.CheckURL(*from) != nil:
			return exit.Usagef("--from: %q is not a URL such as https://api.eu.svix.com", *from)
		case strings.TrimSpace(token) == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
			return exit.Usagef("set the variable %s to the token of the Svix organization: printable characters without spaces", tokenName)
		case m.disabled && m.enable:
			return exit.Usagef("--disabled and --enable exclude each other: use --disabled for the first import and --enable to switch")
		}
		if plain, _ := cmd.Flags().GetBool("allow-plain-http"); !plain && errors.Is((&client.Client{URL: *from, Key: token}).Check(), client.ErrPlainHTTP) {
			fmt.Fprintf(cmd.ErrOrStderr(), "posthorn: warning: %s\n", strings.Replace(cli.Unencrypted(*from), "the key", tokenName, 1))
		}
		m.from = &remote{name: "Svix", url: *from, token: token}
		m.to = &remote{name: "Posthorn", url: to.URL, token: to.Key}
		m.report = &report{out: cmd.OutOrStdout(), progress: cli.NewProgress(cmd.ErrOrStderr(), time.Second)}
		return m.command(cmd.Context(), keyFrom)
	}
	return cmd
}

// command runs the import and prints how it ended.
func (m *importer) command(ctx context.Context, keyFrom string) error {
	for _, side := range []struct {
		r    *remote
		from string
	}{{m.from, tokenName}, {m.to, keyFrom}} {
		if err := m.reach(ctx, side.r, side.from); err != nil {
			return err
		}
	}
	err := m.run(ctx)
	m.report.print(m.apply)
	again := "repeat the command: what is at the server already is not copied twice"
	switch {
	case err != nil && ctx.Err() != nil:
		return exit.With(exit.Failed, errors.New("interrupted; "+again))
	case statusOf(err) == http.StatusForbidden && strings.Contains(err.Error(), m.from.name):
		return exit.With(exit.Refused, fmt.Errorf("%w; the token must be allowed to read secrets (if the source is Posthorn, it needs --allow-reveal)", err))
	case statusOf(err) != 0:
		return exit.With(exit.Refused, fmt.Errorf("%w; %s", err, again))
	case err != nil:
		return exit.With(exit.Unreachable, fmt.Errorf("%w; %s", err, again))
	}
	if !m.apply {
		fmt.Fprintln(m.report.out, "This was a dry run: nothing was written. --apply copies. URLs and headers are checked by the server when it gets them.")
	}
	if n := m.report.incomplete(); n > 0 {
		return exit.With(exit.Failed, fmt.Errorf("%d could not be copied; the lines above say why", n))
	}
	return nil
}

// reach checks that a server speaks Svix's API and accepts the token.
func (m *importer) reach(ctx context.Context, r *remote, from string) error {
	var first page[application]
	err := r.get(ctx, "app?limit=1", &first)
	if err == nil && first.Data == nil {
		err = errShape{r.name}
	}
	option := "--from"
	if r == m.to {
		option = "--server (POSTHORN_URL)"
	}
	_, shape := errors.AsType[errShape](err)
	switch status := statusOf(err); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return exit.With(exit.Failed, errors.New("interrupted; nothing was copied"))
	case status == http.StatusUnauthorized:
		return exit.With(exit.Refused, fmt.Errorf("%w; check %s", err, from))
	case status == http.StatusForbidden && r == m.to:
		return exit.With(exit.Refused, fmt.Errorf("%w; this needs an operator key (%s)", err, from))
	case status == http.StatusForbidden:
		return exit.With(exit.Refused, fmt.Errorf("%w; %s must be the token of the organization, not of one application", err, from))
	case (status == http.StatusNotFound || status == http.StatusMethodNotAllowed) && r == m.to:
		return exit.With(exit.Refused, fmt.Errorf("%w. It needs --mount svix or --profile svix; or is %s wrong?", err, option))
	case status == http.StatusNotFound || status/100 == 3 || shape:
		return exit.With(exit.Unreachable, fmt.Errorf("%w; is %s the root of the server?", err, option))
	case status != 0:
		return exit.With(exit.Refused, err)
	}
	return exit.With(exit.Unreachable, fmt.Errorf("%w; is the server running, and is %s right?", err, option))
}
