package cuda

import (
	"strconv"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// widestHead is the longest head that has kernels.
const widestHead = 256

// flashHead is the size of head that the tiles are made for, 0 where heads of this size have none.
func flashHead(o compute.Attention, types ...compute.DType) int {
	for _, t := range types {
		if t != compute.BF16 {
			return 0
		}
	}
	switch {
	case o.HeadDim%8 != 0 || o.HeadDim > 128:
		return 0
	case o.HeadDim > 64:
		return 128
	}
	return 64
}

func flashName(name string, head int) string {
	if head == 64 {
		return name + "64"
	}
	return name + "128"
}

// segments finds the first key of each query, and with ends where its segment ends.
func (d *Device) segments(bounds array, t int, ends bool) (starts, stops array) {
	starts = d.scratch(compute.I32, t)
	if ends {
		stops = d.scratch(compute.I32, t)
	}
	d.kernel("segment_ends").arrays(starts, stops, bounds).int(bounds.Shape[0], t, 0).each(t)
	return starts, stops
}

// A tiling is the tiles that packed segments of t queries are cut into. It stays with the buffer of their bounds as long as
// that is as it is: all layers of a pass have the same.
type tiling struct {
	t, size, most int
	area
}

// segmentTiles cuts packed segments into tiles of 64 or 128 queries, and tells how many there are at most.
func (d *Device) segmentTiles(bounds *buffer, t, size int) (tiles driver.Ptr, most int) {
	for _, k := range bounds.tilings {
		if k.t == t && k.size == size {
			return k.ptr, k.most
		}
	}
	n := bounds.array.Shape[0] - 1
	k := tiling{t: t, size: size, most: t/size + n}
	to := d.scratch(compute.I32, 4+4*k.most)
	d.kernel("segment_tiles").arrays(to, bounds.array).int(n, t, size, k.most).each(k.most)
	if d.drv == nil || d.err != nil {
		return to.ptr, k.most
	}
	last := len(d.areas) - 1 // kept, instead of given back behind the op
	k.area, d.areas = d.areas[last], d.areas[:last]
	bounds.tilings = append(bounds.tilings, k)
	return k.ptr, k.most
}

// changed forgets what was made of the buffer's content.
func (b *buffer) changed() {
	for _, k := range b.tilings {
		b.dev.release(k.ptr, k.bytes)
	}
	b.tilings = b.tilings[:0]
}

// attend queues the forward kernel. bounds is that of packed segments, or span the address of one span of a cache; lse may
// be 0. What a query gets does not depend on other segments.
func (d *Device) attend(o compute.Attention, y, q, k, v array, lse driver.Ptr, bounds *buffer, span driver.Ptr) {
	t, room := q.Shape[0], k.Shape[0]
	if t == 0 {
		return
	}
	name, cut, grid := "", driver.Ptr(0), driver.Grid{X: t, Y: o.Heads, Threads: 256}
	tiled := t > 1 || bounds != nil
	switch head := flashHead(o, q.DType, k.DType); {
	case tiled && head > 0 && d.byWarpgroups(o):
		d.attendByWarpgroups(o, y, q, k, v, lse, bounds, span)
		return
	case tiled && head > 0:
		name = flashName("flash_", head)
		grid = driver.Grid{X: (t + 63) / 64, Y: o.Heads, Threads: 128}
		if bounds != nil {
			cut, grid.X = d.segmentTiles(bounds, t, 64)
		}
	case bounds != nil:
		starts, _ := d.segments(bounds.array, t, false)
		name, cut = "attention_"+letter(q.DType)+letter(k.DType), starts.ptr
	default:
		name = "attention_" + letter(q.DType) + letter(k.DType)
	}
	d.kernel(name).status().ptr(y.ptr).ptr(lse).arrays(q, k, v).ptr(cut).ptr(span).int(room).heads(o, t, 0).launch(grid)
}

func (d *Device) attention(o compute.Attention, out, in []*buffer) {
	d.attend(o, out[0].array, in[0].array, in[1].array, in[2].array, out[1].ptr, in[3], 0)
}

// cacheAttention takes the keys and values of each span, and all spans at once where there are few queries.
func (d *Device) cacheAttention(o compute.CacheAttention, out, in []*buffer) {
	q, spans := in[0].array, in[1].array
	n := spans.Shape[0]
	keys, values := make([]array, n), make([]array, n)
	few := q.Shape[0] <= fewTokens*n
	for i := range n {
		if isDense(o.Format) {
			keys[i], values[i] = in[2+2*i].array, in[3+2*i].array
			continue
		}
		span, t := spans.ptr+driver.Ptr(16*i), compute.F32 // what bf16 loses is felt in the scores, but long prompts are for tensor cores
		if !few {
			t = q.DType
		}
		keys[i], values[i] = d.widened(o, in[2+6*i:], span, t), d.widened(o, in[5+6*i:], span, t)
	}
	head := 0
	if n > 0 {
		head = flashHead(o.Attention, q.DType, keys[0].DType)
	}
	if n == 1 && head > 0 && q.Shape[0] == 1 {
		d.oneQuery(o.Attention, head, out[0].array, q, spans, keys[0], values[0])
		return
	}
	if n > 1 && head > 0 && q.Shape[0] <= n && o.Heads <= mostGrouped*o.KVHeads {
		d.groupedQueries(o.Attention, head, out[0].array, q, spans, keys, values)
		return
	}
	if n > 0 && q.DType == compute.BF16 && o.HeadDim%8 == 0 && (q.Shape[0] <= n || head == 0) {
		d.fewQueries(o.Attention, out[0].array, q, spans, keys, values)
		return
	}
	for i := range n {
		d.attend(o.Attention, out[0].array, q, keys[i], values[i], 0, nil, spans.ptr+driver.Ptr(16*i))
	}
}

const (
	mostCaches = 32  // that a launch names
	cutKeys    = 256 // the fewest keys of a part
	mostCuts   = 16
)

// caches adds the struct Caches of attention.cuh.
func (c *call) caches(n int, at func(i int) driver.Ptr, room func(i int) int) *call {
	var words [mostCaches + mostCaches/2]uint64
	for i := range n {
		words[i] = uint64(at(i))
		words[mostCaches+i/2] |= uint64(uint32(room(i))) << (32 * (i % 2))
	}
	return c.words(words[:]...)
}

func (c *call) arraysOf(list []array) *call {
	return c.caches(len(list), func(i int) driver.Ptr { return list[i].ptr }, func(i int) int { return list[i].Shape[0] })
}

const (
	singleKeys = 16 // the fewest keys of a part of a query that is alone
	singleCuts = 32 // the most parts
)

// singleHeads is how many heads that share keys a block takes.
const singleHeads = 8

// oneQuery attends from one query of one sequence: so many parts of the keys that the card is filled.
func (d *Device) oneQuery(o compute.Attention, head int, y, q, span, keys, values array) {
	pieces := o.KVHeads * ((o.Heads/o.KVHeads + singleHeads - 1) / singleHeads)
	cuts := max(1, min(d.card.Multiprocessors/pieces, singleCuts, (keys.Shape[0]+singleKeys-1)/singleKeys))
	var parts array
	if cuts > 1 {
		parts = d.scratch(compute.F32, o.Heads*cuts, head+2)
	}
	d.kernel(flashName("single_", head)).status().arrays(y, parts).ptr(d.counters).arrays(q).ptr(span.ptr).arrays(keys, values).int(keys.Shape[0]).
		heads(o, 1, 0).launch(driver.Grid{X: cuts, Y: pieces, Threads: 512})
}

// partsOf is how many parts the keys of a query are cut into at most: the caches have room for them.
func partsOf(keys []array) int {
	room := 0
	for _, k := range keys {
		room = max(room, k.Shape[0])
	}
	return max(1, min((room+cutKeys-1)/cutKeys, mostCuts))
}

// mostGrouped is how many heads may share keys in the kernel for several sequences.
const mostGrouped = 8

// ownParts is the most parts of keys that a block takes, one after another.
const ownParts = 4

// groupedShared is the shared memory of the kernel: keys and values on their way, sums of the warps, and parts of a block that has all.
func groupedShared(head int) int {
	return 4*64*head*2 + 4*4*mostGrouped*(head+8) + 4*ownParts*mostGrouped*(head+2)
}

// groupedQueries attends from a query of each of several sequences: keys and values are read once for all heads that share
// them. What a sequence gets does not depend on the others: neither do its parts, which a block takes several of where others fill the card.
func (d *Device) groupedQueries(o compute.Attention, head int, y, q, spans array, keys, values []array) {
	t := q.Shape[0]
	if t == 0 {
		return
	}
	for from := 0; from < len(keys); from += mostCaches {
		to := min(from+mostCaches, len(keys))
		cuts := partsOf(keys[from:to])
		var parts array
		if cuts > 1 {
			parts = d.scratch(compute.F32, t*o.Heads*cuts, head+2)
		}
		sharing := o.KVHeads * (to - from)
		own := max(1, min((cuts*sharing+d.card.Multiprocessors-1)/d.card.Multiprocessors, cuts, ownParts))
		d.kernel(flashName("grouped_", head)).status().arrays(y, parts).ptr(d.counters).arrays(q).ptr(spans.ptr+driver.Ptr(16*from)).int(cuts, own).
			arraysOf(keys[from:to]).arraysOf(values[from:to]).heads(o, t, 0).launch(driver.Grid{X: (cuts + own - 1) / own, Y: o.KVHeads, Z: to - from, Threads: 128})
	}
}

// fewQueries attends from some queries of each span. The keys of a query are cut into parts, as its cache has room for them:
// what a sequence gets does not depend on the others.
func (d *Device) fewQueries(o compute.Attention, y, q, spans array, keys, values []array) {
	t, x := q.Shape[0], 1
	for 64*x < o.HeadDim {
		x *= 2
	}
	if t == 0 {
		return
	}
	for from := 0; from < len(keys); from += mostCaches {
		to := min(from+mostCaches, len(keys))
		queries, cuts := 1, partsOf(keys[from:to]) // of a span at a time; the others follow
		if t > len(keys) {
			queries = t
		}
		if queries > fewTokens { // which fill the card
			cuts = 1
		}
		var parts array
		if cuts > 1 {
			parts = d.scratch(compute.F32, t*o.Heads*cuts, 64*x+2)
		}
		span := spans.ptr + driver.Ptr(16*from)
		d.kernel("few_"+strconv.Itoa(x)+"_"+letter(keys[0].DType)).status().arrays(y, parts, q).ptr(span).int(cuts).
			arraysOf(keys[from:to]).arraysOf(values[from:to]).heads(o, t, 0).launch(driver.Grid{X: queries * cuts, Y: o.Heads, Z: to - from, Threads: 256})
		if cuts > 1 {
			d.kernel("join_"+strconv.Itoa(x)).arrays(y, parts).ptr(span).int(cuts).arraysOf(keys[from:to]).heads(o, t, 0).
				launch(driver.Grid{X: queries, Y: o.Heads, Z: to - from, Threads: 64 * x})
		}
	}
}

func (d *Device) attentionGrad(o compute.AttentionGrad, out, in []*buffer) {
	q, k, v, bounds, y, lse, dy := in[0].array, in[1].array, in[2].array, in[3].array, in[4].array, in[5].array, in[6].array
	t := q.Shape[0]
	if t == 0 {
		return
	}
	if flashHead(o.Attention, q.DType) > 0 && d.byWarpgroups(o.Attention) {
		d.attentionGradByWarpgroups(o.Attention, out, in)
		return
	}
	starts, ends := d.segments(bounds, t, true)
	delta := d.scratch(compute.F32, t, o.Heads)
	d.kernel("row_dots_"+letter(q.DType)).arrays(delta, y, dy).long(int64(t * o.Heads)).int(o.HeadDim).blocks((t*o.Heads + 7) / 8)
	dq, dkv := "attention_dq_"+letter(q.DType), "attention_dkv_"+letter(q.DType)
	grid := driver.Grid{X: t, Threads: 256}
	if head := flashHead(o.Attention, q.DType); head > 0 {
		dq, dkv = flashName("flash_dq_", head), flashName("flash_dkv_", head)
		grid = driver.Grid{X: (t + 63) / 64, Threads: 128}
	}
	grid.Y = o.Heads
	d.kernel(dq).arrays(out[0].array, q, k, v, dy, lse, delta, starts).heads(o.Attention, t, 0).launch(grid)
	grid.Y = o.KVHeads
	d.kernel(dkv).arrays(out[1].array, out[2].array, q, k, v, dy, lse, delta, starts, ends).heads(o.Attention, t, 0).launch(grid)
}
