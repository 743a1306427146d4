package app

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// A session of the portal may do what its capabilities say, and never what is an operator's.
// Each method that takes a caller is in one of the lists, so that a new one is decided upon.
func TestWhatPortalSessionsMayDo(t *testing.T) {
	needs := map[string]hook.Capabilities{
		"CreateEndpoint": hook.MayManage, "UpdateEndpoint": hook.MayManage, "DeleteEndpoint": hook.MayManage, "VerifyEndpoint": hook.MayManage,
		"RotateSecret": hook.MaySeeSecret, "ExpireSecrets": hook.MaySeeSecret, "RevealSecret": hook.MaySeeSecret, "SecretInForce": hook.MaySeeSecret,
		"RetryDelivery": hook.MayRetry, "ResendEvent": hook.MayReplay, "CreateReplay": hook.MayReplay, "PauseReplay": hook.MayReplay, "ResumeReplay": hook.MayReplay, "CancelReplay": hook.MayReplay,
		"TestEndpoint": hook.MayTest,
	}
	forbidden := []string{"CancelDelivery", "Listen", "AuditEntries", "Publish", "PublishBatch", "Match", "CreateTenant", "Tenant", "Tenants", "RenameTenant", "DeleteTenant",
		"CreateKey", "Keys", "RevokeKey", "CreateEventType", "UpdateEventType", "DeleteEventType", "CreatePartnerUser", "PartnerUsers", "DeletePartnerUser", "ActFor",
		"MasterKeys", "RotateMasterKey", "DropMasterKey", "CreateUILink", "CreatePortalSession", "PortalSessions", "EndPortalSession", "EndPortalSessions", "Erase", "Erasure", "Erasures", "Reclaim", "MakeTenant", "UpdateTenant",
		"Retention", "SetRetention", "Disk", "OperatorSessions", "EndOperatorSession"}
	views := []string{"Endpoint", "Endpoints", "EndpointNamed", "Healths", "EndpointStats", "EndpointFigures", "EndpointBuckets", "Events", "Event", "Explain", "Deliveries", "Delivery", "Replays", "Replay", "Stats", "StatsOf", "StateCounts", "OpenOf",
		"EventType", "EventTypes", "Subscribers", "TypeDifferences", "ListenerStatus", "CheckRequest", "LeavePortal", "Call", "AuditRefused", "AuditSession", "Search", "View", "EventContent", "EventDeliveries", "EventHead", "TenantEndpoints", "TenantExists"}
	s := &Service{o: Options{Store: noStore{}, AllowReveal: true, Now: time.Now}}
	caller := Caller{Kind: hook.PortalUser, Mode: hook.Live, Tenant: "acme", KeyID: hook.ID{1}}
	takesCaller := reflect.TypeFor[Caller]()
	of := reflect.TypeOf(s)
	refused := func(name string, c Caller) (err error) {
		m := reflect.ValueOf(s).MethodByName(name)
		if !m.IsValid() {
			t.Fatalf("there is no method %s", name)
		}
		defer func() {
			if recover() != nil { // there is no store: it went on
				err = nil
			}
		}()
		var in []reflect.Value
		for i := range m.Type().NumIn() {
			switch p := m.Type().In(i); {
			case p == takesCaller:
				in = append(in, reflect.ValueOf(c))
			case p == reflect.TypeFor[context.Context]():
				in = append(in, reflect.ValueOf(t.Context()))
			case m.Type().IsVariadic() && i == m.Type().NumIn()-1:
			default:
				in = append(in, reflect.Zero(p))
			}
		}
		out := m.Call(in)
		err, _ = out[len(out)-1].Interface().(error)
		return err
	}
	for i := range of.NumMethod() {
		m := of.Method(i)
		if !slices.ContainsFunc(slices.Collect(m.Type.Ins()), func(p reflect.Type) bool { return p == takesCaller }) {
			continue
		}
		need, acts := needs[m.Name]
		if n := count(acts, slices.Contains(forbidden, m.Name), slices.Contains(views, m.Name)); n != 1 {
			t.Errorf("%s is in %d lists: decide what a session of the portal may do with it", m.Name, n)
			continue
		}
		switch {
		case acts:
			without := caller
			without.Capabilities = ^need & (hook.MayManage | hook.MaySeeSecret | hook.MayRetry | hook.MayReplay | hook.MayTest)
			with := caller
			with.Capabilities = need
			if err := refused(m.Name, without); hook.CodeOf(err) != hook.CodeForbidden || err == nil {
				t.Errorf("%s without its capability: %v", m.Name, err)
			}
			if err := refused(m.Name, with); err != nil && hook.CodeOf(err) == hook.CodeForbidden {
				t.Errorf("control: %s with its capability: %v", m.Name, err)
			}
		case slices.Contains(forbidden, m.Name):
			every := caller
			every.Capabilities = ^hook.Capabilities(0)
			if err := refused(m.Name, every); err == nil || hook.CodeOf(err) != hook.CodeForbidden && hook.CodeOf(err) != hook.CodeTenantNotFound {
				t.Errorf("%s with every capability: %v", m.Name, err)
			}
		}
	}
}

// The sessions of a tenant share its limits, however many there are: otherwise new sessions
// would give a tenant as many writes, and entries of the audit log, as it likes.
func TestSessionsOfATenantShareItsLimits(t *testing.T) {
	now := time.Now()
	s := &Service{o: Options{Now: func() time.Time { return now }, AuditedWrites: 3}}
	call := func(c Caller) error { return s.Call(t.Context(), c, true) }
	for i := range byte(4) {
		err := call(Caller{Kind: hook.PortalUser, Mode: hook.Live, Tenant: "acme", KeyID: hook.ID{i + 1}})
		if i < 3 && err != nil || i == 3 && hook.CodeOf(err) != hook.CodeRateLimited {
			t.Errorf("session %d: %v", i, err)
		}
	}
	for name, c := range map[string]Caller{"another tenant": {Kind: hook.PortalUser, Mode: hook.Live, Tenant: "harbour", KeyID: hook.ID{1}},
		"the other mode": {Kind: hook.PortalUser, Mode: hook.Test, Tenant: "acme", KeyID: hook.ID{1}}, "a key of the tenant": {Kind: hook.TenantKey, Mode: hook.Live, Tenant: "acme", KeyID: hook.ID{9}}} {
		if err := call(c); err != nil {
			t.Errorf("control: %s: %v", name, err)
		}
	}
}

// noStore panics at every use.
type noStore struct{ Store }

func count(all ...bool) (n int) {
	for _, one := range all {
		if one {
			n++
		}
	}
	return n
}
