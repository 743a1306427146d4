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

// Query parses the query of a request to a route with the known parameters. The result
// contains only parameters that are present, each with one value.
//
// Query refuses what another parser could read as a wider query. An empty value, a
// repeated parameter, text that is not percent-encoded UTF-8, and control characters
// are CodeInvalidRequest. An unknown parameter is CodeUnknownField. Field names the
// parameter.
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

// parameter parses one "name=value". With an error, it returns as much of the name as
// it can read.
func parameter(pair string) (name, text string, err error) {
	rawName, rawText, _ := strings.Cut(pair, "=")
	if name, err = unescaped(rawName); err != nil {
		return strings.ToValidUTF8(rawName, "\uFFFD"), "", err
	}
	text, err = unescaped(rawText)
	return name, text, err
}

// unescaped also refuses a semicolon, because some parsers treat it as an ampersand.
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

// NotEmpty refuses a member of a JSON object with an empty text as its value. For
// example, a tenant from an unset variable must not mean no tenant. The free members
// may be empty. A text that is not an object passes.
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
