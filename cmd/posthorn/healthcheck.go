package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
)

func newHealthcheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "healthcheck", Short: "Ask a server whether it is ready; for containers", Args: noArgs,
		Long: `Ask /readyz of a server, without a key. Exit codes: 0 ready, 1 not ready or not
reachable.

Without --server and POSTHORN_URL it asks this machine at the port of POSTHORN_LISTEN,
or at 8080.`,
		Example: `  HEALTHCHECK CMD ["posthorn", "healthcheck"]`,
	}
	address := cmd.Flags().String("server", "", "server (POSTHORN_URL)")
	timeout := cmd.Flags().Duration("timeout", 3*time.Second, "how long to wait for the answer")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := notEmpty(cmd); err != nil {
			return err
		}
		c := newClient(firstOf(*address, os.Getenv("POSTHORN_URL"), localURL()), "")
		if err := checkURL(c.URL); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), *timeout)
		defer cancel()
		if err := c.Do(ctx, http.MethodGet, "/readyz", "", nil, nil); err != nil {
			return exitWith(exitFailed, fmt.Errorf("%s is not ready: %w", c.URL, err))
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "ready")
		return err
	}
	return cmd
}

// localURL is where a server with this environment can be reached from the same
// machine: one that listens on every address listens on the loopback too.
func localURL() string {
	host, port, err := net.SplitHostPort(os.Getenv("POSTHORN_LISTEN"))
	if err != nil {
		return defaultURL
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
