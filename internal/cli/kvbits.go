package cli

import (
	"slices"

	"github.com/spf13/pflag"

	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/generate"
)

// quantizedKVStart is mlx-lm's default.
const quantizedKVStart = 5000

// kvFlags are the flags of quantized KV caches.
type kvFlags struct {
	generate.KVBits
	bitsFlag, groupFlag *pflag.Flag
}

func (k *kvFlags) declare(f *pflag.FlagSet) {
	f.IntVar(&k.Bits, "kv-bits", 0, "keep keys and values in 8, 6, 5, 4, 3 or 2 `bits`, not 16:\n8 nearly halve the memory of a long text at hardly any\nloss, 4 need 3.6 times less but spoil small models a bit")
	f.IntVar(&k.Group, "kv-group-size", 64, "`numbers` that share a scale there: 32, 64 or 128")
	f.IntVar(&k.Start, "quantized-kv-start", quantizedKVStart, "do so once this many `tokens` were read")
	k.bitsFlag, k.groupFlag = f.Lookup("kv-bits"), f.Lookup("kv-group-size")
}

// check refuses what cannot work, before anything is loaded.
func (k *kvFlags) check(maxKVSize int) error {
	switch {
	case k.bitsFlag.Changed && !slices.Contains([]int{2, 3, 4, 5, 6, 8}, k.Bits):
		return fault.Value("kv_bits", k.Bits, "2, 3, 4, 5, 6 or 8").Try("Leave it out for 16.")
	case !slices.Contains([]int{32, 64, 128}, k.Group):
		return fault.Value("kv_group_size", k.Group, "32, 64 or 128")
	case k.Start < 0:
		return fault.Value("quantized_kv_start", k.Start, "0 or more")
	case k.Bits > 0 && maxKVSize > 0:
		return fault.Of("--kv-bits %d and a cache of limited size (--max-kv-size %d) do not go together", k.Bits, maxKVSize).Try("Give one of the two.")
	}
	return nil
}

// agree takes the settings that a prompt cache was quantized with, and refuses others.
func (k *kvFlags) agree(p *generate.PromptCache, file string, maxKVSize int) error {
	switch {
	case p.Bits == 0:
		return nil
	case k.bitsFlag.Changed && k.Bits != p.Bits:
		return fault.Given("kv_bits", k.Bits, "the prompt cache %s was quantized to %d", file, p.Bits).Try("Give that, or leave it out.")
	case k.groupFlag.Changed && k.Group != p.Group:
		return fault.Given("kv_group_size", k.Group, "the prompt cache %s was quantized in groups of %d", file, p.Group).Try("Give that, or leave it out.")
	case maxKVSize > 0:
		return fault.Given("max_kv_size", maxKVSize, "the prompt cache %s is quantized, and such a cache has no limit", file).Try("Leave it out, or make the file again without --kv-bits.")
	}
	k.Group = p.Group
	return nil
}
