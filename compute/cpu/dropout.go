package cpu

import (
	"math/bits"

	"github.com/lentil-lm/lentil/compute"
)

// dropout is compute.Dropout with its mask drawn in parts. Block i of the generator
// gives two words of the mask: i and, in the second half, i+(n+1)/2.
func (d *Device) dropout(o compute.Dropout, out, in []compute.Array) {
	x, y, key := in[0].F32(), out[0].F32(), in[1].Keys()[o.Row]
	n := len(x)
	half, pairs := (n+1)/2, n/2
	keep := 1 - o.Rate
	limit, scale := keep*4294967808, 1/keep // 2^32 + 512, see compute.Dropout
	drop := func(i int, word uint32) {
		if float32(word) < limit {
			y[i] = x[i] * scale
		} else {
			y[i] = 0
		}
	}
	d.pool.split(half, grain/threefryWork, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			if i == pairs { // n is odd: the last block has no second counter
				a, _ := threefry(key, uint32(i), 0)
				drop(i, a)
				continue
			}
			a, b := threefry(key, uint32(i), uint32(half+i))
			drop(i, a)
			drop(half+i, b)
		}
	})
}

// threefryWork is how many times as long it takes to draw two words as to add two values.
const threefryWork = 8

// threefry is the Threefry-2x32 block function of 20 rounds (Salmon et al.,
// 2011), its rotations unrolled.
func threefry(k compute.Key, a, b uint32) (uint32, uint32) {
	k0, k1 := k[0], k[1]
	k2 := 0x1BD11BDA ^ k0 ^ k1
	a, b = a+k0, b+k1
	a, b = mixA(a, b)
	a, b = mixB(a+k1, b+k2+1)
	a, b = mixA(a+k2, b+k0+2)
	a, b = mixB(a+k0, b+k1+3)
	a, b = mixA(a+k1, b+k2+4)
	return a + k2, b + k0 + 5
}

func mixA(a, b uint32) (uint32, uint32) {
	a += b
	b = bits.RotateLeft32(b, 13) ^ a
	a += b
	b = bits.RotateLeft32(b, 15) ^ a
	a += b
	b = bits.RotateLeft32(b, 26) ^ a
	a += b
	return a, bits.RotateLeft32(b, 6) ^ a
}

func mixB(a, b uint32) (uint32, uint32) {
	a += b
	b = bits.RotateLeft32(b, 17) ^ a
	a += b
	b = bits.RotateLeft32(b, 29) ^ a
	a += b
	b = bits.RotateLeft32(b, 16) ^ a
	a += b
	return a, bits.RotateLeft32(b, 24) ^ a
}
