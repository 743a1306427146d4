// Package receivers holds the example handlers that "posthorn init receiver" writes, and for Ruby
// and C# the code that verifies a request.
package receivers

import "embed"

// Files contains the handlers, in one folder for each language.
//
//go:embed gostd/*.go node/*.mjs python/*.py php/*.php java/*.java ruby/*.rb csharp/*.cs
var Files embed.FS
