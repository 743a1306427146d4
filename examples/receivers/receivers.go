// Package receivers holds the example handlers that "posthorn init receiver" writes.
package receivers

import "embed"

// Files contains the handlers, in one folder for each language.
//
//go:embed gostd/*.go node/*.mjs python/*.py php/*.php java/*.java
var Files embed.FS
