package svix

import (
	"net/http"

	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/portal"
)

// The bounds of a session, in seconds: what Svix accepts, and the longest that there is here.
const minExpiry, maxExpiry, longestSession = 3600, 604_800, 86_400

// capabilities maps Svix's capabilities to those of the portal.
var capabilities = map[string][]string{
	"ViewBase":              {"view"},
	"ViewEndpointSecret":    {"see_secret"},
	"ManageEndpointSecret":  {"see_secret"},
	"ManageTransformations": nil, // there are none
	"CreateAttempts":        {"retry", "replay", "test"},
	"ManageEndpoint":        {"manage_endpoints"},
}

// portalAccess makes a link that opens the portal of an application. The session ends after
// a day at the latest. There is no token for browsers.
func (a *api) portalAccess(q *call) error {
	o, err := q.optional()
	if err != nil {
		return err
	}
	q.app = q.parts["name"]
	w := portal.Wanted{Capabilities: []string{"view"}}
	life := int64(longestSession)
	if expiry := take[int64](o, "a whole number", "expiry"); expiry != nil {
		if *expiry < minExpiry || *expiry > maxExpiry {
			o.blame("expiry", "expiry must be 3600 to 604800")
		}
		life = min(*expiry, longestSession)
	}
	w.ExpiresIn = &life
	wanted := take[[]string](o, "an array of strings", "capabilities")
	readOnly := take[bool](o, "true or false", "readOnly")
	if wanted == nil && (readOnly == nil || !*readOnly) {
		wanted = &[]string{"ViewEndpointSecret", "CreateAttempts", "ManageEndpoint"} // all, as in Svix
	}
	if wanted != nil {
		seen := map[string]bool{"view": true}
		for _, name := range *wanted {
			ours, known := capabilities[name]
			if !known {
				o.blame("capabilities", "capabilities has an entry that is not known")
			}
			for _, one := range ours {
				if !seen[one] {
					seen[one], w.Capabilities = true, append(w.Capabilities, one)
				}
			}
		}
	}
	if readOnly != nil && *readOnly {
		w.Capabilities = []string{"view"} // whatever else is asked for
	}
	o.refuse("Posthorn has no feature flags of event types. Leave featureFlags out.", "featureFlags")
	if err := o.err(); err != nil {
		return err
	}
	_, err = a.o.Service.TenantExists(q.r.Context(), q.c, q.app)
	if hook.CodeOf(err) == hook.CodeTenantNotFound && o.has("application") && !o.null("application") {
		err = a.makeOnTheWay(q, o)
	}
	if err != nil {
		return err
	}
	render := func(s app.PortalSession) map[string]string { return map[string]string{"url": s.URL, "token": ""} }
	once, err := q.once(func(result any) (int, []byte) {
		s, ok := result.(app.PortalSession)
		if !ok {
			return 0, nil
		}
		return http.StatusOK, encode(render(s))
	})
	if err != nil {
		return err
	}
	made, replay, err := a.o.Service.CreatePortalSession(q.r.Context(), q.c, q.app, w, once)
	if err != nil {
		return err
	}
	if replay != nil {
		return q.repeated(replay)
	}
	return q.answer(http.StatusOK, render(made))
}

// expireAll ends all portal sessions of an application at once.
func (a *api) expireAll(q *call) error {
	o, err := q.optional()
	if err != nil {
		return err
	}
	o.refuse("Posthorn ends all sessions of an application. Leave sessionIds out.", "sessionIds")
	if expiry := take[int64](o, "a whole number", "expiry"); expiry != nil && *expiry != 0 {
		o.blame("expiry", "Posthorn ends sessions at once. Leave expiry out.")
	}
	if err := o.err(); err != nil {
		return err
	}
	if err := a.o.Service.EndPortalSessions(q.r.Context(), q.c, q.app); err != nil {
		return err
	}
	return q.done()
}
