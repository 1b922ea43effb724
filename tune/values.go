package tune

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/dataset"
)

// A setting is a value of a config and where it is kept.
type setting struct {
	name string
	// field points to a string, bool, int, int64, float64, []string, []float64 or
	// dataset.Layout, or is a []setting: a mapping.
	field any
	in    place
}

// take puts a value into the setting's field.
func (s setting) take(value jinja.Value) error {
	switch f := s.field.(type) {
	case *string:
		return takeAs(f, value, "a text")
	case *bool:
		return takeAs(f, value, "true or false")
	case *int:
		n, err := wholeNumber(value)
		return orError(f)(int(n), err)
	case *int64:
		return orError(f)(wholeNumber(value))
	case *float64:
		return orError(f)(number(value))
	case *[]string:
		if value == nil {
			*f = nil
			return nil
		}
		return takeList(f, value, "a list of texts", func(v jinja.Value) (s string, err error) { return s, takeAs(&s, v, "a text") })
	case *[]float64:
		return takeList(f, value, "a list of numbers", number)
	case *dataset.Layout:
		return orError(f)(readDataFiles(value))
	case []setting:
		d, ok := value.(*jinja.Dict)
		if !ok {
			return expected("a mapping", value)
		}
		return fill(d, f)
	}
	panic(fmt.Sprintf("tune: setting %s has a field of type %T", s.name, s.field)) // tests take every setting
}

// value is what the field holds, as a config writes it; nil for an empty text, list or mapping.
func (s setting) value() jinja.Value {
	switch f := s.field.(type) {
	case *string:
		if *f != "" {
			return *f
		}
	case *bool:
		return *f
	case *int:
		return int64(*f)
	case *int64:
		return *f
	case *float64:
		return *f
	case *[]string:
		return listOf(*f)
	case *[]float64:
		return listOf(*f)
	case *dataset.Layout:
		return layoutValue(*f)
	case []setting:
		if d := mapping(f); d.Len() > 0 {
			return d
		}
	}
	return nil
}

func listOf[T any](values []T) jinja.Value {
	if values == nil {
		return nil
	}
	list := jinja.NewList()
	for _, v := range values {
		list.Items = append(list.Items, v)
	}
	return list
}

// fill takes the members of a mapping into settings. One that is none of them is an error.
func fill(d *jinja.Dict, settings []setting) error {
	for _, name := range d.Keys() {
		i := slices.IndexFunc(settings, func(s setting) bool { return s.name == name })
		if i < 0 {
			return fmt.Errorf("unknown key %s; known are %s", name, strings.Join(names(settings), ", "))
		}
		value, _ := d.Get(name)
		if err := settings[i].take(value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// mapping writes settings as fill reads them, without those that hold nothing.
func mapping(settings []setting) *jinja.Dict {
	d := jinja.NewDict()
	for _, s := range settings {
		if v := s.value(); v != nil {
			d.Set(s.name, v)
		}
	}
	return d
}

func names(settings []setting) []string {
	list := make([]string, len(settings))
	for i, s := range settings {
		list[i] = s.name
	}
	return list
}

func expected(what string, found jinja.Value) error {
	return fmt.Errorf("expected %s, found %s", what, describe(found))
}

func takeAs[T any](field *T, value jinja.Value, what string) error {
	v, ok := value.(T)
	if !ok {
		return expected(what, value)
	}
	*field = v
	return nil
}

func takeList[T any](field *[]T, value jinja.Value, what string, one func(jinja.Value) (T, error)) error {
	list, ok := value.(*jinja.List)
	if !ok {
		return expected(what, value)
	}
	*field = make([]T, len(list.Items))
	for i, item := range list.Items {
		var err error
		if (*field)[i], err = one(item); err != nil {
			return err
		}
	}
	return nil
}

// orError keeps a value in field, if there is no error.
func orError[T any](field *T) func(T, error) error {
	return func(v T, err error) error {
		if err == nil {
			*field = v
		}
		return err
	}
}

func number(value jinja.Value) (float64, error) {
	switch v := value.(type) {
	case int64:
		return float64(v), nil
	case *big.Int:
		f, _ := v.Float64()
		return f, nil
	case float64:
		return v, nil
	}
	return 0, expected("a number", value)
}

// wholeNumber takes 1e3 as well.
func wholeNumber(value jinja.Value) (int64, error) {
	switch v := value.(type) {
	case int64:
		return v, nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v), nil
		}
	}
	return 0, expected("a whole number", value)
}

// describe names a value in an error.
func describe(value jinja.Value) string {
	switch v := value.(type) {
	case nil:
		return "nothing"
	case string:
		return strconv.Quote(v)
	case *jinja.List:
		return "a list"
	case *jinja.Dict:
		return "a mapping"
	default:
		return fmt.Sprint(v)
	}
}
