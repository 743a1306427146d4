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

// checkup is the list of findings.
type checkup struct {
	Findings []finding `json:"checks"`
}

// finding is the result of one check. Status is ok, warn or fail.
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

// doctorPlan holds the flags of doctor.
type doctorPlan struct {
	data, store, masterKey string
	ready                  *seal.Keyring // the master key, if it comes from no file
	readyFrom              string
	readyErr               error
	url, key, keyFrom      string
	context                string // name of a saved server and key
	plainHTTP              bool   // the network to the server is trusted
	timeout                time.Duration
	holderAge              time.Duration
	asJSON                 bool
	all                    bool
	egress                 wayOut
}

// Command is "posthorn doctor".
func Command() *cobra.Command {
	p := &doctorPlan{}
	cmd := &cobra.Command{
		Use: "doctor", Short: "Diagnose a data directory, a database or a server", Args: cli.NoArgs,
		Long: `Check a data directory (permissions, master key, lock, schema, free space) and a server
(reachable, ready, key, clock), and print how to fix each problem. The command changes
nothing and does not disturb a running server.

With --data (POSTHORN_DATA) it checks only the directory. With --server (POSTHORN_URL) it
checks only the server, as with --context (POSTHORN_CONTEXT). With both or neither it checks
both; without --server and --key the server is that of the current context, if there is
one. With --store postgres://...
it checks the database (settings, connections, nodes, partitions, dead rows, and what
keeps vacuum from removing them), and with --data also the directory of this node.

Exit codes: 0 no check failed (there may be warnings), 1 a check failed.`,
		Example: `  posthorn doctor --data /var/lib/posthorn
  posthorn doctor --server https://hooks.example.com --json`,
	}
	f := cmd.Flags()
	f.StringVar(&p.data, "data", "", "data directory (POSTHORN_DATA, default ./posthorn-data)")
	f.StringVar(&p.store, "store", "", "sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE (POSTHORN_STORE, POSTHORN_STORE_FILE, default posthorn.db in the data directory)")
	f.StringVar(&p.masterKey, "master-key-file", "", "master key file (POSTHORN_MASTER_KEY_FILE, default master.key in the data directory)")
	f.StringVar(&p.url, "server", "", "server URL (POSTHORN_URL, default "+cli.DefaultURL+")")
	f.StringVar(&p.key, "key", "", "API key to check (POSTHORN_KEY, POSTHORN_KEY_FILE)")
	f.StringVar(&p.context, "context", "", "saved server and key, see \"posthorn login\" (POSTHORN_CONTEXT)")
	duration.Var(f, &p.timeout, "timeout", 5*time.Second, "time to wait for each response of the server")
	duration.Var(f, &p.holderAge, "holder-age", 5*time.Minute, "on PostgreSQL, age from which transactions that hold vacuum back are reported")
	f.BoolVar(&p.all, "all", false, "check the whole audit log, not only the newest entries")
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
	if p.masterKey == "" { // the flag goes first
		p.ready, p.readyFrom, p.readyErr = server.MasterKeyElsewhere(ctx, "", "")
	}
	p.masterKey = cmp.Or(p.masterKey, os.Getenv("POSTHORN_MASTER_KEY_FILE"))
	named := p.context != "" || os.Getenv("POSTHORN_CONTEXT") != ""
	var saved *cli.Saved
	if named || p.url != "" || p.data == "" && p.store == "" { // otherwise no server is asked
		if saved, err = cli.FindContext(p.url, p.key, p.context); err != nil {
			return err
		}
	}
	if p.key, p.keyFrom, err = cli.FindKey(p.key); err != nil {
		return err
	}
	p.url = cmp.Or(p.url, os.Getenv("POSTHORN_URL"))
	asked := p.url != "" || saved != nil && named
	if saved != nil {
		p.url, p.key, p.keyFrom, p.plainHTTP = saved.URL, saved.Key, saved.From, saved.PlainHTTP
	}
	if p.url != "" {
		if err := cli.CheckURL(p.url); err != nil {
			return err
		}
	}
	if err := p.egress.fromEnvironment(); err != nil {
		return err
	}
	c := &checkup{Findings: []finding{}}
	data := p.data != "" || p.store != ""
	if data || !asked {
		if p.data != "" || !server.IsPostgres(p.store) { // otherwise no node need run here
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

// auditMost is how many entries of the audit log are checked; 0 means all.
func (p *doctorPlan) auditMost() int {
	if p.all {
		return 0
	}
	return auditEntries
}

// database returns the path of the SQLite file.
func (p *doctorPlan) database() string {
	if path, ok := strings.CutPrefix(p.store, "sqlite:"); ok {
		return path
	}
	return filepath.Join(cmp.Or(p.data, "./posthorn-data"), "posthorn.db")
}

// Limits of the clock difference. Receivers accept timestamps of up to five minutes, which
// include the time of the delivery.
const (
	skewWarns = 5 * time.Second
	skewFails = 2 * time.Minute
)

func (p *doctorPlan) checkServer(ctx context.Context, c *checkup) {
	api := cli.NewClient(cmp.Or(p.url, cli.LocalURL()), p.key)
	if errors.Is(api.Check(), client.ErrPlainHTTP) && p.url != "" && !p.plainHTTP && !cli.PlainHTTPAllowed() { // without --server it is an address of this machine
		c.warn("transport", "%s, or set POSTHORN_ALLOW_PLAIN_HTTP=true if the network is trusted", cli.Unencrypted(api.URL))
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
		c.warn("server", "no server answers at %s; if there is one, name it with --server", api.URL)
		return
	case err != nil:
		c.fail("server", "%v; is it running, and is the address right?", err)
		return
	case version.Version != build.Version():
		c.warn("server", "%s runs version %s, but this command is version %s", api.URL, version.Version, build.Version())
	default:
		c.ok("server", "%s runs version %s, the same as this command", api.URL, version.Version)
	}
	if err := ask(func(ctx context.Context) error { return api.Do(ctx, "GET", "/readyz", "", nil, nil) }); err != nil {
		c.fail("ready", "the server does not accept events: %v", err)
	} else {
		c.ok("ready", "the server accepts events")
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
		c.fail("clock", "the server's clock is %v ahead of this machine's; receivers reject timestamps that are off by minutes: synchronize both with NTP", ahead)
	case ahead.Abs() > skewWarns:
		c.warn("clock", "the server's clock is %v ahead of this machine's; synchronize both with NTP", ahead)
	default:
		c.ok("clock", "the server's clock agrees with this machine's")
	}
}

// checkKey determines the kind of a key by requests that only some kinds may make, because
// no route returns it.
func (p *doctorPlan) checkKey(ask func(func(context.Context) error) error, api *client.Client, c *checkup) {
	if p.key == "" {
		c.warn("key", "not checked: no key was given; use --key or POSTHORN_KEY")
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
		c.ok("key", "valid: a tenant key%s, tenant %s", inMode(mode), cmp.Or(tenant, "unknown until its first endpoint or event"))
	case refusedWith(err, "forbidden"):
		c.ok("key", "valid: a publisher key%s; \"posthorn key list\" with an operator key shows whether it is limited to a tenant", inMode(cli.ModeOf(p.key)))
	default:
		c.fail("key", "%v", err)
	}
}

// owner reads the mode, and the tenant of a tenant key, from the first row that the key may
// see. Otherwise only the text of a generated key has the mode.
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
		return " of a mode unknown until the first endpoint, event or key"
	}
	return " of mode " + mode
}
