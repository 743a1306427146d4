package cli

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
)

var eraseNoun = noun{name: "erase", short: "Erase a tenant or an event for good, and show the receipts", verbs: []verb{
	{name: "tenant", short: "Erase a tenant with all its data in both modes; this cannot be undone", arg: "ID", method: http.MethodPost, path: "/v1/erasures", argMember: "tenant",
		once: true, asks: true, follows: erasureProgress, told: erasureNote, example: "  posthorn erase tenant acme --yes --wait"},
	{name: "event", short: "Erase an event with its deliveries; this cannot be undone", arg: "ID", method: http.MethodPost, path: "/v1/erasures", argMember: "event",
		once: true, asks: true, follows: erasureProgress, told: erasureNote, params: []param{{flag: "tenant", usage: "tenant ID; required only if several tenants have an event with this ID"}}},
	{name: "list", short: "List erasures, newest first", method: http.MethodGet, path: "/v1/erasures", columns: []string{"id", "tenant", "state", "rows", "created_at", "ended_at"}, params: []param{
		{flag: "tenant", usage: "tenant ID"},
		{flag: "state", usage: "erasure state: running or done", values: []string{"running", "done"}},
	}},
	{name: "get", short: "Show an erasure and its progress, or its receipt", arg: "ID", method: http.MethodGet, path: "/v1/erasures/{}", follows: erasureProgress},
}}

// quoted returns a text as a JSON string.
func quoted(text string) json.RawMessage {
	out, _ := json.Marshal(text) // never fails for a string
	return out
}

// erasureProgress is the progressOf of an erasure.
func erasureProgress(answer json.RawMessage) (path, line string, err error) {
	var e client.Erasure
	if err := json.Unmarshal(answer, &e); err != nil || e.State != client.ErasureRunning {
		return "", "", err
	}
	return "/v1/erasures/" + e.ID, e.Message, nil
}

// erasureNote returns how to follow an erasure.
func erasureNote(answer json.RawMessage) string {
	var e client.Erasure
	if json.Unmarshal(answer, &e) != nil || e.State != client.ErasureRunning {
		return ""
	}
	return "The erasure is running. To follow it, run: posthorn erase get " + PlainText(e.ID) + " --wait"
}

// newReclaim repeats the call until nothing is left to give back.
func newReclaim() *cobra.Command {
	cmd := &cobra.Command{
		Use: "reclaim", Short: "Give the free space of the database file back to the file system, while the server runs", Args: NoArgs,
	}
	server := serverFlags(cmd)
	var asJSON bool
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := server()
		if err != nil {
			return err
		}
		progress := NewProgress(cmd.ErrOrStderr(), followEvery)
		defer progress.Done()
		var all client.Reclaimed
		for more := true; more; {
			step, err := api.Reclaim(cmd.Context())
			if err != nil {
				return api.refused(err)
			}
			step.FreedBytes += all.FreedBytes
			more = step.LeftBytes > 0 && step.FreedBytes > all.FreedBytes // others may fill what is left
			all = step
			progress.Say("%d bytes given back, %d left", all.FreedBytes, all.LeftBytes)
		}
		progress.Done()
		if asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(all)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%d bytes given back; the database has %d bytes\n", all.FreedBytes, all.SizeBytes)
		if all.Kept != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), PlainText(*all.Kept))
		}
		return nil
	}
	return cmd
}
