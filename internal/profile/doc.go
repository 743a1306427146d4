// Package profile implements wire formats: everything in a delivery that a receiver can see,
// and the policy for delivering it. A profile is a YAML file. Four profiles are built in,
// and operators can add more.
//
// A profile that loads can be rendered and signed for every event. Rendering appends the
// event's data byte for byte. A file with a mistake is refused with file, line and reason.
// The package is pure: it opens no connection, starts no goroutine and never reads the
// clock, and only [Profile.NewSecret] reads random bytes. It never sends, retries or stores
// anything.
//
// The tables in format.go define the names that a file may use, and [Reference] formats them
// as a page. The files in builtin serve as examples.
package profile
