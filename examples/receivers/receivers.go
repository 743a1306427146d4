// Package receivers holds the handlers that "posthorn init receiver" writes.
package receivers

import "embed"

// Files are the handlers, a folder for each language.
//
//go:embed gostd/*.go node/*.mjs python/*.py php/*.php java/*.java
var Files embed.FS
