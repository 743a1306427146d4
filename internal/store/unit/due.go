package unit

import (
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
)

// CanAttempt reports whether this process can attempt deliveries to the endpoint. Only the
// home of a listener, the node that it is connected to, can attempt deliveries to it.
func (t *Tx) CanAttempt(target *hook.Endpoint) bool {
	return !target.Listener() || target.Home == t.core.Peers.Epoch() || target.Home == 0
}

// NoteDue reports on commit when work of the endpoint in the table is due, to the node
// that can attempt it: this one or another. It also announces work that nodes share.
func (t *Tx) NoteDue(target *hook.Endpoint, at time.Time) {
	if !t.CanAttempt(target) {
		if !t.Told[target.ID] {
			if t.Told == nil {
				t.Told = map[hook.ID]bool{}
			}
			t.Told[target.ID] = true
			t.TellNodes(sqltext.WorkDue, target.Scope, hook.Ref{Endpoint: target.ID})
		}
		return
	}
	t.NoteDueHere(target, at)
	if target.Rate() > 0 || target.MaxInFlight > 0 {
		t.Announce(target)
	}
}

// NoteDueHere tells this process's dispatcher, on commit, when work of the endpoint in the
// table is due. See NoteDue for work that another node may have to do.
func (t *Tx) NoteDueHere(target *hook.Endpoint, at time.Time) {
	if t.Due == nil {
		t.Due = map[hook.ID]hook.Due{}
	}
	if old, ok := t.Due[target.ID]; !ok || at.Before(old.At) {
		t.Due[target.ID] = hook.Due{Target: target, At: at}
	}
}

// announceEvery is the least time between two announcements for one endpoint.
const announceEvery = time.Second

// maxAnnounced bounds the endpoints in Core.announced.
const maxAnnounced = 4096

// Announce notifies the other nodes that an endpoint has work in the table. Each node has
// only a part of the endpoint's limits, so the others may claim some of it.
func (t *Tx) Announce(target *hook.Endpoint) {
	if t.core.Peers.Nodes() < 2 || t.Now.Sub(t.core.announced[target.ID]) < announceEvery {
		return
	}
	if len(t.core.announced) >= maxAnnounced {
		clear(t.core.announced)
	}
	t.core.announced[target.ID] = t.Now
	t.TellNodes(sqltext.WorkDue, target.Scope, hook.Ref{Endpoint: target.ID})
}
