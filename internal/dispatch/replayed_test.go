package dispatch

import (
	"testing"

	"github.com/posthorn/posthorn/internal/hook"
)

// Jobs of replays are taken when nothing else waits, and occasionally while fresh ones
// wait. Control: other jobs from the table alternate with fresh ones.
func TestReplaysLetOthersPass(t *testing.T) {
	order := func(trigger hook.Trigger) (fresh int) {
		d := New(Options{})
		target := &hook.Endpoint{ID: hook.ID{1}}
		now := d.base
		job := func(trigger hook.Trigger) hook.Job {
			return hook.Job{Target: target, Trigger: trigger, Delivery: hook.Delivery{Endpoint: target.ID}}
		}
		for range 100 {
			d.enqueue(job(trigger), true, now)
		}
		room := d.Room(target)
		for range 32 {
			d.enqueue(job(hook.BySchedule), false, now)
		}
		if taken := room - d.Room(target); trigger == hook.ByReplay && (taken != 32 || room != d.opts.EndpointWaiting) {
			t.Errorf("jobs of replays take the place of fresh ones: room for %d, then for %d less", room, taken)
		}
		q := d.queues[target.ID]
		for range 34 {
			if job, _ := d.pop(q); job.Trigger == hook.BySchedule {
				fresh++
			}
		}
		for n := q.jobs(); n > 0; n-- {
			if _, ok := d.pop(q); !ok {
				t.Fatalf("%d jobs are never taken", n)
			}
		}
		return fresh
	}
	if fresh := order(hook.ByReplay); fresh != 32 {
		t.Errorf("of 34 jobs %d were fresh, want 32", fresh)
	}
	if fresh := order(hook.ByHand); fresh != 17 {
		t.Errorf("control: of 34 jobs %d were fresh, want every second", fresh)
	}
}
