package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: noArgs,
		Long: `Run the server until SIGTERM or SIGINT. SIGHUP reads --profile-dir again.

Every option is also a variable (POSTHORN_LISTEN) and a member of the --config
file (listen). Flags win over variables, variables over the file.`,
	}
	load := configured(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err != nil {
			return err
		}
		return serve(cmd.Context(), cfg, cmd.OutOrStdout())
	}
	return cmd
}

func serve(ctx context.Context, cfg *Config, out io.Writer) error {
	log := newLog(cfg, os.Stderr)
	slog.SetDefault(log) // libraries that write to the standard logger
	if cfg.Dev {
		log.Warn("development mode: http, loopback addresses and localhost are admitted; never use it in production")
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	n := &node{cfg: cfg, log: log, firstKeys: out}
	if err := n.begin(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	url := "http://" + n.api.Addr().String()
	log.Info("listening", "url", url, "docs", url+"/docs", "version", versionText(), "data", cfg.Data, "store", n.storeKind(), "profile", cfg.Profile)
	if n.metrics != nil {
		log.Info("metrics", "url", "http://"+n.metrics.Addr().String()+"/metrics")
	}
	for ctx.Err() == nil {
		select {
		case err := <-n.failed:
			// The disk or a listener failed. Nothing is drained: what was acknowledged
			// is on disk, and what was under way is repeated at the next start.
			return err
		case <-hangups:
			n.reloadProfiles(ctx)
		case <-ctx.Done():
		}
	}
	if err := n.linger(cfg.DrainDelay); err != nil {
		return err
	}
	log.Info("shutting down", "timeout", cfg.ShutdownTimeout.String())
	limit, cancel := context.WithTimeout(context.Background(), cfg.ShutdownTimeout)
	defer cancel()
	left := n.stop(limit)
	select {
	case err := <-n.failed: // the disk failed while draining
		return err
	default:
	}
	if left > 0 {
		return exitWith(exitIncomplete, fmt.Errorf("stopped with %d attempts under way; they are repeated at the next start", left))
	}
	log.Info("stopped")
	return nil
}

// printFirstKeys makes operator keys when a store has none and no bootstrap key is
// configured, and prints them once; without an out it makes none.
func (n *node) printFirstKeys(ctx context.Context, out io.Writer) error {
	if out == nil || n.cfg.OperatorKey != "" || n.cfg.OperatorTestKey != "" {
		return nil
	}
	err := n.app.FirstKeys(ctx, func(live, test string, used bool) error {
		why := "First start: these operator keys are shown once. Keep them."
		if used {
			n.log.Warn("POSTHORN_OPERATOR_KEY is not set; a bootstrap key used before is not valid in this run")
			why = "No operator key is configured and the store has none: these were made, shown once. Keep them."
		}
		_, err := fmt.Fprintf(out, "%s\n  live: %s\n  test: %s\n", why, live, test)
		return err
	})
	if err != nil {
		return exitWith(exitOpen, fmt.Errorf("make and print operator keys: %w; start again, or set POSTHORN_OPERATOR_KEY", err))
	}
	return nil
}

// newLog writes JSON, or text when a person is looking.
func newLog(cfg *Config, w *os.File) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.LogLevel)) // checked with the configuration
	options := &slog.HandlerOptions{Level: level}
	text := cfg.LogFormat == "text"
	if info, err := w.Stat(); cfg.LogFormat == "auto" && err == nil {
		text = info.Mode()&os.ModeCharDevice != 0
	}
	if text {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
