package cli

import (
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/profile"
)

// What the shell offers comes from the server, within these bounds: somebody waits with a
// finger on the key.
const (
	completeWithin = time.Second
	completeRows   = 50
)

// completionLists are the lists that the values of flags come from, by flag.
var completionLists = map[string]string{
	"tenant": "/v1/tenants", "partner": "/v1/tenants", "endpoint": "/v1/endpoints", "event": "/v1/events",
	"event-type": "/v1/event-types", "type": "/v1/event-types", "types": "/v1/event-types", "event-types": "/v1/event-types",
}

// completeFromServer lets the shell offer what the server has for the flags of a command.
func completeFromServer(cmd *cobra.Command, server func() (*server, error)) {
	for flag, list := range completionLists {
		if cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, completeIDs(list, server)) // fails on an unknown flag only
		}
	}
	if cmd.Flags().Lookup("profile") != nil {
		completeFlag(cmd, "profile", profile.Builtin().Names())
	}
}

// completeIDs offers the ids of a list with what people know them by. A server that does
// not answer in time, or refuses, offers nothing.
func completeIDs(list string, server func() (*server, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		const nothing = cobra.ShellCompDirectiveNoFileComp
		api, err := server()
		if err != nil {
			return nil, nothing
		}
		parent := cmd.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completeWithin)
		defer cancel()
		query := url.Values{"limit": {strconv.Itoa(completeRows)}}
		if tenant := cmd.Flags().Lookup("tenant"); tenant != nil && tenant.Changed && (list == "/v1/endpoints" || list == "/v1/events" || list == "/v1/deliveries") {
			query.Set("tenant", tenant.Value.String())
		}
		var page client.Page[map[string]json.RawMessage]
		if err := api.Do(ctx, "GET", list+"?"+query.Encode(), "", nil, &page); err != nil {
			return nil, nothing
		}
		var offers []cobra.Completion
		for _, row := range page.Data {
			id, text := offer(row)
			if id == "" || !strings.HasPrefix(id, begun) {
				continue
			}
			if text != "" {
				id += "\t" + text
			}
			offers = append(offers, id)
		}
		return offers, nothing
	}
}

// offer is the id of a row, or its name, and what tells it from the others.
func offer(row map[string]json.RawMessage) (id, text string) {
	value := func(name string) string {
		var s string
		_ = json.Unmarshal(row[name], &s) // no text: nothing to show
		return PlainText(s)
	}
	if id = value("id"); id == "" {
		return value("name"), value("description")
	}
	var parts []string
	for _, name := range []string{"state", "kind", "tenant", "user", "title", "name", "type", "event_type", "url"} {
		if part := value(name); part != "" && len(parts) < 2 {
			parts = append(parts, part)
		}
	}
	return id, cut(strings.Join(parts, " "), 60)
}
