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
