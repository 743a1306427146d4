package web

import (
	"crypto/rand"
	"net/url"
	"strings"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/portal"
)

// portalRights are what a link to the portal may allow, as the form offers it.
var portalRights = []struct{ name, words string }{
	{"look only", hook.CapabilityView},
	{"look, send test events and retry", "view test retry"},
	{"do everything, secrets too", "view manage_endpoints see_secret retry replay test"},
}

func confirmPortal(v *visit) (*screen, error) {
	t, err := v.service().Tenant(v.ctx(), v.caller, v.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	back := v.at("tenants/" + t.ID)
	b := button{Action: back + "/portal", Label: "Create the link", Fields: [][2]string{{"once", rand.Text()}}, Choice: &field{Name: "rights", Label: "Whoever opens it may"}}
	for _, one := range portalRights {
		b.Choice.Values = append(b.Choice.Values, choice{Name: one.name, Value: one.name})
	}
	return asks("tenants", "A portal link for "+t.ID+"?", confirm{Back: back, Buttons: []button{b},
		Says: []string{"The link shows the webhooks of this tenant in " + v.mode.String() + " mode. It works once, within 5 minutes; the session that it opens lasts an hour. The audit log records it."}}), nil
}

func portalLink(v *visit) (*screen, string, error) {
	tenant, f := v.r.PathValue("id"), v.filled("rights")
	rights := portalRights[0].words
	for _, one := range portalRights {
		if one.name == f.Value["rights"] {
			rights = one.words
		}
	}
	made, again, err := v.service().CreatePortalSession(v.ctx(), v.caller, tenant, portal.Wanted{Capabilities: strings.Fields(rights)}, v.once("portal "+tenant, &f, func(result any) string {
		s, _ := result.(app.PortalSession)
		return s.URL
	}))
	if err != nil {
		return nil, "", err
	}
	if again != nil {
		made.URL = string(again.Body)
	}
	s := v.secretPage("The portal link of "+tenant+" was made", made.URL, "It works once, within 5 minutes.", v.at("tenants/"+tenant), "")
	p, _ := s.Data.(secretPage)
	p.What = "link"
	s.Data, s.Nav, s.Title = p, "tenants", "Portal link"
	return s, "", nil
}

// asCustomer opens the portal of a tenant for the operator, to look only: what the customer sees,
// below a band that says so. Where the portal has a host of its own, the page has its link.
func asCustomer(v *visit) (*screen, string, error) {
	tenant := v.r.PathValue("id")
	made, _, err := v.service().CreatePortalSession(v.ctx(), v.caller, tenant, portal.Wanted{Capabilities: []string{hook.CapabilityView},
		PortalSettings: hook.PortalSettings{AsCustomer: true, Page: v.r.PostForm.Get("page")}}, nil)
	if err != nil {
		return nil, "", err
	}
	if u, err := url.Parse(made.URL); err == nil && v.service().PortalBesideUI() {
		return nil, u.Path, nil
	}
	s := v.secretPage("The portal of "+tenant+" has a host of its own", made.URL, "Open this link to see what the customer sees. It works once, within 5 minutes.", v.at("tenants/"+tenant), "")
	p, _ := s.Data.(secretPage)
	p.What = "link"
	s.Data, s.Nav, s.Title = p, "tenants", "Portal link"
	return s, "", nil
}
