package native

import (
	"context"
	"net/url"

	"github.com/danielgtaylor/huma/v2"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/hook"
)

func (a *api) searchRoutes(h huma.API) {
	register(a, h, operation("GET", "/v1/search", "search", "Find what an id belongs to", 200), a.search)
}

type searchIn struct {
	Q string `query:"q" required:"true" doc:"A whole id of any kind, or the first 8 or more hexadecimal digits of one." example:"019396e1"`
}

func (a *api) search(ctx context.Context, q *request, in *searchIn) (*reply[client.SearchResults], error) {
	found, err := a.o.Service.Search(ctx, q.caller, in.Q)
	if err != nil {
		return nil, err
	}
	out := client.SearchResults{Data: wireAll(found.Found, wireFound), More: []string{}}
	for _, kind := range found.More {
		out.More = append(out.More, string(kind))
	}
	return ok(out), nil
}

func wireFound(f hook.Found) client.Found {
	return client.Found{Kind: string(f.Kind), ID: f.ID, Tenant: f.Tenant, Name: f.Name, CreatedAt: wireTime(f.CreatedAt), Path: pathOf(f)}
}

// pathOf returns the path of the request that shows something, or the list that has it.
func pathOf(f hook.Found) string {
	switch f.Kind {
	case hook.FoundEvent: // several tenants may have an event with the id
		return "/v1/events/" + f.ID + "?tenant=" + url.QueryEscape(f.Tenant)
	case hook.FoundDelivery:
		return "/v1/deliveries/" + f.ID
	case hook.FoundEndpoint:
		return "/v1/endpoints/" + f.ID
	case hook.FoundReplay:
		return "/v1/replays/" + f.ID
	case hook.FoundTenant:
		return "/v1/tenants/" + url.PathEscape(f.ID)
	case hook.FoundRequest:
		return "/v1/audit?request_id=" + url.QueryEscape(f.ID)
	}
	if f.Tenant == "" {
		return "/v1/keys"
	}
	return "/v1/keys?tenant=" + url.QueryEscape(f.Tenant)
}
