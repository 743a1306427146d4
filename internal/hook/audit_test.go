package hook_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posthorn/posthorn/internal/hook"
)

// chained returns the entries of two chains, newest first, as a store creates them.
func chained(n int) (list []hook.AuditEntry) {
	var before [2][32]byte
	for i := range n {
		of := i % 2
		e := hook.AuditEntry{ID: hook.ID{15: byte(i)}, Chain: int64(of), Sequence: int64(i/2 + 1), At: time.UnixMicro(int64(i)), Mode: hook.Live,
			Act: hook.ActTenantUpdated, Object: "tenant", ObjectID: "acme", Outcome: hook.AuditOK}
		e.Hash = e.Sum(before[of])
		before[of] = e.Hash
		list = append(list, e)
	}
	slices.Reverse(list)
	return list
}

func checkAll(list []hook.AuditEntry) error {
	var c hook.AuditCheck
	for _, e := range list {
		if err := c.Add(e); err != nil {
			return err
		}
	}
	return c.End()
}

func TestAuditCheck(t *testing.T) {
	if err := checkAll(chained(20)); err != nil {
		t.Fatal(err) // control: the chains are valid
	}
	for i := range 20 {
		for name, spoil := range map[string]func(list []hook.AuditEntry) []hook.AuditEntry{
			"changed": func(l []hook.AuditEntry) []hook.AuditEntry { l[i].ObjectID = "other"; return l },
			"moved text": func(l []hook.AuditEntry) []hook.AuditEntry {
				l[i].Object, l[i].ObjectID = "tenanta", "cme"
				return l
			},
			"another hash": func(l []hook.AuditEntry) []hook.AuditEntry { l[i].Hash[7]++; return l },
			"removed": func(l []hook.AuditEntry) []hook.AuditEntry {
				if i < 2 { // the newest of a chain: no later entry shows that it existed
					l[i].Tenant = "x"
					return l
				}
				return slices.Delete(l, i, i+1)
			},
			"swapped": func(l []hook.AuditEntry) []hook.AuditEntry {
				j := (i + 2) % 20
				l[i], l[j] = l[j], l[i]
				return l
			},
			"swapped contents": func(l []hook.AuditEntry) []hook.AuditEntry {
				j := (i + 2) % 20
				l[i].At, l[j].At = l[j].At, l[i].At
				return l
			},
		} {
			err := checkAll(spoil(chained(20)))
			if _, ok := errors.AsType[*hook.AuditFault](err); !ok {
				t.Errorf("%s at %d: %v", name, i, err)
			}
		}
	}
}

// If the oldest entries are missing, the log is valid only with an anchor.
func TestAuditAnchors(t *testing.T) {
	for name, c := range map[string]struct {
		sequence int64
		off      byte
		says     string
	}{
		"right":            {sequence: 4},
		"of another hash":  {sequence: 4, off: 1, says: "are missing"},
		"of another place": {sequence: 3, says: "are missing"},
		"none":             {sequence: -1, says: "are missing"},
	} {
		list := chained(20)
		hash := list[len(list)-7].Hash // of sequence 4 in chain 0
		hash[0] += c.off
		list = list[:len(list)-8] // leaves 5 and later in both chains
		anchors := []hook.AuditEntry{}
		for chain, kept := range map[string][32]byte{"0": hash, "1": chained(20)[20-8].Hash} {
			sequence := c.sequence
			if chain == "1" {
				sequence = 4
			}
			a := hook.AuditEntry{Chain: 9, Sequence: int64(len(anchors) + 1), Act: hook.ActAuditTrimmed, Object: "chain", ObjectID: chain, Detail: hook.AuditAnchor(sequence, kept)}
			before := [32]byte{}
			if len(anchors) > 0 {
				before = anchors[0].Hash
			}
			a.Hash = a.Sum(before)
			anchors = append(anchors, a)
		}
		slices.Reverse(anchors)
		err := checkAll(append(anchors, list...))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// erase erases entries of a chain, given newest first, as a store does, and returns the
// detail of the entry that vouches for them.
func erase(list []hook.AuditEntry, chain int64) string {
	var sum [32]byte
	var group hook.ID
	for i := range slices.Backward(list) {
		if e := &list[i]; e.Chain == chain {
			if group.IsZero() {
				group = e.ID
			}
			sum = e.Erase(group, sum)
		}
	}
	return hook.AuditErased(group, sum)
}

// A log with erased entries is valid as long as they are as they were left, also when
// retention has removed some of them.
func TestErasedEntries(t *testing.T) {
	whole := func() []hook.AuditEntry {
		list := chained(20)
		voucher := hook.AuditEntry{ID: hook.ID{15: 20}, Chain: 0, Sequence: 11, At: time.UnixMicro(20), Mode: hook.Live, Act: hook.ActAuditErased, Object: "chain", ObjectID: "0", Outcome: hook.AuditOK}
		voucher.Detail = erase(list[6:18], 0) // those in the middle of the chain
		voucher.Hash = voucher.Sum(list[1].Hash)
		return append([]hook.AuditEntry{voucher}, list...)
	}
	list := whole()
	if err := checkAll(list); err != nil {
		t.Fatal(err)
	}
	erased := 0
	for i := range list {
		if list[i].Act == hook.ActAuditErased || !list[i].Erased() {
			continue
		}
		if erased++; list[i].About("acme") || list[i].ObjectID != "" {
			t.Errorf("%+v", list[i])
		}
		for name, spoil := range map[string]func(e *hook.AuditEntry){
			"act": func(e *hook.AuditEntry) { e.Act = hook.ActKeyCreated }, "at": func(e *hook.AuditEntry) { e.At = e.At.Add(time.Second) }, "hash": func(e *hook.AuditEntry) { e.Hash[0]++ },
			"object": func(e *hook.AuditEntry) { e.ObjectID = "rival" }, "group": func(e *hook.AuditEntry) { e.Detail = "erased " + hook.ID{1}.String() },
			"sum": func(e *hook.AuditEntry) { e.Actor.Request = strings.Repeat("0", 62) + "11" }, "mark": func(e *hook.AuditEntry) { e.Detail = "" },
			"no sum": func(e *hook.AuditEntry) { e.Actor.Request = "" },
		} {
			spoiled := whole()
			spoil(&spoiled[i])
			if err := checkAll(spoiled); err == nil {
				t.Errorf("%s of entry %d was changed, and nothing is found", name, i)
			}
		}
	}
	if erased != 6 {
		t.Errorf("%d entries are erased", erased)
	}
	// Without the entry that vouches, anybody could have erased them.
	if err := checkAll(list[1:]); err == nil {
		t.Error("nobody vouches, and nothing is found")
	}
	// Retention removes from the old end, also in the middle of the group.
	for cut := 13; cut < 20; cut += 2 {
		list := whole()
		last := list[cut]
		trimmed := hook.AuditEntry{ID: hook.ID{15: 21}, Chain: 0, Sequence: 12, At: time.UnixMicro(21), Mode: hook.Live, Act: hook.ActAuditTrimmed, Object: "chain", ObjectID: "0", Outcome: hook.AuditOK,
			Detail: hook.AuditAnchor(last.Sequence, last.Hash)}
		if last.Chain != 0 {
			last = list[cut+1]
			trimmed.Detail = hook.AuditAnchor(last.Sequence, last.Hash)
		}
		trimmed.Hash = trimmed.Sum(list[0].Hash)
		list = append([]hook.AuditEntry{trimmed}, slices.DeleteFunc(list, func(e hook.AuditEntry) bool { return e.Chain == 0 && e.Sequence <= last.Sequence })...)
		if err := checkAll(list); err != nil {
			t.Errorf("after sequence %d: %v", last.Sequence, err)
		}
	}
}
