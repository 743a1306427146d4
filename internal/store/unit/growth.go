package unit

import "github.com/posthorn/posthorn/internal/hook"

// Estimated bytes of rows without their texts, with their entries in indexes.
const (
	EventRow    = 150
	DeliveryRow = 260
	AttemptRow  = 130
)

// Place is a scope and the day of an event, counted from 1970.
type Place struct {
	Scope hook.Scope
	Day   int64
}

// Growth is bytes that a transaction wrote, or removed if they are negative.
type Growth struct {
	Place
	hook.DiskBytes
}

func dayOf(event hook.ID) int64 { return event.Time().Unix() / 86400 }

// Grew counts bytes of an event for the commit.
func (t *Tx) Grew(scope hook.Scope, event hook.ID, by hook.DiskBytes) {
	t.Growth = append(t.Growth, Growth{Place{scope, dayOf(event)}, by})
}
