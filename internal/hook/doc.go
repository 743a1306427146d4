// Package hook is the domain of Posthorn: its types (tenant, endpoint, event, delivery,
// attempt), the states of a delivery, and the rule for its transitions, [Next].
//
// The package is pure. It opens no files, starts no goroutines, uses neither SQL nor
// HTTP, and never reads the clock: callers pass the time. It imports no other package of
// Posthorn.
package hook
