package page

import (
	"slices"
	"strings"

	"github.com/posthorn/posthorn/examples/receivers"
)

// Snippet is code of a receiver that verifies requests, or only the verifying part, in one language. It has no secret: it
// takes it from its environment.
type Snippet struct{ Name, File, Code string }

// sources are the files of examples/receivers that verify the requests of a profile. The
// profiles of one family have one file.
var sources = []struct{ name, dir, ext string }{{"Go", "gostd", ".go"}, {"Node", "node", ".mjs"}, {"Python", "python", ".py"}, {"PHP", "php", ".php"}, {"Java", "java", ".java"}, {"Ruby", "ruby", ".rb"}, {"C#", "csharp", ".cs"}}

// Snippets returns receivers for the requests of a profile, or none if it is not one of those
// that come with Posthorn.
func Snippets(profile string) (out []Snippet) {
	family, _, _ := strings.Cut(profile, "-")
	if !slices.Contains([]string{"standard", "paysway", "paywise"}, family) {
		return nil
	}
	for _, s := range sources {
		file := family + s.ext
		switch s.name {
		case "PHP":
			file = "receiver.php"
		case "Java":
			file = "Receiver.java"
		case "C#":
			file = map[string]string{"standard": "Standard.cs", "paysway": "PaySway.cs", "paywise": "Paywise.cs"}[family]
		}
		text, err := receivers.Files.ReadFile(s.dir + "/" + file)
		if err != nil {
			continue
		}
		if s.name == "Go" { // the format, and the server that uses it
			server, _ := receivers.Files.ReadFile(s.dir + "/main.go")
			text = append(append(text, "\n// main.go\n\n"...), server...)
			file += " + main.go"
		}
		out = append(out, Snippet{s.name, file, string(text)})
	}
	return out
}
