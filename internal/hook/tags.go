package hook

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of tags.
const (
	MaxTags       = 5 // given at publish with one event
	MaxSearchable = 4 // members of the data of one event type that become tags
	maxTagName    = 64
	maxTagValue   = 128 // characters
)

// Tag is a name and a value by which events are found. Tags are not sent to receivers.
type Tag struct{ Name, Value string }

// Tags are the tags of an event, sorted by name, each name once.
type Tags []Tag

// TagNameRule is the rule for names of tags, as one sentence.
const TagNameRule = "The name of a tag is a letter and up to 63 letters, digits, underscores, hyphens and dots after it."

// ValidTagName reports whether a text is valid as the name of a tag.
func ValidTagName(name string) bool {
	if name == "" || len(name) > maxTagName {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || !partOfType(c) && c != '.') {
			return false
		}
	}
	return true
}

// TagValueRule is the rule for values of tags, as one sentence.
const TagValueRule = "The value of a tag is a text of 1 to 128 characters that can be seen, without spaces at its ends."

// ValidTagValue reports whether a text is valid as the value of a tag. Control characters,
// format characters, and white space other than single spaces inside are not.
func ValidTagValue(value string) bool {
	if value == "" || len(value) > utf8.UTFMax*maxTagValue || !utf8.ValidString(value) || utf8.RuneCountInString(value) > maxTagValue {
		return false
	}
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	return !strings.ContainsFunc(value, hidden) && value[0] != ' ' && value[len(value)-1] != ' '
}

// ParseTag parses "name:value". The value may contain colons.
func ParseTag(text string) (Tag, bool) {
	name, value, found := strings.Cut(text, ":")
	return Tag{name, value}, found && ValidTagName(name) && ValidTagValue(value)
}

// NewTags sorts tags by name.
func NewTags(tags ...Tag) Tags {
	slices.SortFunc(tags, func(a, b Tag) int { return cmp.Compare(a.Name, b.Name) })
	return tags
}

// Has reports whether there is a tag with the name.
func (t Tags) Has(name string) bool {
	return slices.ContainsFunc(t, func(own Tag) bool { return own.Name == name })
}

// Searchable is a member of the data of an event type that becomes a tag.
type Searchable struct {
	Tag     string `json:"tag"`     // name of the tag
	Pointer string `json:"pointer"` // JSON pointer (RFC 6901) into the data
}
