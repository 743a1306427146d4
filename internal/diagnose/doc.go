// Package diagnose explains why a captured webhook request does not verify. It reads
// captures (raw HTTP, the output of curl -i, HAR) and searches for the cause: it reverses
// one common mistake after another until the signature matches, and reports what it had to
// reverse.
//
// A cause that names a change of the body, a header or the secret was confirmed by the
// signature itself. No verdict contains a secret or a signature. The package is pure: it
// opens no file and no connection, starts no goroutine and reads no clock. It never repairs
// a request for use.
package diagnose
