package app

import (
	"fmt"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/profile"
)

// checkTags refuses the tags of an event that break a rule.
func checkTags(tags hook.Tags) error {
	if len(tags) > hook.MaxTags {
		return invalid("tags", fmt.Sprintf("\"tags\" must have 1 to %d members.", hook.MaxTags))
	}
	for _, tag := range tags {
		if !hook.ValidTagName(tag.Name) {
			return invalid("tags", "\"tags\" has a name that is not allowed. "+hook.TagNameRule)
		}
		if !hook.ValidTagValue(tag.Value) {
			return invalid("tags/"+tag.Name, fmt.Sprintf("%q has a value that is not allowed. ", "tags/"+tag.Name)+hook.TagValueRule)
		}
	}
	return nil
}

// found returns the tags that searchable members of the data become. Members that are
// missing, or whose value is not allowed as the value of a tag, become none: data is never
// refused for being hard to find.
func found(members []hook.Searchable, data []byte, given hook.Tags) (tags []hook.Tag) {
	for _, member := range members {
		if given.Has(member.Tag) {
			continue
		}
		if value, ok := profile.TextAt(data, member.Pointer); ok && hook.ValidTagValue(value) {
			tags = append(tags, hook.Tag{Name: member.Tag, Value: value})
		}
	}
	return tags
}

// checkSearchable refuses searchable members of an event type that break a rule.
func checkSearchable(members []hook.Searchable) error {
	if len(members) > hook.MaxSearchable {
		return invalid("searchable", fmt.Sprintf("\"searchable\" must have at most %d members.", hook.MaxSearchable))
	}
	for _, member := range members {
		if !hook.ValidTagName(member.Tag) {
			return invalid("searchable", "\"searchable\" has a name that is not allowed. "+hook.TagNameRule)
		}
		if err := profile.CheckPointer(member.Pointer); err != nil {
			return invalid("searchable/"+member.Tag, fmt.Sprintf("%q must be a JSON pointer into the data, such as \"/order/id\": it %v.", "searchable/"+member.Tag, err))
		}
	}
	return nil
}

// errTag refuses the text of a filter by tag.
var errTag = invalid("tag", "\"tag\" must be the name of a tag, a colon and its value, such as order:o-1. "+hook.TagNameRule+" "+hook.TagValueRule)

// ParseTag parses the filter "name:value". It returns nil for an empty text.
func ParseTag(text string) (*hook.Tag, error) {
	if text == "" {
		return nil, nil
	}
	tag, ok := hook.ParseTag(text)
	if !ok {
		return nil, errTag
	}
	return &tag, nil
}
