package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

func newDisk() *cobra.Command {
	cmd := &cobra.Command{
		Use: "disk", Short: "Show how much disk space the store uses", Args: NoArgs,
		Long: `Show how much disk space the store of a server uses: in total, by class, and by tenant
in the key's mode. Requires an operator key. Sizes by tenant are estimates.`,
		Example: `  posthorn disk
  posthorn disk --tenant acme --json`,
	}
	connect := serverFlags(cmd)
	tenant := cmd.Flags().String("tenant", "", "tenant ID to list (default the largest tenants)")
	asJSON := cmd.Flags().Bool("json", false, "print the response as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		api, err := connect()
		if err != nil {
			return err
		}
		path := "/v1/disk"
		if *tenant != "" {
			path += "?" + url.Values{"tenant": {*tenant}}.Encode()
		}
		var answer json.RawMessage
		if err := api.Do(cmd.Context(), http.MethodGet, path, "", nil, &answer); err != nil {
			return api.refused(err)
		}
		if *asJSON {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", answer)
			return err
		}
		var d client.Disk
		if err := json.Unmarshal(answer, &d); err != nil || d.State == "" {
			return errNotPosthorn
		}
		return printDisk(cmd.OutOrStdout(), &d)
	}
	return cmd
}

func printDisk(out io.Writer, d *client.Disk) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name string, bytes int64, note string) {
		fmt.Fprintf(w, "%s\t%s\t%s\n", name, hook.BytesText(bytes), note)
	}
	budget := "no budget"
	if d.BudgetBytes != nil {
		budget = fmt.Sprintf("%.0f %% of the budget of %s, %s", 100*float64(d.UsedBytes)/float64(*d.BudgetBytes), hook.BytesText(*d.BudgetBytes), PlainText(d.State))
	}
	line("used", d.UsedBytes, budget)
	line("files", d.FileBytes, hook.BytesText(d.Classes.Free)+" of them free")
	if d.GrowthPerDay != nil {
		line("growth a day", *d.GrowthPerDay, "")
	}
	if d.OldestEvent != nil {
		fmt.Fprintf(w, "oldest event\t%s\n", onScreen(d.OldestEvent.Time))
	}
	c := &d.Classes
	fmt.Fprintln(w)
	line("payloads", c.Payloads, "estimate")
	line("metadata", c.Metadata, "estimate")
	line("attempts", c.Attempts, "estimate")
	line("audit", c.Audit, "")
	line("statistics", c.Statistics, "")
	line("other", c.Other, "indexes and the rest")
	line("log", c.Log, "")
	if len(d.Tenants) > 0 {
		fmt.Fprintln(w, "\ntenant\ttotal\tpayloads\tmetadata\tattempts")
		for _, t := range d.Tenants {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", PlainText(t.Tenant), hook.BytesText(t.Total), hook.BytesText(t.Payloads), hook.BytesText(t.Metadata), hook.BytesText(t.Attempts))
		}
	}
	return w.Flush()
}
