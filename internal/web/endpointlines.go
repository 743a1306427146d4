package web

import (
	"strings"
	"time"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/chart"
	"github.com/posthorn/posthorn/internal/web/page"
)

// endpointLine is an endpoint in a list.
type endpointLine struct {
	State            badge
	Key              string // the whole id
	Href, Host, Path string
	Title, Tenant    string
	TenantHref       string
	Types, Profile   string
	Trouble          string
	Changed          moment
	Bars             *chart.Bars // of 24 hours; nil: no attempt, or not read
	NoBars           string      // why they could not be read
	Delivered        string      // when it last got an event, by the hour
	Waiting, Held    string      // now; empty: not read, as NoOpen says
	NoOpen           string
}

// withNow adds what happened to a page of endpoints in 24 hours, and what waits for them now.
func (v *visit) withNow(lines []endpointLine, rows []hook.Endpoint) {
	noBars, noOpen := "", ""
	v.beside(side{&noBars, "statistics of endpoints", func(v *visit) error {
		found, err := v.service().StatsOf(v.quiet, v.caller, rows, app.Span{From: v.now.Add(-23 * time.Hour), Step: "1h"})
		if err != nil {
			return err
		}
		for i := range lines {
			lines[i].Bars, lines[i].Delivered = chart.BarsOf(found[rows[i].ID], "24 h"), deliveredIn(found[rows[i].ID], v.now)
		}
		return nil
	}}, side{&noOpen, "open deliveries of endpoints", func(v *visit) error {
		found, err := v.service().OpenOf(v.quiet, v.caller, rows)
		for i := range lines {
			if n, ok := found[rows[i].ID]; ok {
				lines[i].Waiting, lines[i].Held = bounded(n.Pending), bounded(n.Held)
			}
		}
		return err
	}})
	for i := range lines {
		lines[i].NoBars, lines[i].NoOpen = noBars, noOpen
	}
}

// deliveredIn says in which of the hours, of which the last is not over, something was delivered
// last.
func deliveredIn(hours []hook.Tally, now time.Time) string {
	for i := len(hours) - 1; i >= 0; i-- {
		if hours[i].Delivered == 0 {
			continue
		}
		if ago := len(hours) - 1 - i; ago > 0 {
			from := now.UTC().Truncate(time.Hour).Add(-time.Duration(ago) * time.Hour)
			return from.Format("15:04") + " to " + from.Add(time.Hour).Format("15:04")
		}
		return "this hour"
	}
	return "not in 24 h"
}

func (v *visit) endpointLines(rows []hook.Endpoint) ([]endpointLine, error) {
	healths, err := v.service().Healths(v.quiet, v.caller, rows)
	if err != nil {
		return nil, err
	}
	out := make([]endpointLine, 0, len(rows))
	for i := range rows {
		e := &rows[i]
		health := healths[e.ID]
		line := endpointLine{State: endpointBadge(e, health.Failures), Key: e.ID.String(), Href: v.at("endpoints/" + e.ID.String()), Title: e.Title, Tenant: e.Scope.Tenant,
			TenantHref: v.at("tenants/" + e.Scope.Tenant), Types: strings.Join(e.Types, " "), Profile: e.Profile, Trouble: trouble(e, health, v.now), Changed: when(e.UpdatedAt, v.now)}
		line.Host, line.Path = page.HostOf(e.URL)
		out = append(out, line)
	}
	return out, nil
}
