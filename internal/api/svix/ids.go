package svix

import (
	"encoding/binary"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
)

// The kinds of id. Each is a prefix and 27 digits of base 62, which sort by time.
const (
	appPrefix      = "app_"
	endpointPrefix = "ep_"
	messagePrefix  = hook.MessagePrefix
	attemptPrefix  = "atmpt_"
	taskPrefix     = "qtask_"
)

// parseID reads an id in either of its forms: with prefix, or as a UUID.
func parseID(prefix, text string) (hook.ID, bool) {
	if rest, ok := strings.CutPrefix(text, prefix); ok {
		value, ok := hook.ParseShort(rest, len(hook.ID{}))
		if !ok {
			return hook.ID{}, false
		}
		return hook.ID(value), true
	}
	id, err := hook.ParseID(text)
	return id, err == nil
}

// attemptID is the id of an attempt: that of its delivery, and its number.
func attemptID(delivery hook.ID, number int) string {
	return attemptPrefix + hook.Short(binary.BigEndian.AppendUint32(delivery[:len(delivery):len(delivery)], uint32(number)))
}

func parseAttempt(text string) (delivery hook.ID, number int, ok bool) {
	rest, ok := strings.CutPrefix(text, attemptPrefix)
	if !ok {
		return delivery, 0, false
	}
	value, ok := hook.ParseShort(rest, len(delivery)+4)
	if !ok {
		return delivery, 0, false
	}
	return hook.ID(value[:16]), int(binary.BigEndian.Uint32(value[16:])), true
}

// messageID returns the id of an event that a path names by its id or its eventId.
func messageID(text string) (hook.ID, bool) {
	if id, ok := parseID(messagePrefix, text); ok {
		return id, true
	}
	id, _, ok := hook.EventID(text)
	return id, ok && validUID(text, messagePrefix)
}

// isID reports whether a text is an id of the kind as Svix or another server made it. Such
// a text may be a uid, so that an id that programs have kept goes on working here.
func isID(text, prefix string) bool {
	rest, ok := strings.CutPrefix(text, prefix)
	if ok {
		_, ok = hook.ParseShort(rest, idSize)
	}
	return ok
}

// idSize is the size of Svix's ids in bytes. Ours are shorter.
const idSize = 20

// validUID reports whether a text may be the caller's own name for something: 1 to 256 of
// letters, digits, hyphens, underscores and dots, and not like an id.
func validUID(text, prefix string) bool {
	return hook.ValidID(text, hook.MaxGivenID) && !strings.HasPrefix(text, prefix)
}
