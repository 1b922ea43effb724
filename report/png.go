package report

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"sync"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/internal/atomicfile"
)

// pictureScale is how many pixels of a picture a unit of a chart has.
const pictureScale = 2

// colors are those of the style sheet in the light.
var colors = map[string]color.RGBA{
	"a": {0x1f, 0x5f, 0xbf, 255}, "b": {0xb4, 0x53, 0x0a, 255}, "c": {0x15, 0x7a, 0x3c, 255}, "d": {0x9a, 0x2f, 0x8e, 255}, "e": {0x0f, 0x74, 0x85, 255}, "f": {0x7a, 0x5c, 0x00, 255},
	"grid": {0xe4, 0xe8, 0xec, 255}, "frame": {0xc9, 0xcf, 0xd6, 255}, "axis": {0x54, 0x5c, 0x66, 255}, "label": {0x1c, 0x20, 0x24, 255}, "note": {0x1c, 0x20, 0x24, 255},
}

// face is the font of pictures, which is part of the program.
var face = sync.OnceValues(func() (font.Face, error) {
	f, err := opentype.Parse(goregular.TTF)
	if err != nil {
		return nil, err
	}
	return opentype.NewFace(f, &opentype.FaceOptions{Size: 13 * pictureScale, DPI: 72})
})

// png draws a chart as a picture on white, with its title.
func (d *drawing) png() ([]byte, error) {
	letters, err := face()
	if err != nil {
		return nil, err
	}
	const head = 26
	img := image.NewRGBA(image.Rect(0, 0, int(d.width*pictureScale), int((d.height+head)*pictureScale)))
	draw.Draw(img, img.Bounds(), image.White, image.Point{}, draw.Src)
	b := brush{img: img, letters: letters, down: head}
	b.text(shape{class: "label", anchor: "start", points: []float64{8, -8}, text: d.title})
	x := 8 + b.width(d.title) + 20
	for _, l := range d.legend {
		b.polygon(l.Class, []float64{x, -17, x + 10, -17, x + 10, -7, x, -7})
		b.text(shape{class: "label", anchor: "start", points: []float64{x + 15, -8}, text: l.Name})
		x += 15 + b.width(l.Name) + 18
	}
	for _, s := range d.shapes {
		b.draw(s)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return nil, err
	}
	return signed(out.Bytes()), nil
}

// signature is the text that names who wrote a picture: a later report may replace it.
const signature = "Software\x00lentil"

// afterHeader is where the first chunk behind a picture's header begins.
const afterHeader = 8 + 25

// signed puts the signature into a picture as a chunk tEXt (PNG specification, 11.3.4.3).
func signed(picture []byte) []byte {
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(signature)))
	chunk = append(chunk, "tEXt"+signature...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	return slices.Concat(picture[:afterHeader], chunk, picture[afterHeader:])
}

// mayReplace refuses a picture that Lentil did not draw.
func mayReplace(name string) error {
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.At("out", "%w", err)
	}
	defer file.Close()
	begin := make([]byte, afterHeader+8+len(signature))
	if _, err := io.ReadFull(file, begin); err != nil || !bytes.HasSuffix(begin, []byte(signature)) {
		return fault.Given("out", name, "this is there already, and no picture of Lentil's").Try("Give another file, or %v to replace it.", fault.Setting("overwrite"))
	}
	return nil
}

// A brush draws shapes on a picture, down units below their place.
type brush struct {
	img     *image.RGBA
	letters font.Face
	down    float64
}

func (b *brush) draw(s shape) {
	p := s.points
	switch s.kind {
	case 'l':
		width := 2.0
		if s.class == "grid" || s.class == "frame" {
			width = 1
		}
		for i := 0; i+3 < len(p); i += 2 {
			b.segment(s.class, p[i], p[i+1], p[i+2], p[i+3], width)
		}
	case 'c':
		b.polygon(s.class, octagon(p[0], p[1], s.size))
	case 'd':
		b.polygon(s.class, []float64{p[0], p[1] - s.size, p[0] + s.size, p[1], p[0], p[1] + s.size, p[0] - s.size, p[1]})
	case 'r':
		b.polygon(s.class, []float64{p[0], p[1], p[2], p[1], p[2], p[3], p[0], p[3]})
	case 't':
		b.text(s)
	}
}

// octagon stands for a circle of a few pixels.
func octagon(x, y, r float64) []float64 {
	k := r * 0.41421356 // tan 22.5°
	return []float64{x - k, y - r, x + k, y - r, x + r, y - k, x + r, y + k, x + k, y + r, x - k, y + r, x - r, y + k, x - r, y - k}
}

// segment draws a line as a thin rectangle.
func (b *brush) segment(class string, x0, y0, x1, y1, width float64) {
	dx, dy := x1-x0, y1-y0
	length := max(math.Hypot(dx, dy), 1e-9)
	nx, ny := -dy/length*width/2, dx/length*width/2
	b.polygon(class, []float64{x0 + nx, y0 + ny, x1 + nx, y1 + ny, x1 - nx, y1 - ny, x0 - nx, y0 - ny})
}

func (b *brush) polygon(class string, p []float64) {
	box := newBox(p, b.down).Intersect(b.img.Bounds())
	if box.Empty() {
		return
	}
	r := vector.NewRasterizer(box.Dx(), box.Dy())
	at := func(i int) (float32, float32) {
		return float32(p[i]*pictureScale) - float32(box.Min.X), float32((p[i+1]+b.down)*pictureScale) - float32(box.Min.Y)
	}
	r.MoveTo(at(0))
	for i := 2; i+1 < len(p); i += 2 {
		r.LineTo(at(i))
	}
	r.ClosePath()
	r.Draw(b.img, box, image.NewUniform(colors[class]), image.Point{})
}

// newBox is the part of a picture that has a polygon.
func newBox(p []float64, down float64) image.Rectangle {
	x, y := newRange(), newRange()
	for i := 0; i+1 < len(p); i += 2 {
		x.include(p[i] * pictureScale)
		y.include((p[i+1] + down) * pictureScale)
	}
	return image.Rect(int(math.Floor(x.low)), int(math.Floor(y.low)), int(math.Ceil(x.high))+1, int(math.Ceil(y.high))+1)
}

// width is how wide a text is, in units.
func (b *brush) width(text string) float64 {
	return float64(font.MeasureString(b.letters, text)) / 64 / pictureScale
}

func (b *brush) text(s shape) {
	d := font.Drawer{Dst: b.img, Src: image.NewUniform(colors[s.class]), Face: b.letters}
	x := s.points[0] * pictureScale
	switch width := float64(d.MeasureString(s.text)) / 64; s.anchor {
	case "end":
		x -= width
	case "middle":
		x -= width / 2
	}
	d.Dot = fixed.Point26_6{X: fixed.Int26_6(x * 64), Y: fixed.Int26_6((s.points[1] + b.down) * pictureScale * 64)}
	d.DrawString(s.text)
}

// WritePictures writes the charts of a page beside it, each as base-NAME.png, and gives their names.
func (p *Page) WritePictures(base string, overwrite bool) (names []string, err error) {
	all := []*drawing{losses([]*Run{p.Run}), p.rates(), p.speed(), p.memory(), p.asked()}
	if p.Results != nil {
		all = append(all, intervals(p.Results))
	}
	for _, d := range p.Data {
		all = append(all, bars("lengths-"+d.Split, "Lengths of rows, "+d.Split+" set", d.BinWidth, d.Bins))
	}
	for _, d := range all {
		if d == nil {
			continue
		}
		name := base + "-" + d.id + ".png"
		if !overwrite {
			if err := mayReplace(name); err != nil {
				return names, err
			}
		}
		text, err := d.png()
		if err != nil {
			return names, err
		}
		if err := atomicfile.Write(name, text); err != nil {
			return names, err
		}
		names = append(names, name)
	}
	return names, nil
}
