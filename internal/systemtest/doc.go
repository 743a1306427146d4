// Package systemtest holds the tests of all rooms together: the conformance of what a
// receiver gets, canaries for secrets, and whole lives in virtual time.
package systemtest
