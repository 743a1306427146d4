package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/exit"
)

// sparkWidth is the largest width of a chart, in characters.
const sparkWidth = 60

func newStats() *cobra.Command {
	cmd := &cobra.Command{
		Use: "stats", Short: "Show delivery statistics and the current backlog", Args: NoArgs,
		Long: `Show delivery statistics of the key's mode, of a tenant or of an endpoint: deliveries
accepted, delivered and given up, attempts, failures by error, and latency. Each line
has a total and a chart over time.`,
		Example: `  posthorn stats
  posthorn stats --tenant acme --since 24h
  posthorn stats --endpoint 019396e0-5c2f-7cc1-8f3d-6d1f0f1c2b3a --since 168h --step 1h --json`,
	}
	connect := serverFlags(cmd)
	f := cmd.Flags()
	tenant := f.String("tenant", "", "tenant ID (default that of a tenant key)")
	endpoint := f.String("endpoint", "", "endpoint ID")
	var since time.Duration
	duration.Var(f, &since, "since", time.Hour, "length of the time range until now, such as 1h or 7d")
	step := f.String("step", "", "bucket length: 1m, 5m, 15m, 1h, 6h or 1d (default the shortest with at most 120 buckets)")
	asJSON := f.Bool("json", false, "print the response as JSON")
	completeFlag(cmd, "step", []string{"1m", "5m", "15m", "1h", "6h", "1d"})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if since <= 0 {
			return exit.Usagef("--since: must be a positive duration such as 1h")
		}
		if *tenant != "" && *endpoint != "" {
			return exit.Usagef("--tenant and --endpoint cannot be combined")
		}
		api, err := connect()
		if err != nil {
			return err
		}
		path, of := "/v1/stats", "all that the key sees"
		switch {
		case *endpoint != "":
			path, of = "/v1/endpoints/"+url.PathEscape(*endpoint)+"/stats", "endpoint "+*endpoint
		case *tenant != "":
			path, of = "/v1/tenants/"+url.PathEscape(*tenant)+"/stats", "tenant "+*tenant
		}
		query := url.Values{"from": {time.Now().Add(-since).UTC().Format(time.RFC3339Nano)}}
		if *step != "" {
			query.Set("step", *step)
		}
		var answer json.RawMessage
		if err := api.Do(cmd.Context(), http.MethodGet, path+"?"+query.Encode(), "", nil, &answer); err != nil {
			return api.refused(err)
		}
		if *asJSON {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", answer)
			return err
		}
		var stats client.Stats // an endpoint's answer has the same members and more
		if err := json.Unmarshal(answer, &stats); err != nil || stats.Step == "" {
			return errNotPosthorn
		}
		return printStats(cmd.OutOrStdout(), of, &stats)
	}
	return cmd
}

func printStats(out io.Writer, of string, s *client.Stats) error {
	fmt.Fprintf(out, "%s, from %s to %s, by %s\n\n", PlainText(of), onScreen(s.From.Time), onScreen(s.To.Time), PlainText(s.Step))
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name string, of func(*client.Tally) int, more string) {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", name, of(&s.Total), spark(s.Buckets.Buckets, of), more)
	}
	failed := func(t *client.Tally) (n int) {
		for _, of := range t.Errors {
			n += of
		}
		return n
	}
	line("accepted", func(t *client.Tally) int { return t.Accepted }, "")
	line("delivered", func(t *client.Tally) int { return t.Delivered }, share(s.Total.FirstTry, s.Total.Delivered, "at the first try"))
	line("given up", func(t *client.Tally) int { return t.GivenUp }, "")
	line("attempts", func(t *client.Tally) int { return t.Attempts }, "")
	line("failed", failed, errorText(s.Total.Errors))
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nattempts took       %s\ndelivered after     %s\n", quantileText(s.Total.AttemptTime), quantileText(s.Total.DeliveryTime))
	fmt.Fprintf(out, "now                 %d pending, %d held\n", s.Pending, s.Held)
	if o := s.OldestPending; o != nil {
		waits := "this node does not know what it waits for"
		if o.WaitsFor != nil {
			waits = "waits for " + PlainText(*o.WaitsFor)
		}
		fmt.Fprintf(out, "oldest pending      %s, accepted %s, attempts so far %d, %s\n", PlainText(o.Delivery), onScreen(o.At.Time), o.Attempts, waits)
	}
	return nil
}

func share(part, of int, words string) string {
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f %% %s", 100*float64(part)/float64(of), words)
}

func errorText(errors map[string]int) string {
	classes := slices.SortedFunc(maps.Keys(errors), func(a, b string) int { return cmp.Or(errors[b]-errors[a], cmp.Compare(a, b)) })
	for i, class := range classes {
		classes[i] = fmt.Sprintf("%s %d", PlainText(class), errors[class])
	}
	return strings.Join(classes, ", ")
}

func quantileText(q *client.Quantiles) string {
	if q == nil {
		return "-"
	}
	return fmt.Sprintf("p50 %g ms, p95 %g ms, p99 %g ms", q.P50MS, q.P95MS, q.P99MS)
}

// spark draws a count over the buckets. If there are many, a mark stands for several.
func spark(buckets []client.StatsBucket, of func(*client.Tally) int) string {
	marks := []rune("▁▂▃▄▅▆▇█")
	each := max(1, (len(buckets)+sparkWidth-1)/sparkWidth)
	var sums []int
	for part := range slices.Chunk(buckets, each) {
		sum := 0
		for i := range part {
			sum += of(&part[i].Tally)
		}
		sums = append(sums, sum)
	}
	if len(sums) == 0 || slices.Max(sums) <= 0 {
		return ""
	}
	most := slices.Max(sums)
	var b strings.Builder
	for _, n := range sums {
		if n <= 0 {
			b.WriteRune('·')
			continue
		}
		b.WriteRune(marks[(n*len(marks)-1)/most])
	}
	return b.String()
}
