package cli

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/hook"
)

func newSend() *cobra.Command {
	cmd := &cobra.Command{
		Use: "send", Short: "Publish an event", Args: NoArgs,
		Long: `Publish an event to a running server.

The server and the key come from flags, POSTHORN_URL and POSTHORN_KEY, or a context.
Exit code 0 means that the server has stored the event durably.`,
		Example: `  posthorn send --tenant acme --type mandate.created --data '{"id":"m_1"}'
  posthorn send --tenant acme --type mandate.created --data - < event.json
  posthorn send --tenant acme --type order.paid --data '{"id":"o-1"}' --tag order:o-1
  posthorn send --tenant acme --type order.paid --data '{"id":"o-1"}' --channel project-1`,
	}
	f := cmd.Flags()
	server := serverFlags(cmd)
	tenant := f.String("tenant", "", "tenant ID")
	eventType := f.String("type", "", "event type")
	data := f.String("data", "", "event data: a JSON object, @FILE, or - for standard input")
	id := f.String("id", "", "event ID, a UUID (default a new one)")
	keep := f.String("payload-retention", "", "how long the data is kept after the last delivery, such as 72h or 3d; 0s to remove it then (default as the tenant's other events)")
	tags := f.StringArray("tag", nil, "tag name:value that finds the event; repeatable, at most 5; receivers do not get it")
	channels := f.StringArray("channel", nil, "channel of the event, a second filter of endpoints; repeatable, at most 10; receivers do not get it")
	once := f.String("idempotency-key", "", "idempotency key: repeating the command with the same key publishes nothing more")
	asJSON := f.Bool("json", false, "print the response as JSON")
	completeFromServer(cmd, server)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		for _, required := range [][2]string{{"tenant", *tenant}, {"type", *eventType}, {"data", *data}} {
			if required[1] == "" {
				return exit.Usagef("--%s is required", required[0])
			}
		}
		c, err := server()
		if err != nil {
			return err
		}
		body, err := readObject(cmd.InOrStdin(), "data", *data)
		if err != nil {
			return err
		}
		event := client.NewEvent{Tenant: *tenant, Type: *eventType, Data: body, ID: *id, Channels: *channels}
		if *keep != "" {
			d, err := duration.Parse(*keep)
			if err != nil {
				return exit.Usagef("--payload-retention: %w", err)
			}
			event.PayloadRetention = d.String()
		}
		for _, name := range *channels {
			if !hook.ValidChannel(name) {
				return exit.Usagef("--channel: %q is not the name of a channel. %s", name, hook.ChannelRule)
			}
		}
		for _, text := range *tags {
			tag, ok := hook.ParseTag(text)
			if _, twice := event.Tags[tag.Name]; !ok || twice {
				return exit.Usagef("--tag: %q must be name:value, each name once. %s %s", text, hook.TagNameRule, hook.TagValueRule)
			}
			if event.Tags == nil {
				event.Tags = map[string]string{}
			}
			event.Tags[tag.Name] = tag.Value
		}
		got, err := c.Publish(cmd.Context(), event, client.PublishOptions{IdempotencyKey: *once})
		if err != nil {
			return c.refused(err)
		}
		if got.ID == "" {
			return errNotPosthorn
		}
		if *asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(got)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s  %d %s\n", PlainText(got.ID), PlainText(got.Type), onScreen(got.CreatedAt.Time), got.DeliveryCount, deliveries(got.DeliveryCount))
		for _, warning := range got.Warnings {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+PlainText(warning.Message))
		}
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

// maxData is the largest size that the server accepts for one event, in bytes.
const maxData = 256 << 10
