package web

import (
	"slices"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// shownSessions limits the sessions of a box. The API lists all portal sessions.
const shownSessions = 50

// sessionBox lists sessions of people in browsers.
type sessionBox struct {
	Title, Hint string
	Lines       []sessionLine
	More        bool   // there are more
	Missing     string // why it could not be read
}

// sessionLine is one session.
type sessionLine struct {
	ID, Who, WhoID   string
	Own              bool
	What, From       string
	Begun, Seen, End moment
	Act              string // path of the page that asks; empty: it is over
}

// operators fills in the sessions of operators in the mode.
func (p *sessionBox) operators(v *visit) error {
	rows, next, err := v.service().OperatorSessions(v.quiet, v.caller, hook.Page{Limit: shownSessions})
	p.More = next != ""
	for i := range rows {
		p.Lines = append(p.Lines, v.operatorLine(&rows[i]))
	}
	return err
}

func (v *visit) operatorLine(one *app.OperatorSession) sessionLine {
	line := sessionLine{ID: one.ID.String(), Who: one.Key.Name, Own: one.ID == v.session.ID, What: v.mode.String() + " mode", From: one.Settings.Address, Begun: when(one.CreatedAt, v.now), Seen: when(one.SeenAt, v.now),
		End: when(one.ExpiresAt, v.now), Act: v.at("sessions/" + one.ID.String() + "/end")}
	switch {
	case one.Revoked:
		line.Who = "a key that was revoked"
	case one.Key.ID.IsZero():
		line.Who = "the key that the server was started with"
	default:
		line.WhoID = one.Key.ID.String()
		if line.Who == "" {
			line.Who = "a key without a name"
		}
	}
	if len(one.Keys) > 1 {
		line.What = "both modes"
	}
	return line
}

func confirmEndSession(v *visit) (*screen, error) {
	id, err := v.id("session")
	if err != nil {
		return nil, err
	}
	for page, found := (hook.Page{Limit: 250}), false; !found; {
		rows, next, err := v.service().OperatorSessions(v.quiet, v.caller, page)
		if err != nil {
			return nil, err
		}
		found = slices.ContainsFunc(rows, func(one app.OperatorSession) bool { return one.ID == id })
		if page.Cursor = next; !found && next == "" {
			return nil, hook.NotFound("session")
		}
	}
	c := confirm{Back: v.at("keys"), Buttons: []button{{Action: v.at("sessions/" + id.String() + "/end"), Label: "End the session", Danger: true}},
		Says: []string{"Whoever has it is logged out at once, on all nodes, and can log in again with the key. To keep a person out, revoke the key."}}
	if id == v.session.ID {
		c.Says = append(c.Says, "This is your own session.")
	}
	return asks("keys", "End this session?", c), nil
}

func endSession(v *visit) (string, error) {
	id, err := v.id("session")
	if err != nil {
		return "", err
	}
	return v.at("keys", "done", "ended"), v.service().EndOperatorSession(v.ctx(), v.caller, id)
}

// customers fills in the portal sessions of a tenant that are not over.
func (p *sessionBox) customers(v *visit, tenant string) error {
	rows, next, err := v.service().PortalSessions(v.quiet, v.caller, hook.WebSessionQuery{Scope: hook.Scope{Tenant: tenant}, Page: hook.Page{Limit: shownSessions}})
	p.More = next != ""
	for i := range rows {
		one := &rows[i]
		if v.service().Over(one) {
			continue
		}
		line := sessionLine{ID: one.ID.String(), Who: "link not used yet", What: "may " + capabilityWords(one.Settings.Capabilities), Begun: when(one.CreatedAt, v.now), Seen: when(one.SeenAt, v.now), End: when(one.ExpiresAt, v.now),
			Act: v.at("visitors/"+one.ID.String()+"/end", "tenant", tenant)}
		if one.Entered {
			line.Who = "open in a browser"
		}
		p.Lines = append(p.Lines, line)
	}
	return err
}

func capabilityWords(c hook.Capabilities) string {
	words, all := "look", []struct {
		may  hook.Capabilities
		word string
	}{{hook.MayManage, "manage endpoints"}, {hook.MaySeeSecret, "see secrets"}, {hook.MayRetry, "retry"}, {hook.MayReplay, "replay"}, {hook.MayTest, "send test events"}}
	for _, one := range all {
		if c&one.may != 0 {
			words += ", " + one.word
		}
	}
	return words
}

func confirmEndVisitor(v *visit) (*screen, error) {
	id, err := v.id("portal session")
	if err != nil {
		return nil, err
	}
	tenant := v.query.Get("tenant")
	rows, _, err := v.service().PortalSessions(v.quiet, v.caller, hook.WebSessionQuery{Scope: hook.Scope{Tenant: tenant}, Page: hook.Page{Limit: 250}})
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(rows, func(one hook.WebSession) bool { return one.ID == id }) {
		return nil, hook.NotFound("portal session")
	}
	return asks("tenants", "End this session of the portal?", confirm{Back: v.at("tenants/" + tenant), Buttons: []button{{Action: v.at("visitors/" + id.String() + "/end"), Label: "End the session", Danger: true, Fields: [][2]string{{"tenant", tenant}}}},
		Says: []string{"Whoever has it sees no more of the webhooks of " + tenant + ", at once and on all nodes, until there is a new link."}}), nil
}

func endVisitor(v *visit) (string, error) {
	id, err := v.id("portal session")
	if err != nil {
		return "", err
	}
	to := "tenants"
	if tenant := v.r.PostForm.Get("tenant"); hook.ValidTenantID(tenant) {
		to += "/" + tenant
	}
	return v.at(to, "done", "ended"), v.service().EndPortalSession(v.ctx(), v.caller, id)
}
