// Package build says which version of Posthorn this is.
package build

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Release is the version of a release; empty in a build of a checkout. The command sets
// it once, before anything reads it.
var Release = ""

// Version returns the release, or the module's version and commit.
func Version() string {
	if Release != "" {
		return Release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	text := info.Main.Version
	if text == "" {
		text = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			text += " " + s.Value[:12]
		}
	}
	return text
}

// Line is what the version is printed as.
func Line() string {
	return fmt.Sprintf("posthorn %s %s %s/%s\n", Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
