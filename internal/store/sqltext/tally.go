package sqltext

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// Statistics are stored in two tables. The column data of both contains encoded tallies.
// Numbers are varints, and only the non-empty cells of a histogram are stored.
//
// A row of stat_log contains the tallies of many subjects in one span of time. A fresh row
// is what one transaction counted; the others are sums of such rows. A row of stats is the
// tally of one subject in one span.
var (
	StatLog = newTable("stat_log", "id, span, start, fresh, subjects, data", "iiiiib")
	Stats   = newTable("stats", "span, start, mode, tenant, endpoint, part, data", "iiitbib")
)

// The values of the column span, in seconds.
const (
	SpanMinute = 60
	SpanHour   = 3600
)

// Subject is what a tally is about: a mode, a tenant in it, or an endpoint of that tenant.
type Subject struct {
	hook.Scope
	Endpoint hook.ID
}

// Compare orders subjects by mode, tenant and endpoint.
func (s Subject) Compare(o Subject) int {
	if c := cmp.Or(cmp.Compare(s.Mode, o.Mode), cmp.Compare(s.Tenant, o.Tenant)); c != 0 {
		return c
	}
	return bytes.Compare(s.Endpoint[:], o.Endpoint[:])
}

// StartOf returns the start of the span that contains at, in microseconds since 1970.
func StartOf(at time.Time, span int64) int64 {
	us := at.UnixMicro()
	return us - us%(span*1e6)
}

// The first byte of the column data of stat_log.
const (
	// logRaw rows contain the tallies of endpoints, and those of tenants with their events
	// only. The sums of tenants and modes follow from them.
	logRaw = 1
	// logSum rows contain every subject with its own sum.
	logSum = 2
)

// Flags of a subject in a row of stat_log.
const (
	sameTenant  = 4 // its tenant is that of the previous subject
	hasEndpoint = 8 // 16 bytes follow; the lowest two bits are the mode
)

var errTally = errors.Join(ErrCorrupt, errors.New("statistics cannot be read"))

// LogWriter encodes the data of a row of stat_log. Subjects must be added in the order of
// Compare.
type LogWriter struct {
	Data     []byte
	Subjects int
	tenant   string
	scratch  []byte
}

// Reset starts a new row.
func (w *LogWriter) Reset(raw bool) {
	kind := byte(logSum)
	if raw {
		kind = logRaw
	}
	w.Data, w.Subjects, w.tenant = append(w.Data[:0], kind), 0, ""
}

// Add appends a subject.
func (w *LogWriter) Add(s Subject, t *hook.Tally) {
	head := byte(s.Mode)
	same := w.Subjects > 0 && s.Tenant == w.tenant
	if same {
		head |= sameTenant
	}
	if !s.Endpoint.IsZero() {
		head |= hasEndpoint
	}
	w.Data = append(w.Data, head)
	if !same {
		w.Data = binary.AppendUvarint(w.Data, uint64(len(s.Tenant)))
		w.Data = append(w.Data, s.Tenant...)
	}
	if !s.Endpoint.IsZero() {
		w.Data = append(w.Data, s.Endpoint[:]...)
	}
	w.scratch = AppendTally(w.scratch[:0], t)
	w.Data = binary.AppendUvarint(w.Data, uint64(len(w.scratch)))
	w.Data = append(w.Data, w.scratch...)
	w.tenant = s.Tenant
	w.Subjects++
}

// ReadLog calls each with every subject in a row of stat_log and its encoded tally.
func ReadLog(data []byte, each func(s Subject, raw bool, tally []byte) error) error {
	if len(data) == 0 || data[0] != logRaw && data[0] != logSum {
		return errTally
	}
	raw := data[0] == logRaw
	r := tallyReader{data: data[1:]}
	var s Subject
	for len(r.data) > 0 {
		head := r.take(1)
		s.Mode = hook.Mode(head[0] & 3)
		if head[0]&sameTenant == 0 {
			s.Tenant = string(r.take(r.number()))
		}
		s.Endpoint = hook.ID{}
		if head[0]&hasEndpoint != 0 {
			copy(s.Endpoint[:], r.take(16))
		}
		tally := r.take(r.number())
		if r.bad {
			return errTally
		}
		if err := each(s, raw, tally); err != nil {
			return err
		}
	}
	return nil
}

// AppendTally appends the encoding of a tally: a number whose bits say which counts are not
// 0, then those counts, the errors and the histograms.
func AppendTally(b []byte, t *hook.Tally) []byte {
	counts := [...]int64{t.Events, t.Accepted, t.Delivered, t.FirstTry, t.GivenUp, t.Attempts, int64(len(t.Errors)),
		int64(len(t.AttemptTime.Cells)), int64(len(t.DeliveryTime.Cells))}
	there := uint64(0)
	for i, n := range counts {
		if n != 0 {
			there |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, there)
	for _, n := range counts {
		if n != 0 {
			b = binary.AppendUvarint(b, uint64(n))
		}
	}
	for _, e := range t.Errors {
		b = binary.AppendUvarint(b, uint64(len(e.Class)))
		b = append(b, e.Class...)
		b = binary.AppendUvarint(b, uint64(e.N))
	}
	b = appendHistogram(b, &t.AttemptTime)
	return appendHistogram(b, &t.DeliveryTime)
}

func appendHistogram(b []byte, h *hook.Histogram) []byte {
	last := uint16(0)
	for _, c := range h.Cells {
		b = binary.AppendUvarint(b, uint64(c.Number-last))
		b = binary.AppendUvarint(b, uint64(c.N))
		last = c.Number
	}
	return b
}

// AddTally decodes a tally and adds it to another one. If it returns an error, it may have
// added a part.
func AddTally(to *hook.Tally, data []byte) error {
	r := tallyReader{data: data}
	var errors, attempts, deliveries int64
	there := r.number()
	for i, n := range [...]*int64{&to.Events, &to.Accepted, &to.Delivered, &to.FirstTry, &to.GivenUp, &to.Attempts, &errors, &attempts, &deliveries} {
		if there>>i&1 == 1 {
			*n += int64(r.number())
		}
	}
	for ; errors > 0 && !r.bad; errors-- {
		class := hook.Class(r.take(r.number()))
		to.AddError(class, int64(r.number()))
	}
	r.histogram(&to.AttemptTime, attempts)
	r.histogram(&to.DeliveryTime, deliveries)
	if r.bad {
		return errTally
	}
	return nil
}

// tallyReader decodes bytes from the front. After the first error it returns zeros.
type tallyReader struct {
	data []byte
	bad  bool
}

func (r *tallyReader) histogram(to *hook.Histogram, cells int64) {
	at := uint64(0)
	for ; cells > 0 && !r.bad; cells-- {
		at += r.number()
		to.AddCell(hook.Cell{Number: uint16(at), N: int64(r.number())})
	}
}

func (r *tallyReader) number() uint64 {
	n, size := binary.Uvarint(r.data)
	if size <= 0 {
		r.bad, r.data = true, nil
		return 0
	}
	r.data = r.data[size:]
	return n
}

var zeros [16]byte

func (r *tallyReader) take(n uint64) []byte {
	if n > uint64(len(r.data)) {
		r.bad, r.data = true, nil
		return zeros[:min(n, 16)]
	}
	out := r.data[:n]
	r.data = r.data[n:]
	return out
}
