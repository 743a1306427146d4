package adapter

import (
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/posthorn/posthorn/internal/app"
)

// Address is where the connection of a request comes from: behind a proxy, the proxy.
// What headers say is not looked at, as anybody can send them. Of another transport than
// IP it is the zero address.
func Address(r *http.Request) netip.Addr {
	from, _ := netip.ParseAddrPort(r.RemoteAddr)
	return from.Addr()
}

// WrongKey counts a request that came without a valid key against the address it came
// from, and returns what to answer: err, or a refusal once there were too many. Beyond
// that the log gets one line a minute for an address, here. s may be nil.
func WrongKey(r *http.Request, s *app.Service, log *slog.Logger, err error) error {
	if s == nil {
		return err
	}
	from := Address(r)
	refused, first := s.WrongKey(from)
	if refused == nil {
		return err
	}
	if first {
		log.InfoContext(r.Context(), "too many requests without a valid key: more of them are answered with 429", "address", app.Site(from).String(), "for", refused.RetryAfter.String())
	}
	return refused
}
