package web

import (
	"strconv"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// nodeLine is the node that answers.
type nodeLine struct {
	Node
	Started moment
}

func nodes(v *visit) (*screen, error) {
	s := &screen{Template: "nodes.html", Title: "Nodes", Heading: "This node is ready", Nav: "nodes", Commands: []string{"posthorn doctor", "posthorn healthcheck"}}
	p := struct {
		Node    *nodeLine
		Figures []figure
		Others  int
		Lease   string
		Version string
		Streams int
		Disk    *diskBox
		NoDisk  string
		Log     string
	}{Version: v.h.o.Version, Streams: v.h.Streams()}
	if v.h.o.Node != nil {
		n := v.h.o.Node()
		p.Node, p.Others = &nodeLine{Node: n, Started: when(n.Started, v.now)}, n.Alive-1
		p.Log = hook.BytesText(n.LogBytes)
		if n.Lease > 0 {
			p.Lease = span(n.Lease)
		}
		if n.Alive > 1 {
			s.Heading = strconv.Itoa(n.Alive) + " nodes are ready"
		}
		p.Figures = []figure{
			{Name: "In flight", Value: number(int64(n.InFlight)), Note: "attempts under way"}, {Name: "Waiting", Value: number(int64(n.Waiting)), Note: "deliveries in memory"},
			{Name: "Endpoints", Value: number(int64(n.Endpoints)), Note: "with work in memory"}, {Name: "Writes", Value: number(int64(n.Queued)), Note: "wait for the writer"},
			{Name: "Commits", Value: number(n.Commits), Note: "since the start"}, {Name: "Pages", Value: strconv.Itoa(p.Streams), Note: "are kept up to date"},
		}
	}
	v.beside(side{&p.NoDisk, "disk", func(v *visit) (err error) {
		p.Disk, _, err = v.disk(hook.DiskTenants)
		return err
	}})
	s.Data = p
	return s, nil
}

func settings(v *visit) (*screen, error) {
	var rows []Setting
	if v.h.o.Settings != nil {
		rows = v.h.o.Settings()
	}
	return &screen{Template: "settings.html", Title: "Settings", Heading: "Settings in force", Nav: "settings", Commands: []string{"posthorn config"}, Data: struct {
		Rows  []Setting
		Theme string
	}{rows, themeOf(v.r)}}, nil
}

func profiles(v *visit) (*screen, error) {
	p := plainList{Columns: []string{"Profile", "Management API", "Retries", "Made for"}}
	for _, one := range v.service().Profiles() {
		of := "every endpoint that names it"
		if one.Default {
			of = "endpoints that name none"
		}
		retries := "without an end"
		if n := attemptsOf(one.Policy.Retry); n > 0 {
			retries = tries(n)
		}
		p.Rows = append(p.Rows, row{Href: v.at("profiles/" + one.Name), Name: one.Name, Sub: firstLine(one.Description), Facts: []string{one.Management, retries, of}})
	}
	return &screen{Template: "plain.html", Title: "Profiles", Heading: "Profiles", Nav: "profiles", Commands: []string{"posthorn profile list"}, Data: p}, nil
}

// shownUsers limits the endpoints on the page of a profile.
const shownUsers = 10

func profileSheet(v *visit) (*screen, error) {
	sheet, err := v.service().ProfileSheet(v.r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	head := ""
	for _, h := range sheet.Headers {
		head += h.Name + ": " + h.Value + "\n"
	}
	var users []endpointLine
	missing, more := "", false
	v.beside(side{&missing, "endpoints of a profile", func(v *visit) error {
		rows, next, err := v.service().Endpoints(v.quiet, v.caller, hook.EndpointQuery{Profile: sheet.Name, Page: hook.Page{Limit: shownUsers}})
		if err == nil {
			more = next != ""
			users, err = v.endpointLines(rows)
		}
		return err
	}})
	return &screen{Template: "profile.html", Title: sheet.Name, Heading: sheet.Name, Nav: "profiles",
		Commands: []string{"posthorn profile show " + sheet.Name},
		Data: struct {
			Description, Request, YAML string
			Body                       payload
			Words                      []string
			Endpoints                  string
			Types                      int
			Snippets                   []page.Snippet
			Users                      []endpointLine
			NoUsers                    string
			MoreUsers                  bool
		}{sheet.Description, page.Visible([]byte(head)), page.Visible(sheet.Text), payloadOf(sheet.Body, false), sheet.Words, v.at("endpoints", "profile", sheet.Name), len(sheet.Types), page.Snippets(sheet.Name), users, missing, more}}, nil
}

func shortcuts(*visit) (*screen, error) {
	return &screen{Template: "shortcuts.html", Title: "Shortcuts", Heading: "Shortcuts", Nav: "-", Data: nil}, nil
}
