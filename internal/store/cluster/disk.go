package cluster

import (
	"context"

	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// Size returns the size of the database. What PostgreSQL may use again inside its files
// counts as used.
func (c *Cluster) Size(ctx context.Context) (s sqltext.DiskSize, err error) {
	err = c.read.DB.QueryRowContext(ctx, "SELECT pg_database_size(current_database())").Scan(&s.Used)
	s.Files = s.Used
	return s, err
}

// Parts returns the size of tables with their indexes.
func (c *Cluster) Parts(ctx context.Context) (p sqltext.DiskParts, err error) {
	err = c.read.DB.QueryRowContext(ctx, "SELECT pg_total_relation_size('audit'), pg_total_relation_size('stat_log') + pg_total_relation_size('stats')").Scan(&p.Audit, &p.Statistics)
	return p, err
}
