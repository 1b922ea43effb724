package train

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
)

// arguments reads the keyword arguments of an optimizer. Each of its methods reads
// one, given its default and its range; check tells the first mistake.
type arguments struct {
	given map[string]any
	known []string
	err   error
}

// A span is the range of a number, once it is rounded to float32.
type span struct {
	text  string
	holds func(v float32) bool
}

var (
	positive    = span{"more than 0", func(v float32) bool { return v > 0 }}
	notNegative = span{"0 or more", func(v float32) bool { return v >= 0 }}
	notPositive = span{"0 or less", func(v float32) bool { return v <= 0 }}
	belowOne    = span{"0 or more and less than 1", func(v float32) bool { return v >= 0 && v < 1 }}
)

// has is false for NaN and infinity, too.
func (s span) has(v float64) bool {
	f := float32(v)
	return s.holds(f) && !math.IsInf(float64(f), 0)
}

// check tells the first mistake: an argument that no method has read, or a value out
// of range.
func (a *arguments) check() error {
	for _, name := range slices.Sorted(maps.Keys(a.given)) {
		if !slices.Contains(a.known, name) {
			return fmt.Errorf("takes no %s; known are %s", name, strings.Join(a.known, ", "))
		}
	}
	return a.err
}

// take returns an argument if it is given.
func (a *arguments) take(name string) (any, bool) {
	a.known = append(a.known, name)
	v, ok := a.given[name]
	return v, ok
}

func (a *arguments) refuse(name string, found any, expected string) {
	if a.err == nil {
		a.err = fmt.Errorf("%s is %v, expected %s", name, found, expected)
	}
}

func (a *arguments) number(name string, standard float64, in span) float64 {
	v, ok := a.take(name)
	if !ok {
		return standard
	}
	f, ok := toNumber(reflect.ValueOf(v))
	if !ok || !in.has(f) {
		a.refuse(name, v, "a number, "+in.text)
	}
	return f
}

// optional is a number that may be left out or null.
func (a *arguments) optional(name string, in span) (float64, bool) {
	if v, ok := a.given[name]; !ok || v == nil {
		a.known = append(a.known, name)
		return 0, false
	}
	return a.number(name, 0, in), true
}

func (a *arguments) pair(name string, standard [2]float64, first, second span) (p [2]float64) {
	v, ok := a.take(name)
	if !ok {
		return standard
	}
	list := reflect.ValueOf(v)
	if k := list.Kind(); k != reflect.Slice && k != reflect.Array || list.Len() != len(p) {
		a.refuse(name, v, "a list of two numbers")
		return p
	}
	for i, in := range []span{first, second} {
		f, ok := toNumber(list.Index(i))
		if !ok || !in.has(f) {
			a.refuse(fmt.Sprintf("number %d of %s", i+1, name), list.Index(i), "a number, "+in.text)
		}
		p[i] = f
	}
	return p
}

func (a *arguments) whole(name string, standard, most int) int {
	v, ok := a.take(name)
	if !ok {
		return standard
	}
	f, ok := toNumber(reflect.ValueOf(v))
	if !ok || f != math.Trunc(f) || f < 0 || f > float64(most) {
		a.refuse(name, v, fmt.Sprintf("a whole number from 0 to %d", most))
		return 0
	}
	return int(f)
}

func (a *arguments) truth(name string, standard bool) bool {
	v, ok := a.take(name)
	if !ok {
		return standard
	}
	b, ok := v.(bool)
	if !ok {
		a.refuse(name, v, "true or false")
	}
	return b
}

// toNumber reads the numbers of Go, JSON and YAML.
func toNumber(v reflect.Value) (float64, bool) {
	if v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch {
	case v.CanFloat():
		return v.Float(), true
	case v.CanInt():
		return float64(v.Int()), true
	case v.CanUint():
		return float64(v.Uint()), true
	}
	return 0, false
}
