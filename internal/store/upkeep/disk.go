package upkeep

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/store/sqltext"
	"github.com/posthorn/posthorn/internal/store/unit"
)

// What the store takes on disk. Each transaction adds up the bytes that it writes of events
// and removes, by tenant and day; every few seconds the sums are written. A crash loses the
// last ones, and the bytes are estimates of rows anyway. The size of the whole store is
// exact. Nothing here reads events.

const (
	// diskGather is how long bytes are gathered, and diskLooks how often meanwhile the size is
	// compared with the budget.
	diskGather = 10 * time.Second
	diskLooks  = 10
	// diskPage bounds the rows that one operation adds.
	diskPage = 256
	// diskMost bounds the tenants and days in memory. Bytes beyond are not counted.
	diskMost = 50_000
	// diskShown is how long a measurement is shown. It is longer if measuring took long, so
	// that measuring takes at most a hundredth of the time.
	diskShown = 10 * time.Second
	// diskDays is how long samples of the size are kept, and growthDays the part of them that
	// the growth is taken from.
	diskDays, growthDays = 9 * 24 * time.Hour, 7 * 24 * time.Hour
)

// diskMeter is safe for concurrent use.
type diskMeter struct {
	wake chan struct{}

	mu      sync.Mutex
	waiting map[unit.Place]hook.DiskBytes // not written yet
	used    int64
	state   hook.DiskState

	shown *measurement
}

func newDiskMeter() *diskMeter {
	return &diskMeter{wake: make(chan struct{}, 1), waiting: map[unit.Place]hook.DiskBytes{}, shown: newMeasurement()}
}

// poke makes watchDisk look.
func (m *diskMeter) poke() { unit.Wake(m.wake) }

// add takes the bytes of a transaction.
func (m *diskMeter) add(list []unit.Growth) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := 0; i < len(list); {
		place, sum := list[i].Place, hook.DiskBytes{}
		for ; i < len(list) && list[i].Place == place; i++ {
			sum = sum.Plus(list[i].DiskBytes)
		}
		old, there := m.waiting[place]
		if !there && len(m.waiting) >= diskMost {
			continue
		}
		m.waiting[place] = old.Plus(sum)
	}
}

// take removes and returns some of what is not written, ordered by its place.
func (m *diskMeter) take() (page []unit.Growth) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for place, sum := range m.waiting {
		if len(page) == diskPage {
			break
		}
		delete(m.waiting, place)
		page = append(page, unit.Growth{Place: place, DiskBytes: sum})
	}
	slices.SortFunc(page, func(a, b unit.Growth) int {
		if c := strings.Compare(a.Scope.Tenant, b.Scope.Tenant); c != 0 {
			return c
		}
		return int(a.Scope.Mode)<<32 + int(a.Day) - int(b.Scope.Mode)<<32 - int(b.Day)
	})
	return page
}

// watchDisk writes the gathered bytes and compares the size with the budget. It sleeps while
// nothing is committed.
func (s *Keeper) watchDisk(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.disk.wake:
		}
		for range diskLooks {
			s.duties().CheckBudget(ctx)
			if sqltext.Pause(ctx, diskGather/diskLooks) != nil {
				return
			}
		}
		if err := s.duties().WriteDisk(ctx); err != nil && ctx.Err() == nil {
			s.core.Log.Error("write what tenants take on disk; it will be tried again", "error", err)
		}
		s.duties().CheckBudget(ctx)
	}
}

// WriteDisk writes the gathered bytes.
func (d Duties) WriteDisk(ctx context.Context) error {
	s := d.keeper
	for {
		page := s.disk.take()
		if len(page) == 0 {
			return nil
		}
		err := s.maintain(ctx, "count bytes", len(page), func(t *tx) error { return t.addDisk(slices.Clone(page)) })
		if err != nil {
			s.disk.add(page)
			return err
		}
	}
}

// addDisk adds a page of bytes. A tenant that was deleted gets no new row, so an erasure
// leaves none.
func (t *tx) addDisk(page []unit.Growth) error {
	there := map[string]bool{hook.OperatorTenant: true}
	for _, g := range page {
		if _, known := there[g.Scope.Tenant]; known {
			continue
		}
		_, err := t.Tenant(g.Scope.Tenant)
		if err != nil && hook.CodeOf(err) != hook.CodeNotFound {
			return err
		}
		there[g.Scope.Tenant] = err == nil
	}
	for i := 0; i < len(page); {
		g := page[i]
		if there[g.Scope.Tenant] {
			i++
			continue
		}
		if _, err := t.Exec("count bytes", sqltext.ChangeDisk, g.Payloads, g.Metadata, g.Attempts, int64(g.Scope.Mode), g.Scope.Tenant, g.Day); err != nil {
			return err
		}
		page = slices.Delete(page, i, i+1)
	}
	for len(page) > 0 {
		n := sqltext.RowChunk(len(page))
		args := make([]any, 0, 6*n)
		for _, g := range page[:n] {
			args = append(args, int64(g.Scope.Mode), g.Scope.Tenant, g.Day, g.Payloads, g.Metadata, g.Attempts)
		}
		if _, err := t.Exec("count bytes", sqltext.Rows(sqltext.AddDisk, n, 6), args...); err != nil {
			return err
		}
		page = page[n:]
	}
	return nil
}

// CheckBudget compares the size with the budget and logs transitions.
func (d Duties) CheckBudget(ctx context.Context) {
	s := d.keeper
	budget := s.opts.DiskBudget
	if budget <= 0 {
		return
	}
	size, err := s.core.Engine.Size(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.core.Log.Error("measure the store; it will be tried again", "error", err)
		}
		return
	}
	m := s.disk
	m.mu.Lock()
	was := m.state
	m.used, m.state = size.Used, budget.Next(was, size.Used)
	now := m.state
	m.mu.Unlock()
	switch {
	case now > was:
		s.core.Log.Warn(budget.Notice(now, size.Used), "used", size.Used, "budget", int64(budget))
	case now < was && now == hook.DiskWarning:
		s.core.Log.Info("the store is below its disk budget again: publishing goes on", "used", size.Used, "budget", int64(budget))
	case now < was:
		s.core.Log.Info("the store is well below its disk budget again", "used", size.Used, "budget", int64(budget))
	}
}

// DiskNotice says what is wrong with the size of the store. It is empty if nothing is.
func (s *Keeper) DiskNotice() string {
	used, state := s.DiskState()
	return s.opts.DiskBudget.Notice(state, used)
}

// DiskState returns the size and the state at the last comparison with the budget.
func (s *Keeper) DiskState() (used int64, state hook.DiskState) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return s.disk.used, s.disk.state
}

// withinBudget returns an error while the budget is used up.
func (s *Keeper) withinBudget() error {
	if s.opts.DiskBudget <= 0 {
		return nil
	}
	used, state := s.DiskState()
	if state != hook.DiskFull {
		return nil
	}
	s.disk.poke() // nobody else may be writing
	return s.opts.DiskBudget.Refusal(used)
}

// DiskUse measures the store, or returns a measurement of a short time ago.
func (s *Keeper) DiskUse(ctx context.Context) (hook.DiskUse, error) {
	use, err := s.disk.shown.get(ctx)
	if err != nil {
		return hook.DiskUse{}, s.core.ReadError("measure the store", err)
	}
	return use, nil
}

func (s *Keeper) measure(ctx context.Context) (hook.DiskUse, error) {
	size, err := s.core.Engine.Size(ctx)
	if err != nil {
		return hook.DiskUse{}, err
	}
	parts, err := s.core.Engine.Parts(ctx)
	if err != nil {
		return hook.DiskUse{}, err
	}
	use, err := s.lists.DiskSums(ctx, s.disk.pending())
	if err != nil {
		return hook.DiskUse{}, err
	}
	use.At, use.Used, use.Files, use.Budget = s.core.Now(), size.Used, size.Files, max(s.opts.DiskBudget, 0)
	_, use.State = s.DiskState()
	c := &use.Classes
	c.Log, c.Free, c.Audit, c.Statistics = size.Log, size.Free, parts.Audit, parts.Statistics
	c.Other = max(0, size.Used-c.Log-c.Sum()-c.Audit-c.Statistics)
	use.PerDay, err = s.perDay(ctx, use.At, size.Used)
	return use, err
}

// pending returns the bytes that are not written yet.
func (m *diskMeter) pending() map[hook.Scope]hook.DiskBytes {
	m.mu.Lock()
	defer m.mu.Unlock()
	sums := map[hook.Scope]hook.DiskBytes{}
	for place, sum := range m.waiting {
		sums[place.Scope] = sums[place.Scope].Plus(sum)
	}
	return sums
}

// perDay returns by how much the store grew a day since the oldest sample of the last days.
func (s *Keeper) perDay(ctx context.Context, now time.Time, used int64) (*int64, error) {
	var at, before int64
	found, err := sqltext.ReadRow(ctx, s.core.Read, "SELECT at, used FROM disk_samples WHERE at >= ? ORDER BY at LIMIT 1", []any{sqltext.Micros(now.Add(-growthDays))}, &at, &before)
	span := now.Sub(sqltext.FromMicros(at))
	if err != nil || !found || span < time.Hour {
		return nil, err
	}
	per := int64(float64(used-before) * float64(24*time.Hour) / float64(span))
	return &per, nil
}

// SampleDisk notes the size of the store for its growth, once an hour, and forgets days
// whose events were dropped.
func (d Duties) SampleDisk(ctx context.Context) error {
	s := d.keeper
	size, err := s.core.Engine.Size(ctx)
	if err != nil {
		return s.core.ReadError("measure the store", err)
	}
	now := s.core.Now()
	err = s.maintain(ctx, "sample the size", 2, func(t *tx) error {
		if _, err := t.Exec("sample the size", "INSERT INTO disk_samples (at, used) VALUES (?, ?) ON CONFLICT (at) DO NOTHING",
			sqltext.Micros(now.Truncate(time.Hour)), size.Used); err != nil {
			return err
		}
		_, err := t.Exec("forget samples of the size", "DELETE FROM disk_samples WHERE at < ?", sqltext.Micros(now.Add(-diskDays)))
		return err
	})
	if err != nil || s.opts.Retention == 0 {
		return err
	}
	until := now.Add(-s.opts.Retention - 24*time.Hour) // few events are kept for longer
	return s.forgetDays(ctx, until.Unix()/86400)
}

const (
	// DaysPage bounds the scopes whose old days one operation forgets.
	DaysPage = 64

	scopesOfDays = "SELECT DISTINCT mode, tenant FROM disk_usage WHERE (mode, tenant) > (?, ?) AND day < ? ORDER BY mode, tenant LIMIT ?"
	forgetDays   = "DELETE FROM disk_usage WHERE mode = ? AND tenant = ? AND day < ?"
)

// forgetDays drops the bytes of the days before one. No index begins with the day, so the
// scopes are looked for outside the writer.
func (s *Keeper) forgetDays(ctx context.Context, day int64) error {
	last := hook.Scope{}
	for {
		scopes, err := sqltext.Collect(ctx, s.core.Read, func(row sqltext.Scanner) (scope hook.Scope, err error) {
			err = row.Scan(&scope.Mode, &scope.Tenant)
			return scope, err
		}, scopesOfDays, int64(last.Mode), last.Tenant, day, DaysPage)
		if err != nil {
			return s.core.ReadError("read bytes of old days", err)
		}
		if len(scopes) == 0 {
			return nil
		}
		err = s.maintain(ctx, "forget bytes of old days", unit.HousekeepPage, func(t *tx) error {
			for _, scope := range scopes {
				if _, err := t.Exec("forget bytes of old days", forgetDays, int64(scope.Mode), scope.Tenant, day); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if last = scopes[len(scopes)-1]; len(scopes) < DaysPage {
			return nil
		}
		if err := sqltext.Pause(ctx, unit.PagePause); err != nil {
			return err
		}
	}
}

// closeDisk writes what was gathered, unless that takes long.
func (s *Keeper) closeDisk() {
	written := make(chan struct{})
	go func() {
		defer close(written)
		_ = s.duties().WriteDisk(context.Background()) // an estimate: what is missing is not worth a word
	}()
	select {
	case <-written:
	case <-time.After(2 * time.Second):
	}
}
