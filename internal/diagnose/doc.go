// Package diagnose says why a captured webhook request does not verify. It owns
// the reading of captures (raw HTTP, the output of curl -i, HAR) and the search
// for the cause: it undoes one usual mistake after the other until the signature
// fits, and names what it had to undo.
//
// It promises that a cause which names a change (of the body, a header or the
// secret) was confirmed by the signature itself, and that no verdict holds a
// secret or a signature. It is pure: it opens no file and no connection, starts no
// goroutine and reads no clock. It never repairs a request for use.
package diagnose
