package app

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/posthorn/posthorn/internal/hook"
)

// checkChannels checks the channels of an event or an endpoint. A name that is given twice
// counts once. Nil means none. An empty list is refused, because an event without channels
// and an endpoint that gets nothing could both be meant.
func checkChannels(names []string) (hook.Channels, error) {
	if names == nil {
		return nil, nil
	}
	for i, name := range names {
		if !hook.ValidChannel(name) {
			return nil, invalid("channels/"+strconv.Itoa(i), fmt.Sprintf("Entry %d of \"channels\" is not allowed. ", i+1)+hook.ChannelRule)
		}
	}
	channels := hook.NewChannels(slices.Clone(names)...)
	if len(channels) == 0 || len(channels) > hook.MaxChannels {
		return nil, invalid("channels", fmt.Sprintf("\"channels\" must have 1 to %d entries. Leave it out, or send null, for none.", hook.MaxChannels))
	}
	return channels, nil
}

// checkChannel refuses a filter by channel that no event can match. An empty text filters
// nothing.
func checkChannel(name string) error {
	if name != "" && !hook.ValidChannel(name) {
		return invalid("channel", "\"channel\" must be the name of one channel. "+hook.ChannelRule)
	}
	return nil
}
