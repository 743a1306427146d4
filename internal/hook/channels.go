package hook

import (
	"slices"
	"strings"
)

// Limits of channels.
const (
	MaxChannels      = 10 // of one event, and of one endpoint
	maxChannelLength = 128
)

// Channels are the channels of an event, or those that an endpoint listens to: a second
// filter besides the event type. They are sorted, each is there once, and nil means none.
// They are not sent to receivers.
type Channels []string

// NewChannels returns the channels with the given names. It may sort them in place.
func NewChannels(names ...string) Channels {
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Admit reports whether an endpoint that listens to these channels gets an event of the
// given channels. Without channels of its own it gets every event. With channels it gets
// only events that have at least one of them.
func (c Channels) Admit(event Channels) bool {
	if len(c) == 0 {
		return true
	}
	for _, name := range event {
		if slices.Contains(c, name) {
			return true
		}
	}
	return false
}

// Text returns the channels as they are stored: each between commas, as in ",a,b,". It
// returns "" if there are none.
func (c Channels) Text() string {
	if len(c) == 0 {
		return ""
	}
	return "," + strings.Join(c, ",") + ","
}

// ParseChannels is the inverse of Text.
func ParseChannels(text string) Channels {
	if len(text) < 3 {
		return nil
	}
	return strings.Split(text[1:len(text)-1], ",")
}

// ChannelRule is the rule for names of channels, as one sentence.
const ChannelRule = "A channel is 1 to 128 letters, digits, hyphens, underscores, dots, colons and plus signs."

// ValidChannel reports whether a text is valid as the name of a channel.
func ValidChannel(name string) bool {
	if name == "" || len(name) > maxChannelLength {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !partOfType(c) && c != '.' && c != ':' && c != '+' {
			return false
		}
	}
	return true
}
