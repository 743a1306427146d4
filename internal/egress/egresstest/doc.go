// Package egresstest offers what tests of outgoing requests need: a resolver with
// scripted answers, receivers that play canned and hostile ones, listeners that
// must stay silent, certificates of every badness, and the corpus of attack URLs.
//
// Everything listens on loopback and ends with the test. No product code imports
// the package.
package egresstest
