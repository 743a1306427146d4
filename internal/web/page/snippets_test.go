package page

import (
	"slices"
	"strings"
	"testing"
)

// Each profile that comes with Posthorn has code in seven languages, which names the header of its
// own signature and never that of another.
func TestSnippetsOfEachProfile(t *testing.T) {
	headers := map[string]string{"standard": "webhook-signature", "paysway": "x-paysway-signature", "paysway-2025-09": "x-paysway-signature", "paywise": "x-paywise-signature"}
	for profile, header := range headers {
		var names []string
		for _, s := range Snippets(profile) {
			names = append(names, s.Name)
			code := strings.ToLower(strings.NewReplacer("_", "-", "\"\n", "").Replace(s.Code))
			if !strings.Contains(code, header) || s.File == "" {
				t.Errorf("%s in %s does not read %s", profile, s.Name, header)
			}
			for _, other := range headers {
				if s.Name != "PHP" && s.Name != "Java" && other != header && strings.Contains(code, other) { // these have one file for all
					t.Errorf("%s in %s reads %s", profile, s.Name, other)
				}
			}
		}
		if want := []string{"Go", "Node", "Python", "PHP", "Java", "Ruby", "C#"}; !slices.Equal(names, want) {
			t.Errorf("%s: %v, want %v", profile, names, want)
		}
	}
	if got := Snippets("of-our-own"); got != nil {
		t.Errorf("a profile of our own has %d", len(got))
	}
}
