// Package profile owns wire formats: everything of a delivery that a receiver can
// see, and the policy it is delivered by. A profile is a YAML file; four are
// built in, operators add more.
//
// The package promises that a profile which loads can be rendered and signed for
// every event, that rendering appends the event's data byte for byte, and that a
// file with a mistake is refused with file, line and reason. It is pure: it opens
// no connection, starts no goroutine and never reads the clock; only [Profile.NewSecret]
// draws random bytes. It never sends, retries or stores anything.
//
// The names a file may use are the tables of format.go; [Reference] writes them
// out for people. The files in builtin are the examples.
package profile
