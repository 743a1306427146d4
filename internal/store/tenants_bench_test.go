package store

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// BenchmarkManyTenants publishes to 9,000 tenants in turn, 64 events per commit, each to
// one endpoint. All scopes are in use, so a scope that the directory evicted is read again
// on the writer.
func BenchmarkManyTenants(b *testing.B) {
	const tenants, batch = 9000, 64
	s, err := Open(b.Context(), Options{Dir: b.TempDir(), Keys: testKeys(b), Reserve: -1, Synchronous: "off"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	scope := func(i int) hook.Scope { return hook.Scope{Tenant: fmt.Sprint("t-", i%tenants), Mode: hook.Live} }
	var all sync.WaitGroup
	for worker := range 64 {
		all.Go(func() {
			for i := worker; i < tenants; i += 64 {
				if _, _, err := s.CreateTenant(b.Context(), hook.Tenant{ID: scope(i).Tenant}, nil); err != nil {
					b.Error(err)
					return
				}
				if _, _, err := s.CreateEndpoint(b.Context(), hook.Endpoint{Scope: scope(i), URL: "https://example.com/hook?token=1", Types: hook.Filter{"*"},
					Headers: []hook.Header{{Name: "X-Token", Value: "v"}}, Secrets: []hook.Secret{{Text: "whsec_first", Encoding: hook.EncodingWhsec}}}, nil); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	events, next := make([]hook.NewEvent, batch), 0
	data := bytes.Repeat([]byte(" "), 1000)
	copy(data, `{"n":1}`)
	publish := func() {
		for i := range events {
			events[i] = hook.NewEvent{Scope: scope(next), Type: "a.b", Data: data}
			next++
		}
		if _, _, err := s.Publish(b.Context(), events, func(*hook.Endpoint) hook.ProfileHash { return hook.ProfileHash{} }, nil); err != nil {
			b.Fatal(err)
		}
	}
	for next < tenants { // every tenant once
		publish()
	}
	began := next
	for b.Loop() {
		publish()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(next-began), "ns/event")
}
