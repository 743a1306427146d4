package portal

import (
	"fmt"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/web/page"
)

// languages are those of the catalogues, the first is used where none fits.
var languages = []string{"en", "de"}

// catalogue holds every text of the pages in one language. A text may have places, such as
// {n}. A text with a number has two forms, which the place n chooses.
type catalogue struct {
	lang  string
	texts map[string]text
}

type text struct{ one, other string }

// UnmarshalYAML reads a text, or its two forms.
func (t *text) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		t.other = node.Value
		return nil
	}
	var forms struct{ One, Other string }
	if err := node.Decode(&forms); err != nil {
		return err
	}
	if forms.One == "" || forms.Other == "" {
		return fmt.Errorf("line %d: a counted text has the forms one and other", node.Line)
	}
	t.one, t.other = forms.One, forms.Other
	return nil
}

func catalogues() (map[string]*catalogue, error) {
	all := map[string]*catalogue{}
	for _, lang := range languages {
		raw, err := files.ReadFile("words/" + lang + ".yaml")
		if err != nil {
			return nil, err
		}
		c := &catalogue{lang: lang, texts: map[string]text{}}
		if err := yaml.Unmarshal(raw, &c.texts); err != nil {
			return nil, fmt.Errorf("words/%s.yaml: %w", lang, err)
		}
		all[lang] = c
	}
	return all, nil
}

func (c *catalogue) has(key string) bool { _, ok := c.texts[key]; return ok }

// text returns the text of a key with its places filled. An unknown key is returned as it is;
// a test sees to it that there is none.
func (c *catalogue) text(key string, args ...any) string {
	t, ok := c.texts[key]
	if !ok {
		return key
	}
	out := t.other
	pairs := make([]string, 0, len(args))
	for i := 0; i+1 < len(args); i += 2 {
		name, value := fmt.Sprint(args[i]), args[i+1]
		if name == "n" && t.one != "" && fmt.Sprint(value) == "1" {
			out = t.one
		}
		shown := fmt.Sprint(value)
		if n, ok := value.(int); ok {
			shown = c.number(int64(n))
		}
		pairs = append(pairs, "{"+name+"}", shown)
	}
	return strings.NewReplacer(pairs...).Replace(out)
}

// number formats a whole number with the marks of the language between thousands.
func (c *catalogue) number(n int64) string {
	if c.lang == "de" {
		return page.Number(n, ".")
	}
	return page.Number(n, ",")
}

var matcher = language.NewMatcher([]language.Tag{language.English, language.German})

// language returns the language of an answer: the one chosen in the URL, the session's, the
// browser's, or English.
func (h *Handler) language(r *http.Request, one *hook.WebSession) string {
	if lang := r.URL.Query().Get("lang"); h.words[lang] != nil {
		return lang
	}
	if one != nil && h.words[one.Settings.Locale] != nil {
		return one.Settings.Locale
	}
	asked := r.Header.Get("Accept-Language")
	if len(asked) > 200 {
		return languages[0]
	}
	_, i := language.MatchStrings(matcher, asked)
	return languages[i]
}
