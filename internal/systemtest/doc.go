// Package systemtest holds the tests of all packages together: conformance of the requests
// that a receiver gets, canaries for secrets, and simulations of whole nodes in virtual
// time.
package systemtest
