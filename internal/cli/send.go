package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

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
	id := f.String("id", "", "event ID: 1 to 256 letters, digits, dots, underscores and hyphens (default a new UUID)")
	keep := f.String("payload-retention", "", "how long the data is kept after the last delivery, such as 72h or 3d; 0s to remove it then (default as the tenant's other events)")
	deliver := f.String("deliver-at", "", "earliest time of the first attempt, such as 2026-01-31T12:00:00Z, or from now, such as 30m; at most 24h ahead (default at once); give a time if you may repeat the command")
	tags := f.StringArray("tag", nil, "tag name:value that finds the event; repeatable, at most 5; receivers do not get it")
	channels := f.StringArray("channel", nil, "channel of the event, a second filter of endpoints; repeatable, at most 10; receivers do not get it")
	once := f.String("idempotency-key", "", "idempotency key: repeating the command with the same key publishes nothing more")
	asJSON := f.Bool("json", false, "print the response as JSON")
	completeFromServer(cmd, server)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := required([2]string{"tenant", *tenant}, [2]string{"type", *eventType}, [2]string{"data", *data}); err != nil {
			return err
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
		if err := checkChannels(*channels); err != nil {
			return err
		}
		if *deliver != "" {
			at, err := deliverAt(*deliver)
			if err != nil {
				return err
			}
			event.DeliverAt = &client.Time{Time: at}
		}
		if event.Tags, err = readTags(*tags); err != nil {
			return err
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
		if got.DeliverAt != nil {
			fmt.Fprintf(cmd.OutOrStdout(), "The first attempts are made at %s.\n", onScreen(got.DeliverAt.Time))
		}
		for _, warning := range got.Warnings {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+PlainText(warning.Message))
		}
		return nil
	}
	return cmd
}

// required refuses flags, each given as name and value, that have no value.
func required(flags ...[2]string) error {
	for _, flag := range flags {
		if flag[1] == "" {
			return exit.Usagef("--%s is required", flag[0])
		}
	}
	return nil
}

// checkChannels checks the values of --channel.
func checkChannels(names []string) error {
	for _, name := range names {
		if !hook.ValidChannel(name) {
			return exit.Usagef("--channel: %q is not the name of a channel. %s", name, hook.ChannelRule)
		}
	}
	return nil
}

// readTags reads the values of --tag.
func readTags(texts []string) (map[string]string, error) {
	var tags map[string]string
	for _, text := range texts {
		tag, ok := hook.ParseTag(text)
		if _, twice := tags[tag.Name]; !ok || twice {
			return nil, exit.Usagef("--tag: %q must be name:value, each name once. %s %s", text, hook.TagNameRule, hook.TagValueRule)
		}
		if tags == nil {
			tags = map[string]string{}
		}
		tags[tag.Name] = tag.Value
	}
	return tags, nil
}

// deliverAt reads --deliver-at: a time, or a duration from now.
func deliverAt(text string) (time.Time, error) {
	if at, err := hook.ParseTime(text); err == nil {
		return at, nil
	}
	if d, err := duration.Parse(text); err == nil && d >= 0 {
		return time.Now().UTC().Add(d).Truncate(time.Microsecond), nil
	}
	return time.Time{}, exit.Usagef("--deliver-at: %q must be a time such as 2026-01-31T12:00:00Z, or a duration from now such as 30m", text)
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
