// Package egresstest provides test support for outgoing requests: a resolver with
// scripted answers, receivers with canned and hostile responses, listeners that must
// receive nothing, invalid certificates of every kind, and the corpus of attack URLs.
//
// Everything listens on loopback and is closed when the test ends. No product code
// imports the package.
package egresstest
