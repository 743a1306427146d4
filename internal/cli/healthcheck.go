package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/exit"
)

func newHealthcheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "healthcheck", Short: "Check whether a server is ready", Args: NoArgs,
		Long: `Check /readyz of a server, as the health check of a container does. No key is needed.

The default server is this machine at the port of POSTHORN_LISTEN, or at 8080.

Exit codes: 0 ready, 1 not ready or not reachable.`,
		Example: `  HEALTHCHECK CMD ["posthorn", "healthcheck"]`,
	}
	address := cmd.Flags().String("server", "", "server URL (POSTHORN_URL, default this machine)")
	var timeout time.Duration
	duration.Var(cmd.Flags(), &timeout, "timeout", 3*time.Second, "time to wait for the response")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := notEmpty(cmd); err != nil {
			return err
		}
		c := NewClient(firstOf(*address, os.Getenv("POSTHORN_URL"), LocalURL()), "")
		if err := CheckURL(c.URL); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		if err := c.Do(ctx, http.MethodGet, "/readyz", "", nil, nil); err != nil {
			return exit.With(exit.Failed, fmt.Errorf("%s is not ready: %w", c.URL, err))
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "ready")
		return err
	}
	return cmd
}

// LocalURL returns the URL at which a server with this environment is reached from the
// same machine. If it listens on all addresses, that is the loopback address.
func LocalURL() string {
	host, port, err := net.SplitHostPort(os.Getenv("POSTHORN_LISTEN"))
	if err != nil {
		return DefaultURL
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
