package web

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/chart"
)

// row is a row of a plain list.
type row struct {
	Href, Name, Sub string
	ID              string // anchor of the row
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
	New     string // path of the form that makes one; empty if there is none
	NewName string
	More    *sessionBox // below the list; nil: nothing
}

// rightColumns are the columns of plain lists that hold numbers and times.
var rightColumns = map[string]bool{"On disk": true, "Version": true, "Endpoints": true, "Made": true, "Changed": true}

// Right reports whether what a column holds stands at its right edge.
func (p plainList) Right(column int) bool { return rightColumns[p.Columns[column]] }

// RightFact is Right of the column of a fact.
func (p plainList) RightFact(fact int) bool { return p.Right(fact + 1) }

func tenants(v *visit) (*screen, error) {
	filter := v.filters("q")
	rows, next, err := v.service().Tenants(v.ctx(), v.caller, hook.TenantQuery{Name: filter["q"], Page: hook.Page{Cursor: v.query.Get("cursor")}})
	l, err := v.list("tenants", filter, next, err)
	if err != nil {
		return nil, err
	}
	takes, missing := map[string]string{}, ""
	v.beside(side{&missing, "disk", func(v *visit) error {
		use, err := v.service().Disk(v.quiet, v.caller, "")
		for i := range use.Tenants {
			takes[use.Tenants[i].Scope.Tenant] = hook.BytesText(use.Tenants[i].Sum())
		}
		return err
	}})
	p := plainList{listed: l, Columns: []string{"Tenant", "Name", "On disk", "Made"}, Search: "Name, exactly", New: v.at("tenants/new"), NewName: "New tenant", Empty: "There is no tenant yet.", Command: "posthorn tenant create --id acme --name \"Acme Ltd\""}
	for _, t := range rows {
		p.Rows = append(p.Rows, row{Href: v.at("tenants/" + t.ID), Name: t.ID, Facts: []string{t.Name, cmp.Or(takes[t.ID], "–")}, At: when(t.CreatedAt, v.now)})
	}
	switch {
	case missing != "":
		p.Hint = "What they take on disk is not available just now."
	case len(takes) > 0:
		p.Hint = fmt.Sprintf("What they take on disk in this mode is an estimate, of the %d that take most.", hook.DiskTenants)
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
	NewEndpoint, Rename, Delete      string
	Portal, Customer                 string
	Figures                          []figure
	Chart                            *chart.Attempts
	Spans                            []choice
	AllReplays, AllKeys, AllAudit    string
	Visitors                         sessionBox
	Disk                             string
	// Why a box could not be read; empty: it could.
	NoNumbers, NoEndpoints, NoDeliveries, NoDisk string
	Command                                      string
}

func tenant(v *visit) (*screen, error) {
	t, err := v.service().Tenant(v.ctx(), v.caller, v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	scope, few := hook.Scope{Tenant: t.ID}, hook.Page{Limit: 10}
	p := tenantPage{ID: t.ID, Name: t.Name, Created: when(t.CreatedAt, v.now), AllEndpoints: v.at("endpoints", "tenant", t.ID), AllDeliveries: v.at("deliveries", "tenant", t.ID),
		All: v.at("events", "tenant", t.ID), NewEndpoint: v.at("endpoints/new", "tenant", t.ID), Rename: v.at("tenants/" + t.ID + "/rename"), Portal: v.at("tenants/" + t.ID + "/portal"), Customer: v.at("tenants/" + t.ID + "/customer"), Delete: v.at("tenants/" + t.ID + "/delete"),
		AllReplays: v.at("replays", "tenant", t.ID), AllKeys: v.at("keys", "tenant", t.ID), AllAudit: v.at("audit", "tenant", t.ID), Command: "posthorn endpoint create --tenant " + t.ID + " --url https://example.com/hook --event-types \"*\""}
	p.Visitors = sessionBox{Title: "Sessions of the portal", Hint: "Who looks at this tenant's webhooks by a link now."}
	v.beside(side{&p.NoNumbers, "statistics", p.numbers}, side{&p.NoEndpoints, "endpoints", func(v *visit) error {
		rows, _, err := v.service().Endpoints(v.quiet, v.caller, hook.EndpointQuery{Scope: scope, Page: few})
		if err == nil {
			if p.Endpoints, err = v.endpointLines(rows); err == nil {
				v.withNow(p.Endpoints, rows)
			}
		}
		return err
	}}, side{&p.NoDeliveries, "deliveries", func(v *visit) error {
		rows, _, err := v.service().Deliveries(v.quiet, v.caller, hook.DeliveryQuery{Scope: scope, Page: few})
		if err == nil {
			p.Deliveries = v.lines(rows)
		}
		return err
	}}, side{&p.Visitors.Missing, "sessions", func(v *visit) error { return p.Visitors.customers(v, t.ID) }}, side{&p.NoDisk, "disk", func(v *visit) error {
		use, err := v.service().Disk(v.quiet, v.caller, t.ID)
		if err == nil && len(use.Tenants) > 0 {
			p.Disk = hook.BytesText(use.Tenants[0].Sum())
		}
		return err
	}})
	heading := t.ID
	if t.Name != "" {
		heading = t.Name
	}
	return &screen{Template: "tenant.html", Title: t.ID, Heading: heading, Nav: "tenants", Commands: []string{"posthorn tenant get " + t.ID}, API: []string{"GET /v1/tenants/" + t.ID}, Data: p, About: aboutTenant(t.ID)}, nil
}

// numbers fills in the statistics of the tenant.
func (p *tenantPage) numbers(v *visit) error {
	var word string
	word, p.Spans = v.spanOf("tenants/"+p.ID, len(spanNames))
	stats, err := v.service().Stats(v.ctx(), v.caller, p.ID, app.Span{From: v.now.Add(-since[word]), Open: hook.OpenFew})
	if err != nil {
		return err
	}
	hour, err := v.service().Stats(v.ctx(), v.caller, p.ID, app.Span{From: v.now.Add(-time.Hour), Step: "1m", Open: hook.OpenNone})
	if err != nil {
		return err
	}
	p.Figures, _ = v.figures(&stats, &hour, word)
	for i := range p.Figures {
		if p.Figures[i].Href != "" {
			p.Figures[i].Href += "&tenant=" + escape(p.ID)
		}
	}
	p.Chart = chart.AttemptsOf(&stats, v.now)
	return nil
}

// tenantForm is the content of the form of a tenant.
type tenantForm struct {
	formValues
	Action, Back string
}

func (v *visit) tenantForm(f formValues) *screen {
	s := &screen{Template: "tenantform.html", Title: "New tenant", Heading: "New tenant", Nav: "tenants", Commands: []string{"posthorn tenant create --id acme --name \"Acme Ltd\""},
		Data: tenantForm{f, v.at("tenants/new"), v.at("tenants")}}
	if len(f.Problem) > 0 || f.Top != "" {
		s.Status = http.StatusUnprocessableEntity
	}
	return s
}

func newTenant(v *visit) (*screen, error) { return v.tenantForm(fresh()), nil }

func createTenant(v *visit) (*screen, string, error) {
	f := v.filled("id", "name")
	made, again, err := v.service().CreateTenant(v.ctx(), v.caller, strings.TrimSpace(f.Value["id"]), strings.TrimSpace(f.Value["name"]), v.once("tenants", &f, func(result any) string {
		t, _ := result.(hook.Tenant)
		return t.ID
	}))
	if err != nil {
		if f.refuse(err) {
			return v.tenantForm(f), "", nil
		}
		return nil, "", err
	}
	if again != nil {
		made.ID = string(again.Body)
	}
	return nil, v.at("tenants/"+made.ID, "done", "made"), nil
}

func renameTenant(v *visit) (*screen, string, error) {
	t, err := v.service().RenameTenant(v.ctx(), v.caller, v.r.PathValue("id"), strings.TrimSpace(v.r.PostForm.Get("name")))
	return nil, v.at("tenants/"+t.ID, "done", "renamed"), err
}

func confirmDeleteTenant(v *visit) (*screen, error) {
	t, err := v.service().Tenant(v.ctx(), v.caller, v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return v.askDeleteTenant(t, ""), nil
}

func (v *visit) askDeleteTenant(t hook.Tenant, problem string) *screen {
	back := v.at("tenants/" + t.ID)
	return asks("tenants", "Delete the tenant "+t.ID+"?", confirm{Problem: problem,
		Says:    []string{"Its endpoints and keys of both modes end at once, live ones too, and what waits is cancelled. Its events go when their retention is over. It cannot be undone."},
		Buttons: []button{{Action: back + "/delete", Label: "Delete the tenant", Danger: true, Type: t.ID}}, Back: back})
}

func deleteTenant(v *visit) (*screen, string, error) {
	t, err := v.service().Tenant(v.ctx(), v.caller, v.r.PathValue("id"))
	if err != nil {
		return nil, "", err
	}
	if strings.TrimSpace(v.r.PostForm.Get("typed")) != t.ID {
		s := v.askDeleteTenant(t, "Type the id of the tenant as it is shown: "+t.ID+". Nothing was deleted.")
		s.Status = http.StatusUnprocessableEntity
		return s, "", nil
	}
	return nil, v.at("tenants", "done", "erased"), v.service().DeleteTenant(v.ctx(), v.caller, t.ID)
}

func keys(v *visit) (*screen, error) {
	filter := v.filters("tenant", "kind")
	rows, next, err := v.service().Keys(v.ctx(), v.caller, hook.KeyQuery{Scope: hook.Scope{Tenant: filter["tenant"]}, Kind: hook.Kind(filter["kind"]), Page: hook.Page{Cursor: v.query.Get("cursor")}})
	l, err := v.list("keys", filter, next, err)
	if err != nil {
		return nil, err
	}
	p := plainList{listed: l, Columns: []string{"Key", "Kind", "Tenant", "Last used", "Limits", "Made"}, New: v.at("keys/new"), NewName: "New key", Empty: "There is no stored key in this mode.", Command: "posthorn key create --kind publisher --name platform",
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
		used := "never"
		if !k.LastUsedAt.IsZero() {
			used = when(k.LastUsedAt, v.now).Text
		}
		p.Rows = append(p.Rows, row{ID: k.ID.String(), Name: name, Sub: k.ID.String(), Facts: []string{string(k.Kind), of, used, limitWords(k, v.now)}, At: when(k.CreatedAt, v.now), Act: v.at("keys/" + k.ID.String() + "/revoke"), ActName: "Revoke…"})
	}
	if l.Newest == "" && filter["tenant"] == "" && filter["kind"] == "" {
		p.More = &sessionBox{Title: "Sessions of operators", Hint: "Who is logged in to these pages now. A session ends half an hour after its last use, and after 12 hours in all."}
		v.beside(side{&p.More.Missing, "sessions", p.More.operators})
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
	if rows, _, err := v.service().Keys(v.quiet, v.caller, hook.KeyQuery{Page: hook.Page{Limit: 250}}); err == nil {
		for i := range rows {
			if k := &rows[i]; k.ID == id && !k.LastUsedAt.IsZero() {
				c.Says = append(c.Says, "It was used last "+when(k.LastUsedAt, v.now).Text+".")
			}
		}
	}
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

// limitWords says how a key is limited.
func limitWords(k *hook.Key, now time.Time) string {
	var out []string
	if k.ReadOnly {
		out = append(out, "read only")
	}
	if !k.ExpiresAt.IsZero() {
		if k.Expired(now) {
			out = append(out, "expired")
		} else {
			out = append(out, "expires "+when(k.ExpiresAt, now).Text)
		}
	}
	if len(k.EventTypes) > 0 {
		out = append(out, "types "+strings.Join(k.EventTypes, " "))
	}
	for _, n := range k.Networks {
		out = append(out, "from "+n.String())
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

// keyForm is the content of the form of a key.
type keyForm struct {
	formValues
	Action, Back string
	Kinds        []choice
}

func (v *visit) keyForm(f formValues) *screen {
	p := keyForm{formValues: f, Action: v.at("keys/new"), Back: v.at("keys")}
	for _, kind := range []hook.Kind{hook.Publisher, hook.TenantKey, hook.Operator} {
		p.Kinds = append(p.Kinds, choice{Name: kindWords[kind], Value: string(kind), Current: f.Value["kind"] == string(kind)})
	}
	s := &screen{Template: "keyform.html", Title: "New key", Heading: "New key", Nav: "keys", Commands: []string{"posthorn key create --kind publisher --name platform"}, Data: p}
	if len(f.Problem) > 0 || f.Top != "" {
		s.Status = http.StatusUnprocessableEntity
	}
	return s
}

var kindWords = map[hook.Kind]string{hook.Publisher: "publisher: publishes events", hook.TenantKey: "tenant: manages one tenant's endpoints", hook.Operator: "operator: may do everything in this mode"}

func newKey(v *visit) (*screen, error) {
	return v.keyForm(fresh("kind", string(hook.Publisher), "tenant", v.query.Get("tenant"))), nil
}

func createKey(v *visit) (*screen, string, error) {
	f := v.filled("kind", "tenant", "name", "expires_at", "read_only")
	want := hook.Key{Kind: hook.Kind(f.Value["kind"]), Tenant: strings.TrimSpace(f.Value["tenant"]), Name: strings.TrimSpace(f.Value["name"])}
	want.ReadOnly = f.Value["read_only"] == "yes"
	if text := f.Value["expires_at"]; text != "" {
		at, err := parseTime(text)
		if err != nil {
			f.Problem["expires_at"] = "This must be a time."
			return v.keyForm(f), "", nil
		}
		want.ExpiresAt = at
	}
	made, again, err := v.service().CreateKey(v.ctx(), v.caller, want, v.once("keys", &f, func(result any) string {
		k, _ := result.(app.NewKey)
		return k.Text
	}))
	if err != nil {
		if f.refuse(err) {
			return v.keyForm(f), "", nil
		}
		return nil, "", err
	}
	if again != nil {
		made.Text = string(again.Body)
	}
	s := v.secretPage("The key was made", made.Text, "It is sent as a bearer credential: Authorization: Bearer KEY.", v.at("keys"), "")
	p, _ := s.Data.(secretPage)
	p.What = "key"
	s.Data, s.Nav, s.Title = p, "keys", "Key"
	return s, "", nil
}
