package cli

import "net/http"

var portalNoun = noun{name: "portal", short: "Let a customer see its own webhooks in the portal", verbs: []verb{
	{name: "create", short: "Create a session of the portal and print the link that opens it once", method: http.MethodPost, path: "/v1/portal/sessions", once: true, params: []param{
		{flag: "tenant", usage: "tenant ID; required for operator keys"},
		{flag: "capabilities", kind: asList, usage: "comma-separated: view (always), manage_endpoints, see_secret, retry, replay, test",
			values: []string{"view", "manage_endpoints", "see_secret", "retry", "replay", "test"}},
		{flag: "expires-in", kind: asNumber, usage: "seconds until the session ends, 60 to 86400 (default 3600)"},
		{flag: "frame-origins", kind: asList, usage: "comma-separated origins whose pages may show it in a frame, such as https://app.example.com"},
		{flag: "locale", usage: "language: en or de (default the browser's)", values: []string{"en", "de"}},
		{flag: "theme", kind: asObject, usage: "look: a JSON object with accent, mode, radius, font, logo, name and chrome, @FILE, or - for standard input"},
		{flag: "return-url", usage: "https URL that leads back"},
		{flag: "page", usage: "page to open first, such as /endpoints"},
	}, note: "Give the link to the customer within five minutes. It works once.", example: `  posthorn portal create --tenant acme --capabilities manage_endpoints,test --expires-in 1800`},
	{name: "list", short: "List portal sessions, newest first", method: http.MethodGet, path: "/v1/portal/sessions",
		columns: []string{"id", "tenant", "state", "created_at", "expires_at"}, params: []param{tenantParam}},
	{name: "end", short: "End a portal session immediately", arg: "ID", method: http.MethodDelete, path: "/v1/portal/sessions/{}", done: "ended portal session %s"},
}}

var uiVerb = verb{name: "ui", short: "Print a link that opens the pages for operators once", method: http.MethodPost, path: "/v1/ui/links",
	note: "Open it within five minutes. Whoever opens it first acts with your key.", example: `  posthorn ui`}
