package engineio

import (
	"hash/maphash"
	"slices"
	"sync"

	"github.com/myriad-rt/myriad/internal/drain"
	"github.com/myriad-rt/myriad/internal/idtable"
)

const registryShards = 64

// registry finds sessions by id. It includes closed sessions that would answer another poll.
type registry struct {
	seed   maphash.Seed
	count  drain.Group // sessions that have not ended
	shards [registryShards]struct {
		mu       sync.RWMutex
		closed   bool
		sessions idtable.Table[*Session]
	}
}

func newRegistry() *registry { return &registry{seed: maphash.MakeSeed()} }

// add adds s unless its id is taken or the registry has been closed.
func (r *registry) add(s *Session) bool {
	shard := &r.shards[maphash.String(r.seed, s.ID())%registryShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.closed || shard.sessions.Get(s.ID()) != nil {
		return false
	}
	shard.sessions.Put(s)
	r.count.Add(1)
	return true
}

// remove removes s if it is present. It does not change count, which is decremented when a session ends.
func (r *registry) remove(s *Session) {
	shard := &r.shards[maphash.String(r.seed, s.ID())%registryShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.sessions.Delete(s)
}

func (r *registry) get(id string) *Session {
	shard := &r.shards[maphash.String(r.seed, id)%registryShards]
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	return shard.sessions.Get(id)
}

// all returns the sessions that have not ended. If closing is true, no more can be added.
func (r *registry) all(closing bool) []*Session {
	all := make([]*Session, 0, r.count.Len())
	for i := range r.shards {
		shard := &r.shards[i]
		shard.mu.Lock()
		shard.closed = shard.closed || closing
		all = shard.sessions.AppendTo(all)
		shard.mu.Unlock()
	}
	return slices.DeleteFunc(all, func(s *Session) bool { return s.State() == StateClosed })
}
