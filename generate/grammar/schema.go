package grammar

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/lentil-lm/lentil/chat"
	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/fault"
)

// Schema is the JSON values that a schema takes, in the order of its properties. It writes no properties that the schema
// does not name, unless it names none. A keyword that cannot be kept to is refused.
func Schema(schema chat.Value) (*Source, error) {
	r := &schemaReader{root: schema, rules: jsonRules()}
	root, err := r.value("", schema)
	if err != nil {
		return nil, err
	}
	return &Source{root, r.rules}, nil
}

// schemaReader turns a schema into rules.
type schemaReader struct {
	root  chat.Value
	rules map[string]node
	count int
	depth int
}

// mostSchemas bounds how many schemas there are within one.
const mostSchemas = 10_000

// bad is a mistake at a place of a schema.
func bad(at, format string, args ...any) error {
	if at == "" {
		at = "#"
	}
	return fault.At("response_format", "%s: %s", at, fmt.Sprintf(format, args...))
}

// refused lists keywords that no grammar of ours keeps to.
var refused = []string{
	"not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "patternProperties", "propertyNames", "minProperties", "maxProperties",
	"unevaluatedProperties", "unevaluatedItems", "contains", "minContains", "maxContains", "multipleOf", "$dynamicRef", "$recursiveRef", "additionalItems",
}

func (r *schemaReader) value(at string, schema chat.Value) (node, error) {
	if r.count++; r.count > mostSchemas {
		return nil, bad(at, "the schema has more than %d parts", mostSchemas)
	}
	if r.depth++; r.depth > mostDepth/2 {
		return nil, bad(at, "the schema is nested deeper than %d", mostDepth/2)
	}
	defer func() { r.depth-- }()
	switch s := schema.(type) {
	case bool:
		if s {
			return ref(ruleValue), nil
		}
		return nil, bad(at, "false takes no value at all")
	case *chat.Dict:
		return r.dict(at, s)
	}
	return nil, bad(at, "expected a schema, which is an object")
}

// has tells which of some keywords are there.
func has(s *chat.Dict, names ...string) (found []string) {
	for _, n := range names {
		if _, ok := s.Get(n); ok {
			found = append(found, n)
		}
	}
	return found
}

func (r *schemaReader) dict(at string, s *chat.Dict) (node, error) {
	if found := has(s, refused...); len(found) > 0 {
		return nil, bad(at, "%q is not supported: no answer could be promised to keep to it", found[0])
	}
	if v, _ := s.Get("uniqueItems"); v == true {
		return nil, bad(at, "\"uniqueItems\" is not supported: no answer could be promised to keep to it")
	}
	alone := func(key string, siblings ...string) error {
		all := append(siblings, "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "properties", "items", "prefixItems", "required", "pattern", "minLength", "maxLength",
			"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "additionalProperties")
		for _, other := range has(s, all...) {
			if other != key {
				return bad(at, "%q and %q stand beside each other, which is not supported", key, other)
			}
		}
		return nil
	}
	for _, key := range []string{"const", "enum"} {
		if v, ok := s.Get(key); ok {
			if err := alone(key); err != nil {
				return nil, err
			}
			values := []chat.Value{v}
			if list, ok := v.(*chat.List); ok && key == "enum" {
				values = list.Items
			}
			return r.constants(at, s, values)
		}
	}
	if v, ok := s.Get("$ref"); ok {
		if err := alone("$ref", "type"); err != nil {
			return nil, err
		}
		return r.ref(at, v)
	}
	for _, key := range []string{"anyOf", "oneOf", "allOf"} {
		if v, ok := s.Get(key); ok {
			if err := alone(key); err != nil {
				return nil, err
			}
			return r.several(at, key, v)
		}
	}
	return r.typed(at, s)
}

// constants are values that are listed.
func (r *schemaReader) constants(at string, s *chat.Dict, values []chat.Value) (node, error) {
	var out alt
	types, err := typesOf(at, s)
	if err != nil {
		return nil, err
	}
	for _, v := range values {
		if types != nil && !slices.ContainsFunc(types, func(t string) bool { return isType(v, t) }) {
			continue // it could not validate
		}
		written, err := jinja.FormatJSON(v)
		if err != nil {
			return nil, bad(at, "%v", err)
		}
		out = append(out, literal(written))
	}
	if len(out) == 0 {
		return nil, bad(at, "no value is possible")
	}
	return out, nil
}

func isType(v chat.Value, t string) bool {
	switch x := v.(type) {
	case nil:
		return t == "null"
	case bool:
		return t == "boolean"
	case string:
		return t == "string"
	case *chat.List:
		return t == "array"
	case *chat.Dict:
		return t == "object"
	case float64:
		return t == "number" || t == "integer" && x == math.Trunc(x)
	}
	return t == "number" || t == "integer"
}

// ref finds the schema that a pointer within this one names.
func (r *schemaReader) ref(at string, v chat.Value) (node, error) {
	pointer, _ := v.(string)
	path, ok := strings.CutPrefix(pointer, "#")
	if !ok {
		return nil, bad(at, "$ref %v: only parts of the schema itself can be named, such as #/$defs/NAME", v)
	}
	name := "$ref " + pointer
	if _, ok := r.rules[name]; ok {
		return ref(name), nil
	}
	found := r.root
	for _, key := range strings.Split(strings.TrimPrefix(path, "/"), "/") {
		if path == "" || path == "/" {
			break
		}
		key = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
		d, _ := found.(*chat.Dict)
		if d == nil {
			return nil, bad(at, "$ref %s: there is no such part", pointer)
		}
		if found, ok = d.Get(key); !ok {
			return nil, bad(at, "$ref %s: there is no %q", pointer, key)
		}
	}
	r.rules[name] = alt{} // for refs to it within it
	n, err := r.value(pointer, found)
	if err != nil {
		return nil, err
	}
	r.rules[name] = n
	return ref(name), nil
}

// several reads anyOf, oneOf and allOf.
func (r *schemaReader) several(at, key string, v chat.Value) (node, error) {
	list, ok := v.(*chat.List)
	if !ok || len(list.Items) == 0 {
		return nil, bad(at, "%s: expected a list of schemas", key)
	}
	if key == "allOf" {
		if len(list.Items) > 1 {
			return nil, bad(at, "allOf of several schemas is not supported: write them as one")
		}
		return r.value(at+"/allOf/0", list.Items[0])
	}
	if key == "oneOf" && !r.disjoint(list.Items) {
		return nil, bad(at, "oneOf: its schemas may take the same value, and then none would be right: use anyOf, or give them different types or a property with different constants")
	}
	var out alt
	for i, item := range list.Items {
		n, err := r.value(fmt.Sprintf("%s/%s/%d", at, key, i), item)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// follow gives the schema behind a $ref.
func (r *schemaReader) follow(v chat.Value) *chat.Dict {
	d, _ := v.(*chat.Dict)
	for range 8 {
		if d == nil {
			return nil
		}
		p, ok := d.Get("$ref")
		if !ok {
			return d
		}
		pointer, _ := p.(string)
		found := r.root
		for _, key := range strings.Split(strings.TrimPrefix(pointer, "#/"), "/") {
			if f, ok := found.(*chat.Dict); ok {
				found, _ = f.Get(key)
			}
		}
		d, _ = found.(*chat.Dict)
	}
	return nil
}

// disjoint reports whether no value is taken by two of the schemas: by their types, or by a property that all require
// with constants of their own.
func (r *schemaReader) disjoint(items []chat.Value) bool {
	for i := range items {
		for k := range i {
			if !r.apart(r.follow(items[i]), r.follow(items[k])) {
				return false
			}
		}
	}
	return true
}

func (r *schemaReader) apart(a, b *chat.Dict) bool {
	if a == nil || b == nil {
		return false
	}
	ta, errA := typesOf("", a)
	tb, errB := typesOf("", b)
	if errA != nil || errB != nil {
		return false
	}
	if ta != nil && tb != nil && !slices.ContainsFunc(ta, func(t string) bool {
		return slices.Contains(tb, t) || t == "integer" && slices.Contains(tb, "number") || t == "number" && slices.Contains(tb, "integer")
	}) {
		return true
	}
	ca, cb := constantsOf(a), constantsOf(b)
	if ca != nil && cb != nil {
		return !slices.ContainsFunc(ca, func(s string) bool { return slices.Contains(cb, s) })
	}
	pa, _ := a.Get("properties")
	pb, _ := b.Get("properties")
	da, okA := pa.(*chat.Dict)
	db, okB := pb.(*chat.Dict)
	if !okA || !okB {
		return false
	}
	needA, needB := requiredOf(a), requiredOf(b)
	for _, key := range da.Keys() {
		va, _ := da.Get(key)
		vb, ok := db.Get(key)
		if !ok || !needA[key] || !needB[key] {
			continue
		}
		x, y := r.follow(va), r.follow(vb)
		if x == nil || y == nil {
			continue
		}
		cx, cy := constantsOf(x), constantsOf(y)
		if cx != nil && cy != nil && !slices.ContainsFunc(cx, func(s string) bool { return slices.Contains(cy, s) }) {
			return true
		}
	}
	return false
}

// constantsOf lists the values of const or enum, as JSON; nil where there is neither.
func constantsOf(s *chat.Dict) (out []string) {
	v, ok := s.Get("const")
	values := []chat.Value{v}
	if !ok {
		v, _ := s.Get("enum")
		list, ok := v.(*chat.List)
		if !ok {
			return nil
		}
		values = list.Items
	}
	for _, v := range values {
		text, err := jinja.FormatJSON(v)
		if err != nil {
			return nil
		}
		out = append(out, text)
	}
	return out
}

func requiredOf(s *chat.Dict) map[string]bool {
	out := map[string]bool{}
	v, _ := s.Get("required")
	if list, ok := v.(*chat.List); ok {
		for _, item := range list.Items {
			if name, ok := item.(string); ok {
				out[name] = true
			}
		}
	}
	return out
}

// typesOf lists the types that a schema names; nil for none.
func typesOf(at string, s *chat.Dict) ([]string, error) {
	v, ok := s.Get("type")
	if !ok {
		return nil, nil
	}
	values := []chat.Value{v}
	if list, ok := v.(*chat.List); ok {
		values = list.Items
	}
	var types []string
	for _, v := range values {
		name, _ := v.(string)
		if !slices.Contains([]string{"object", "array", "string", "number", "integer", "boolean", "null"}, name) {
			return nil, bad(at, "there is no type %v", v)
		}
		types = append(types, name)
	}
	return types, nil
}

// typed reads a schema by its types.
func (r *schemaReader) typed(at string, s *chat.Dict) (node, error) {
	types, err := typesOf(at, s)
	if err != nil {
		return nil, err
	}
	if types == nil {
		switch {
		case len(has(s, "properties", "required", "additionalProperties")) > 0:
			types = []string{"object"}
		case len(has(s, "items", "prefixItems", "minItems", "maxItems")) > 0:
			types = []string{"array"}
		case len(has(s, "pattern", "minLength", "maxLength")) > 0:
			types = []string{"string"}
		case len(has(s, "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")) > 0:
			types = []string{"number"}
		default:
			return ref(ruleValue), nil
		}
	}
	var out alt
	for _, t := range types {
		n, err := r.ofType(at, t, s)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	if len(out) == 1 {
		return out[0], nil
	}
	return out, nil
}

func (r *schemaReader) ofType(at, t string, s *chat.Dict) (node, error) {
	switch t {
	case "null":
		return null, nil
	case "boolean":
		return boolean, nil
	case "integer", "number":
		return numbers(at, t, s)
	case "string":
		return texts(at, s)
	case "array":
		return r.array(at, s)
	}
	return r.object(at, s)
}

// count reads a keyword that is a number of things.
func count(at string, s *chat.Dict, key string, without int) (int, error) {
	v, ok := s.Get(key)
	if !ok {
		return without, nil
	}
	f, ok := number(v)
	if !ok || f < 0 || f != math.Trunc(f) || f > mostSymbols {
		return 0, bad(at, "%s: found %v, expected a whole number up to %d", key, v, mostSymbols)
	}
	return int(f), nil
}

// number reads a number of JSON.
func number(v chat.Value) (float64, bool) {
	if _, ok := v.(string); ok || v == nil {
		return 0, false
	}
	text, err := jinja.FormatJSON(v)
	if err != nil {
		return 0, false
	}
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil
}

func (r *schemaReader) array(at string, s *chat.Dict) (node, error) {
	least, err := count(at, s, "minItems", 0)
	if err != nil {
		return nil, err
	}
	most, err := count(at, s, "maxItems", -1)
	if err != nil {
		return nil, err
	}
	if most >= 0 && most < least {
		return nil, bad(at, "maxItems %d is less than minItems %d", most, least)
	}
	var item node = ref(ruleValue)
	items, ok := s.Get("items")
	if ok && items != false {
		if item, err = r.value(at+"/items", items); err != nil {
			return nil, err
		}
	}
	v, _ := s.Get("prefixItems")
	if v == nil {
		if items == false {
			most = 0
		}
		if most == 0 && least > 0 {
			return nil, bad(at, "no value is possible")
		}
		return listOf("[", item, "]", least, most), nil
	}
	list, ok := v.(*chat.List)
	if !ok || len(list.Items) == 0 {
		return nil, bad(at, "prefixItems: expected a list of schemas")
	}
	if least > len(list.Items) || most >= 0 && most < len(list.Items) {
		return nil, bad(at, "prefixItems with another minItems or maxItems than their number is not supported")
	}
	out := seq{literal("["), space}
	for i, sub := range list.Items {
		n, err := r.value(fmt.Sprintf("%s/prefixItems/%d", at, i), sub)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, space, literal(","), space)
		}
		out = append(out, n)
	}
	return append(out, space, literal("]")), nil // and no more than these
}

// object is the properties in their order, those that are not required or left out.
func (r *schemaReader) object(at string, s *chat.Dict) (node, error) {
	v, _ := s.Get("properties")
	props, _ := v.(*chat.Dict)
	if v != nil && props == nil {
		return nil, bad(at, "properties: expected an object")
	}
	required := requiredOf(s)
	if props == nil || len(props.Keys()) == 0 {
		return r.openObject(at, s, required)
	}
	keys := props.Keys()
	for name := range required {
		if !slices.Contains(keys, name) {
			return nil, bad(at, "required: %q is none of the properties", name)
		}
	}
	r.count++
	name := fmt.Sprintf("%s object %d", at, r.count)
	members := make([]node, len(keys))
	for i, key := range keys {
		sub, _ := props.Get(key)
		n, err := r.value(at+"/properties/"+key, sub)
		if err != nil {
			return nil, err
		}
		quoted, err := jinja.FormatJSON(key)
		if err != nil {
			return nil, bad(at, "%v", err)
		}
		members[i] = seq{literal(quoted + ":"), space, n}
	}
	// The rest of an object from property i on, where others came before, or none.
	rest := func(i int, first bool) ref { return ref(fmt.Sprintf("%s %d %t", name, i, first)) }
	for i := range keys {
		for _, first := range []bool{true, false} {
			with := seq{members[i], rest(i+1, false)}
			if !first {
				with = seq{space, literal(","), space, members[i], rest(i+1, false)}
			}
			if required[keys[i]] {
				r.rules[string(rest(i, first))] = with
			} else {
				r.rules[string(rest(i, first))] = alt{with, rest(i+1, first)}
			}
		}
	}
	r.rules[string(rest(len(keys), true))] = seq{literal("}")}
	r.rules[string(rest(len(keys), false))] = seq{space, literal("}")}
	return seq{literal("{"), space, rest(0, true)}, nil
}

// openObject is an object whose properties have no names: a map, or nothing.
func (r *schemaReader) openObject(at string, s *chat.Dict, required map[string]bool) (node, error) {
	for name := range required {
		return nil, bad(at, "required: %q is none of the properties", name)
	}
	more, ok := s.Get("additionalProperties")
	if !ok {
		more = true
	}
	if more == false {
		return seq{literal("{"), space, literal("}")}, nil
	}
	n, err := r.value(at+"/additionalProperties", more)
	if err != nil {
		return nil, err
	}
	return listOf("{", seq{ref(ruleText), literal(":"), space, n}, "}", 0, -1), nil
}
