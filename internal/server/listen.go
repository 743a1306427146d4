package server

import (
	"context"

	apilisten "github.com/posthorn/posthorn/internal/api/listen"
)

// mountListen serves receivers that connect to this node. It marks listeners of an earlier
// process as away. If that fails, the next attempt to each of them does it.
func (n *Node) mountListen(ctx context.Context) {
	if count, err := n.store.ListenersAway(ctx); err != nil {
		n.log.Warn("note that listeners are away", "error", err)
	} else if count > 0 {
		n.log.Info("listeners of an earlier process are away", "listeners", count)
	}
	h := apilisten.New(apilisten.Options{Service: n.app, Hub: n.hub, Log: n.apiLog, Refused: n.counts.refuse})
	for _, pattern := range apilisten.Patterns() {
		n.mux.Handle(pattern, h)
	}
}
