package web

import (
	"fmt"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// maxURLText limits the part of a URL that is looked for, in bytes.
const maxURLText = 200

// endpointsAt returns the endpoints that have a text in the host or path of their URLs, among
// the newest ones that the query selects, and how many were looked at.
func (v *visit) endpointsAt(text string, q hook.EndpointQuery) (found []hook.Endpoint, looked int, err error) {
	if len(text) > maxURLText {
		return nil, 0, &hook.Error{Code: hook.CodeInvalidRequest, Field: "host", Message: fmt.Sprintf("A part of a URL must have at most %d bytes.", maxURLText)}
	}
	text = strings.ToLower(text)
	q.Page = hook.Page{Limit: pageOfEndpoints}
	for range newestPages {
		rows, next, err := v.service().Endpoints(v.quiet, v.caller, q)
		if err != nil {
			return nil, looked, err
		}
		looked += len(rows)
		for i := range rows {
			if host, path := page.HostOf(rows[i].URL); strings.Contains(strings.ToLower(host+path), text) {
				found = append(found, rows[i])
			}
		}
		if q.Page.Cursor = next; next == "" {
			break
		}
	}
	return found[:min(len(found), pageOfEndpoints)], looked, nil
}

// endpointAt returns the only endpoint that has the text in its URL, of a tenant if one is
// named.
func (v *visit) endpointAt(text, tenant string) (hook.ID, error) {
	wrong := func(format string, args ...any) (hook.ID, error) {
		return hook.ID{}, &hook.Error{Code: hook.CodeInvalidRequest, Field: "endpoint", Message: fmt.Sprintf(format, args...)}
	}
	found, looked, err := v.endpointsAt(text, hook.EndpointQuery{Scope: hook.Scope{Tenant: tenant}})
	switch {
	case err != nil:
		return hook.ID{}, err
	case len(found) == 0:
		return wrong("No endpoint has %q in its URL; %d were looked at. Type less of its host, or its id.", text, looked)
	case len(found) > 1:
		return wrong("%d endpoints have %q in their URLs. Type more of the one you mean, or its id, or name the tenant.", len(found), text)
	}
	return found[0].ID, nil
}
