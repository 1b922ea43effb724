// Package kernels holds the compiled kernels of package cuda: machine code for each kind of card, and PTX that the driver
// compiles for all others. They are made from the sources beside it by
//
//	go run ./compute/cuda/kernels/_generate -cuda DIR/nvidia
package kernels

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
)

//go:embed *.gz
var images embed.FS

// Sources are what the images are made of, for tests that compile them for the processor. Programs do not refer to them, and
// so do not hold them.
//
//go:embed *.cu *.cuh
var Sources embed.FS

// An Image is one compiled form of all kernels.
type Image struct {
	Name string // "sm_90a", or "compute_80" for PTX
	// Hopper says that the kernels of wgmma are among them.
	Hopper bool
	// Programmatic says that kernels wait for those before them, where they are launched so (wait_for_earlier).
	Programmatic bool
}

// For lists the images for a card of this compute capability (90 is 9.0), best first. What a driver does not take, the
// next one serves.
func For(capability int) []Image {
	var all []Image
	switch {
	case capability >= 80 && capability < 90:
		all = append(all, Image{Name: "sm_80"})
	case capability == 90:
		all = append(all, Image{Name: "sm_90a", Hopper: true, Programmatic: true})
	case capability >= 100 && capability < 110:
		all = append(all, Image{Name: "sm_100", Programmatic: true})
	case capability >= 120 && capability < 130:
		all = append(all, Image{Name: "sm_120", Programmatic: true})
	}
	if capability >= 80 {
		all = append(all, Image{Name: "compute_80"})
	}
	return all
}

// Data unpacks the image, and ends it with a zero.
func (i Image) Data() ([]byte, error) {
	data, err := unpack(images.ReadFile(i.Name + ".gz"))
	if err != nil {
		return nil, fmt.Errorf("kernels for %s: %w", i.Name, err)
	}
	return data, nil
}

// unpack ends what it unpacks with a zero.
func unpack(packed []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(z)
	return append(data, 0), err
}
