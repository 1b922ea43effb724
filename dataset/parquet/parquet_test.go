package parquet

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/lentil-lm/lentil/chat/jinja"
)

// The files of testdata are pyarrow's; testdata/make.py writes them and what pyarrow itself reads from them.

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func open(t testing.TB, data []byte) *File {
	t.Helper()
	f, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// lines reads all rows as JSON.
func lines(t testing.TB, rows *Rows) (out []string) {
	t.Helper()
	for {
		row, err := rows.Next()
		if err != nil {
			t.Fatal(err)
		}
		if row == nil {
			return out
		}
		text, err := jinja.FormatJSON(row)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
}

func golden(t testing.TB, name string) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(string(read(t, name))), "\n")
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("row %d:\n%s\npyarrow has\n%s", i, got[i], want[i])
		}
	}
}

func TestAsPyarrow(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"snappy", "gzip", "zstd-v2", "lz4", "plain-pages", "delta-v2", "old-lists"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := open(t, read(t, name+".parquet"))
			want := golden(t, "rows.jsonl")
			if f.NumRows() != int64(len(want)) {
				t.Errorf("%d rows, want %d", f.NumRows(), len(want))
			}
			compare(t, lines(t, f.Rows()), want)
		})
	}
	compare(t, lines(t, open(t, read(t, "times.parquet")).Rows()), golden(t, "times.jsonl"))
	if got := lines(t, open(t, read(t, "empty.parquet")).Rows()); len(got) != 0 {
		t.Errorf("empty file: %d rows", len(got))
	}
}

func TestColumns(t *testing.T) {
	t.Parallel()
	f := open(t, read(t, "snappy.parquet"))
	if got := f.Columns(); !slices.Equal(got[:4], []string{"zebra", "messages", "tools", "score"}) {
		t.Errorf("columns %q", got)
	}
	row, err := f.Rows("always", "byte", "none").Next()
	if text, _ := jinja.FormatJSON(row); err != nil || text != `{"byte": -55, "always": "row 0"}` {
		t.Errorf("%s, %v", text, err)
	}
}

// TestSkipTo reads from everywhere, in both directions, across groups and pages.
func TestSkipTo(t *testing.T) {
	t.Parallel()
	want := golden(t, "rows.jsonl")
	for _, name := range []string{"snappy", "plain-pages", "zstd-v2"} {
		rows := open(t, read(t, name+".parquet")).Rows()
		for _, i := range []int{59, 0, 1, 17, 16, 33, 34, 35, 50, 2, 58} {
			if err := rows.SkipTo(int64(i)); err != nil {
				t.Fatal(err)
			}
			row, err := rows.Next()
			if text, _ := jinja.FormatJSON(row); err != nil || text != want[i] {
				t.Errorf("%s, row %d: %s, %v", name, i, text, err)
			}
		}
		if err := rows.SkipTo(99); err != nil {
			t.Error(err)
		}
		if row, err := rows.Next(); row != nil || err != nil {
			t.Errorf("beyond the end: %v, %v", row, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	whole := read(t, "snappy.parquet")
	change := func(at int, b ...byte) []byte {
		data := slices.Clone(whole)
		copy(data[(at+len(data))%len(data):], b)
		return data
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "not a Parquet file"},
		{"text", []byte(`{"text": "no Parquet at all"}`), "not a Parquet file: it starts with"},
		{"cut off", whole[:len(whole)-9], "cut off or damaged"},
		{"cut off in front", whole[1000:], "not a Parquet file"},
		{"encrypted", change(-1, 'E'), "encrypted"},
		{"long footer", change(-8, 0xff, 0xff, 0xff, 0xff), "4294967295 bytes"},
		{"longer footer than file", change(-8, 0, 0, 1, 0), "65536 bytes"},
		{"short footer", change(-8, 1, 0, 0, 0), "no schema"},
		{"Brotli", read(t, "brotli.parquet"), "Brotli, which is not supported"},
		{"not UTF-8", read(t, "odd.parquet"), `column "text": a value is not UTF-8`},
	} {
		f, err := Open(bytes.NewReader(c.data), int64(len(c.data)))
		if err == nil {
			_, err = f.Rows().Next()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	f := open(t, read(t, "odd.parquet"))
	if _, err := f.Rows("price").Next(); err == nil || !strings.Contains(err.Error(), "decimal") {
		t.Errorf("decimal: %v", err)
	}
}

// deepSchema is a footer whose groups are nested n deep.
func deepSchema(n int) []byte {
	var footer []byte
	footer = append(footer, 0x29, 0xfc) // field 2, a list of structs
	for v := n + 1; ; v >>= 7 {
		if v < 0x80 {
			footer = append(footer, byte(v))
			break
		}
		footer = append(footer, byte(v)|0x80)
	}
	for range n {
		footer = append(footer, 0x48, 1, 'g', 0x15, 2, 0) // field 4: "g", field 5: 1 child
	}
	footer = append(footer, 0x15, 2, 0x38, 1, 'x', 0, 0) // field 1: INT32, field 4: "x"
	data := append([]byte(magic), footer...)
	data = append(data, byte(len(footer)), byte(len(footer)>>8), byte(len(footer)>>16), 0)
	return append(data, magic...)
}

// TestHostile reads files that lie about themselves. None may take much time or memory.
func TestHostile(t *testing.T) {
	t.Parallel()
	if f := open(t, deepSchema(3)); len(f.leaves) != 1 {
		t.Errorf("%d leaves", len(f.leaves))
	}
	for n, want := range map[int]string{100: "nested more than", 20_000: "more than 10000 columns"} {
		data := deepSchema(n)
		if _, err := Open(bytes.NewReader(data), int64(len(data))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d groups: %v", n, err)
		}
	}
	bomb := append([]byte{0xff, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0xff}, 1000)...)
	for codec := range 9 {
		if out, err := unpack(codec, bomb, 100); err == nil {
			t.Errorf("codec %d: unpacked %d bytes", codec, len(out))
		}
	}
	// One run of 2^30 equal definition levels in a page of a few bytes, for a row that never ends.
	n := &node{name: "x", def: 1, rep: 1, leaf: 0, physical: int32Type, repeated: true}
	run := []byte{0x80, 0x80, 0x80, 0x80, 0x08, 1}
	rows := &Rows{columns: []*column{{node: n, left: 1 << 30, rep: &hybrid{data: run, width: 1}, def: &hybrid{data: run, width: 1},
		values: &indices{hybrid{data: run, width: 1}, []raw{{}, {}}}, chunk: chunk{values: 1 << 30}}}}
	if _, err := rows.build(n); err != errRow {
		t.Errorf("endless row: %v", err)
	}
}

// TestManyGroups reads a file of empty row groups, each a byte of the footer: it is refused before they take memory.
// This and the next test count allocations, so that no others may run beside them.
func TestManyGroups(t *testing.T) {
	const groups = 4 << 20
	schema := []byte{0x29, 0x2c, 0x48, 1, 'g', 0x15, 2, 0, 0x15, 2, 0x38, 1, 'x', 0} // field 2: a group of one INT32
	footer := append(schema, 0x29, 0xfc, 0x80, 0x80, 0x80, 0x02)                     // field 4: a list of structs
	footer = append(footer, make([]byte, groups+1)...)
	data := append([]byte(magic), footer...)
	data = append(binary.LittleEndian.AppendUint32(data, uint32(len(footer))), magic...)
	used := allocated(func() {
		if _, err := Open(bytes.NewReader(data), int64(len(data))); err == nil || !strings.Contains(err.Error(), "row groups") {
			t.Errorf("%d row groups: %v", groups, err)
		}
	})
	if most := uint64(50 * len(data)); used > most {
		t.Errorf("a file of %d bytes took %d bytes of memory, at most %d are expected", len(data), used, most)
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestGrowingValues reads values of which each is the one before and a byte: they may not take the square of their
// number, and a dictionary, which keeps them all, may not have them.
func TestGrowingValues(t *testing.T) {
	const count = 20_000
	deltas := func(first, step byte) []byte {
		data := binary.AppendUvarint([]byte{0x80, 1, 4}, count) // blocks of 128 values in 4 parts
		data = append(data, 2*first)
		for n := 1; n < count; n += 128 {
			data = append(data, 2*step, 0, 0, 0, 0)
		}
		return data
	}
	page := slices.Concat(deltas(0, 1), deltas(1, 0), bytes.Repeat([]byte("x"), count)) // prefixes, lengths of suffixes, suffixes
	n := &node{name: "x", physical: byteArray}
	used := allocated(func() {
		d, err := n.decoder(encodingDeltaBytes, page, count)
		if err != nil {
			t.Fatal(err)
		}
		for i := range count {
			if v, err := d.next(); err != nil || len(v.bytes) != i+1 {
				t.Fatalf("value %d has %d bytes, %v", i, len(v.bytes), err)
			}
		}
	})
	if most := uint64(20 * len(page)); used > most {
		t.Errorf("a page of %d bytes took %d bytes of memory, at most %d are expected", len(page), used, most)
	}
	c := &column{pages: new(int64), node: n, src: bytes.NewReader(page)}
	h := pageHeader{size: int64(len(page)), packed: int64(len(page)), values: count, encoding: encodingDeltaBytes}
	if err := c.readDictionary(h, 0); err == nil || !strings.Contains(err.Error(), "encoding 7") {
		t.Errorf("a dictionary of growing values: %v", err)
	}
	c = &column{pages: new(int64), node: n, src: bytes.NewReader(page)}
	if *c.pages = maxPages - 1; c.hold(1) != nil || c.hold(1) == nil {
		t.Error("the bytes of pages are not counted")
	}
}

// FuzzOpen reads whatever it is given, through every kind of page.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{"snappy", "gzip", "zstd-v2", "lz4", "plain-pages", "delta-v2", "old-lists", "times", "empty", "brotli", "odd"} {
		f.Add(read(f, name+".parquet"))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, columns := range [][]string{nil, file.Columns()[:1]} {
			rows := file.Rows(columns...)
			for range 200 {
				row, err := rows.Next()
				if err != nil || row == nil {
					break
				}
				if _, err := jinja.FormatJSON(row); err != nil {
					t.Fatal(err)
				}
			}
			rows.SkipTo(min(file.NumRows(), 1000) / 2) // must not panic
			rows.Next()
		}
	})
}

// FuzzPage decodes the values of a page in every encoding.
func FuzzPage(f *testing.F) {
	f.Add(byte(encodingDelta), byte(int64Type), []byte{0x80, 1, 4, 3, 2, 0, 1, 1, 1, 1, 0xff, 0xff, 0xff, 0xff})
	f.Add(byte(encodingDictionary), byte(byteArray), []byte{2, 3, 0x1b})
	f.Fuzz(func(t *testing.T, encoding, physical byte, data []byte) {
		n := &node{name: "x", physical: int(physical % 8), length: 3}
		d, err := n.decoder(int64(encoding%10), data, 1000)
		if encoding%10 == encodingDictionary {
			d, err = newIndices(data, make([]raw, 3))
		}
		if err != nil {
			return
		}
		for range 1000 {
			v, err := d.next()
			if err != nil {
				break
			}
			n.value(v) // must not panic
		}
		for codec := range 9 {
			if out, err := unpack(codec, data, 1000); err == nil && len(out) != 1000 {
				t.Errorf("codec %d: %d bytes", codec, len(out))
			}
		}
	})
}
