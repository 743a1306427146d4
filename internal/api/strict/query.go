package strict

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/posthorn/posthorn/internal/hook"
)

// Query reads the query of a request to a route that takes the known parameters. A
// parameter that is absent is not in the result, and every other one has one value.
//
// A query that another reader could take for a wider one is refused: an empty value,
// a parameter that stands twice, text that is not percent-encoded UTF-8 or that has
// control characters (CodeInvalidRequest), and a parameter that is not known
// (CodeUnknownField). Field names the parameter.
func Query(raw string, known ...string) (url.Values, error) {
	if raw == "" {
		return nil, nil
	}
	values := url.Values{}
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, text, err := parameter(pair)
		switch {
		case err != nil:
			return nil, wrongParameter(name, "is not percent-encoded UTF-8 text without control characters. Encode it, or leave it out.")
		case !slices.Contains(known, name):
			return nil, unknownParameter(name, known)
		case text == "":
			return nil, wrongParameter(name, "is empty. Give it a value, or leave it out.")
		case values.Has(name):
			return nil, wrongParameter(name, "stands more than once. Send it once.")
		}
		values.Set(name, text)
	}
	return values, nil
}

// parameter reads one "name=value". With an error, the name is as far as it can be read.
func parameter(pair string) (name, text string, err error) {
	rawName, rawText, _ := strings.Cut(pair, "=")
	if name, err = unescaped(rawName); err != nil {
		return strings.ToValidUTF8(rawName, "\uFFFD"), "", err
	}
	text, err = unescaped(rawText)
	return name, text, err
}

// unescaped refuses a semicolon too: some readers take it for an ampersand.
func unescaped(raw string) (string, error) {
	text, err := url.QueryUnescape(raw)
	switch {
	case err != nil:
		return "", err
	case strings.Contains(raw, ";"), !utf8.ValidString(text), strings.ContainsFunc(text, unicode.IsControl):
		return "", fmt.Errorf("not plain text")
	}
	return text, nil
}

func wrongParameter(name, what string) error {
	return &hook.Error{Code: hook.CodeInvalidRequest, Field: name, Message: fmt.Sprintf("The query parameter %q %s", name, what)}
}

func unknownParameter(name string, known []string) error {
	takes := "takes no parameters"
	if len(known) > 0 {
		takes = "takes " + strings.Join(known, ", ")
	}
	return &hook.Error{Code: hook.CodeUnknownField, Field: name,
		Message: fmt.Sprintf("The query parameter %q is not known. This route %s.", name, takes)}
}

// NotEmpty refuses a member of a JSON object whose value is the empty text: such as a
// tenant out of a variable that is not set, which must not stand for no tenant. The
// free members may be empty. A text that is no object passes.
func NotEmpty(text []byte, free ...string) error {
	members := map[string]any{}
	if !strings.Contains(string(text), `""`) || Decode(text, &members) != nil {
		return nil
	}
	var empty []string
	for name, value := range members {
		if value == "" && !slices.Contains(free, name) {
			empty = append(empty, name)
		}
	}
	if len(empty) == 0 {
		return nil
	}
	name := slices.Min(empty)
	return &hook.Error{Code: hook.CodeInvalidRequest, Field: name,
		Message: fmt.Sprintf("%q is an empty text. Give it a value, or leave it out.", name)}
}
