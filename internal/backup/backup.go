// Package backup holds the commands that back up and restore a SQLite store.
package backup

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

	"github.com/posthorn/posthorn/internal/cli"
	"github.com/posthorn/posthorn/internal/exit"
	"github.com/posthorn/posthorn/internal/seal"
	"github.com/posthorn/posthorn/internal/server"
	"github.com/posthorn/posthorn/internal/store"
	"github.com/posthorn/posthorn/internal/store/transfer"
)

// backupPlan holds the flags of backup and restore.
type backupPlan struct {
	store, data, masterKey string
	key                    server.StoredKey
	check, replace         bool
}

func (p *backupPlan) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.store, "store", "", "sqlite:PATH (POSTHORN_STORE, POSTHORN_STORE_FILE, default posthorn.db in the data directory)")
	f.StringVar(&p.data, "data", "", "data directory (POSTHORN_DATA, default that of --store, or ./posthorn-data)")
	f.StringVar(&p.masterKey, "master-key-file", "", "master key file (POSTHORN_MASTER_KEY_FILE, default master.key in the data directory)")
}

// Command is "posthorn backup".
func Command() *cobra.Command {
	p := &backupPlan{}
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Back up the store to a file while the server runs", Args: oneBackup,
		Long: `Back up the store of a data directory to a new file on this machine. A running server is
not blocked. The backup contains everything that was acknowledged before it began. FILE
appears only after the backup was read in full, checked against the master key and synced
to disk.

The backup does not contain the master key. Keep a copy of the key in another place:
without it the signing secrets in the backup cannot be decrypted.

The command is for SQLite. For PostgreSQL use pg_basebackup, or pg_dump for small stores.

Exit codes: 0 written, 1 interrupted, 2 FILE exists or invalid options, 12 wrong or no
master key, 13 newer schema, 15 the store is damaged or unreadable, or FILE not writable.`,
		Example: `  posthorn backup --data /var/lib/posthorn /backup/posthorn-$(date +%F).db`,
	}
	p.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.backup(cmd.Context(), cmd.OutOrStdout(), args[0])
	}
	return cmd
}

// RestoreCommand is "posthorn restore".
func RestoreCommand() *cobra.Command {
	p := &backupPlan{}
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Restore the store from a backup, or check a backup", Args: oneBackup,
		Long: `Copy a backup to a data directory. Stop its server first. The copy is read in full and
checked against the master key before it becomes the store. Nothing is deleted: --replace
renames an existing store and prints the new name.

A restore goes back in time. Events accepted since the backup are lost, deliveries open at
the backup are sent again, and keys and secrets are those of the backup. The command
prints these effects.

--check only reads the backup and prints its contents. If there is a master key, it also
checks whether the key matches.

Exit codes: 0 restored or valid, 1 interrupted, 2 a store exists or invalid options,
11 a server uses the store, 12 wrong or no master key, 13 newer schema, 15 the backup is
damaged or unreadable, or the store is not writable.`,
		Example: `  posthorn restore --check /backup/posthorn-2026-11-28.db
  posthorn restore --data /var/lib/posthorn --master-key-file /safe/master.key /backup/posthorn-2026-11-28.db`,
	}
	p.flags(cmd)
	cmd.Flags().BoolVar(&p.check, "check", false, "read the backup and print its contents without changing anything")
	cmd.Flags().BoolVar(&p.replace, "replace", false, "rename an existing store first")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if p.check {
			return p.examine(cmd.Context(), cmd.OutOrStdout(), args[0])
		}
		return p.restore(cmd.Context(), cmd.OutOrStdout(), args[0])
	}
	return cmd
}

func oneBackup(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return exit.Usagef("one argument is required, the backup file, such as \"posthorn %s /backup/posthorn.db\"", cmd.Name())
	}
	return nil
}

// path sets the defaults and returns the file of the store.
func (p *backupPlan) path(ctx context.Context) (string, error) {
	address, err := server.StoreAddress(p.store)
	if err != nil {
		return "", err
	}
	if server.IsPostgres(address) {
		return "", exit.Usagef("--store: a PostgreSQL database is backed up and restored with its own tools: pg_basebackup, or pg_dump and pg_restore for small stores (docs/operating.md)")
	}
	p.data = cmp.Or(p.data, os.Getenv("POSTHORN_DATA"))
	path, ok := strings.CutPrefix(address, "sqlite:")
	switch {
	case address == "":
		p.data = cmp.Or(p.data, "./posthorn-data")
		path = filepath.Join(p.data, "posthorn.db")
	case !ok || path == "":
		return "", exit.Usagef("--store: must be sqlite:PATH; got %q", server.StoreScheme(address))
	default:
		p.data = cmp.Or(p.data, filepath.Dir(path))
	}
	p.key, err = server.FindStoredKey(ctx, p.masterKey, p.data)
	return path, err
}

func (p *backupPlan) backup(ctx context.Context, out io.Writer, to string) error {
	from, err := p.path(ctx)
	if err != nil {
		return err
	}
	keys, err := p.key.Read(", so the backup cannot be checked against it; name it with --master-key-file")
	if err != nil {
		return err
	}
	began := time.Now()
	c, err := transfer.Backup(ctx, from, to, keys, began)
	if err != nil {
		return p.explain(ctx, err, "no backup was written")
	}
	fmt.Fprintf(out, "%s: %s, written and checked in %s\n", to, cli.Size(uint64(c.Bytes)), time.Since(began).Round(10*time.Millisecond))
	printContents(out, c)
	_, err = fmt.Fprintf(out, "The backup does not contain the master key: keep a copy of %s in another place.\n", p.key.From)
	return err
}

func (p *backupPlan) examine(ctx context.Context, out io.Writer, from string) error {
	if _, err := p.path(ctx); err != nil {
		return err
	}
	var keys *seal.Keyring
	if p.key.Exists() {
		var err error
		if keys, err = p.key.Read("; name it with --master-key-file"); err != nil {
			return err
		}
	}
	c, err := transfer.Check(ctx, from, keys)
	if err != nil {
		return p.explain(ctx, err, "the backup is not usable")
	}
	fmt.Fprintf(out, "%s: %s, read in full, not damaged\n", from, cli.Size(uint64(c.Bytes)))
	printContents(out, c)
	if c.KeyChecked {
		_, err = fmt.Fprintf(out, "The master key %s matches.\n", p.key.From)
	} else {
		_, err = fmt.Fprintf(out, "The master key was not checked: there is none at %s; name it with --master-key-file.\n", p.key.From)
	}
	return err
}

func printContents(out io.Writer, c *transfer.Contents) {
	if !c.At.IsZero() {
		fmt.Fprintf(out, "  begun           %s\n", c.At.Format(time.RFC3339))
	}
	if !c.NewestEvent.IsZero() {
		fmt.Fprintf(out, "  newest event    %s\n", c.NewestEvent.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(out, "  tenants         %d\n  endpoints       %d\n  events          %d\n  still to send   %d, and %d held\n", c.Tenants, c.Endpoints, c.Events, c.Pending, c.Held)
	if c.Schema < c.Ours {
		fmt.Fprintf(out, "  schema          %d; the next start of this release migrates it to %d\n", c.Schema, c.Ours)
	}
}

func (p *backupPlan) restore(ctx context.Context, out io.Writer, from string) error {
	to, err := p.path(ctx)
	if err != nil {
		return err
	}
	keys, err := p.key.Read(", which opens the secrets in the backup; name it with --master-key-file")
	if err != nil {
		return err
	}
	r, err := transfer.Restore(ctx, from, to, keys, p.replace, time.Now())
	if err != nil {
		return p.explain(ctx, err, "nothing was changed")
	}
	fmt.Fprintf(out, "Restored the backup to %s.\n", to)
	printContents(out, &r.Contents)
	if r.Aside != "" {
		fmt.Fprintf(out, "The previous store is now %s. Never start a server on both.\n", r.Aside)
	}
	since := cmp.Or(timeText(r.At), timeText(r.NewestEvent), "the backup")
	_, err = fmt.Fprintf(out, `Effects at the next start:
- Events accepted after %s are lost, even if acknowledged.
  Publish them again with the same IDs: events in the backup are not duplicated.
- %d deliveries are attempted again, although they may have arrived since.
  Receivers recognize them by their IDs.
- Keys, secrets, endpoints and tenants are those of the backup. Revoke keys that were
  revoked since again. Secrets that were rotated since have their old values.
`, since, r.Pending)
	return err
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// explain adds the exit code and the next step to an error of transfer.
func (p *backupPlan) explain(ctx context.Context, err error, outcome string) error {
	switch {
	case ctx.Err() != nil:
		return exit.With(exit.Failed, fmt.Errorf("interrupted; %s", outcome))
	case errors.Is(err, transfer.ErrExists):
		return exit.Usagef("%w and is never overwritten; name a new one. %s", err, outcome)
	case errors.Is(err, transfer.ErrOccupied):
		return exit.Usagef("%w; --replace renames it first. %s", err, outcome)
	case errors.Is(err, store.ErrLocked):
		return exit.With(exit.Locked, fmt.Errorf("a server is using this store; stop it before the restore; %s", outcome))
	case errors.Is(err, store.ErrMasterKeyMismatch):
		return exit.With(exit.MasterKey, fmt.Errorf("master_key_mismatch: %s is not the key that encrypted the secrets in this store%s; name that key with --master-key-file; %s", p.key.From, seal.Why(err), outcome))
	case errors.Is(err, store.ErrNewerSchema):
		return exit.With(exit.Schema, fmt.Errorf("%w; use the newer release; %s", err, outcome))
	}
	return exit.With(exit.Open, fmt.Errorf("%w; %s", err, outcome))
}
