package console

import "time"

// take removes a tree and returns it as a block. Each topmost span that is still open becomes the
// root of a new tree.
func (t *Traces) take(tr *tree, why string) []line {
	var block []line
	if t.filter.shows(tr) {
		block = tr.block(time.Now(), t.screen.columns(), why)
	}
	t.forget(tr)
	for _, n := range tr.root.openBelow(nil) {
		late := &tree{id: tr.id, late: true}
		n.parent = n.above.context()
		n.above = nil
		t.plant(late, n)
		t.begin(n)
	}
	return block
}

// plant moves the open spans of a printed tree to a new one. The ended ones, the log lines and the
// events have been printed.
func (t *Traces) plant(tr *tree, n *node) {
	n.tree, n.events = tr, nil
	tr.spans++
	tr.open++
	t.nodes[n.key] = n
	var open []*node
	for _, child := range n.children {
		open = child.openBelow(open)
	}
	n.children = open
	for _, child := range open {
		child.above = n
		t.plant(tr, child)
	}
}

func (t *Traces) forget(tr *tree) {
	tr.timer.Stop()
	delete(t.trees, tr)
	t.events -= tr.events
	if t.overflown[tr.id] == tr {
		delete(t.overflown, tr.id)
	}
	tr.root.walk(func(n *node) { delete(t.nodes, n.key) })
}

// evict removes the oldest tree to make room. It is printed unfinished, and each of its open spans
// is printed as a separate tree when it ends.
func (t *Traces) evict() []line {
	var oldest *tree
	for tr := range t.trees {
		if oldest == nil || tr.root.seen.Before(oldest.root.seen) {
			oldest = tr
		}
	}
	if oldest == nil {
		return nil
	}
	block := oldest.block(time.Now(), t.screen.columns(),
		"printed unfinished to make room: more requests are open than are held")
	t.forget(oldest)
	return block
}
