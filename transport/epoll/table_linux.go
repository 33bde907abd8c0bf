package epoll

// pageSize is the number of connections in one page of a table.
const pageSize = 1024

// table holds the connections of a loop. Each has a slot, which is reused, and a generation, which is not. Together
// they identify the connection of an event.
type table struct {
	pages []*[pageSize]*Conn
	free  []uint32 // slots
	used  uint32   // slots ever used
	count int      // connections
	last  uint32   // last generation
}

// insert gives c a slot and a generation.
func (t *table) insert(c *Conn) {
	if n := len(t.free); n > 0 {
		c.slot = t.free[n-1]
		t.free = t.free[:n-1]
	} else {
		c.slot = t.used
		t.used++
		if int(c.slot/pageSize) == len(t.pages) {
			t.pages = append(t.pages, new([pageSize]*Conn))
		}
	}
	if t.last++; t.last == 0 {
		t.last++ // 0 identifies the eventfd
	}
	c.generation = t.last
	t.pages[c.slot/pageSize][c.slot%pageSize] = c
	t.count++
}

// lookup returns a connection, or nil if it has been removed.
func (t *table) lookup(slot, generation uint32) *Conn {
	page := int(slot / pageSize)
	if page >= len(t.pages) {
		return nil
	}
	if c := t.pages[page][slot%pageSize]; c != nil && c.generation == generation {
		return c
	}
	return nil
}

// remove removes c. An emptied table releases its memory.
func (t *table) remove(c *Conn) {
	t.pages[c.slot/pageSize][c.slot%pageSize] = nil
	if t.count--; t.count == 0 {
		*t = table{last: t.last}
		return
	}
	t.free = append(t.free, c.slot)
}

// all returns the connections.
func (t *table) all() []*Conn {
	all := make([]*Conn, 0, t.count)
	for _, page := range t.pages {
		for _, c := range page {
			if c != nil {
				all = append(all, c)
			}
		}
	}
	return all
}
