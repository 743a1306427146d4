package web

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// diskBox says what the store takes on disk, and what grows.
type diskBox struct {
	Used, Of  string // bytes; Of is empty without a budget
	Percent   int64  // of the budget, or -1
	Tone      string // class of the bar
	Says      string // how it grows, and when it is full
	At        moment // when it was measured
	Oldest    moment
	Classes   []diskLine
	Tenants   []diskLine
	MoreWords string
	Reclaim   string // path of the form; empty: nothing to reclaim
}

// diskLine is a part of what the store takes.
type diskLine struct {
	Name, Href, Bytes string
	Share             int64 // percent of the whole, at least 1
}

// shownTenants limits the tenants of the box on the overview.
const shownTenants = 3

// disk reads what the store takes on disk.
func (v *visit) disk(tenants int) (*diskBox, *hook.DiskUse, error) {
	use, err := v.service().Disk(v.quiet, v.caller, "")
	if err != nil {
		return nil, nil, err
	}
	p := &diskBox{Used: hook.BytesText(use.Used), Percent: -1, Tone: "wait", At: when(use.At, v.now), Oldest: when(use.Oldest, v.now), Says: growthWords(&use)}
	if use.Budget > 0 {
		p.Of, p.Percent = hook.BytesText(int64(use.Budget)), min(100, 100*use.Used/int64(use.Budget))
	}
	switch use.State {
	case hook.DiskWarning:
		p.Tone = "retry"
	case hook.DiskFull:
		p.Tone = "bad"
	}
	c := &use.Classes
	whole := max(1, use.Used)
	type part struct {
		name string
		n    int64
	}
	parts := []part{{"Payloads of events", c.Payloads}, {"Events and deliveries", c.Metadata}, {"Attempts and answers", c.Attempts}, {"Audit log", c.Audit}, {"Statistics", c.Statistics}, {"Indexes and other tables", c.Other}, {"Log of the database", c.Log}}
	slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.n, a.n) })
	for _, one := range parts {
		if one.n > 0 {
			p.Classes = append(p.Classes, diskLine{Name: one.name, Bytes: hook.BytesText(one.n), Share: max(1, min(100, 100*one.n/whole))})
		}
	}
	for i := range use.Tenants {
		if i == tenants {
			p.MoreWords = fmt.Sprintf("%d more tenants", len(use.Tenants)-tenants)
			break
		}
		t := &use.Tenants[i]
		p.Tenants = append(p.Tenants, diskLine{Name: t.Scope.Tenant, Href: v.at("tenants/" + t.Scope.Tenant), Bytes: hook.BytesText(t.Sum()), Share: max(1, min(100, 100*t.Sum()/whole))})
	}
	if c.Free > 0 && v.mode == hook.Live { // the files are of both modes, and live keys decide about them
		p.Reclaim = v.at("nodes/reclaim")
	}
	return p, &use, nil
}

// growthWords says how the store grows and when it reaches its budget.
func growthWords(use *hook.DiskUse) string {
	switch {
	case use.PerDay == nil:
		return "How it grows is known after an hour."
	case *use.PerDay <= 0 && *use.PerDay > -1000:
		return "It does not grow: retention removes as much as arrives."
	case *use.PerDay <= 0:
		return "It shrinks by " + hook.BytesText(-*use.PerDay) + " a day."
	}
	says := "It grows by " + hook.BytesText(*use.PerDay) + " a day"
	if left := int64(use.Budget) - use.Used; use.Budget > 0 && left > 0 {
		days := left / max(1, *use.PerDay)
		switch {
		case days > 3650:
			return says + "; at this pace it has room for more than 10 years."
		case days < 2:
			return says + "; at this pace it is full in " + span(time.Duration(24*left/max(1, *use.PerDay))*time.Hour) + "."
		}
		return says + "; at this pace it is full in " + strconv.FormatInt(days, 10) + " days."
	}
	return says + "."
}

// diskConcern is the line about a store that is nearly full, or nil.
func (v *visit) diskConcern(use *hook.DiskUse, p *diskBox) *concernLine {
	notice := use.Budget.Notice(use.State, use.Used)
	if notice == "" {
		return nil
	}
	line := &concernLine{State: badge{p.Tone, "warn", "Disk"}, Href: v.at("nodes"), Name: "The store has " + strconv.FormatInt(p.Percent, 10) + " % of its budget", Says: "T" + notice[1:] + ". " + p.Says}
	if len(p.Classes) > 0 {
		line.Says += " " + p.Classes[0].Name + " are " + strconv.FormatInt(p.Classes[0].Share, 10) + " % of it."
	}
	return line
}

// maxReclaimWords says how much one press gives back.
const maxReclaimWords = "A press gives back 64 MiB at most."

func confirmReclaim(v *visit) (*screen, error) {
	p, use, err := v.disk(0)
	if err != nil {
		return nil, err
	}
	if use.Classes.Free <= 0 {
		return asks("nodes", "No space is free", confirm{Says: []string{"The files take " + hook.BytesText(use.Files) + ", and all of it is in use. " + p.Says}, Back: v.at("nodes")}), nil
	}
	return v.askReclaim(hook.BytesText(use.Classes.Free), "The files take "+hook.BytesText(use.Files)+", of which "+hook.BytesText(use.Classes.Free)+" are free. Posthorn uses free space again by itself, so this helps only if something else needs the space. "+p.Says), nil
}

func (v *visit) askReclaim(left string, says ...string) *screen {
	return asks("nodes", "Give free space back to the file system?", confirm{Says: append(says, "It runs in small steps beside the work and changes no data. "+maxReclaimWords), Back: v.at("nodes"),
		Buttons: []button{{Action: v.at("nodes/reclaim"), Label: "Reclaim some of " + left}}})
}

// reclaim gives space back. It asks again while there is more.
func reclaim(v *visit) (*screen, string, error) {
	out, err := v.service().Reclaim(v.ctx(), v.caller)
	switch {
	case err != nil:
		return nil, "", err
	case out.Kept != "":
		return asks("nodes", hook.BytesText(out.Freed)+" were given back", confirm{Says: []string{out.Kept}, Back: v.at("nodes")}), "", nil
	case out.Left > 0:
		return v.askReclaim(hook.BytesText(out.Left), hook.BytesText(out.Freed)+" were given back, and "+hook.BytesText(out.Left)+" are free still."), "", nil
	}
	return nil, v.at("nodes", "done", "reclaimed"), nil
}
