package cuda

import (
	"math"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/compute/cuda/driver"
)

// mostProducts is how many products a launch of linear_wg.cuh makes.
const mostProducts = 3

// wgmmaGroup is what products have in common that Hopper makes in one launch: their input, or with back their result, which
// is then one sum over all of them.
type wgmmaGroup struct {
	back   bool
	at     driver.Ptr
	tokens int
	cols   int
	to     compute.DType
	zero   int
}

// wgmma is Hopper's way, for one product and those that follow: the update is a part of the sum.
func (d *Device) wgmma(p product) {
	if p.rank > 0 {
		p.u = d.inFloat(p.u)
	}
	key := wgmmaGroup{p.back, p.x.ptr, p.x.Shape[0], p.cols, p.y.DType, p.w.stored.zeroPair()}
	list := d.waits.wgmma
	full := len(list) == mostProducts || p.readsResult(list)
	if p.back {
		key.at = p.y.ptr
		full = full || !p.accumulate
	}
	g := d.join(key, full, func() { d.wgmmaAll(key) })
	g.wgmma = append(g.wgmma, p)
}

// readsResult reports whether the product touches what others write, but for the result that it adds to, or writes what they read
// beside their input.
func (p product) readsResult(list []product) bool {
	for _, o := range list {
		at := o.y.ptr
		if p.y.ptr == o.u.ptr || p.y.ptr == o.v.ptr || o.bias != nil && p.y.ptr == o.bias.ptr {
			return true
		}
		if p.x.ptr == at || p.u.ptr == at || p.v.ptr == at || p.bias != nil && p.bias.ptr == at || !p.back && p.y.ptr == at {
			return true
		}
	}
	return false
}

// tokenBand is how many tiles of tokens are made with all rows before the next: see WgArgs in kernels/linear_wg.cuh. On an
// H200 an 8192-token forward product with qkv takes 577 us with 4, 644 us with 8 and 658 us with 32 (gradient 722, 728 and
// 782 us); no product measured by BenchmarkProducts gains more than 1.5 % from larger bands.
const tokenBand = 4

func (d *Device) wgmmaAll(key wgmmaGroup) {
	list := d.waits.wgmma
	rows := 0 // blocks of 128 rows of results
	for _, p := range list {
		rows += (p.width() + 127) / 128
	}
	if key.back {
		rows = (key.cols + 127) / 128
	}
	name, si, sk := "wg_", 1, 1
	_, blocks := packedBlocks(1, key.cols)
	tile, tiles := d.tokenTile(key.tokens, rows)
	if tile == 128 {
		name = "wg_128_"
	}
	if key.back {
		name, sk = name+"grad_", blocks
	} else {
		si = blocks
	}
	d.kernel(name+letter(key.to)).products(list, tile, key, si, sk).
		launch(driver.Grid{X: min(tiles, d.card.Multiprocessors), Threads: 384})
}

// products adds the struct WgArgs.
func (c *call) products(list []product, tile int, key wgmmaGroup, si, sk int) *call {
	const mapWords, partWords, parts = 16, 7, 2 * mostProducts * 16
	var words [parts + mostProducts*partWords + 5 + 6]uint64 // its size is a multiple of 64 bytes
	copied := 0
	for i, p := range list {
		if key.back || i == 0 {
			m := c.tensorMap(p.x, tile)
			copy(words[mapWords*i:], m[:])
		}
		if (!key.back || i == 0) && p.copied() {
			m := c.tensorMap(p.y, tile)
			copy(words[mapWords*(mostProducts+i):], m[:])
			copied |= 1 << i
		}
		part, extent := words[parts+partWords*i:], p.rows
		part[0], part[1], part[2], part[4] = uint64(p.w.ptr), uint64(p.u.ptr), uint64(p.v.ptr), uint64(p.y.ptr)
		kind := 0
		if p.bias != nil {
			part[3], kind = uint64(p.bias.ptr), code(p.bias.array.DType)
		}
		part[5], part[6] = halves(extent, p.rank), halves(kind, int(math.Float32bits(p.scale)))
	}
	rest := words[parts+mostProducts*partWords:]
	rest[0], rest[1], rest[2] = halves(len(list), key.tokens), halves(key.cols, si), halves(sk, tokenBand)
	rest[3], rest[4] = halves(btoi(list[0].accumulate), key.zero), halves(copied, 0)
	return c.words(words[:]...)
}

// copied reports whether the copy engine can write the result: it takes rows that begin at multiples of 16 bytes.
func (p product) copied() bool {
	return p.y.DType == compute.BF16 && !p.accumulate && p.width()%8 == 0 && p.y.ptr%16 == 0
}

// halves is two numbers of 32 bits, one after the other.
func halves(a, b int) uint64 { return uint64(uint32(a)) | uint64(uint32(b))<<32 }

// tokenTile chooses how many tokens a tile has, for results of so many blocks of 128 rows, and tells how many tiles there
// are: small tiles take 0.6 of the time of large ones (widening the weights is the same work), and are taken where the
// card's cores are better filled so.
func (d *Device) tokenTile(tokens, rows int) (tile, tiles int) {
	count := func(tile int) int { return (tokens + tile - 1) / tile * rows }
	rounds := func(n int) int { return (n + d.card.Multiprocessors - 1) / d.card.Multiprocessors }
	if large, small := count(256), count(128); 6*rounds(small) < 10*rounds(large) {
		return 128, small
	}
	return 256, count(256)
}
