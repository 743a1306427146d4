package web

import (
	"net/http"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
)

// hit is the result of a search.
type hit struct{ Kind, Href, Name string }

// search redirects to the object with the given id: an event, a delivery, an endpoint, a
// replay, a key, a tenant or an event type. It searches only the visit's mode.
func search(v *visit) (*screen, error) {
	asked := strings.TrimSpace(v.query.Get("q"))
	hits, err := v.find(asked)
	if err != nil {
		return nil, err
	}
	if len(hits) == 1 {
		redirect(v.w, v.r, hits[0].Href)
		return nil, nil
	}
	s := &screen{Template: "search.html", Title: "Search", Heading: "Several things have this id", Nav: "-", Data: struct {
		Asked, Other string
		Hits         []hit
	}{asked, at(otherMode(v.mode), "search", "q", asked), hits}}
	if len(hits) == 0 {
		s.Heading, s.Status = "Nothing was found", http.StatusNotFound
	}
	return s, nil
}

func otherMode(mode hook.Mode) hook.Mode {
	if mode == hook.Live {
		return hook.Test
	}
	return hook.Live
}

// missing reports whether an error says that there is no such thing.
func missing(err error) bool {
	return hook.CodeOf(err) == hook.CodeNotFound || hook.CodeOf(err) == hook.CodeTenantNotFound
}

func (v *visit) find(asked string) (hits []hit, err error) {
	id, err := hook.ParseID(asked)
	if err != nil {
		return v.findName(asked)
	}
	for _, look := range []func(hook.ID) ([]hit, error){v.findDelivery, v.findEndpoint, v.findEvent, v.findReplay, v.findKey} {
		found, err := look(id)
		if err != nil && !missing(err) {
			return nil, err
		}
		hits = append(hits, found...)
	}
	more, err := v.findName(asked)
	return append(hits, more...), err
}

func (v *visit) findDelivery(id hook.ID) ([]hit, error) {
	d, _, err := v.service().Delivery(v.quiet, v.caller, id)
	return []hit{{"Delivery", v.at("deliveries/" + id.String()), d.EventType}}[:found(err)], err
}

func (v *visit) findEndpoint(id hook.ID) ([]hit, error) {
	e, err := v.service().EndpointNamed(v.quiet, v.caller, "", id)
	if err != nil {
		return nil, err
	}
	host, path := hostOf(e.URL)
	return []hit{{"Endpoint", v.at("endpoints/" + id.String()), host + path}}, nil
}

func (v *visit) findEvent(id hook.ID) ([]hit, error) {
	e, _, err := v.service().Event(v.quiet, v.caller, "", id)
	switch {
	case err == nil:
		return []hit{{"Event", v.at("events/"+id.String(), "tenant", e.Scope.Tenant), e.Type}}, nil
	case hook.CodeOf(err) == hook.CodeConflict:
		return nil, &hook.Error{Code: hook.CodeConflict, Message: "Several tenants have an event with this id. Open the events of the tenant and choose it there."}
	}
	return nil, err
}

func (v *visit) findReplay(id hook.ID) ([]hit, error) {
	j, err := v.service().Replay(v.quiet, v.caller, id)
	return []hit{{"Replay", v.at("replays/" + id.String()), string(j.Source)}}[:found(err)], err
}

// findKey looks among the newest keys: there is no read of one key.
func (v *visit) findKey(id hook.ID) ([]hit, error) {
	rows, _, err := v.service().Keys(v.quiet, v.caller, hook.KeyQuery{Page: hook.Page{Limit: 250}})
	for i := range rows {
		if rows[i].ID == id {
			return []hit{{"Key", v.at("keys") + "#" + id.String(), rows[i].Name}}, nil
		}
	}
	return nil, err
}

func found(err error) int {
	if err != nil {
		return 0
	}
	return 1
}

// findName looks for a tenant and an event type of this name.
func (v *visit) findName(asked string) (hits []hit, err error) {
	if hook.ValidTenantID(asked) {
		t, err := v.service().Tenant(v.quiet, v.caller, asked)
		if err == nil {
			hits = append(hits, hit{"Tenant", v.at("tenants/" + t.ID), t.Name})
		} else if !missing(err) {
			return nil, err
		}
	}
	if hook.ValidType(asked) {
		t, err := v.service().EventType(v.quiet, v.caller, asked)
		if err == nil {
			hits = append(hits, hit{"Event type", v.typeHref(t.Name), t.Name})
		} else if !missing(err) {
			return nil, err
		}
	}
	return hits, nil
}
