package proof_test

import (
	"slices"
	"strings"
	"time"

	svix "github.com/svix/svix-webhooks/go"
	"github.com/svix/svix-webhooks/go/models"
	"github.com/svix/svix-webhooks/go/utils"
)

// channels makes the calls about channels, at an application and a receiver of their own.
func (r *svixRun) channels() {
	ctx, c, uid := r.ctx, r.client, "channels-"+r.unique
	recv := newReceiver(r.t, nil)
	ids := map[string]string{}
	r.step("endpoint.create with channels, and without", func() error {
		if _, err := c.Application.Create(ctx, models.ApplicationIn{Name: "Channels", Uid: &uid}, nil); err != nil {
			return ok(err, nil)
		}
		for path, channels := range map[string][]string{"/any": nil, "/c1": {"c1"}, "/c2": {"c2"}} {
			e, err := c.Endpoint.Create(ctx, uid, models.EndpointIn{Url: recv.url + path, Channels: channels}, nil)
			if err != nil {
				return ok(err, nil)
			}
			if !slices.Equal(e.Channels, channels) {
				return must(false, "%+v", e)
			}
			ids[path] = e.Id
		}
		return nil
	})
	n := 0
	send := func(channels []string, paths ...string) (*models.MessageOut, error) {
		m, err := c.Message.Create(ctx, uid, models.MessageIn{EventType: r.kind, Payload: r.payload, Channels: channels}, nil)
		if err != nil {
			return nil, ok(err, nil)
		}
		got, id := []string{}, m.Id
		for _, one := range recv.await(r.t, n+len(paths), 20*time.Second)[n:] {
			if one.header.Get("svix-id") == id {
				got = append(got, one.path)
			}
		}
		n += len(paths)
		slices.Sort(got)
		return m, must(slices.Equal(got, paths) && slices.Equal(m.Channels, channels), "%+v reached %v, not %v", m, got, paths)
	}
	var one *models.MessageOut
	r.step("message.create with channels: endpoints of the channel and those of none", func() (err error) {
		if one, err = send([]string{"c1"}, "/any", "/c1"); err != nil {
			return err
		}
		if _, err = send([]string{"c1", "c2"}, "/any", "/c1", "/c2"); err != nil {
			return err
		}
		_, err = send(nil, "/any")
		return err
	})
	if one == nil {
		return
	}
	r.step("message.precheck with channels", func() error {
		if _, err := c.Endpoint.Patch(ctx, uid, ids["/any"], models.EndpointPatch{Disabled: ptr(true)}); err != nil {
			return ok(err, nil)
		}
		for channel, want := range map[string]bool{"c1": true, "c3": false} {
			got, err := c.Message.Precheck(ctx, uid, models.MessagePrecheckIn{EventType: r.kind, Channels: []string{channel}}, nil)
			if err != nil || got.Active != want {
				return ok(err, func() error { return must(false, "%s: %+v", channel, got) })
			}
		}
		_, err := c.Endpoint.Patch(ctx, uid, ids["/any"], models.EndpointPatch{Disabled: ptr(false)})
		return ok(err, func() error { return nil })
	})
	r.step("message.get and lists by channel: messages, attempts, attempted messages", func() error {
		got, err := c.Message.Get(ctx, uid, one.Id, nil)
		if err != nil || !slices.Equal(got.Channels, []string{"c1"}) {
			return ok(err, func() error { return must(false, "%+v", got) })
		}
		for channel, want := range map[string]int{"c1": 2, "c2": 1, "c": 0} {
			list, err := c.Message.List(ctx, uid, &svix.MessageListOptions{Channel: &channel})
			if err != nil || len(list.Data) != want || !list.Done {
				return ok(err, func() error { return must(false, "%s: %+v", channel, list) })
			}
			tried, err := c.MessageAttempt.ListAttemptedMessages(ctx, uid, ids["/any"], &svix.MessageAttemptListAttemptedMessagesOptions{Channel: &channel, WithContent: ptr(false)})
			if err != nil || len(tried.Data) != want || want > 0 && !slices.Contains(tried.Data[0].Channels, channel) {
				return ok(err, func() error { return must(false, "%s: %+v", channel, tried) })
			}
			attempts, err := c.MessageAttempt.ListByEndpoint(ctx, uid, ids["/any"], &svix.MessageAttemptListByEndpointOptions{Channel: &channel})
			if err != nil || len(attempts.Data) != want {
				return ok(err, func() error { return must(false, "%s: %+v", channel, attempts) })
			}
		}
		for channel, want := range map[string]int{"c1": 2, "c2": 0} {
			attempts, err := c.MessageAttempt.ListByMsg(ctx, uid, one.Id, &svix.MessageAttemptListByMsgOptions{Channel: &channel})
			if err != nil || len(attempts.Data) != want {
				return ok(err, func() error { return must(false, "%s: %+v", channel, attempts) })
			}
		}
		return nil
	})
	r.step("endpoint.bulkReplay of a channel", func() error {
		task, err := c.Endpoint.BulkReplay(ctx, uid, ids["/any"], models.BulkReplayIn{Since: time.Now().Add(-time.Hour), Channel: ptr("c2")}, nil)
		if err != nil {
			return ok(err, nil)
		}
		recv.await(r.t, n+1, 20*time.Second)
		var done *models.BackgroundTaskOut
		eventually(r.t, 20*time.Second, "the end of a replay", func() bool {
			done, err = c.BackgroundTask.Get(ctx, task.Id)
			return err != nil || done.Status == models.BACKGROUNDTASKSTATUS_FINISHED
		})
		n++
		return ok(err, func() error { return must(len(recv.receipts()) == n, "%d requests, not %d", len(recv.receipts()), n) })
	})
	r.step("endpoint.patch and update of channels; cleared by null and by leaving them out", func() error {
		set := models.EndpointPatch{Channels: utils.NewNullable([]string{"c2", "c3"})}
		e, err := c.Endpoint.Patch(ctx, uid, ids["/c1"], set)
		if err != nil || !slices.Equal(e.Channels, []string{"c2", "c3"}) {
			return ok(err, func() error { return must(false, "%+v", e) })
		}
		e, err = c.Endpoint.Patch(ctx, uid, ids["/c1"], models.EndpointPatch{Channels: utils.NewUnsetNullable[[]string](), Description: ptr("kept")})
		if err != nil || len(e.Channels) != 2 {
			return ok(err, func() error { return must(false, "%+v", e) })
		}
		e, err = c.Endpoint.Update(ctx, uid, ids["/c1"], models.EndpointUpdate{Url: e.Url})
		if err != nil || e.Channels != nil {
			return ok(err, func() error { return must(false, "%+v", e) })
		}
		e, err = c.Endpoint.Patch(ctx, uid, ids["/c2"], models.EndpointPatch{Channels: utils.NewNullableFromPtr[[]string](nil)})
		if err != nil || e.Channels != nil {
			return ok(err, func() error { return must(false, "%+v", e) })
		}
		_, err = send(nil, "/any", "/c1", "/c2")
		return err
	})
	many := strings.Split(strings.Repeat("c,", 10)+"c", ",")
	for i := range many {
		many[i] += string(rune('a' + i))
	}
	for what, channels := range map[string][]string{"a space": {"a b"}, "129 characters": {strings.Repeat("c", 129)}, "an empty name": {""}, "11 of them": many} {
		r.step("channels with "+what+": 422", func() error {
			_, err := c.Message.Create(ctx, uid, models.MessageIn{EventType: r.kind, Payload: r.payload, Channels: channels}, nil)
			if err := refused(err, 422, `"channels"`); err != nil {
				return err
			}
			_, err = c.Endpoint.Create(ctx, uid, models.EndpointIn{Url: recv.url, Channels: channels}, nil)
			return refused(err, 422, `"channels"`)
		})
	}
	r.step("endpoint.patch with no channel in the list: 422", func() error {
		_, err := c.Endpoint.Patch(ctx, uid, ids["/c1"], models.EndpointPatch{Channels: utils.NewNullable([]string{})})
		return refused(err, 422, `"channels"`)
	})
}
