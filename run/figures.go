package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Figures are what an objective tells beside the loss, in the order in which they are shown.
// JSON has them as an object, numbers that are not finite as null.
type Figures []Figure

// A Figure has a name such as "rewards/margins".
type Figure struct {
	Name  string
	Value float64
}

// Names of the figures of preference training, which are TRL's. The reward of an answer is beta
// times its log p, with a reference model that less the reference's.
const (
	RewardsChosen     = "rewards/chosen"
	RewardsRejected   = "rewards/rejected"
	RewardsMargins    = "rewards/margins"
	RewardsAccuracies = "rewards/accuracies" // share of the pairs whose chosen answer has the larger reward
	LogpsChosen       = "logps/chosen"
	LogpsRejected     = "logps/rejected"
)

// Get is the figure of a name.
func (f Figures) Get(name string) (value float64, ok bool) {
	i := slices.IndexFunc(f, func(x Figure) bool { return x.Name == name })
	if i < 0 {
		return 0, false
	}
	return f[i].Value, true
}

// Plus adds other figures times weight to a copy; no figures are zeros of the other's names.
func (f Figures) Plus(other Figures, weight float64) Figures {
	sum := slices.Clone(f)
	for _, x := range other {
		x.Value *= weight
		if i := slices.IndexFunc(sum, func(y Figure) bool { return x.Name == y.Name }); i >= 0 {
			sum[i].Value += x.Value
		} else {
			sum = append(sum, x)
		}
	}
	return sum
}

// Over divides a copy by n.
func (f Figures) Over(n float64) Figures {
	out := slices.Clone(f)
	for i := range out {
		out[i].Value /= n
	}
	return out
}

// MarshalJSON writes an object.
func (f Figures) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	for i, x := range f {
		name, err := json.Marshal(x.Name)
		if err != nil {
			return nil, err
		}
		value := []byte("null")
		if !math.IsNaN(x.Value) && !math.IsInf(x.Value, 0) {
			if value, err = json.Marshal(x.Value); err != nil {
				return nil, err
			}
		}
		fmt.Fprintf(&out, "%s%s:%s", []string{"{", ","}[min(i, 1)], name, value)
	}
	if len(f) == 0 {
		out.WriteByte('{')
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// mostFigures bounds what is read of a line of a log.
const mostFigures = 100

// UnmarshalJSON reads an object in its order.
func (f *Figures) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	switch t, err := d.Token(); {
	case err != nil:
		return err
	case t == nil: // null
		return nil
	case t != json.Delim('{'):
		return fmt.Errorf("figures: expected an object, found %v", t)
	}
	var out Figures
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value *float64
		if err := d.Decode(&value); err != nil {
			return err
		}
		if value == nil {
			value = new(float64)
			*value = math.NaN()
		}
		if len(out) == mostFigures {
			return fmt.Errorf("figures: more than %d", mostFigures)
		}
		out = append(out, Figure{name.(string), *value})
	}
	*f = out
	return nil
}
