package generate

import (
	"fmt"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/quant"
)

// KVBits says how a session's cache is quantized once Start tokens have been seen: to
// affine integers of Bits in groups of Group values of a head. Zero Bits is not at all.
type KVBits struct{ Bits, Group, Start int }

// check reports settings that no model has.
func (b KVBits) check() error {
	if b.Bits == 0 {
		return nil
	}
	f := quant.Format{Kind: quant.Affine, DType: compute.F16, Bits: b.Bits, Group: b.Group}
	if err := f.Check(); err != nil {
		return fmt.Errorf("quantized KV cache: %w", err)
	}
	if b.Start < 0 {
		return fmt.Errorf("quantized KV cache: from token %d on: expected 0 or more", b.Start)
	}
	return nil
}

// QuantizeKV makes the session quantize its cache from now on. The group must divide the
// heads of the model, and the cache must have no size limit.
func (s *Session) QuantizeKV(b KVBits) error {
	if err := b.check(); err != nil || b.Bits == 0 {
		return err
	}
	if s.limited {
		return fault.At("max_kv_size", "a KV cache with a size limit cannot be quantized (%v)", fault.Setting("kv_bits")).Try("Give one of the two.")
	}
	for i, kv := range s.cache.Shapes() {
		if dim := kv.HeadDim; dim%b.Group != 0 {
			return fault.At("kv_group_size", "%d does not divide the %d values of a head (layer %d)", b.Group, dim, i).Try("%v", groupFor(dim))
		}
	}
	s.kvBits = b
	return nil
}

// groupFor tells which group size a head of dim values takes.
func groupFor(dim int) fault.Note {
	for _, group := range []int{128, 64, 32} {
		if dim%group == 0 {
			return fault.Say("Give %v %d.", fault.Setting("kv_group_size"), group)
		}
	}
	return fault.Say("Leave out %v: no group size suits this model.", fault.Setting("kv_bits"))
}

// agree refuses a file that is quantized in another way.
func (b KVBits) agree(p *PromptCache) error {
	if b.Bits == 0 || p.Bits == 0 || b.Bits == p.Bits && b.Group == p.Group {
		return nil
	}
	return fault.At("kv_bits", "the cache is quantized to %d bits in groups of %d, %d in groups of %d are asked for", p.Bits, p.Group, b.Bits, b.Group).
		Try("Give %v %d and %v %d.", fault.Setting("kv_bits"), p.Bits, fault.Setting("kv_group_size"), p.Group)
}

// quantize quantizes the cache once Start tokens have been seen.
func (s *Session) quantize() error {
	if s.kvBits.Bits > 0 && s.cache.Len() >= s.kvBits.Start {
		s.cache.Quantize(s.tape, s.kvBits.Bits, s.kvBits.Group)
	}
	return s.tape.Err()
}
