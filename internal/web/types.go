package web

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

func types(v *visit) (*screen, error) {
	filter := v.filters("q")
	rows, next, err := v.service().EventTypes(v.ctx(), v.caller, hook.TypeQuery{Group: filter["q"], Page: hook.Page{Cursor: v.query.Get("cursor")}})
	l, err := v.list("types", filter, next, err)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(rows))
	for i := range rows {
		names[i] = rows[i].Name
	}
	counts, missing := make([]hook.Subscribers, len(rows)), ""
	v.beside(side{&missing, "subscribers", func(v *visit) error {
		found, err := v.service().Subscribers(v.ctx(), v.caller, names...)
		copy(counts, found)
		return err
	}})
	p := plainList{listed: l, Columns: []string{"Event type", "Group", "Version", "Data at publish", "Endpoints", "Changed"}, Search: "Group, exactly", New: v.at("type/new"), NewName: "New event type",
		Empty:   "The catalogue has no event type yet. Events of any type can be published all the same.",
		Command: "posthorn event-type create --name payment.settled --description \"A payment arrived\""}
	for i := range rows {
		t := &rows[i]
		endpoints := atLeast(counts[i].Endpoints, counts[i].More)
		if missing != "" {
			endpoints = "not available"
		}
		sub := strings.Join(append(typeMarks(t), firstLine(t.Description)), " · ")
		p.Rows = append(p.Rows, row{Href: v.typeHref(t.Name), Name: t.Name, Sub: strings.Trim(sub, " ·"), At: when(t.UpdatedAt, v.now),
			Facts: []string{t.Group, fmt.Sprint(t.Version), enforceWords[t.Enforce], endpoints}})
	}
	return &screen{Template: "plain.html", Title: "Event types", Heading: "Event types", Nav: "types", Commands: []string{"posthorn event-type list"}, Data: p}, nil
}

// typeMarks returns what sets an event type apart, in words.
func typeMarks(t *hook.EventType) (marks []string) {
	switch {
	case t.Deprecated && t.Replacement != "":
		marks = append(marks, "Deprecated: use "+t.Replacement)
	case t.Deprecated:
		marks = append(marks, "Deprecated")
	}
	if t.Hidden {
		marks = append(marks, "Hidden from tenants")
	}
	return marks
}

func atLeast(n int, more bool) string {
	if more {
		return fmt.Sprintf("at least %d", n)
	}
	return fmt.Sprint(n)
}

// typeHref returns the path of an event type, whose name may contain slashes.
func (v *visit) typeHref(name string) string { return v.at("types/" + url.PathEscape(name)) }

var enforceWords = map[hook.Enforce]string{hook.EnforceOff: "not checked", hook.EnforceWarn: "checked, warns", hook.EnforceReject: "checked, refuses"}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// typePage is the content of the page of an event type.
type typePage struct {
	Name, Description, Group, Enforce string
	Deprecated, Hidden                bool
	Replacement, ReplacementHref      string
	Redact                            string // pointers; empty: none
	Subscribers                       string
	Searchable                        []hook.Searchable
	Versions                          []typeVersion // the newest first
	Created, Changed                  moment
	Deliveries, Endpoints             string
	Edit, NewVersion, Delete          string
}

// typeVersion is one version on the page of an event type.
type typeVersion struct {
	Number          int
	Current         bool // of events that name none
	Schema, Example *text
	Before          int // the version that Differences are to; 0: there is none
	Differences     []app.TypeDifference
	More            bool
	Edit, Drop      string // empty for the current version, which the page itself changes
}

func eventType(v *visit) (*screen, error) {
	t, err := v.service().EventType(v.ctx(), v.caller, v.r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	counts, missing := make([]hook.Subscribers, 1), ""
	v.beside(side{&missing, "subscribers", func(v *visit) error {
		found, err := v.service().Subscribers(v.ctx(), v.caller, t.Name)
		copy(counts, found)
		return err
	}})
	p := typePage{Name: t.Name, Description: t.Description, Group: t.Group, Enforce: enforceWords[t.Enforce], Searchable: t.Searchable, Deprecated: t.Deprecated, Hidden: t.Hidden, Replacement: t.Replacement, Redact: strings.Join(t.Redact, ", "),
		Created: when(t.CreatedAt, v.now), Changed: when(t.UpdatedAt, v.now), Deliveries: v.at("deliveries", "type", t.Name), Endpoints: v.at("endpoints", "type", t.Name),
		Edit: v.typeAct("edit", t.Name), Delete: v.typeAct("delete", t.Name), NewVersion: v.typeAct("edit", t.Name) + "?version=new"}
	if t.Replacement != "" {
		p.ReplacementHref = v.typeHref(t.Replacement)
	}
	n := counts[0]
	p.Subscribers = fmt.Sprintf("%s, %d of them enabled, of %d tenants", atLeast(n.Endpoints, n.More), n.Enabled, n.Tenants)
	if missing != "" {
		p.Subscribers = "not available just now"
	}
	for _, one := range t.Versions() {
		shown := typeVersion{Number: one.Version, Current: one.Version == t.Version}
		if !shown.Current {
			shown.Edit, shown.Drop = fmt.Sprintf("%s?version=%d", p.Edit, one.Version), fmt.Sprintf("%s?version=%d", v.typeAct("drop", t.Name), one.Version)
		}
		for _, part := range []struct {
			from []byte
			to   **text
		}{{one.Schema, &shown.Schema}, {one.Example, &shown.Example}} {
			if len(part.from) > 0 {
				cut := foreign(page.Pretty(part.from), page.MaxShown)
				*part.to = &cut
			}
		}
		if before := len(p.Versions) - 1; before >= 0 {
			found, err := v.service().TypeDifferences(v.ctx(), v.caller, t.Name, p.Versions[before].Number, one.Version)
			if err != nil {
				return nil, err
			}
			shown.Before, shown.Differences, shown.More = found.From, found.List, found.More
		}
		p.Versions = append(p.Versions, shown)
	}
	slices.Reverse(p.Versions)
	return &screen{Template: "type.html", Title: t.Name, Heading: t.Name, Nav: "types", Commands: []string{"posthorn event-type get " + t.Name}, Data: p}, nil
}
