package cluster

import (
	"context"
	"strings"

	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// masterKeys returns the ids of this node's master keys as its row in nodes has them.
func (c *Cluster) masterKeys() string {
	var ids []string
	for _, id := range c.opts.Keys.IDs() {
		ids = append(ids, id.String())
	}
	return strings.Join(ids, ",")
}

// ToldKeys tells the other nodes which master keys this node has.
func (c *Cluster) ToldKeys(ctx context.Context) error {
	_, err := c.read.DB.ExecContext(ctx, "UPDATE nodes SET master_keys = $1 WHERE epoch = $2", c.masterKeys(), c.Epoch())
	return sqltext.Wrap("write which master keys this node has", err)
}

// Lacking returns the names of the live nodes that do not have a master key. Nodes of
// releases without a keyring have none. If lock is true, no node enters and nothing commits
// until the transaction of q ends.
func (c *Cluster) Lacking(ctx context.Context, q sqltext.Querier, key string, lock bool) ([]string, error) {
	text := "SELECT name FROM nodes WHERE " + alive + " AND position(? in master_keys) = 0 ORDER BY name LIMIT 100"
	scan := func(row sqltext.Scanner) (name string, err error) { err = row.Scan(&name); return name, err }
	if lock {
		void := func(row sqltext.Scanner) (struct{}, error) { return struct{}{}, nil }
		if _, err := sqltext.Collect(ctx, q, void, "SELECT 1 FROM pg_advisory_xact_lock(7596481, 1)"); err != nil {
			return nil, sqltext.Wrap("lock nodes", err)
		}
	}
	names, err := sqltext.Collect(ctx, q, scan, text, key)
	return names, sqltext.Wrap("read which nodes lack a master key", err)
}
