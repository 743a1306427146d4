package read

import (
	"cmp"
	"context"
	"slices"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// The sums of disk_usage: of all tenants, of those with most, and of one.
const (
	diskColumns  = "CAST(coalesce(sum(payloads), 0) AS bigint), CAST(coalesce(sum(metadata), 0) AS bigint), CAST(coalesce(sum(attempts), 0) AS bigint)"
	diskOfAll    = "SELECT " + diskColumns + " FROM disk_usage"
	diskOfMost   = "SELECT mode, tenant, " + diskColumns + " FROM disk_usage GROUP BY mode, tenant ORDER BY coalesce(sum(payloads + metadata + attempts), 0) DESC LIMIT ?"
	diskOfTenant = "SELECT " + diskColumns + " FROM disk_usage WHERE mode = ? AND tenant = ?"
)

// DiskSums adds up what tenants take on disk, with what is not written yet. It reads a row
// for each tenant and day, so its caller keeps the result for a while.
func (l *Lists) DiskSums(ctx context.Context, pending map[hook.Scope]hook.DiskBytes) (use hook.DiskUse, err error) {
	all := &use.Classes.DiskBytes
	if _, err := sqltext.ReadRow(ctx, l.db, diskOfAll, nil, &all.Payloads, &all.Metadata, &all.Attempts); err != nil {
		return use, err
	}
	most, err := sqltext.Collect(ctx, l.db, func(row sqltext.Scanner) (d hook.TenantDisk, err error) {
		err = row.Scan(&d.Scope.Mode, &d.Scope.Tenant, &d.Payloads, &d.Metadata, &d.Attempts)
		return d, err
	}, diskOfMost, hook.DiskTenants)
	if err != nil {
		return use, err
	}
	known := map[hook.Scope]bool{}
	for i := range most {
		known[most[i].Scope] = true
		most[i].DiskBytes = most[i].Plus(pending[most[i].Scope])
	}
	for scope, bytes := range pending {
		*all = all.Plus(bytes)
		if !known[scope] {
			most = append(most, hook.TenantDisk{Scope: scope, DiskBytes: bytes})
		}
	}
	slices.SortFunc(most, func(a, b hook.TenantDisk) int { return cmp.Compare(b.Sum(), a.Sum()) })
	use.Tenants = most[:min(len(most), hook.DiskTenants)]
	use.Rest = *all
	for i := range use.Tenants {
		d := &use.Tenants[i]
		use.Rest = use.Rest.Plus(hook.DiskBytes{Payloads: -d.Payloads, Metadata: -d.Metadata, Attempts: -d.Attempts})
		d.DiskBytes = atLeastNone(d.DiskBytes)
	}
	use.Rest, *all = atLeastNone(use.Rest), atLeastNone(*all)
	oldest, err := sqltext.Collect(ctx, l.db, sqltext.ScanID, "SELECT id FROM events ORDER BY id LIMIT 1")
	if err == nil && len(oldest) > 0 {
		use.Oldest = oldest[0].Time()
	}
	return use, err
}

// TenantDisk returns what a tenant takes on disk in one mode, as it was written last.
func (l *Lists) TenantDisk(ctx context.Context, scope hook.Scope) (d hook.DiskBytes, err error) {
	if _, err = sqltext.ReadRow(ctx, l.db, diskOfTenant, []any{scope.Mode, scope.Tenant}, &d.Payloads, &d.Metadata, &d.Attempts); err != nil {
		return d, l.fail("read what a tenant takes on disk", err)
	}
	return atLeastNone(d), nil
}

// atLeastNone corrects sums to which a crash left too little.
func atLeastNone(b hook.DiskBytes) hook.DiskBytes {
	return hook.DiskBytes{Payloads: max(0, b.Payloads), Metadata: max(0, b.Metadata), Attempts: max(0, b.Attempts)}
}
