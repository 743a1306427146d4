// Package doctor examines a data directory, a database and a running server.
package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/duration"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/server"
)

// checkup is a list of findings about a data directory and a server.
type checkup struct {
	Findings []finding `json:"checks"`
}

// finding is one line of the doctor's output. Status is ok, warn or fail.
type finding struct {
	Check   string `json:"check"`
	Status  string `json:"status"`
	Message string `json:"message"`
}

func (c *checkup) ok(check, format string, args ...any)   { c.add(check, "ok", format, args) }
func (c *checkup) warn(check, format string, args ...any) { c.add(check, "warn", format, args) }
func (c *checkup) fail(check, format string, args ...any) { c.add(check, "fail", format, args) }

func (c *checkup) add(check, status, format string, args []any) {
	c.Findings = append(c.Findings, finding{check, status, cli.PlainText(cli.OneLine(fmt.Sprintf(format, args...)))})
}

func (c *checkup) failed() int {
	n := 0
	for _, f := range c.Findings {
		if f.Status == "fail" {
			n++
		}
	}
	return n
}

// doctorPlan holds the values of the flags of "posthorn doctor".
type doctorPlan struct {
	data, store, masterKey string
	ready                  *seal.Keyring // the master key, if it does not come from a file
	readyFrom              string
	readyErr               error
	url, key, keyFrom      string
	timeout                time.Duration
	holderAge              time.Duration
	asJSON                 bool
	all                    bool
	egress                 wayOut
}

// Command returns the command "posthorn doctor".
func Command() *cobra.Command {
	p := &doctorPlan{}
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look for what is wrong with a data directory or a server", Args: cli.NoArgs,
		Long: `Check a data directory (permissions, master key, lock, schema, free space) and a
server (reachable, ready, key, clock), and say what to do about what is wrong.
Nothing is changed, and a server that works in the directory is not disturbed.

With --data (POSTHORN_DATA) only the directory is checked, with --server (POSTHORN_URL)
only the server, with both or neither both. With --store postgres://... the database
is checked (settings, connections, nodes, partitions, dead rows, and who keeps vacuum
from removing them), and with --data the directory of this node too.

Exit codes: 0 nothing failed (warnings are allowed), 1 a check failed.`,
		Example: `  posthorn doctor --data /var/lib/posthorn
  posthorn doctor --server https://hooks.example.com --json`,
	}
	f := cmd.Flags()
	f.StringVar(&p.data, "data", "", "data directory (POSTHORN_DATA); empty: ./posthorn-data")
	f.StringVar(&p.store, "store", "", "sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE (POSTHORN_STORE, POSTHORN_STORE_FILE); empty: posthorn.db in the data directory")
	f.StringVar(&p.masterKey, "master-key-file", "", "master key (POSTHORN_MASTER_KEY_FILE); empty: master.key in the data directory")
	f.StringVar(&p.url, "server", "", "server (POSTHORN_URL); empty: "+cli.DefaultURL)
	f.StringVar(&p.key, "key", "", "key of the API (POSTHORN_KEY, POSTHORN_KEY_FILE)")
	duration.Var(f, &p.timeout, "timeout", 5*time.Second, "how long to wait for each answer of the server")
	duration.Var(f, &p.holderAge, "holder-age", 5*time.Minute, "on PostgreSQL, how old a transaction must be to be named as one that holds vacuum back")
	f.BoolVar(&p.all, "all", false, "check all of the audit log, not the newest entries alone")
	f.BoolVar(&p.asJSON, "json", false, "print the findings as JSON")
	p.egress.flags(f)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return p.run(cmd.Context(), cmd.OutOrStdout()) }
	return cmd
}

func (p *doctorPlan) run(ctx context.Context, out io.Writer) error {
	p.data = cmp.Or(p.data, os.Getenv("POSTHORN_DATA"))
	store, err := server.StoreAddress(p.store)
	if err != nil {
		return err
	}
	if store != "" && !strings.HasPrefix(store, "sqlite:") && !server.IsPostgres(store) {
		return exit.Usagef("--store: must be sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE; got %q", server.StoreScheme(store))
	}
	p.store = store
	if p.masterKey == "" { // the flag takes precedence
		p.ready, p.readyFrom, p.readyErr = server.MasterKeyElsewhere(ctx, "", "")
	}
	p.masterKey = cmp.Or(p.masterKey, os.Getenv("POSTHORN_MASTER_KEY_FILE"))
	if p.key, p.keyFrom, err = cli.FindKey(p.key); err != nil {
		return err
	}
	p.url = cmp.Or(p.url, os.Getenv("POSTHORN_URL"))
	if p.url != "" {
		if err := cli.CheckURL(p.url); err != nil {
			return err
		}
	}
	if err := p.egress.fromEnvironment(); err != nil {
		return err
	}
	c := &checkup{Findings: []finding{}}
	data, asked := p.data != "" || p.store != "", p.url != ""
	if data || !asked {
		if p.data != "" || !server.IsPostgres(p.store) { // otherwise nothing indicates that a node runs here
			c.descriptors(server.Descriptors())
		}
		p.checkData(ctx, c)
	}
	p.egress.check(ctx, c, p.timeout)
	if asked || !data {
		p.checkServer(ctx, c)
	}
	if err := c.print(out, p.asJSON); err != nil {
		return err
	}
	if n := c.failed(); n > 0 {
		return exit.With(exit.Failed, fmt.Errorf("%d of %d checks failed", n, len(c.Findings)))
	}
	return nil
}

func (c *checkup) print(out io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(out).Encode(map[string]any{"ok": c.failed() == 0, "checks": c.Findings})
	}
	for _, f := range c.Findings {
		if _, err := fmt.Fprintf(out, "%-5s %-12s %s\n", f.Status, f.Check, f.Message); err != nil {
			return err
		}
	}
	return nil
}

// auditMost returns the number of entries of the audit log to check; 0 means all.
func (p *doctorPlan) auditMost() int {
	if p.all {
		return 0
	}
	return auditEntries
}

// database returns the path of the store's file.
func (p *doctorPlan) database() string {
	if path, ok := strings.CutPrefix(p.store, "sqlite:"); ok {
		return path
	}
	return filepath.Join(cmp.Or(p.data, "./posthorn-data"), "posthorn.db")
}

// Limits of the clock difference. Receivers of signed timestamps accept five minutes, and
// transit uses up part of that.
const (
	skewWarns = 5 * time.Second
	skewFails = 2 * time.Minute
)

func (p *doctorPlan) checkServer(ctx context.Context, c *checkup) {
	api := cli.NewClient(cmp.Or(p.url, cli.LocalURL()), p.key)
	if errors.Is(api.Check(), client.ErrPlainHTTP) && p.url != "" && !cli.PlainHTTPAllowed() { // without --server it is the address of this machine
		c.warn("transport", "%s; POSTHORN_ALLOW_PLAIN_HTTP=true says that it is", cli.Unencrypted(api.URL))
	}
	api.AllowPlainHTTP = true
	ask := func(do func(ctx context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, p.timeout)
		defer cancel()
		return do(ctx)
	}
	var version client.Version
	err := ask(func(ctx context.Context) (err error) { version, err = api.Version(ctx); return err })
	switch {
	case err != nil && p.url == "":
		c.warn("server", "nothing answers at %s; name the server with --server if there is one", api.URL)
		return
	case err != nil:
		c.fail("server", "%v; is it running, and is the address right?", err)
		return
	case version.Version != build.Version():
		c.warn("server", "%s runs version %s, this command is %s", api.URL, version.Version, build.Version())
	default:
		c.ok("server", "%s runs version %s, as this command", api.URL, version.Version)
	}
	if err := ask(func(ctx context.Context) error { return api.Do(ctx, "GET", "/readyz", "", nil, nil) }); err != nil {
		c.fail("ready", "events are not accepted now: %v", err)
	} else {
		c.ok("ready", "events are accepted")
	}
	var ahead time.Duration
	err = ask(func(ctx context.Context) (err error) { ahead, err = api.Clock(ctx); return err })
	c.clock(ahead.Round(time.Second), err)
	p.checkKey(ask, api, c)
}

func (c *checkup) clock(ahead time.Duration, err error) {
	switch {
	case err != nil:
		c.warn("clock", "%v", err)
	case ahead.Abs() > skewFails:
		c.fail("clock", "the server's clock is %v ahead of this one; receivers refuse timestamps that are off by minutes: set both by NTP", ahead)
	case ahead.Abs() > skewWarns:
		c.warn("clock", "the server's clock is %v ahead of this one; set both by NTP", ahead)
	default:
		c.ok("clock", "the server's clock agrees with this one")
	}
}

// checkKey determines what a key may do by requesting one row of lists that only some kinds
// may read. No route reports it.
func (p *doctorPlan) checkKey(ask func(func(context.Context) error) error, api *client.Client, c *checkup) {
	if p.key == "" {
		c.warn("key", "none given; --key or POSTHORN_KEY has it checked")
		return
	}
	one := client.ListOptions{Limit: 1}
	err := ask(func(ctx context.Context) error {
		_, err := api.Keys(ctx, client.KeyQuery{ListOptions: one})
		return err
	})
	if err == nil {
		kind := "an operator key"
		if cli.KindOf(p.key) == "" {
			kind = "a bootstrap operator key"
		}
		mode, _ := p.owner(ask, api)
		c.ok("key", "valid: %s%s, for all tenants", kind, inMode(mode))
		return
	}
	if !refusedWith(err, "forbidden") {
		c.fail("key", "%v; check %s", err, p.keyFrom)
		return
	}
	err = ask(func(ctx context.Context) error {
		_, err := api.Endpoints(ctx, client.EndpointQuery{ListOptions: one})
		return err
	})
	switch {
	case err == nil:
		mode, tenant := p.owner(ask, api)
		c.ok("key", "valid: a tenant key%s, tenant %s", inMode(mode), cmp.Or(tenant, "not shown before its first endpoint or event"))
	case refusedWith(err, "forbidden"):
		c.ok("key", "valid: a publisher key%s; \"posthorn key list\" with an operator key shows whether it is for one tenant", inMode(cli.ModeOf(p.key)))
	default:
		c.fail("key", "%v", err)
	}
}

// owner determines the mode and, for a tenant key, the tenant from the first row that the
// key may read. Only the text of a key generated by the server also shows the mode.
func (p *doctorPlan) owner(ask func(func(context.Context) error) error, api *client.Client) (mode, tenant string) {
	for _, path := range []string{"/v1/endpoints", "/v1/events", "/v1/keys"} {
		var page client.Page[struct{ Mode, Tenant string }]
		err := ask(func(ctx context.Context) error { return api.Do(ctx, "GET", path+"?limit=1", "", nil, &page) })
		if err == nil && len(page.Data) > 0 {
			return page.Data[0].Mode, page.Data[0].Tenant
		}
	}
	return cli.ModeOf(p.key), ""
}

func refusedWith(err error, code string) bool {
	problem, ok := errors.AsType[*client.Problem](err)
	return ok && problem.Code == code
}

func inMode(mode string) string {
	if mode == "" {
		return " of a mode that shows with the first endpoint, event or key"
	}
	return " of mode " + mode
}
