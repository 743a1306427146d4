package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
)

func newSend() *cobra.Command {
	cmd := &cobra.Command{
		Use: "send", Short: "Publish one event", Args: noArgs,
		Long: `Publish one event to a running server.

The server and the key come from POSTHORN_URL and POSTHORN_KEY, or from flags.
When the command ends with code 0 the event is on the server's disk.`,
		Example: `  posthorn send --tenant acme --type mandate.created --data '{"id":"m_1"}'
  posthorn send --tenant acme --type mandate.created --data - < event.json`,
	}
	f := cmd.Flags()
	server := serverFlags(cmd)
	tenant := f.String("tenant", "", "tenant that the event is for")
	eventType := f.String("type", "", "event type")
	data := f.String("data", "", "the event's data: a JSON object, @FILE, or - for standard input")
	id := f.String("id", "", "the event's own id, a UUID; empty: the server makes one")
	once := f.String("idempotency-key", "", "repeat the command with the same key and the event is published once")
	asJSON := f.Bool("json", false, "print the server's answer")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for name, value := range map[string]string{"tenant": *tenant, "type": *eventType, "data": *data} {
			if value == "" {
				return usage("--%s is required", name)
			}
		}
		c, err := server()
		if err != nil {
			return err
		}
		body, err := readData(cmd.InOrStdin(), *data)
		if err != nil {
			return err
		}
		event := client.NewEvent{Tenant: *tenant, Type: *eventType, Data: body, ID: *id}
		got, err := c.Publish(cmd.Context(), event, client.PublishOptions{IdempotencyKey: *once})
		if err != nil {
			return refused(err)
		}
		if *asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(got)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s  %d %s\n", got.ID, got.Type, got.CreatedAt.Format(time.RFC3339), got.Deliveries, deliveries(got.Deliveries))
		return nil
	}
	return cmd
}

func deliveries(n int) string {
	if n == 1 {
		return "delivery"
	}
	return "deliveries"
}

func envOr(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

// maxData is what the server takes at most for one event.
const maxData = 256 << 10

func readData(stdin io.Reader, arg string) (json.RawMessage, error) {
	text := []byte(arg)
	var err error
	switch {
	case arg == "-":
		text, err = io.ReadAll(io.LimitReader(stdin, maxData+1))
	case arg[0] == '@':
		text, err = os.ReadFile(arg[1:])
	}
	if err != nil {
		return nil, usage("--data: %w", err)
	}
	if len(text) > maxData {
		return nil, usage("--data: longer than %d bytes", maxData)
	}
	if !json.Valid(text) {
		return nil, usage("--data: not valid JSON")
	}
	return text, nil
}
