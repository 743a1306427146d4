package portal

import (
	"net/http"

	"github.com/posthorn/posthorn/internal/hook"
)

// route is a page (GET) or an action (POST) of a session. An action returns the path of the
// page that follows, or a screen. The capability only decides what is drawn and tested;
// internal/app decides again.
type route struct {
	path  string // below the session, a pattern of net/http
	needs hook.Capabilities
	show  func(*visit) (*screen, error)
	act   func(*visit) (*screen, error)
	live  bool // the page is kept up to date by a stream
}

// table lists every page and action. Tests iterate over it, and what is not in it is not
// served.
func table() []route {
	return []route{
		{path: "{$}", show: home, live: true},
		{path: "endpoints", show: endpoints, live: true},
		{path: "endpoints/new", needs: hook.MayManage, show: newEndpoint, act: createEndpoint},
		{path: "endpoints/{id}", show: endpoint, live: true},
		{path: "endpoints/{id}/settings", needs: hook.MayManage, act: changeEndpoint},
		{path: "endpoints/{id}/enable", needs: hook.MayManage, show: askEnable, act: enableEndpoint},
		{path: "endpoints/{id}/disable", needs: hook.MayManage, show: askDisable, act: disableEndpoint},
		{path: "endpoints/{id}/delete", needs: hook.MayManage, show: askDelete, act: deleteEndpoint},
		{path: "endpoints/{id}/challenge", needs: hook.MayManage, act: challengeEndpoint},
		{path: "endpoints/{id}/test", needs: hook.MayTest, act: testEndpoint},
		{path: "endpoints/{id}/rotate", needs: hook.MaySeeSecret, act: rotateSecret},
		{path: "endpoints/{id}/reveal", needs: hook.MaySeeSecret, act: revealSecret},
		{path: "deliveries", show: deliveries, live: true},
		{path: "deliveries/{id}", show: delivery, live: true},
		{path: "deliveries/{id}/retry", needs: hook.MayRetry, act: retryDelivery},
		{path: "events/{id}", show: event, live: true},
		{path: "events/{id}/data", show: eventData},
		{path: "events/{id}/resend", needs: hook.MayReplay, act: resendEvent},
		{path: "replays", show: replays, live: true},
		{path: "replays/new", needs: hook.MayReplay, show: newReplay, act: startReplay},
		{path: "replays/{id}", show: replay, live: true},
		{path: "replays/{id}/pause", needs: hook.MayReplay, act: pauseReplay},
		{path: "replays/{id}/resume", needs: hook.MayReplay, act: resumeReplay},
		{path: "replays/{id}/cancel", needs: hook.MayReplay, act: cancelReplay},
		{path: "types", show: types},
		{path: "types/{name...}", show: eventType},
		{path: "verify", show: verify, act: checkRequest},
		{path: "leave", act: leave},
		{path: "theme.css", show: theme},
		{path: "logo", show: logo},
	}
}

func (h *Handler) routes() {
	for _, one := range table() {
		if one.show != nil {
			h.inner.HandleFunc("GET /"+one.path, h.page(one.show, false))
		}
		if one.act != nil {
			h.inner.HandleFunc("POST /"+one.path, h.page(one.act, true))
		}
	}
	h.inner.HandleFunc("GET /stream", h.page(follow, false))
	h.inner.HandleFunc("/", h.page(func(*visit) (*screen, error) { return nil, hook.NotFound("page") }, false))
	h.outer.HandleFunc("GET /portal/static/{hash}/{name}", h.serveFile)
	h.outer.HandleFunc("GET /portal/enter/{code}", h.showEnter)
	h.outer.HandleFunc("POST /portal/enter/{code}", h.enter)
	h.outer.HandleFunc("GET /portal/back/{sid}/{code}", h.back)
	h.outer.HandleFunc("/portal/{sid}/{rest...}", h.visited)
	h.outer.HandleFunc("/portal/", func(w http.ResponseWriter, r *http.Request) { h.nobody(w, r, nil) })
}
