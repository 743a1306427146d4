package doctor

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/server"
	"github.com/posthorn/posthorn/internal/store/postgres"
	"github.com/posthorn/posthorn/internal/store/sqlite"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// auditEntries is how many of the newest entries of each mode are checked without --all.
const auditEntries = 10_000

// audit checks the chains of the audit log in a database.
func (c *checkup) audit(ctx context.Context, q sqltext.Querier, most int) {
	for _, mode := range []hook.Mode{hook.Live, hook.Test} {
		check, err := sqltext.CheckAudit(ctx, q, mode, most)
		fault, broken := errors.AsType[*hook.AuditFault](err)
		switch {
		case broken:
			c.fail("audit", "the audit log of %s mode was changed: %v; compare it with a backup, and check who can write to the database", mode, fault)
		case err != nil:
			c.fail("audit", "%v", err)
		case check.Checked == 0:
			c.ok("audit", "the audit log of %s mode has no entries", mode)
		case most > 0 && check.Checked >= most:
			c.ok("audit", "the newest %d entries of the audit log of %s mode are intact; --all checks all of them", check.Checked, mode)
		default:
			c.ok("audit", "all %d entries of the audit log of %s mode are intact, back to %s", check.Checked, mode, check.Until.Format(time.RFC3339))
		}
	}
}

// auditInFile checks a database that has a schema of this release.
func (c *checkup) auditInFile(ctx context.Context, database string, most int) {
	if version, ours, err := sqlite.SchemaVersion(ctx, database); err != nil || version != ours {
		return // reported already
	}
	db, err := sqlite.OpenUnchanged(database)
	if err != nil {
		c.fail("audit", "%v", err)
		return
	}
	defer func() { _ = db.Close() }()
	c.audit(ctx, db, most)
}

func (c *checkup) auditInPostgres(ctx context.Context, address string, most int) {
	config, err := postgres.ParseURL(address)
	if err != nil {
		return // reported already
	}
	db := postgres.Pool(config, 1)
	defer func() { _ = db.Close() }()
	c.audit(ctx, &sqltext.Reader{DB: db, Dialect: postgres.NewDialect()}, most)
}

// auditPlan holds the flags of "posthorn audit verify".
type auditPlan struct {
	doctorPlan
	mode string
}

// AuditVerify is "posthorn audit verify".
func AuditVerify() *cobra.Command {
	p := &auditPlan{}
	cmd := &cobra.Command{
		Use: "verify", Short: "Verify the hash chain of the audit log", Args: cli.NoArgs,
		Long: `Verify that no entry of the audit log was changed, removed or moved.

The entries are read from the server, in the mode of your operator key. With --data or
--store they are read from the database, in both modes.

The log alone does not show whether its newest entries were removed. Store the printed
sequence and hash elsewhere, and check that they are still in the log next time.

Exit codes: 0 all entries are intact, 1 an entry was changed, which is named.`,
		Example: `  posthorn audit verify
  posthorn audit verify --data /var/lib/posthorn`,
	}
	f := cmd.Flags()
	f.StringVar(&p.data, "data", "", "data directory to read instead of a server")
	f.StringVar(&p.store, "store", "", "sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE to read instead of a server")
	f.StringVar(&p.url, "server", "", "server URL (POSTHORN_URL, default "+cli.DefaultURL+")")
	f.StringVar(&p.key, "key", "", "operator key (POSTHORN_KEY, POSTHORN_KEY_FILE)")
	f.StringVar(&p.context, "context", "", "saved server and key, see \"posthorn login\" (POSTHORN_CONTEXT)")
	f.BoolVar(&p.asJSON, "json", false, "print the result as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return p.run(cmd) }
	return cmd
}

// verified is the result for one mode.
type verified struct {
	Mode    string         `json:"mode"`
	OK      bool           `json:"ok"`
	Checked int            `json:"checked"`
	Until   *time.Time     `json:"until"` // of the oldest entry
	Heads   []verifiedHead `json:"heads"` // the newest entry of each chain
	Fault   string         `json:"fault,omitempty"`
}

type verifiedHead struct {
	Chain    int64  `json:"chain"`
	Sequence int64  `json:"sequence"`
	Hash     string `json:"hash"`
}

func (p *auditPlan) run(cmd *cobra.Command) error {
	var all []verified
	note := func(mode string, check *hook.AuditCheck, err error) error {
		fault, broken := errors.AsType[*hook.AuditFault](err)
		if err != nil && !broken {
			return err
		}
		v := verified{Mode: mode, OK: !broken, Checked: check.Checked, Heads: []verifiedHead{}}
		if broken {
			v.Fault = fault.Error()
		}
		if check.Checked > 0 {
			v.Until = &check.Until
		}
		for _, chain := range slices.Sorted(maps.Keys(check.Newest)) {
			e := check.Newest[chain]
			v.Heads = append(v.Heads, verifiedHead{chain, e.Sequence, hex.EncodeToString(e.Hash[:])})
		}
		all = append(all, v)
		return nil
	}
	ctx := cmd.Context()
	if p.data == "" && p.store == "" {
		saved, err := cli.FindContext(p.url, p.key, p.context)
		if err != nil {
			return err
		}
		if p.key, _, err = cli.FindKey(p.key); err != nil {
			return err
		}
		p.url = cmp.Or(p.url, os.Getenv("POSTHORN_URL"), cli.DefaultURL)
		if saved != nil {
			p.url, p.key = saved.URL, saved.Key
		}
		if p.key == "" {
			return exit.Usagef("a key is required: use --key, POSTHORN_KEY, POSTHORN_KEY_FILE or \"posthorn login\", or --data to read a database")
		}
		if err := cli.CheckURL(p.url); err != nil {
			return err
		}
		mode, check, err := checkAuditOf(ctx, cli.NewClient(p.url, p.key))
		if err := note(mode, check, err); err != nil {
			return err
		}
	} else {
		q, done, err := p.open()
		if err != nil {
			return err
		}
		defer done()
		for _, mode := range []hook.Mode{hook.Live, hook.Test} {
			check, err := sqltext.CheckAudit(ctx, q, mode, 0)
			if err := note(mode.String(), check, err); err != nil {
				return exit.With(exit.Failed, err)
			}
		}
	}
	return p.say(cmd, all)
}

// open opens the database that is named.
func (p *auditPlan) open() (q sqltext.Querier, done func(), err error) {
	if p.store, err = server.StoreAddress(p.store); err != nil {
		return nil, nil, err
	}
	if server.IsPostgres(p.store) {
		config, err := postgres.ParseURL(p.store)
		if err != nil {
			return nil, nil, err
		}
		db := postgres.Pool(config, 1)
		return &sqltext.Reader{DB: db, Dialect: postgres.NewDialect()}, func() { _ = db.Close() }, nil
	}
	if p.store != "" && !strings.HasPrefix(p.store, "sqlite:") {
		return nil, nil, exit.Usagef("--store: must be sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE; got %q", server.StoreScheme(p.store))
	}
	if _, err := os.Stat(p.database()); err != nil {
		return nil, nil, exit.With(exit.Failed, err)
	}
	db, err := sqlite.OpenUnchanged(p.database())
	if err != nil {
		return nil, nil, exit.With(exit.Failed, err)
	}
	return db, func() { _ = db.Close() }, nil
}

func (p *auditPlan) say(cmd *cobra.Command, all []verified) error {
	out, broken := cmd.OutOrStdout(), 0
	if p.asJSON {
		if err := json.NewEncoder(out).Encode(all); err != nil {
			return err
		}
	}
	for _, v := range all {
		if !v.OK {
			broken++
		}
		if p.asJSON {
			continue
		}
		line := fmt.Sprintf("%s: no entries", v.Mode)
		switch {
		case !v.OK:
			line = fmt.Sprintf("%s: CHANGED after %d entries: %s", v.Mode, v.Checked, v.Fault)
		case v.Until != nil:
			line = fmt.Sprintf("%s: checked %d entries, back to %s", v.Mode, v.Checked, v.Until.Format(time.RFC3339))
		}
		fmt.Fprintln(out, cli.PlainText(line))
		for _, h := range v.Heads {
			fmt.Fprintf(out, "%s: newest of chain %d: sequence %d, hash %s\n", v.Mode, h.Chain, h.Sequence, h.Hash)
		}
	}
	if broken > 0 {
		return exit.With(exit.Failed, errors.New("the audit log was changed"))
	}
	return nil
}

// checkAuditOf verifies the audit log that a server returns.
func checkAuditOf(ctx context.Context, api *client.Client) (mode string, check *hook.AuditCheck, err error) {
	api.Attempts = 10 // reading a long log hits the rate limit
	check = &hook.AuditCheck{}
	mode = "log"
	for wire, err := range api.AllAuditEntries(ctx, client.AuditQuery{ListOptions: client.ListOptions{Limit: 250}}) {
		if err != nil {
			return mode, check, err
		}
		e, err := auditEntry(&wire)
		if err != nil {
			return mode, check, err
		}
		mode = wire.Mode
		if err := check.Add(e); err != nil {
			return mode, check, err
		}
	}
	return mode, check, check.End()
}

// auditEntry is an entry as the store has it.
func auditEntry(wire *client.AuditEntry) (e hook.AuditEntry, err error) {
	if wire.Chain == nil {
		return e, exit.Usagef("this key may not see the hash chain; use an operator key")
	}
	text := func(t *string) string {
		if t == nil {
			return ""
		}
		return *t
	}
	hash, err := hex.DecodeString(wire.Chain.Hash)
	if err != nil || copy(e.Hash[:], hash) != len(e.Hash) {
		return e, fmt.Errorf("entry %s: invalid hash", wire.ID)
	}
	if e.ID, err = hook.ParseID(wire.ID); err != nil {
		return e, fmt.Errorf("entry %q: invalid ID", wire.ID)
	}
	e.Mode, _ = hook.ParseMode(wire.Mode)
	e.Chain, e.Sequence, e.At, e.Tenant = wire.Chain.Number, wire.Chain.Sequence, wire.At.Time, text(wire.Tenant)
	e.Actor = hook.Actor{Kind: wire.Actor.Kind, ID: text(wire.Actor.ID), Address: text(wire.Actor.Address), Request: text(wire.RequestID)}
	e.Act, e.Object, e.ObjectID, e.Outcome, e.Detail = hook.Act(wire.Act), wire.Object, text(wire.ObjectID), wire.Outcome, text(wire.Detail)
	return e, nil
}
