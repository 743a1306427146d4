package native

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/api/strict"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) retentionRoutes(h huma.API) {
	register(a, h, operation("GET", "/v1/tenants/{id}/retention", "get-tenant-retention", "How long a tenant keeps its data", 200), a.getRetention)
	register(a, h, operation("PATCH", "/v1/tenants/{id}/retention", "update-tenant-retention", "Let a tenant keep its data for less time than the server", 200), a.updateRetention)
	register(a, h, operation("GET", "/v1/disk", "get-disk", "What the store takes on disk, by class and by tenant", 200), a.disk)
}

func (a *api) getRetention(ctx context.Context, q *request, in *ItemIn) (*reply[client.TenantRetention], error) {
	own, inForce, err := a.o.Service.Retention(ctx, q.caller, in.ID)
	if err != nil {
		return nil, err
	}
	return ok(wireRetention(in.ID, q.caller.Mode, own, inForce)), nil
}

type retentionIn struct {
	ItemIn
	Body members[client.TenantRetentionPatch]
}

func (a *api) updateRetention(ctx context.Context, q *request, in *retentionIn) (*reply[client.TenantRetention], error) {
	if in.Body.err != nil {
		return nil, in.Body.err
	}
	p := patch{values: in.Body.values}
	payloads, answers, events := patched[*string](&p, "payloads", nil), patched[*string](&p, "answers", nil), patched[*string](&p, "events", nil)
	p.readOnly("tenant", "mode", "in_force")
	if err := p.end(); err != nil {
		return nil, err
	}
	own, inForce, err := a.o.Service.SetRetention(ctx, q.caller, in.ID, func(own hook.Retention) (hook.Retention, error) {
		for _, one := range []struct {
			field string
			text  **string // nil: absent; of nil: null
			to    *time.Duration
		}{{"payloads", payloads, &own.Payloads}, {"answers", answers, &own.Answers}, {"events", events, &own.Events}} {
			var err error
			switch {
			case one.text == nil:
			case *one.text == nil:
				*one.to = hook.NotSet
			default:
				*one.to, err = readKept(one.field, **one.text)
			}
			if err != nil {
				return own, err
			}
		}
		return own, nil
	})
	if err != nil {
		return nil, err
	}
	return ok(wireRetention(in.ID, q.caller.Mode, own, inForce)), nil
}

// readKept parses a retention. Microseconds are stored.
func readKept(field, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d%time.Microsecond != 0 {
		return 0, strict.Wrong(field, "a duration with a unit, such as \"0s\", \"12h\" or \"720h\"")
	}
	return d, nil
}

func wireRetention(tenant string, mode hook.Mode, own, inForce hook.Retention) client.TenantRetention {
	return client.TenantRetention{Tenant: tenant, Mode: mode.String(), Payloads: wireKept(own.Payloads), Answers: wireKept(own.Answers), Events: wireKept(own.Events),
		InForce: client.RetentionTimes{Payloads: wireKept(inForce.Payloads), Answers: wireKept(inForce.Answers), Events: wireKept(inForce.Events)}}
}

func wireKept(d time.Duration) *string {
	if d < 0 || d == hook.Forever {
		return nil
	}
	return some(hook.HoursText(d))
}

type diskIn struct {
	Tenant string `query:"tenant" doc:"List only this tenant. Absent: those that take most." example:"acme"`
}

func (a *api) disk(ctx context.Context, q *request, in *diskIn) (*reply[client.Disk], error) {
	use, err := a.o.Service.Disk(ctx, q.caller, in.Tenant)
	if err != nil {
		return nil, err
	}
	c := &use.Classes
	out := client.Disk{At: wireTime(use.At), UsedBytes: use.Used, FileBytes: use.Files, BudgetBytes: some(int64(use.Budget)), State: use.State.String(),
		GrowthPerDay: use.PerDay, OldestEvent: someTime(use.Oldest), Classes: client.DiskClasses{DiskBytes: client.DiskBytes(c.DiskBytes), Audit: c.Audit,
			Statistics: c.Statistics, Other: c.Other, Log: c.Log, Free: c.Free}}
	out.Tenants = wireAll(use.Tenants, func(d hook.TenantDisk) client.TenantDisk {
		return client.TenantDisk{Tenant: d.Scope.Tenant, DiskBytes: client.DiskBytes(d.DiskBytes), Total: d.Sum()}
	})
	return ok(out), nil
}
