package quant

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

var allBlocks = []BlockType{BlockQ4_0, BlockQ4_1, BlockQ5_0, BlockQ5_1, BlockQ8_0, BlockQ4K, BlockQ6K, BlockQ5K}

// TestDecodeGGML compares with the values of ggml's own Python package.
func TestDecodeGGML(t *testing.T) {
	t.Parallel()
	blob, err := os.ReadFile("testdata/blocks.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden []struct {
		Type, CRC  string
		Block      []byte
		Head, Tail []float32
	}
	if err := json.Unmarshal(blob, &golden); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i, g := range golden {
		at := slices.IndexFunc(allBlocks, func(b BlockType) bool { return b.String() == g.Type })
		if at < 0 || len(g.Block) != allBlocks[at].Bytes() {
			t.Fatalf("entry %d: type %q, %d bytes", i, g.Type, len(g.Block))
		}
		seen[g.Type]++
		b := allBlocks[at]
		got := make([]float32, b.Elements())
		b.Decode(got, g.Block)
		if head, tail := got[:8], got[len(got)-8:]; !slices.Equal(head, g.Head) || !slices.Equal(tail, g.Tail) {
			t.Errorf("%s %d: got %v ... %v\nwant %v ... %v", g.Type, i, head, tail, g.Head, g.Tail)
		}
		raw := make([]byte, 4*len(got))
		PutFloats(raw, got, F32)
		if crc := fmt.Sprintf("%08x", crc32.ChecksumIEEE(raw)); crc != g.CRC {
			t.Errorf("%s %d: checksum %s, want %s", g.Type, i, crc, g.CRC)
		}
	}
	if len(seen) != len(allBlocks) {
		t.Errorf("golden types %v, want all of %v", seen, allBlocks)
	}
}

// randomBlocks makes blocks with any integers and f16 scales of magnitude size.
func randomBlocks(b BlockType, n int, size float64, rng *rand.Rand) []byte {
	data := make([]byte, n*b.Bytes())
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for i := range n {
		block := data[i*b.Bytes():]
		at := []int{0}
		switch b {
		case BlockQ4_1, BlockQ5_1, BlockQ4K, BlockQ5K:
			at = []int{0, 2}
		case BlockQ6K:
			at = []int{208}
		}
		for _, at := range at {
			binary.LittleEndian.PutUint16(block[at:], F32ToF16(float32(rng.NormFloat64()*size)))
		}
	}
	return data
}

// TestFromBlocks checks that the matrix has exactly the values of the blocks.
func TestFromBlocks(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	const rows, cols = 300, 512 // large enough for several goroutines
	for _, b := range allBlocks {
		for _, size := range []float64{0.01, 1e-7, 300, 10000} {
			data := randomBlocks(b, rows*cols/b.Elements(), size, rng)
			m, err := FromBlocks(b, data, rows, cols)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
			want := make([]float32, rows*cols)
			b.Decode(want, data)
			if i := firstDifference(m.Floats(), want); i >= 0 {
				t.Errorf("%v scale %g: weight %d is %v, want %v", b, size, i, m.Floats()[i], want[i])
			}
			if size == 0.01 && b != BlockQ5K && m.Format.Kind == Affine && m.Format.DType != F16 {
				t.Errorf("%v: scales are %v without need", b, m.Format.DType)
			}
		}
	}
}

func firstDifference(a, b []float32) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}

func TestFromBlocksErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		b          BlockType
		bytes      int
		rows, cols int
		want       string
	}{
		{BlockQ4_0, 18, 1, 31, "multiple of 32"},
		{BlockQ4_0, 17, 1, 32, "17 bytes"},
		{BlockQ4K, 144, 1, 128, "multiple of 256"},
		{BlockQ8_0, 34, 0, 32, "[0, 32]"},
		{BlockQ8_0, 34, math.MaxInt / 8, 1 << 30, "34 bytes"},
		{BlockType(99), 34, 1, 32, "unknown block type"},
	}
	for _, test := range tests {
		_, err := FromBlocks(test.b, make([]byte, test.bytes), test.rows, test.cols)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: error %v", test, err)
		}
	}
}

func TestMatrixCheck(t *testing.T) {
	t.Parallel()
	affine := Format{Affine, BF16, 4, 64}
	tests := []struct {
		m    Matrix
		want string // "" for a good matrix
	}{
		{Matrix{Format{Kind: Dense, DType: BF16}, 2, 3, 0, make([]byte, 12), nil, nil}, ""},
		{Matrix{Format{Kind: Dense, DType: BF16}, 2, 3, 0, make([]byte, 11), nil, nil}, "11 bytes"},
		{Matrix{Format{Kind: Dense, DType: U8}, 2, 3, 0, make([]byte, 6), nil, nil}, "type U8"},
		{Matrix{Format{Kind: Dense, DType: F32}, 0, 3, 0, nil, nil, nil}, "[0, 3]"},
		{Matrix{Format{Kind: Dense, DType: F32}, math.MaxInt, 3, 0, nil, nil, nil}, "too large"},
		{Matrix{affine, 2, 128, 0, make([]byte, 128), make([]byte, 8), make([]byte, 8)}, ""},
		{Matrix{affine, 2, 128, 0, make([]byte, 128), make([]byte, 8), make([]byte, 4)}, "8 bytes of scales and 4 of biases"},
		{Matrix{affine, 2, 96, 0, make([]byte, 96), nil, nil}, "multiple of 64"},
		{Matrix{affine, 6, 64, 3, make([]byte, 192), make([]byte, 12), make([]byte, 12)}, ""},
		{Matrix{affine, 6, 64, 4, make([]byte, 192), make([]byte, 12), make([]byte, 12)}, "6 rows do not divide among 4 experts"},
		{Matrix{Format{Affine, BF16, 7, 64}, 2, 64, 0, nil, nil, nil}, "7 bits"},
		{Matrix{Format{Affine, F64, 4, 64}, 2, 64, 0, nil, nil, nil}, "type F64"},
		{Matrix{Format{Kind: Q4K}, 1, 256, 0, make([]byte, 144), nil, nil}, ""},
		{Matrix{Format{Kind: Q6K}, 1, 256, 0, make([]byte, 210), nil, nil}, ""},
		{Matrix{Format{Kind: 77}, 1, 256, 0, nil, nil, nil}, "unknown weight format"},
	}
	for i, test := range tests {
		err := test.m.Check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%d: error %v, want %q", i, err, test.want)
		}
	}
}

func TestFormatNames(t *testing.T) {
	t.Parallel()
	tests := []struct {
		f    Format
		name string
		bits float64
	}{
		{Format{Kind: Dense, DType: BF16}, "bf16", 16},
		{Format{Affine, F16, 4, 64}, "4-bit g64", 4.5},
		{Format{Affine, F32, 3, 32}, "3-bit g32", 5},
		{Format{Kind: Q4K}, "Q4_K", 4.5},
		{Format{Kind: Q6K}, "Q6_K", 6.5625},
	}
	for _, test := range tests {
		if test.f.String() != test.name || test.f.BitsPerWeight() != test.bits {
			t.Errorf("%q with %v bits, want %q with %v", test.f, test.f.BitsPerWeight(), test.name, test.bits)
		}
	}
}

func BenchmarkFromBlocks(b *testing.B) {
	const rows, cols = 1024, 4096
	rng := rand.New(rand.NewPCG(5, 6))
	for _, kind := range []BlockType{BlockQ4_0, BlockQ4_1, BlockQ5_0, BlockQ8_0} {
		data := randomBlocks(kind, rows*cols/32, 0.01, rng)
		b.Run(kind.String(), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := FromBlocks(kind, data, rows, cols); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
