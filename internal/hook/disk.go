package hook

import (
	"fmt"
	"time"
)

// DiskState is how the store's size relates to its budget.
type DiskState uint8

// The states. The numbers are those of the metric.
const (
	DiskOK      DiskState = 0
	DiskWarning DiskState = 1 // publishing goes on
	DiskFull    DiskState = 2 // publishing is refused
)

// String returns the word that the API shows.
func (s DiskState) String() string { return [...]string{"ok", "warning", "full"}[s] }

// Percentages of the budget at which a state begins and ends. They differ so that the state
// does not change with every event.
const (
	diskWarnFrom, diskWarnUntil = 80, 78
	diskFullFrom, diskFullUntil = 100, 95
)

// DiskBudget is the size in bytes that a store may have. 0 means no bound.
type DiskBudget int64

// Next returns the state that follows was when used bytes are in use.
func (b DiskBudget) Next(was DiskState, used int64) DiskState {
	if b <= 0 {
		return DiskOK
	}
	reached := func(percent int64) bool { return float64(used) >= float64(b)*float64(percent)/100 }
	switch {
	case reached(diskFullFrom), was == DiskFull && reached(diskFullUntil):
		return DiskFull
	case reached(diskWarnFrom), was >= DiskWarning && reached(diskWarnUntil):
		return DiskWarning
	}
	return DiskOK
}

// Resumes returns the size below which publishing goes on after it was refused.
func (b DiskBudget) Resumes() int64 { return int64(float64(b) * diskFullUntil / 100) }

// Refusal is the error of a publish while the budget is used up. The change of state was
// logged.
func (b DiskBudget) Refusal(used int64) *Error {
	return &Error{Code: CodeStorageFull, RetryAfter: 30 * time.Second, Logged: true, Message: fmt.Sprintf(
		"The store uses %s of its disk budget of %s. Nothing was stored. Deliveries and retention go on, and publishing goes on by itself below %s. "+
			"Shorten the retention of payloads or tenants, or raise --disk-budget.", BytesText(used), BytesText(int64(b)), BytesText(b.Resumes()))}
}

// Notice describes a state for operators. It is empty for DiskOK.
func (b DiskBudget) Notice(state DiskState, used int64) string {
	switch state {
	case DiskWarning:
		return fmt.Sprintf("the store uses %s of its disk budget of %s: at %s publishing is refused", BytesText(used), BytesText(int64(b)), BytesText(int64(b)))
	case DiskFull:
		return fmt.Sprintf("the store uses %s of its disk budget of %s: publishing is refused until it uses less than %s", BytesText(used), BytesText(int64(b)), BytesText(b.Resumes()))
	}
	return ""
}

// BytesText formats a number of bytes with a decimal unit: 512 B, 1.50 GB.
func BytesText(n int64) string {
	if n < 1000 && n > -1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), 0
	for (v >= 999.5 || v <= -999.5) && unit < len(byteUnits)-1 {
		v, unit = v/1000, unit+1
	}
	return fmt.Sprintf("%.3g %s", v, byteUnits[unit])
}

var byteUnits = [...]string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}

// DiskBytes are estimated bytes of events, by class.
type DiskBytes struct{ Payloads, Metadata, Attempts int64 }

// Sum returns all bytes.
func (b DiskBytes) Sum() int64 { return b.Payloads + b.Metadata + b.Attempts }

// Plus returns the sum of two.
func (b DiskBytes) Plus(o DiskBytes) DiskBytes {
	return DiskBytes{b.Payloads + o.Payloads, b.Metadata + o.Metadata, b.Attempts + o.Attempts}
}

// TenantDisk are the estimated bytes of a tenant in one mode.
type TenantDisk struct {
	Scope Scope
	DiskBytes
}

// DiskUse is what a store takes on disk.
type DiskUse struct {
	At      time.Time // when it was measured
	Used    int64     // bytes in use, with the log
	Files   int64     // bytes of the files; what is not in use will be used again
	Budget  DiskBudget
	State   DiskState
	Classes DiskClasses
	// PerDay is by how much Used grew a day, over the last days that are known, at most 7.
	// It is negative if it shrank. Nil: less than an hour is known.
	PerDay  *int64
	Oldest  time.Time    // acceptance of the oldest event; zero: there is none
	Tenants []TenantDisk // those with the most bytes, at most DiskTenants of all modes
	Rest    DiskBytes    // of all other tenants
}

// DiskClasses are the parts of a store, in bytes. Payloads, Metadata and Attempts are
// estimates; on SQLite so are Audit and Statistics beyond a bound.
type DiskClasses struct {
	DiskBytes
	Audit, Statistics int64
	Other             int64 // indexes, other tables, and what pages hold besides rows
	Log               int64 // not yet in the database file
	Free              int64 // of the files, to be used again
}

// DiskTenants bounds the tenants of a DiskUse.
const DiskTenants = 100
