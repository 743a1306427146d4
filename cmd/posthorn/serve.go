package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/server"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: cli.NoArgs,
		Long: `Run the server until SIGTERM or SIGINT. SIGHUP reloads --profile-dir and the master keys.

Each option can also be set by an environment variable (POSTHORN_LISTEN) or in the
--config file (listen). Flags override variables, and variables override the file.`,
	}
	load := server.ConfigFlags(cmd)
	check := cmd.Flags().Bool("check", false, "check the configuration, print all errors and exit; exit code 2 if there are any")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		faults := server.Faults(exit.FlagErrors(cmd))
		if !*check || len(faults) == 0 {
			return exit.FlagError(cmd, err)
		}
		_, err = load()
		if more, ok := errors.AsType[server.Faults](err); ok {
			faults = append(faults, more...)
		}
		return checkOnly(cmd, nil, faults)
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if *check {
			return checkOnly(cmd, cfg, err)
		}
		if err != nil {
			return err
		}
		return serve(cmd.Context(), cfg, cmd.OutOrStdout())
	}
	return cmd
}

// checkOnly prints every error in the configuration, one per line, and starts nothing.
func checkOnly(cmd *cobra.Command, cfg *server.Config, err error) error {
	if err == nil {
		_, err = server.LoadProfiles(cfg)
	}
	if err == nil {
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "The configuration can be used.")
		return err
	}
	faults, several := errors.AsType[server.Faults](err)
	if !several {
		return err
	}
	for _, line := range faults.Lines() {
		fmt.Fprintln(cmd.ErrOrStderr(), line)
	}
	return exit.Usagef("%d faults in the configuration; nothing was started", len(faults.Lines()))
}

func serve(ctx context.Context, cfg *server.Config, out io.Writer) error {
	log := server.NewLog(cfg, os.Stderr)
	slog.SetDefault(log) // libraries that write to the standard logger
	if cfg.Dev {
		log.Warn("development mode: http, loopback addresses and localhost are admitted; never use it in production")
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	defer traceEvents(context.WithoutCancel(ctx), cfg, log)()
	defer server.TuneHeap(cfg, log)()
	n, err := server.Start(context.WithoutCancel(ctx), cfg, log, out)
	if err != nil {
		return err
	}
	url := n.URL()
	log.Info("listening", "url", url, "docs", url+"/docs", "version", build.Version(), "data", cfg.Data, "store", n.StoreKind(), "profile", cfg.Profile)
	if cfg.UI {
		log.Info("pages", "url", url+"/ui/")
	}
	if metrics := n.MetricsURL(); metrics != "" {
		log.Info("metrics", "url", metrics)
	}
	for ctx.Err() == nil {
		select {
		case err := <-n.Failure():
			// The disk or a listener failed. Nothing is drained: what was acknowledged
			// is on disk, and what was under way is repeated at the next start.
			return err
		case <-hangups:
			n.ReloadProfiles(ctx)
			n.ReloadMasterKeys(ctx)
		case <-ctx.Done():
		}
	}
	if err := n.Linger(cfg.DrainDelay); err != nil {
		return err
	}
	log.Info("shutting down", "timeout", cfg.ShutdownTimeout.String())
	limit, cancel := context.WithTimeout(context.Background(), cfg.ShutdownTimeout)
	defer cancel()
	left := n.Stop(limit)
	select {
	case err := <-n.Failure(): // the disk failed while draining
		return err
	default:
	}
	if left > 0 {
		return exit.With(exit.Incomplete, fmt.Errorf("stopped with %d attempts under way; they are repeated at the next start", left))
	}
	log.Info("stopped")
	return nil
}
