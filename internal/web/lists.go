package web

import (
	"github.com/posthorn/posthorn/internal/hook"
)

// row is a row of a plain list.
type row struct {
	Href, Name, Sub string
	Facts           []string
	At              moment
	Act             string // path of a page that asks for confirmation; empty if there is none
	ActName         string
}

// plainList is a list without a page type of its own.
type plainList struct {
	listed
	Columns []string
	Rows    []row
	Empty   string // text of an empty list
	Command string // command to copy
	Hint    string
	Search  string // label of the only filter, named q; empty if there is none
}

func tenants(v *visit) (*screen, error) {
	filter := v.filters("q")
	rows, next, err := v.service().Tenants(v.ctx(), v.caller, hook.TenantQuery{Name: filter["q"], Page: hook.Page{Cursor: v.query.Get("cursor")}})
	l, err := v.list("tenants", filter, next, err)
	if err != nil {
		return nil, err
	}
	p := plainList{listed: l, Columns: []string{"Tenant", "Name", "Made"}, Search: "Name, exactly", Empty: "There is no tenant yet.", Command: "posthorn tenant create --id acme --name \"Acme Ltd\""}
	for _, t := range rows {
		p.Rows = append(p.Rows, row{Href: v.at("tenants/" + t.ID), Name: t.ID, Facts: []string{t.Name}, At: when(t.CreatedAt, v.now)})
	}
	return &screen{Template: "plain.html", Title: "Tenants", Heading: "Tenants", Nav: "tenants", Commands: []string{"posthorn tenant list"}, Data: p}, nil
}

// tenantPage is the content of the page of a tenant: what the tenant has in the mode.
type tenantPage struct {
	ID, Name                         string
	Created                          moment
	Endpoints                        []endpointLine
	Deliveries                       []deliveryLine
	AllEndpoints, AllDeliveries, All string
	Command                          string
}

func tenant(v *visit) (*screen, error) {
	t, err := v.service().Tenant(v.ctx(), v.caller, v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	scope, few := hook.Scope{Tenant: t.ID}, hook.Page{Limit: 10}
	p := tenantPage{ID: t.ID, Name: t.Name, Created: when(t.CreatedAt, v.now), AllEndpoints: v.at("endpoints", "tenant", t.ID), AllDeliveries: v.at("deliveries", "tenant", t.ID),
		All: v.at("events", "tenant", t.ID), Command: "posthorn endpoint create --tenant " + t.ID + " --url https://example.com/hook --event-types \"*\""}
	rows, _, err := v.service().Endpoints(v.ctx(), v.caller, hook.EndpointQuery{Scope: scope, Page: few})
	if err != nil {
		return nil, err
	}
	if p.Endpoints, err = v.endpointLines(rows); err != nil {
		return nil, err
	}
	last, _, err := v.service().Deliveries(v.ctx(), v.caller, hook.DeliveryQuery{Scope: scope, Page: few})
	if err != nil {
		return nil, err
	}
	p.Deliveries = v.lines(last)
	heading := t.ID
	if t.Name != "" {
		heading = t.Name
	}
	return &screen{Template: "tenant.html", Title: t.ID, Heading: heading, Nav: "tenants", Commands: []string{"posthorn tenant get " + t.ID}, Data: p}, nil
}

func keys(v *visit) (*screen, error) {
	filter := v.filters("tenant", "kind")
	rows, next, err := v.service().Keys(v.ctx(), v.caller, hook.KeyQuery{Scope: hook.Scope{Tenant: filter["tenant"]}, Kind: hook.Kind(filter["kind"]), Page: hook.Page{Cursor: v.query.Get("cursor")}})
	l, err := v.list("keys", filter, next, err)
	if err != nil {
		return nil, err
	}
	p := plainList{listed: l, Columns: []string{"Key", "Kind", "Tenant", "Made"}, Empty: "There is no stored key in this mode.", Command: "posthorn key create --kind publisher --name platform",
		Hint: "Keys that the server was started with (--operator-key) are not in this list. The text of a key is shown once, when it is made."}
	for i := range rows {
		k := &rows[i]
		of := k.Tenant
		if of == "" {
			of = "all tenants"
		}
		name := k.Name
		if name == "" {
			name = "without a name"
		}
		p.Rows = append(p.Rows, row{Name: name, Sub: k.ID.String(), Facts: []string{string(k.Kind), of}, At: when(k.CreatedAt, v.now), Act: v.at("keys/" + k.ID.String() + "/revoke"), ActName: "Revoke…"})
	}
	return &screen{Template: "plain.html", Title: "Keys", Heading: "Keys", Nav: "keys", Commands: []string{"posthorn key list"}, Data: p}, nil
}

func confirmRevoke(v *visit) (*screen, error) {
	id, err := v.id("key")
	if err != nil {
		return nil, err
	}
	c := confirm{Says: []string{"Key " + id.String() + " ends at once, on all nodes. Whoever uses it is refused from then on, also a session of these pages that was opened with it. It cannot be undone."},
		Buttons: []button{{Action: v.at("keys/" + id.String() + "/revoke"), Label: "Revoke the key", Danger: true}}, Back: v.at("keys")}
	if v.caller.KeyID == id {
		c.Says = append(c.Says, "This is the key of your own session.")
	}
	return asks("keys", "Revoke this key?", c), nil
}

func revokeKey(v *visit) (string, error) {
	id, err := v.id("key")
	if err != nil {
		return "", err
	}
	return v.at("keys", "done", "revoked"), v.service().RevokeKey(v.ctx(), v.caller, id)
}
