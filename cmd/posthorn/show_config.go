package main

import (
	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/server"
)

// newConfig prints the configuration.
func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Print the configuration of serve, with secrets masked", Args: cli.NoArgs,
	}
	load := server.ConfigFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := load()
		if err != nil {
			return err
		}
		if _, err := server.LoadProfiles(c); err != nil {
			return err
		}
		server.ShowConfig(cmd.OutOrStdout(), cmd.Flags())
		return nil
	}
	return cmd
}
