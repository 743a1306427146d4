package web

import (
	"net/http"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// hit is a result of a search.
type hit struct {
	Kind, ID, Name     string
	Href               string // empty: it has no page
	Command            string // shows it, if it has no page
	Tenant, TenantHref string
	At                 moment
}

// search finds what an id, or the beginning of one, belongs to, and redirects to the only
// result. It searches only the visit's mode.
func search(v *visit) (*screen, error) {
	asked := strings.TrimSpace(v.query.Get("q"))
	found, err := v.service().Search(v.ctx(), v.caller, asked)
	if err != nil && hook.CodeOf(err) != hook.CodeInvalidRequest { // no id looks like that
		return nil, err
	}
	hits := make([]hit, 0, len(found.Found))
	for i := range found.Found {
		hits = append(hits, v.hit(&found.Found[i]))
	}
	if hook.ValidType(asked) {
		switch t, err := v.service().EventType(v.quiet, v.caller, asked); {
		case err == nil:
			hits = append(hits, hit{Kind: "event type", ID: t.Name, Name: t.Name, Href: v.typeHref(t.Name), At: when(t.CreatedAt, v.now)})
		case !missing(err):
			return nil, err
		}
	}
	if len(hits) == 1 && hits[0].Href != "" {
		redirect(v.w, v.r, hits[0].Href)
		return nil, nil
	}
	more := make([]string, 0, len(found.More))
	for _, kind := range found.More {
		more = append(more, string(kind))
	}
	s := &screen{Template: "search.html", Title: "Search", Heading: "Several things have an id that begins like this", Nav: "-", Commands: []string{"posthorn search " + asked}, Data: struct {
		Asked, Other, More, Tag string
		Hits                    []hit
	}{asked, at(otherMode(v.mode), "search", "q", asked), strings.Join(more, ", "), v.byTag(asked), hits}}
	switch len(hits) {
	case 0:
		s.Heading, s.Status, s.Commands = "Nothing was found", http.StatusNotFound, nil
	case 1:
		s.Heading = "It is a " + hits[0].Kind
	}
	return s, nil
}

// hit returns the line of a result, with the path of its page.
func (v *visit) hit(f *hook.Found) hit {
	h := hit{Kind: string(f.Kind), ID: f.ID, Name: f.Name, Tenant: f.Tenant, At: when(f.CreatedAt, v.now)}
	if f.Tenant != "" {
		h.TenantHref = v.at("tenants/" + f.Tenant)
	}
	switch f.Kind {
	case hook.FoundEvent:
		h.Href = v.at("events/"+f.ID, "tenant", f.Tenant)
	case hook.FoundDelivery:
		h.Href = v.at("deliveries/" + f.ID)
	case hook.FoundEndpoint:
		host, path := page.HostOf(f.Name)
		h.Href, h.Name = v.at("endpoints/"+f.ID), host+path
	case hook.FoundTenant:
		h.Href = h.TenantHref
	case hook.FoundReplay:
		h.Href = v.at("replays/" + f.ID)
		if words := sourceWords[hook.ReplaySource(f.Name)]; words != "" {
			h.Name = words
		}
	case hook.FoundRequest:
		h.Command = "posthorn audit list --request-id " + f.ID
	case hook.FoundKey:
		h.Href = v.at("keys") + "#" + f.ID
	}
	if h.Name == "" {
		h.Name = h.ID
	}
	return h
}

// byTag returns the path of the events with a tag, if the text is one.
func (v *visit) byTag(text string) string {
	if _, ok := hook.ParseTag(text); !ok {
		return ""
	}
	return v.at("events", "tag", text)
}

// missing reports whether an error says that there is no such thing.
func missing(err error) bool {
	return hook.CodeOf(err) == hook.CodeNotFound || hook.CodeOf(err) == hook.CodeTenantNotFound
}

func otherMode(mode hook.Mode) hook.Mode {
	if mode == hook.Live {
		return hook.Test
	}
	return hook.Live
}

// tagLine is a tag of an event, with the path of the events that have it.
type tagLine struct{ Name, Value, Href string }

func (v *visit) tagLines(tags hook.Tags) []tagLine {
	lines := make([]tagLine, 0, len(tags))
	for _, tag := range tags {
		lines = append(lines, tagLine{tag.Name, tag.Value, v.at("events", "tag", tag.Name+":"+tag.Value)})
	}
	return lines
}
