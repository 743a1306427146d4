package store

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/posthorn/posthorn/internal/hook"
	"github.com/posthorn/posthorn/internal/seal"
)

// The kinds of news that nodes tell each other. The numbers are stored.
const (
	newsScope    = 1 // endpoints or tenant of a scope changed
	newsKeys     = 2 // a key changed
	newsDrop     = 3 // a waiting job must not be attempted any more
	newsProfiles = 4 // a profile's text was kept
	newsDue      = 5 // the table has work of an endpoint that others can do, or have a part in
)

// newsKinds are those of a line's columns: kind, mode, tenant, event, endpoint.
const newsKinds = "iitbb"

// tell leaves a line for the other nodes, with the commit.
func (t *tx) tell(kind int64, scope hook.Scope, ref hook.Ref) {
	if t.s.cluster == nil {
		return
	}
	if kind == newsScope || kind == newsKeys {
		t.config = true
	}
	if t.news == nil {
		t.news = newColumns(newsKinds)
	}
	_ = t.news.add(kind, int64(scope.Mode), scope.Tenant, ref.Event[:], ref.Endpoint[:]) // of kinds that a column takes
}

// keysChanged makes every node forget the keys it knows.
func (t *tx) keysChanged() {
	t.keys = true
	t.tell(newsKeys, hook.Scope{}, hook.Ref{})
}

type newsLine struct {
	node, kind int64
	scope      hook.Scope
	ref        hook.Ref
}

func scanNews(row scanner) (l newsLine, err error) {
	err = row.Scan(&l.node, &l.kind, &l.scope.Mode, &l.scope.Tenant, blob(l.ref.Event[:]), blob(l.ref.Endpoint[:]))
	return l, err
}

// refresh brings what this node has in memory up to the configuration in force. Only
// the writer calls it, between two writes.
func (c *cluster) refresh() (err error) {
	s := c.store
	lane := s.freeLane()
	if err := lane.begin(); err != nil {
		return err
	}
	defer func() {
		err = lane.lost(err)
		lane.rollback()
	}()
	t := newTx(s, lane)
	var version, news int64
	var floor hook.ID
	if _, err := t.row("read configuration", "SELECT version, news, floor FROM config", nil, &version, &news, blob(floor[:])); err != nil {
		return err
	}
	lines, err := collect(background, t.q(), scanNews,
		"SELECT node, kind, mode, tenant, event, endpoint FROM news WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?", c.news, news, fullNews)
	if err != nil {
		return wrap("read news", err)
	}
	scopes, due := map[hook.Scope]bool{}, map[hook.ID]hook.Scope{}
	if int64(len(lines)) != news-c.news {
		t.keys, t.profiles = true, true
		s.dir.each(func(scope hook.Scope) { scopes[scope] = true })
		select {
		case c.dead <- nil: // work that was told of in between is found again
		default:
		}
	}
	for _, l := range lines {
		if l.node == s.Epoch() {
			continue
		}
		switch l.kind {
		case newsScope:
			scopes[l.scope] = true
		case newsKeys:
			t.keys = true
		case newsDrop:
			t.dropped = append(t.dropped, l.ref)
		case newsProfiles:
			t.profiles = true
		case newsDue:
			due[l.ref.Endpoint] = l.scope
		}
	}
	for scope := range scopes {
		if err := t.reread(scope); err != nil {
			return err
		}
	}
	for id, scope := range due {
		if target, err := t.endpoint(scope, id); err == nil && target != nil && t.mine(target) {
			t.waits(target, t.now)
		}
	}
	s.ids.Above(floor)
	c.version, c.news = version, news
	c.stale.Store(false)
	c.seenVersion.Store(version)
	c.seenNews.Store(news)
	t.committed()
	return nil
}

// reread loads a scope that another node changed and finds out which of its endpoints
// are others than before.
func (t *tx) reread(scope hook.Scope) error {
	before, _ := t.s.dir.get(scope)
	after, err := t.s.loadScope(background, t.q(), scope)
	if errors.Is(err, seal.ErrDamaged) || errors.Is(err, seal.ErrOtherKey) {
		// That is for those who use the scope to find; the others must go on.
		t.s.log.Error("a tenant's endpoints cannot be read", "tenant", scope.Tenant, "mode", scope.Mode.String(), "error", err)
		after, err = &scopeEntry{}, nil
	}
	if err != nil {
		return err
	}
	t.scopes[scope] = after
	for _, now := range after.endpoints {
		if before != nil {
			if old := before.find(now.ID); old != nil && old.Enablings != now.Enablings {
				// It was disabled and enabled since: what waits in memory was taken away
				// in between, and may be somebody else's by now.
				closed := *now
				closed.Status, closed.Revision = hook.Disabled, now.Revision-1
				t.changed = append(t.changed, &closed)
			}
		}
		t.changed = append(t.changed, now)
	}
	if before == nil {
		return nil
	}
	for _, old := range before.endpoints {
		if after.find(old.ID) == nil {
			gone := *old
			gone.Status, gone.Revision = hook.Deleted, old.Revision+1
			t.changed = append(t.changed, &gone)
		}
	}
	return nil
}

// idArray is an array of ids in the binary format. They are sorted, so that nodes
// that lock the same rows do so in the same order.
func idArray(ids []hook.ID) []byte {
	slices.SortFunc(ids, func(a, b hook.ID) int { return slices.Compare(a[:], b[:]) })
	c := column{oid: oidBytea}
	for _, id := range slices.Compact(ids) {
		_ = c.add(id[:]) // bytes always are taken
	}
	return c.wire()
}

func parseEpochs(list string) []int64 {
	var epochs []int64
	for word := range strings.SplitSeq(list, ",") {
		if n, err := strconv.ParseInt(word, 10, 64); err == nil {
			epochs = append(epochs, n)
		}
	}
	slices.SortFunc(epochs, cmp.Compare)
	return epochs
}
