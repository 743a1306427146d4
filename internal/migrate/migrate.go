// Package migrate moves a store from SQLite to PostgreSQL.
package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/posthorn/posthorn/internal/build"
	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/server"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/transfer"
)

// migration holds the flags of migrate.
type migration struct {
	from, to, data, masterKey string
	compare                   bool
	key                       server.StoredKey
}

// Command is "posthorn migrate".
func Command() *cobra.Command {
	p := &migration{}
	cmd := &cobra.Command{
		Use: "migrate", Short: "Move a store from SQLite to PostgreSQL, offline", Args: cli.NoArgs,
		Long: `Copy the whole store from a SQLite file to an empty PostgreSQL database: tenants, keys,
endpoints with their secrets, events, deliveries and attempts. Stop the server first. The
file is only read. All rows are compared before the copy is committed. If the command
fails, PostgreSQL stays empty, and the server can be started on the file again.

The address of --to can come from POSTHORN_STORE or POSTHORN_STORE_FILE, which keeps its
password out of the process list. The role must own the database or be allowed to create
tables in it.

Exit codes: 0 moved, 1 comparison failed or interrupted, 11 a server uses the file,
12 wrong master key, 13 newer schema, 15 the file or the database cannot be used.`,
		Example: `  posthorn migrate --from sqlite:/var/lib/posthorn/posthorn.db --to postgres://posthorn:PASSWORD@db.internal/posthorn
  POSTHORN_STORE_FILE=/etc/posthorn/store posthorn migrate --data /var/lib/posthorn`,
	}
	f := cmd.Flags()
	f.StringVar(&p.from, "from", "", "sqlite:PATH (default posthorn.db in the data directory)")
	f.StringVar(&p.to, "to", "", "postgres://USER:PASSWORD@HOST/DATABASE (POSTHORN_STORE, POSTHORN_STORE_FILE)")
	f.StringVar(&p.data, "data", "", "data directory (POSTHORN_DATA, default that of --from, or ./posthorn-data)")
	f.StringVar(&p.masterKey, "master-key-file", "", "master key file (POSTHORN_MASTER_KEY_FILE, default master.key in the data directory)")
	f.BoolVar(&p.compare, "compare", false, "only compare the file with an earlier move, before any node uses the database")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return p.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// complete sets the defaults and checks the options.
func (p *migration) complete(ctx context.Context) error {
	p.data = cmp.Or(p.data, os.Getenv("POSTHORN_DATA"))
	switch path, ok := strings.CutPrefix(p.from, "sqlite:"); {
	case p.from == "":
		p.data = cmp.Or(p.data, "./posthorn-data")
		p.from = filepath.Join(p.data, "posthorn.db")
	case !ok || path == "":
		return exit.Usagef("--from: must be sqlite:PATH, such as sqlite:/var/lib/posthorn/posthorn.db; moving from %s is not supported", server.StoreScheme(p.from))
	default:
		p.from = path
		p.data = cmp.Or(p.data, filepath.Dir(path))
	}
	var err error
	if p.key, err = server.FindStoredKey(ctx, p.masterKey, p.data); err != nil {
		return err
	}
	to, err := server.StoreAddress(p.to)
	if err != nil {
		return err
	}
	if p.to = to; to == "" {
		return exit.Usagef("--to is required: the PostgreSQL database to move to, postgres://USER:PASSWORD@HOST/DATABASE")
	}
	if !server.IsPostgres(to) {
		return exit.Usagef("--to: must be postgres://USER:PASSWORD@HOST/DATABASE; got %q", server.StoreScheme(to))
	}
	return nil
}

func (p *migration) run(ctx context.Context, out, progress io.Writer) error {
	if err := p.complete(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(p.from); err != nil {
		return exit.With(exit.Open, fmt.Errorf("--from: %w", err))
	}
	keys, err := p.key.Read("; name the one of the store with --master-key-file")
	if err != nil {
		return err
	}
	began := time.Now()
	shown := cli.NewProgress(progress, time.Second)
	defer shown.Done()
	o := transfer.Options{From: p.from, To: p.to, Keys: keys, Version: build.Version(), Progress: meter(shown.Say)}
	act, done := transfer.Move, "moved"
	if p.compare {
		act, done = transfer.Compare, "equal"
	}
	counts, err := act(ctx, o)
	shown.Done()
	if err != nil {
		return p.explain(ctx, err)
	}
	var rows int64
	for _, c := range counts {
		fmt.Fprintf(out, "%-18s %12d %s\n", c.Table, c.Rows, done)
		rows += c.Rows
	}
	took := time.Since(began)
	if p.compare {
		_, err = fmt.Fprintf(out, "All %d rows are the same in both (%s).\n", rows, took.Round(100*time.Millisecond))
		return err
	}
	_, err = fmt.Fprintf(out, `Moved and compared %d rows in %s (%.0f a second).
Next: start each node with --store postgres://... and the same master key, %s
(copy it to the data directory of each node, or name it with --master-key-file), and
check with "posthorn doctor". Do not start a server on %s again: it would send
open deliveries a second time.
`, rows, took.Round(100*time.Millisecond), float64(rows)/took.Seconds(), p.key.From, p.from)
	return err
}

// meter shows the progress of a long move through say, such as [cli.Progress.Say].
func meter(say func(format string, args ...any)) func(act, table string, rows int64) {
	return func(act, table string, rows int64) { say("%s %d rows of %s", act, rows, table) }
}

// explain adds the exit code, the outcome and the next step to an error.
func (p *migration) explain(ctx context.Context, err error) error {
	text := strings.ReplaceAll(err.Error(), "--store", "--to")
	nothing := "; nothing was moved"
	if p.compare {
		nothing = ""
	}
	switch {
	case errors.Is(err, transfer.ErrUnknown):
		return exit.With(exit.Failed, fmt.Errorf("%s; \"posthorn migrate --compare\" with the same options finds out, before any node is started", text))
	case ctx.Err() != nil:
		return exit.With(exit.Failed, fmt.Errorf("interrupted%s", nothing))
	case errors.Is(err, store.ErrLocked):
		return exit.With(exit.Locked, fmt.Errorf("%s is in use by another posthorn process; stop the server, then move its store%s", p.from, nothing))
	case errors.Is(err, store.ErrMasterKeyMismatch):
		return exit.With(exit.MasterKey, fmt.Errorf("master_key_mismatch: %s is not the master key that sealed the secrets in %s%s; name that one with --master-key-file%s", p.key.From, p.from, seal.Why(err), nothing))
	case errors.Is(err, store.ErrNewerSchema):
		return exit.With(exit.Schema, fmt.Errorf("%s%s; use the newer release", text, nothing))
	case errors.Is(err, transfer.ErrOlderSchema):
		return exit.With(exit.Open, fmt.Errorf("%s%s; start \"posthorn serve\" of this release on it once, which upgrades it, stop it, and then move it", text, nothing))
	case errors.Is(err, store.ErrPostgresURL):
		return exit.Usagef("--to: invalid address; the format is postgres://user:password@host:5432/database?sslmode=verify-full, with special characters in the password as %%XX")
	case errors.Is(err, transfer.ErrDiffers):
		return exit.With(exit.Failed, fmt.Errorf("%s%s", text, nothing))
	}
	return exit.With(exit.Open, fmt.Errorf("%s%s", text, nothing))
}
