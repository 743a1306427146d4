// Package hook is the domain of Posthorn: its nouns (tenant, endpoint, event,
// delivery, attempt), the states a delivery goes through and the one rule that
// moves it, [Next].
//
// The package is pure. It opens no file, starts no goroutine, speaks no SQL and
// no HTTP and never reads the clock: callers hand it the time. Every other room
// may import it; it imports none of them.
package hook
