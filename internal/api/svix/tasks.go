package svix

import (
	"net/http"
	"net/url"
	"time"

	"github.com/posthorn/posthorn/client"
	"github.com/posthorn/posthorn/internal/app"
	"github.com/posthorn/posthorn/internal/hook"
)

// task is a replay in Svix's format.
type task struct {
	ID        string         `json:"id"`
	Status    string         `json:"status"`
	Task      string         `json:"task"`
	UpdatedAt client.Time    `json:"updatedAt"`
	Data      map[string]int `json:"data,omitempty"`
}

var taskNames = map[hook.ReplaySource]string{hook.FromFailed: "endpoint.recover", hook.FromMissing: "endpoint.replay", hook.FromAll: "endpoint.bulk-replay"}

func wireTask(j app.Replay, data bool) task {
	out := task{ID: taskPrefix + j.ID.Short(), Task: taskNames[j.Source], Status: "running", UpdatedAt: client.Time{Time: j.UpdatedAt}}
	switch j.State {
	case hook.ReplayDone:
		out.Status = "finished"
	case hook.ReplayCancelled, hook.ReplayFailed:
		out.Status = "failed"
	}
	if data {
		out.Data = map[string]int{"messagesSent": j.Requested + j.Created}
	}
	return out
}

// recover sends what failed again.
func (a *api) recover(q *call) error { return a.replay(q, hook.FromFailed, recoverWindow) }

// replayMissing sends what the endpoint would have got and did not.
func (a *api) replayMissing(q *call) error { return a.replay(q, hook.FromMissing, 0) }

// bulkReplay sends what a filter matches, what succeeded too.
func (a *api) bulkReplay(q *call) error { return a.replay(q, hook.FromAll, 0) }

// replay starts a replay of at most the given window; 0 means that there is no bound.
func (a *api) replay(q *call, source hook.ReplaySource, window time.Duration) error {
	o, err := q.object(maxBody)
	if err != nil {
		return err
	}
	n := hook.NewReplay{Source: source}
	since := take[time.Time](o, "a time in RFC 3339", "since")
	until := take[time.Time](o, "a time in RFC 3339", "until")
	if since == nil {
		o.blame("since", "since is required, a time in RFC 3339")
		return o.err()
	}
	n.Filter.After = *since
	end := time.Now()
	if until != nil {
		n.Filter.Before, end = *until, *until
	}
	if window > 0 && end.Sub(*since) > window+slack {
		o.blame("since", "since must be at most 14 days before until")
	}
	if source == hook.FromAll {
		readReplayFilter(o, &n.Filter)
	}
	if err := o.err(); err != nil {
		return err
	}
	e, err := a.endpoint(q, q.parts["endpoint"])
	if err != nil {
		return err
	}
	n.Endpoint = e.ID
	once, err := q.once(func(result any) (int, []byte) {
		j, ok := result.(app.Replay)
		if !ok {
			return 0, nil
		}
		return http.StatusAccepted, encode(wireTask(j, false))
	})
	if err != nil {
		return err
	}
	made, replay, err := a.o.Service.CreateReplay(q.r.Context(), q.c, n, nil, false, once)
	if err != nil {
		return err
	}
	if replay != nil {
		return q.repeated(replay)
	}
	return q.answer(http.StatusAccepted, wireTask(made, false))
}

func readReplayFilter(o *object, f *hook.ReplayFilter) {
	if types := take[[]string](o, "an array of strings", "eventTypes"); types != nil {
		f.Types = *types
	}
	if channel := take[string](o, "a string", "channel"); channel != nil {
		if f.Channel = *channel; !hook.ValidChannel(f.Channel) {
			o.blame("channel", "channel must be the name of one channel. "+hook.ChannelRule)
		}
	}
	o.refuse("Posthorn does not keep tags.", "tag")
	if status := take[int](o, "0, 2 or 3", "status"); status != nil {
		state, ok := map[int]hook.State{statusSuccess: hook.Succeeded, statusFail: hook.Failed, statusSending: hook.Pending}[*status]
		if !ok {
			o.blame("status", "status must be 0, 2 or 3")
		}
		f.State = &state
	}
	if class := take[int](o, "100, 200, 300, 400 or 500", "statusCodeClass"); class != nil {
		if *class < 100 || *class > 500 || *class%100 != 0 {
			o.blame("statusCodeClass", "statusCodeClass must be 100, 200, 300, 400 or 500")
		}
		f.StatusClass = *class / 100
	}
}

func (a *api) getTask(q *call) error {
	id, ok := parseID(taskPrefix, q.parts["task"])
	if !ok {
		return hook.NotFound("task")
	}
	j, err := a.o.Service.Replay(q.r.Context(), q.c, id)
	if err != nil {
		return err
	}
	return q.answer(http.StatusOK, wireTask(j, true))
}

// listTasks lists the replays of all applications, newest first.
func (a *api) listTasks(q *call) error {
	w, err := q.values.window(false)
	if err != nil {
		return err
	}
	if err := w.onlyForward(); err != nil {
		return err
	}
	if w.ascending {
		return wrongPart("query", "order", "This list is in descending order only")
	}
	rq := hook.ReplayQuery{Page: hook.Page{Limit: w.limit}}
	if w.from != "" {
		id, ok := parseID(taskPrefix, w.from)
		if !ok {
			return badIterator()
		}
		rq.Cursor = hook.CursorAt(id)
	}
	status, name := url.Values(q.values).Get("status"), url.Values(q.values).Get("task")
	data, last, more := []task{}, "", true
	for turn := 0; more && turn < rounds && len(data) < w.limit; turn++ {
		rq.Limit = w.limit - len(data)
		rows, next, err := a.o.Service.Replays(q.r.Context(), q.c, rq)
		if err != nil {
			return err
		}
		for _, j := range rows {
			t := wireTask(j, true)
			if last = t.ID; (status == "" || t.Status == status) && (name == "" || t.Task == name) {
				data = append(data, t)
			}
		}
		rq.Cursor, more = next, next != ""
	}
	p := pageOf(data, !more, func(t task) string { return t.ID })
	if p.PrevIterator = nil; more && last != "" {
		p.Iterator = &last
	}
	return q.answer(http.StatusOK, p)
}
