package weights

import (
	"regexp"
	"strings"
)

var hfBlockName = regexp.MustCompile(`^model\.layers\.(\d{1,4})\.([a-z_.]+)\.(weight|bias)$`)

// The inverses of hfModules and hfBlockModules.
var ggufModules, ggufBlockModules = inverse(hfModules), inverse(hfBlockModules)

func inverse(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[v] = k
	}
	return out
}

// GGUFName returns the name that a tensor has in GGUF files, from its Hugging
// Face name; ok is false if it has none.
func GGUFName(name string) (gguf string, ok bool) {
	if m := hfBlockName.FindStringSubmatch(name); m != nil {
		module, ok := ggufBlockModules[m[2]]
		return "blk." + m[1] + "." + module + "." + m[3], ok
	}
	at := strings.LastIndexByte(name, '.')
	if at < 0 || name[at:] != ".weight" && name[at:] != ".bias" {
		return "", false
	}
	module, ok := ggufModules[name[:at]]
	return module + name[at:], ok
}

// HFName is the inverse of GGUFName. It is empty for tensors that every reader
// computes anew.
func HFName(gguf string) (string, error) { return hfName(gguf) }

// JoinPairs brings the rows of a query or key projection into the order that
// files of the llama family have: row s*half+i of a head in data, half being half
// the rows of a head, becomes row 2*i+s. data is rows of equal size, in any
// format.
func JoinPairs(data []byte, rows, heads int) []byte {
	out := make([]byte, len(data))
	size, half := len(data)/rows, rows/heads/2
	for h := range heads {
		first := h * 2 * half
		for s := range 2 {
			for i := range half {
				to, from := (first+2*i+s)*size, (first+s*half+i)*size
				copy(out[to:to+size], data[from:from+size])
			}
		}
	}
	return out
}
