package model

import "strings"

// CountParameters counts what is trained and all there is, adapters included.
// Quantized weights count as the numbers they stand for.
func (m *Model) CountParameters() (trainable, total int64) {
	for _, p := range m.Trainable() {
		trainable += int64(p.Shape().Elems())
	}
	for _, name := range m.Source().Names() {
		if w, ok := m.Matrix(strings.TrimSuffix(name, ".weight")); ok && strings.HasSuffix(name, ".weight") {
			total += int64(w.Rows) * int64(w.Cols)
		} else if v, ok := m.Vector(name); ok {
			total += int64(v.Shape().Elems())
		}
	}
	for _, l := range m.Adapted() {
		for _, p := range l.Adapter.Params() {
			total += int64(p.Shape().Elems())
		}
	}
	return trainable, total
}
