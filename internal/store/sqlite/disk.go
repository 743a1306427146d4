package sqlite

import (
	"context"

	"github.com/posthorn/posthorn/internal/store/sqltext"
)

const fileSize = "SELECT c.page_count, f.freelist_count, s.page_size FROM pragma_page_count() c, pragma_freelist_count() f, pragma_page_size() s"

// Size returns the size of the file. It reads nothing but the file's header.
func (db *DB) Size(ctx context.Context) (sqltext.DiskSize, error) {
	var pages, free, page int64
	if err := db.read.DB.QueryRowContext(ctx, fileSize).Scan(&pages, &free, &page); err != nil {
		return sqltext.DiskSize{}, err
	}
	log := db.LogLength()
	return sqltext.DiskSize{Used: (pages-free)*page + log, Files: pages*page + log, Log: log, Free: free * page}, nil
}

// partPages bounds the pages that Parts reads of a table, 80 MiB. A larger table counts as
// that large.
const partPages = 20_000

// Parts returns the size of tables. It reads their pages, so it is called rarely.
func (db *DB) Parts(ctx context.Context) (p sqltext.DiskParts, err error) {
	for _, part := range []struct {
		table string
		to    *int64
	}{
		{"audit", &p.Audit}, {"audit_mode", &p.Audit}, {"audit_tenant", &p.Audit}, {"stat_log", &p.Statistics}, {"stats", &p.Statistics},
	} {
		var n int64
		if err := db.read.DB.QueryRowContext(ctx, "SELECT coalesce(sum(pgsize), 0) FROM (SELECT pgsize FROM dbstat WHERE name = ? LIMIT ?)", part.table, partPages).Scan(&n); err != nil {
			return p, err
		}
		*part.to += n
	}
	return p, nil
}
