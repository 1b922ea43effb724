package grammar

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lentil-lm/lentil/chat/jinja"
	"github.com/lentil-lm/lentil/tokenizer"
)

// vocabulary has all bytes, and pieces that cross the borders of JSON's parts.
func vocabulary(t testing.TB) *Vocabulary {
	t.Helper()
	v := &Vocabulary{bytes: []string{""}, ends: []int32{0}, begins: []bool{true}}
	add := func(s string) {
		v.sorted = append(v.sorted, int32(len(v.bytes)))
		v.bytes = append(v.bytes, s)
		v.begins = append(v.begins, true)
	}
	for b := range 256 {
		add(string([]byte{byte(b)}))
	}
	for _, s := range []string{`":`, `":"`, `", "`, `"}`, `{"`, `",`, "true", "tru", `é`, "\xc3", "\xe2\x82", "€", "12", "0.", "ab", " \n", "]}", `\"`, "null}", "-1", "e5"} {
		add(s)
	}
	v.special = []int32{int32(len(v.bytes))}
	v.bytes, v.begins = append(v.bytes, "<call>"), append(v.begins, true)
	slices.SortFunc(v.sorted, func(a, b int32) int { return strings.Compare(v.bytes[a], v.bytes[b]) })
	return v
}

// write lets a random model answer, which likes to end: it gives what it wrote, if it came to an end.
func write(t *testing.T, g *Grammar, r *rand.Rand, most int) (text string, ended bool) {
	t.Helper()
	s := g.Start()
	var b strings.Builder
	for range most {
		logits := make([]float32, len(g.vocab.bytes))
		for i := range logits {
			logits[i] = r.Float32()
		}
		for _, like := range []string{`"`, "}", "]", ","} { // to come to an end
			for id, s := range g.vocab.bytes {
				if s == like {
					logits[id] += r.Float32()
				}
			}
		}
		logits[0] += 0.5
		if err := s.Mask(logits, -1); err != nil {
			t.Fatalf("after %q: %v", b.String(), err)
		}
		best := int32(0)
		for id, v := range logits {
			if v > logits[best] {
				best = int32(id)
			}
		}
		if logits[best] < 0 {
			t.Fatalf("after %q nothing may come", b.String())
		}
		if err := s.Accept(best); err != nil {
			t.Fatal(err)
		}
		if best == 0 {
			return b.String(), true
		}
		b.WriteString(g.vocab.bytes[best])
	}
	return b.String(), s.Done()
}

// schema compiles a schema.
func schema(t testing.TB, text string) *Grammar {
	t.Helper()
	v, err := jinja.ParseJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Schema(v)
	if err != nil {
		t.Fatal(err)
	}
	g, err := s.Compile(vocabulary(t))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// accepts reports whether a text is one of a grammar, byte by byte.
func accepts(t testing.TB, g *Grammar, text string) bool {
	t.Helper()
	p, err := g.walk(g.start, text)
	if err != nil {
		t.Fatal(err)
	}
	return p != nil && p.done
}

var schemas = []string{
	`{"type": "object", "properties": {"name": {"type": "string", "minLength": 2, "maxLength": 5}, "age": {"type": "integer", "minimum": 17, "maximum": 230}}, "required": ["name", "age"]}`,
	`{"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}, "c": {"enum": ["x", 1, [2]]}}, "additionalProperties": false}`,
	`{"type": "array", "items": {"type": "number", "minimum": -3, "maximum": 12}, "minItems": 2, "maxItems": 4}`,
	`{"type": ["integer", "string"], "minimum": -12, "exclusiveMaximum": 1005, "pattern": "^a[b-d\"]{1,2}\\d+$"}`,
	`{"anyOf": [{"type": "string", "format": "date"}, {"const": {"k": [1.5]}}]}`,
	`{"$defs": {"tree": {"type": "object", "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}}, "required": ["v"]}}, "$ref": "#/$defs/tree"}`,
	`{"oneOf": [{"type": "object", "properties": {"t": {"const": "a"}, "x": {"type": "integer"}}, "required": ["t", "x"]}, {"type": "object", "properties": {"t": {"const": "b"}}, "required": ["t"]}]}`,
	`{"type": "object", "additionalProperties": {"type": "string", "format": "uuid"}}`,
	`{"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer", "exclusiveMinimum": 99}], "items": false}`,
	`{"type": "string", "pattern": "x|y"}`,
	`true`,
}

// TestSchemas: whatever a random model writes, if it comes to an end, is JSON that a validator takes.
func TestSchemas(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	runs := 60
	if testing.Short() {
		runs = 15
	}
	for _, text := range schemas {
		g := schema(t, text)
		var want any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		ended := 0
		for range runs {
			answer, ok := write(t, g, r, 400)
			if !ok {
				continue
			}
			ended++
			var v any
			if err := json.Unmarshal([]byte(answer), &v); err != nil || !utf8.ValidString(answer) {
				t.Errorf("%s: %q is no JSON: %v", text, answer, err)
			} else if why := invalid(want, want, v); why != "" {
				t.Errorf("%s: %s: %s", text, answer, why)
			}
		}
		if ended < runs/4 {
			t.Errorf("%s: %d of %d answers came to an end", text, ended, runs)
		}
	}
}

// TestAccepts: texts that are in, and texts that are not.
func TestAccepts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		schema  string
		in, out []string
	}{
		{schemas[0], []string{`{"name":"Zoë", "age": 17}`, "{\n  \"name\": \"ab\",\n  \"age\": 230\n}"}, []string{`{"name":"A","age":17}`, `{"name":"abc","age":231}`, `{"name":"abc","age":16}`, `{"name":"abc"}`, `{"age":20,"name":"abc"}`, `{"name":"\ud800x","age":20}`}},
		{schemas[1], []string{`{}`, `{"a":true}`, `{"b":null,"c":[2]}`, `{"a":false, "c":"x"}`}, []string{`{"d":1}`, `{"c":2}`, `{,"b":null}`, `{"a":true,}`}},
		{schemas[2], []string{`[-3,12]`, `[11.999, -2.5, 0]`, `[-0.5,0.25]`}, []string{`[1]`, `[13,1]`, `[12.1,1]`, `[-3.1,1]`, `[01,1]`}},
		{schemas[3], []string{`-12`, `0`, `1004`, `"abb1"`, `"a\"7"`}, []string{`-13`, `1005`, `"a1"`, `"abb1x"`}},
		{`{"type": "integer"}`, []string{"0", "-7", "123456"}, []string{"1.0", "00", "--1", ""}},
		{`{"type": "number", "minimum": 0, "maximum": 1}`, []string{"0", "0.123", "1"}, []string{"1.5", "-0.1", "2"}},
	} {
		g := schema(t, c.schema)
		for _, s := range c.in {
			if !accepts(t, g, s) {
				t.Errorf("%s refuses %s", c.schema, s)
			}
		}
		for _, s := range c.out {
			if accepts(t, g, s) {
				t.Errorf("%s takes %s", c.schema, s)
			}
		}
	}
}

// TestRefused: what cannot be promised is named.
func TestRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"type": "object", "minProperties": 1}`: "minProperties", `{"type": "integer", "multipleOf": 3}`: "multipleOf",
		`{"type": "array", "uniqueItems": true}`: "uniqueItems", `{"oneOf": [{"type": "integer"}, {"type": "number"}]}`: "oneOf",
		`{"$ref": "other.json"}`: "$ref", `{"$ref": "#/$defs/x"}`: "$defs", `{"type": "strng"}`: "strng", `5`: "schema",
		`{"type": "string", "pattern": "(?=a)"}`: "pattern", `{"properties": {"a": false}}`: "#/properties/a", `{"type": "array", "maxItems": 1, "minItems": 2}`: "maxItems",
		`{"type": "object", "required": ["q"]}`: "q",
	} {
		v, err := jinja.ParseJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if text == `{"properties": {"a": false}}` {
			want = "/properties/a"
		}
		if _, err := Schema(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	v, _ := jinja.ParseJSON([]byte(`{"$defs": {"x": {"type": "object", "properties": {"x": {"$ref": "#/$defs/x"}}, "required": ["x"]}}, "$ref": "#/$defs/x"}`))
	s, err := Schema(v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Compile(vocabulary(t)); err == nil || !strings.Contains(err.Error(), "within itself") {
		t.Errorf("a value without end: %v", err)
	}
}

func TestGBNF(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		grammar string
		in, out []string
		err     string
	}{
		{`root ::= "yes" | "no"`, []string{"yes", "no"}, []string{"", "yesno", "y"}, ""},
		{"root ::= item (\",\" item)* # a list\nitem ::= [a-z]+ |\n  [^a-z,\\n]{2,3}", []string{"a,bc", "ÄÖ", "12€,x"}, []string{"a,", "1", "1234", ""}, ""},
		{"root ::= \"a\"\n | \"b\" x?\nx ::= \"\\u00e9\" .", []string{"a", "b", "bé€"}, []string{"bé", "c"}, ""},
		{`root ::= "(" root ")" | ""`, []string{"", "(())"}, []string{"(", "())"}, ""},
		{`root ::= root "a" | "a"`, nil, nil, "begins with itself"},
		{`root ::= ("a"?)*`, nil, nil, "may be empty"},
		{`root ::= x`, nil, nil, `no rule "x"`},
		{`roo ::= "x"`, nil, nil, "no rule root"},
		{`root ::= "x`, nil, nil, "line 1"},
		{`root ::= [b-a]`, nil, nil, "empty"},
		{`root ::= "a"{999999}`, nil, nil, "repetition"},
	} {
		s, err := GBNF(c.grammar)
		var g *Grammar
		if err == nil {
			g, err = s.Compile(vocabulary(t))
		}
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", c.grammar, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.grammar, err)
			continue
		}
		for _, s := range c.in {
			if !accepts(t, g, s) {
				t.Errorf("%s refuses %q", c.grammar, s)
			}
		}
		for _, s := range c.out {
			if accepts(t, g, s) {
				t.Errorf("%s takes %q", c.grammar, s)
			}
		}
	}
}

// TestSpecial: a token of structure comes where its text is all that can, and not within a string.
func TestSpecial(t *testing.T) {
	t.Parallel()
	v := vocabulary(t)
	s := JSON().Within("<call>", "")
	g, err := s.Compile(v)
	if err != nil {
		t.Fatal(err)
	}
	may := func(s *State) bool {
		logits := make([]float32, len(v.bytes))
		if err := s.Mask(logits, -1); err != nil {
			t.Fatal(err)
		}
		return logits[v.special[0]] == 0
	}
	state := g.Start()
	if !may(state) {
		t.Error("the token may not begin the call")
	}
	if err := state.Accept(v.special[0]); err != nil {
		t.Fatal(err)
	}
	for _, b := range `{"` {
		if err := state.Accept(int32(b) + 1); err != nil {
			t.Fatal(err)
		}
	}
	if may(state) {
		t.Error("the token may come within a string")
	}
}

// TestEncodings: ranges of characters are those, and nothing else.
func TestEncodings(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		lo, hi := r.Int32N(0x11000), int32(0)
		if hi = lo + r.Int32N(0x3000); r.IntN(4) == 0 {
			hi = min(lo+r.Int32N(0x100000), 0x10ffff)
		}
		in := func(c rune) bool {
			b, ok := utf8.AppendRune(nil, c), false
			encodings(lo, hi, func(lo, hi []byte) {
				same := len(lo) == len(b)
				for i := 0; same && i < len(b); i++ {
					same = lo[i] <= b[i] && b[i] <= hi[i]
				}
				ok = ok || same
			})
			return ok
		}
		for _, c := range []rune{lo - 1, lo, hi, hi + 1, (lo + hi) / 2, lo + 64, hi - 64, 0xd7ff, 0xe000, 0x7f, 0x80} {
			if !utf8.ValidRune(c) {
				continue
			}
			if got, want := in(c), c >= lo && c <= hi; got != want {
				t.Fatalf("%x-%x: %x is in: %t", lo, hi, c, got)
			}
		}
	}
}

// TestTokenizer: the bytes of a real tokenizer's tokens give its texts.
func TestTokenizer(t *testing.T) {
	t.Parallel()
	tok, err := tokenizer.Train(func(yield func(string) bool) { yield("a small text, with some words in it: € and é") }, tokenizer.TrainOptions{VocabSize: 300})
	if err != nil {
		t.Fatal(err)
	}
	bytes, _ := tok.Bytes()
	const text = `{"name": "Zoë €"}`
	ids, err := tok.Encode(text, false)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, id := range ids {
		got += string(bytes[id])
	}
	if got != text {
		t.Errorf("%q, want %q", got, text)
	}
}

// BenchmarkMask is a mask of a string, where most tokens may come, without what is remembered of it.
func BenchmarkMask(b *testing.B) {
	g := schema(b, `{"type": "string"}`)
	p, _ := g.walk(g.start, `"`)
	for b.Loop() {
		if err := g.fill(p); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzGBNF: no grammar takes long, or panics.
func FuzzGBNF(f *testing.F) {
	f.Add("root ::= \"a\" | b*\nb ::= [^x]{1,3}")
	f.Fuzz(func(t *testing.T, text string) {
		began := time.Now()
		s, err := GBNF(text)
		if err != nil {
			return
		}
		g, err := s.Compile(vocabulary(t))
		if err != nil {
			return
		}
		logits := make([]float32, len(g.vocab.bytes))
		g.Start().Mask(logits, -1) // which may fail
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("%s", d)
		}
	})
}

// FuzzSchema: no schema takes long, or panics.
func FuzzSchema(f *testing.F) {
	for _, s := range schemas {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := jinja.ParseJSON(text)
		if err != nil {
			return
		}
		s, err := Schema(v)
		if err != nil {
			return
		}
		if g, err := s.Compile(vocabulary(t)); err == nil {
			g.Start().Mask(make([]float32, len(g.vocab.bytes)), -1)
		}
	})
}

// invalid says why a value is not one of a schema, "" if it is: a validator of its own, of what the schemas above use.
func invalid(root, schema, v any) string {
	s, ok := schema.(map[string]any)
	if !ok {
		return ""
	}
	if p, ok := s["$ref"].(string); ok {
		at := root
		for _, k := range strings.Split(strings.TrimPrefix(p, "#/"), "/") {
			at = at.(map[string]any)[k]
		}
		return invalid(root, at, v)
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		if list, ok := s[key].([]any); ok {
			n := 0
			for _, sub := range list {
				if invalid(root, sub, v) == "" {
					n++
				}
			}
			if n == 0 || key == "oneOf" && n != 1 {
				return fmt.Sprintf("%d of %s", n, key)
			}
		}
	}
	same := func(a, b any) bool {
		x, _ := json.Marshal(a)
		y, _ := json.Marshal(b)
		return string(x) == string(y)
	}
	if c, ok := s["const"]; ok && !same(c, v) {
		return "const"
	}
	if list, ok := s["enum"].([]any); ok && !slices.ContainsFunc(list, func(c any) bool { return same(c, v) }) {
		return "enum"
	}
	if !typeFits(s["type"], v) {
		return fmt.Sprintf("type %T", v)
	}
	get := func(key string) (float64, bool) { f, ok := s[key].(float64); return f, ok }
	switch v := v.(type) {
	case float64:
		if m, ok := get("minimum"); ok && v < m {
			return "minimum"
		}
		if m, ok := get("maximum"); ok && v > m {
			return "maximum"
		}
		if m, ok := get("exclusiveMinimum"); ok && v <= m {
			return "exclusiveMinimum"
		}
		if m, ok := get("exclusiveMaximum"); ok && v >= m {
			return "exclusiveMaximum"
		}
	case string:
		n := float64(utf8.RuneCountInString(v))
		if m, ok := get("minLength"); ok && n < m {
			return "minLength"
		}
		if m, ok := get("maxLength"); ok && n > m {
			return "maxLength"
		}
		if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			return "pattern"
		}
		if s["format"] == "date" {
			if _, err := time.Parse(time.DateOnly, v); err != nil {
				return err.Error()
			}
		}
	case []any:
		n := float64(len(v))
		if m, ok := get("minItems"); ok && n < m {
			return "minItems"
		}
		if m, ok := get("maxItems"); ok && n > m {
			return "maxItems"
		}
		prefix, _ := s["prefixItems"].([]any)
		for i, x := range v {
			sub := s["items"]
			if i < len(prefix) {
				sub = prefix[i]
			} else if sub == false {
				return "items"
			}
			if why := invalid(root, sub, x); why != "" {
				return "items: " + why
			}
		}
	case map[string]any:
		props, _ := s["properties"].(map[string]any)
		required, _ := s["required"].([]any)
		for _, r := range required {
			if _, ok := v[r.(string)]; !ok {
				return fmt.Sprint("required ", r)
			}
		}
		for k, x := range v {
			sub, ok := props[k]
			if !ok {
				if sub = s["additionalProperties"]; sub == false {
					return "additional " + k
				}
			}
			if why := invalid(root, sub, x); why != "" {
				return k + ": " + why
			}
		}
	}
	return ""
}

func typeFits(types, v any) bool {
	if list, ok := types.([]any); ok {
		return slices.ContainsFunc(list, func(t any) bool { return typeFits(t, v) })
	}
	switch x := v.(type) {
	case nil:
		return types == nil || types == "null"
	case bool:
		return types == nil || types == "boolean"
	case string:
		return types == nil || types == "string"
	case float64:
		return types == nil || types == "number" || types == "integer" && x == float64(int64(x))
	case []any:
		return types == nil || types == "array"
	}
	return types == nil || types == "object"
}
