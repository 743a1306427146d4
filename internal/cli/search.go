package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/exit"
)

func newSearch() *cobra.Command {
	cmd := &cobra.Command{
		Use: "search ID", Short: "Find what an ID belongs to",
		Long: `Find what an ID belongs to: an event, a delivery, an endpoint, a tenant, a key, a
replay, or a request in the audit log. The first 8 or more hexadecimal digits of an ID
are enough. Only what the key may see is found.

Exit code 1 means that nothing was found.`,
		Example: `  posthorn search 019396e1-2b60-7a0c-9d51-0c7be3f4a915
  posthorn search 019396e1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return exit.Usagef("%s takes one ID", cmd.CommandPath())
			}
			return nil
		},
	}
	server := serverFlags(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print the response as JSON")
	wide := cmd.Flags().Bool("wide", false, "show all columns in full instead of fitting the terminal or 80 characters")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		api, err := server()
		if err != nil {
			return err
		}
		var answer json.RawMessage
		if err := api.Do(cmd.Context(), http.MethodGet, "/v1/search?q="+url.QueryEscape(args[0]), "", nil, &answer); err != nil {
			return api.refused(err)
		}
		var found struct {
			Data []json.RawMessage
			More []string
		}
		if err := json.Unmarshal(answer, &found); err != nil || found.Data == nil {
			return errNotPosthorn
		}
		out := cmd.OutOrStdout()
		if *asJSON {
			_, err := fmt.Fprintf(out, "%s\n", answer)
			return err
		}
		if len(found.Data) == 0 {
			return exit.With(exit.Failed, fmt.Errorf("nothing that this key may see has the ID %s", PlainText(args[0])))
		}
		if err := newTable(out, []string{"kind", "id", "tenant", "name", "created_at"}, *wide).print(found.Data, true); err != nil {
			return err
		}
		if len(found.More) > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "There is more of: %s. Give more digits.\n", PlainText(strings.Join(found.More, ", ")))
		}
		if len(found.Data) == 1 {
			return showNext(cmd, found.Data[0])
		}
		return nil
	}
	return cmd
}

// showNext writes the command that shows the only result.
func showNext(cmd *cobra.Command, row json.RawMessage) error {
	var f client.Found
	if err := json.Unmarshal(row, &f); err != nil {
		return errNotPosthorn
	}
	next := f.Kind + " get " + f.ID
	switch f.Kind {
	case "event":
		next += " --tenant " + f.Tenant
	case "key":
		next = "key list"
	case "request":
		next = "audit list --request-id " + f.ID
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "To see it, run: posthorn "+PlainText(next))
	return nil
}
