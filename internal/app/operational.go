package app

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// Operational endpoints get what Posthorn itself reports (see hook.AlertTypes). A tenant
// may have some of its own. Those of the operator belong to hook.OperatorTenant, which only
// operator keys reach.

// errReserved refuses an event type that only Posthorn publishes.
func errReserved(field, name string) error {
	return &hook.Error{Code: hook.CodeTypeReserved, Field: field, Message: strconv.Quote(name) +
		" is the type of an operational event, and only Posthorn publishes these: types that begin with \"posthorn.\" are reserved. Nothing was stored. Choose another name."}
}

// owner returns an error if no endpoint of this kind can belong to the tenant.
func (in *NewEndpoint) owner(c Caller, tenant string) error {
	if tenant != hook.OperatorTenant {
		if !hook.ValidTenantID(tenant) {
			return noTenant("tenant")
		}
		return nil
	}
	if c.Kind != hook.Operator {
		return noTenant("tenant")
	}
	if !in.Operational {
		return invalid("operational", "Endpoints of "+hook.OperatorTenant+" are the operator's own and get operational events only. Set \"operational\" to true, or name a tenant.")
	}
	return nil
}

// bounded is Ceilings.bounded for the endpoint: operational ones have a limit of their own.
func (s *Service) bounded(in *NewEndpoint) func(existing []*hook.Endpoint) error {
	return func(existing []*hook.Endpoint) error {
		same := make([]*hook.Endpoint, 0, len(existing))
		for _, e := range existing {
			if e.Operational == in.Operational {
				same = append(same, e)
			}
		}
		if !in.Operational {
			return s.o.Ceilings.bounded(in.admit)(same)
		}
		if len(same) >= hook.MaxOperational {
			return &hook.Error{Code: hook.CodeEndpointLimit, Message: fmt.Sprintf(
				"There are %d operational endpoints of the tenant in this mode, and no more are allowed. Delete one first.", len(same))}
		}
		return nil
	}
}

// checkAlertTypes refuses a filter of an operational endpoint with an entry that no
// operational event matches, and channels.
func checkAlertTypes(e *hook.Endpoint) error {
	if !e.Operational {
		return nil
	}
	if len(e.Channels) > 0 {
		return invalid("channels", "Operational events have no channels, so an operational endpoint with channels would get nothing. Leave \"channels\" out.")
	}
	all := alertNames(e.Scope.Tenant == hook.OperatorTenant)
	for i, entry := range e.Types {
		if !slices.ContainsFunc(all, hook.Filter{entry}.Match) {
			return &hook.Error{Code: hook.CodeTypeUnknown, Field: "event_types/" + strconv.Itoa(i),
				Message: "No operational event that this endpoint can get has a type that " + strconv.Quote(entry) + " lets pass. There are: " + strings.Join(all, ", ") + "."}
		}
	}
	return nil
}

// reservedTypes is the warning about an ordinary endpoint whose filter names an operational
// event.
var reservedTypes = Warning{"event_types_reserved", "event_types names a type that begins with \"posthorn.\". Only operational endpoints get these: create one with \"operational\": true."}

// filterWarnings returns what is odd about the filter of an endpoint.
func filterWarnings(e *hook.Endpoint) []Warning {
	switch {
	case len(e.Types) == 0:
		return []Warning{matchesNothing}
	case !e.Operational && slices.ContainsFunc(e.Types, hook.ReservedType):
		return []Warning{reservedTypes}
	}
	return nil
}

// alertNames lists the types of the operational events that the operator's or a tenant's
// endpoints can get.
func alertNames(operator bool) (all []string) {
	for _, t := range hook.AlertTypes() {
		if t.Tenants || operator {
			all = append(all, t.Name)
		}
	}
	return all
}

// admit returns the canonical form of the URL of an endpoint. An e-mail address is
// admitted for an operational endpoint, if the caller is an operator: a tenant must not
// make the server send mail to addresses that it chooses.
func (s *Service) admit(ctx context.Context, c Caller, operational bool, raw string, p *profile.Profile) (string, []Warning, error) {
	if !hook.MailURL(raw) {
		return s.o.Admit(ctx, raw, p.URLRules().IPHosts)
	}
	refused := ""
	switch {
	case !operational:
		refused = "Only operational endpoints can have an e-mail address. Give an https URL."
	case c.Kind != hook.Operator:
		refused = "Only an operator key can set an e-mail address. Give an https URL, or ask the operator."
	case !s.o.Mail:
		refused = "This server sends no e-mail: it was started without --smtp-url. Give an https URL."
	}
	if refused != "" {
		return "", nil, &hook.Error{Code: hook.CodeURLScheme, Field: "url", Message: refused}
	}
	canonical, err := hook.ParseMailURL(raw)
	return canonical, nil, err
}

// alertTest fills in what the caller left out of a test event of an operational endpoint.
func alertTest(eventType string, data []byte) (string, []byte, error) {
	if eventType == "" {
		eventType = hook.AlertTest
	}
	for _, t := range hook.AlertTypes() {
		if t.Name != eventType {
			continue
		}
		if data != nil {
			return eventType, data, nil
		}
		data, err := json.Marshal(t.Example)
		return eventType, data, err
	}
	return "", nil, &hook.Error{Code: hook.CodeTypeUnknown, Field: "type", Message: "This is an operational endpoint: a test has the type of an operational event. There are: " + strings.Join(alertNames(true), ", ") + "."}
}
