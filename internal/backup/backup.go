// Package backup implements the commands that back up and restore a store on SQLite.
package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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

// backupPlan holds the values of the flags of backup and restore.
type backupPlan struct {
	store, data, masterKey string
	ready                  *seal.Keyring // the master key, if it does not come from a file
	check, replace         bool
}

func (p *backupPlan) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.store, "store", "", "sqlite:PATH (POSTHORN_STORE, POSTHORN_STORE_FILE); empty: posthorn.db in the data directory")
	f.StringVar(&p.data, "data", "", "data directory (POSTHORN_DATA); empty: that of --store, or ./posthorn-data")
	f.StringVar(&p.masterKey, "master-key-file", "", "master key (POSTHORN_MASTER_KEY_FILE); empty: master.key in the data directory")
}

// Command returns the command "posthorn backup".
func Command() *cobra.Command {
	p := &backupPlan{}
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Write the store to a file, while the server runs", Args: oneBackup,
		Long: `Write the store of a data directory to a new file, on this machine. The server may run:
it is not held up, and the file has everything that it acknowledged before the backup
began. The file counts as a backup only once it has its name: it is opened, read in
full, checked against the master key and synced to the disk before.

The master key is not in the file. Keep a copy of it in another place: without it the
signing secrets in the backup cannot be opened.

This is for SQLite. PostgreSQL has tools of its own: pg_basebackup, or pg_dump for small
stores.

Exit codes: 0 written, 1 interrupted, 2 FILE exists or the options are wrong, 12 wrong or
no master key, 13 newer schema, 15 the store cannot be read, is damaged, or FILE cannot be written.`,
		Example: `  posthorn backup --data /var/lib/posthorn /backup/posthorn-$(date +%F).db`,
	}
	p.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return p.backup(cmd.Context(), cmd.OutOrStdout(), args[0])
	}
	return cmd
}

// RestoreCommand returns the command "posthorn restore".
func RestoreCommand() *cobra.Command {
	p := &backupPlan{}
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Put a backup in the place of the store, or check one", Args: oneBackup,
		Long: `Copy a backup into a data directory, whose server must be stopped. The copy is read in
full and checked against the master key before it takes the place of the store. Nothing is
deleted: --replace gives the store that is there another name, which is printed.

A restore goes back in time. The command says what that changes: what was accepted since is
gone, what was still to be sent is sent again, keys and secrets are those of the backup.

--check only reads the backup and says what it holds. With a master key it also says
whether that key fits.

Exit codes: 0 restored or good, 1 interrupted, 2 there is a store already or the options are
wrong, 11 a server works on the store, 12 wrong or no master key, 13 newer schema,
15 the backup cannot be read or is damaged, or the store cannot be written.`,
		Example: `  posthorn restore --check /backup/posthorn-2026-11-28.db
  posthorn restore --data /var/lib/posthorn --master-key-file /safe/master.key /backup/posthorn-2026-11-28.db`,
	}
	p.flags(cmd)
	cmd.Flags().BoolVar(&p.check, "check", false, "only read the backup and say what it holds; change nothing")
	cmd.Flags().BoolVar(&p.replace, "replace", false, "give a store that is there another name first")
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
		return exit.Usagef("one argument is expected: the file of the backup, such as \"posthorn %s /backup/posthorn.db\"", cmd.Name())
	}
	return nil
}

// path fills in missing values and returns the path of the store's file.
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
	if p.masterKey == "" { // the flag takes precedence
		var err error
		if p.ready, p.masterKey, err = server.MasterKeyElsewhere(ctx, "", ""); err != nil {
			return "", err
		}
	}
	p.masterKey = cmp.Or(p.masterKey, os.Getenv("POSTHORN_MASTER_KEY_FILE"), filepath.Join(p.data, "master.key"))
	return path, nil
}

// keys reads the master key. It does not create one.
func (p *backupPlan) keys(why string) (*seal.Keyring, error) {
	if p.ready != nil {
		return p.ready, nil
	}
	if _, err := os.Stat(p.masterKey); errors.Is(err, fs.ErrNotExist) {
		return nil, exit.With(exit.MasterKey, fmt.Errorf("master_key_missing: there is no master key at %s, %s; name it with --master-key-file", p.masterKey, why))
	}
	keys, err := seal.LoadOrCreate(p.masterKey)
	if err != nil {
		return nil, exit.With(exit.MasterKey, fmt.Errorf("master key: %w", err))
	}
	return keys, nil
}

func (p *backupPlan) backup(ctx context.Context, out io.Writer, to string) error {
	from, err := p.path(ctx)
	if err != nil {
		return err
	}
	keys, err := p.keys("so the backup cannot be checked against it")
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
	_, err = fmt.Fprintf(out, "The master key is not in it: keep a copy of %s in another place.\n", p.masterKey)
	return err
}

func (p *backupPlan) examine(ctx context.Context, out io.Writer, from string) error {
	if _, err := p.path(ctx); err != nil {
		return err
	}
	var keys *seal.Keyring
	if _, err := os.Stat(p.masterKey); err == nil || p.ready != nil {
		if keys, err = p.keys(""); err != nil {
			return err
		}
	}
	c, err := transfer.Check(ctx, from, keys)
	if err != nil {
		return p.explain(ctx, err, "this is no good backup")
	}
	fmt.Fprintf(out, "%s: %s, read in full, nothing is damaged\n", from, cli.Size(uint64(c.Bytes)))
	printContents(out, c)
	if c.KeyChecked {
		_, err = fmt.Fprintf(out, "The master key %s fits.\n", p.masterKey)
	} else {
		_, err = fmt.Fprintf(out, "The master key was not checked: there is none at %s; name it with --master-key-file.\n", p.masterKey)
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
		fmt.Fprintf(out, "  schema          %d; the next start of this release brings it to %d\n", c.Schema, c.Ours)
	}
}

func (p *backupPlan) restore(ctx context.Context, out io.Writer, from string) error {
	to, err := p.path(ctx)
	if err != nil {
		return err
	}
	keys, err := p.keys("which opens the secrets in the backup")
	if err != nil {
		return err
	}
	r, err := transfer.Restore(ctx, from, to, keys, p.replace, time.Now())
	if err != nil {
		return p.explain(ctx, err, "nothing was changed")
	}
	fmt.Fprintf(out, "%s holds the backup.\n", to)
	printContents(out, &r.Contents)
	if r.Aside != "" {
		fmt.Fprintf(out, "The store that was there is %s now. Never start a server on both.\n", r.Aside)
	}
	since := cmp.Or(timeText(r.At), timeText(r.NewestEvent), "the backup")
	_, err = fmt.Fprintf(out, `What changes with the next start:
- Events accepted after %s are gone, acknowledged or not.
  Publish them again with their ids: what the backup has is not made twice.
- %d deliveries are attempted again, though they may have arrived since.
  Receivers see the ids that they know.
- Keys, secrets, endpoints and tenants are those of the backup. Revoke again what
  was revoked since, keys first. A secret that was rotated since is the old one.
`, since, r.Pending)
	return err
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// explain adds an exit code and advice to an error of package transfer.
func (p *backupPlan) explain(ctx context.Context, err error, outcome string) error {
	switch {
	case ctx.Err() != nil:
		return exit.With(exit.Failed, fmt.Errorf("interrupted; %s", outcome))
	case errors.Is(err, transfer.ErrExists):
		return exit.Usagef("%w and is never overwritten; name a new one. %s", err, outcome)
	case errors.Is(err, transfer.ErrOccupied):
		return exit.Usagef("%w; --replace gives it another name first. %s", err, outcome)
	case errors.Is(err, store.ErrLocked):
		return exit.With(exit.Locked, fmt.Errorf("a server works on this store; stop it before the restore; %s", outcome))
	case errors.Is(err, store.ErrMasterKeyMismatch):
		return exit.With(exit.MasterKey, fmt.Errorf("master_key_mismatch: %s did not seal the secrets in this store; name the key that did with --master-key-file; %s", p.masterKey, outcome))
	case errors.Is(err, store.ErrNewerSchema):
		return exit.With(exit.Schema, fmt.Errorf("%w; use the newer release; %s", err, outcome))
	}
	return exit.With(exit.Open, fmt.Errorf("%w; %s", err, outcome))
}
