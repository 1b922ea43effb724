// Package yaml reads YAML as Python's tools do that share the files with Lentil:
// plain scalars mean what they mean to PyYAML's SafeLoader as mlx-lm sets it up
// (yes, no, on and off are booleans, 1e-5 is a number), and mappings keep the
// order of their keys. Texts may be hostile: their size, the number of values,
// aliases included, and the nesting are bounded, and tags are refused.
package yaml

import (
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/lentil-lm/lentil/chat/jinja"
)

// MaxBytes is the longest text that Parse reads.
const MaxBytes = 1 << 20

const (
	maxNodes = 100_000 // aliases counted as often as they are used
	maxDepth = 100     // mappings and lists within each other

	// Bounds of what the parser is given, whose time and memory grow with the square of each.
	maxTokens  = 64_000
	maxNesting = 4 * maxDepth // as the tokens tell it, which is never less than the depth of the values
)

// An Entry is one top-level key.
type Entry struct {
	Key   string
	Value jinja.Value // nil, bool, int64, *big.Int, float64, string, *jinja.List or *jinja.Dict
	Line  int         // from 1
}

// Parse gives the top-level keys of a text, in order. An error begins with a line
// number and a colon.
func Parse(text []byte) (entries []Entry, err error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("1: %d bytes is too large, the limit is %d", len(text), MaxBytes)
	}
	tokens := lexer.Tokenize(string(text))
	if err := checkTokens(tokens); err != nil {
		return nil, err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, located(err)
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil, nil
	}
	if len(file.Docs) > 1 {
		at := line(file.Docs[1].Body)
		if start := file.Docs[1].Start; start != nil && file.Docs[1].Body == nil {
			at = start.Position.Line
		}
		return nil, fmt.Errorf("%d: a second document; expected one", at)
	}
	body := file.Docs[0].Body
	if _, ok := body.(*ast.NullNode); ok {
		return nil, nil
	}
	pairs, ok := mapping(body)
	if !ok {
		return nil, fmt.Errorf("%d: expected lines of the form key: value", line(body))
	}
	r := reader{anchors: map[string]jinja.Value{}}
	seen := map[string]int{}
	for _, pair := range pairs {
		key := pair.Key.GetToken().Value
		if at, ok := seen[key]; ok {
			return nil, fmt.Errorf("%d: %s is already set in line %d", line(pair.Key), key, at)
		}
		seen[key] = line(pair.Key)
		value, err := r.value(pair.Value, 1)
		if err != nil {
			return nil, err
		}
		entries = append(entries, Entry{key, value, seen[key]})
	}
	return entries, nil
}

// checkTokens refuses what the parser would take too long or too much memory for.
func checkTokens(tokens token.Tokens) error {
	var columns []int // of the block mappings and lists that are open, from the outside
	brackets, last := 0, 0
	for i, tok := range tokens {
		at := tok.Position.Line
		if i == maxTokens {
			return fmt.Errorf("%d: too many words and marks, the limit is %d", at, maxTokens)
		}
		switch tok.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets = max(brackets-1, 0)
		}
		if entry := tok.Type == token.SequenceEntryType || tok.Type == token.MappingKeyType; brackets == 0 && (entry || at != last) {
			for len(columns) > 0 && columns[len(columns)-1] >= tok.Position.Column {
				columns = columns[:len(columns)-1]
			}
			columns = append(columns, tok.Position.Column)
		}
		if len(columns)+brackets > maxNesting {
			return fmt.Errorf("%d: nested more than %d levels deep", at, maxDepth)
		}
		last = at
	}
	return nil
}

// located puts the line number in front of the parser's message.
func located(err error) error {
	var positioned interface {
		GetMessage() string
		GetToken() *token.Token
	}
	if errors.As(err, &positioned) {
		if tok := positioned.GetToken(); tok != nil && tok.Position != nil {
			return fmt.Errorf("%d: %s", tok.Position.Line, positioned.GetMessage())
		}
	}
	return fmt.Errorf("1: %w", err)
}

func line(node ast.Node) int {
	if node == nil {
		return 1
	}
	if tok := node.GetToken(); tok != nil && tok.Position != nil {
		return tok.Position.Line
	}
	return 1
}

// mapping gives the pairs of a mapping; one of a single pair is a node type of its own.
func mapping(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

type reader struct {
	anchors map[string]jinja.Value
	nodes   int
}

func (r *reader) value(node ast.Node, depth int) (jinja.Value, error) {
	if r.nodes++; r.nodes > maxNodes {
		return nil, fmt.Errorf("%d: too many values, the limit is %d", line(node), maxNodes)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("%d: nested more than %d levels deep", line(node), maxDepth)
	}
	if pairs, ok := mapping(node); ok {
		return r.dict(pairs, depth)
	}
	switch n := node.(type) {
	case *ast.SequenceNode:
		return r.list(n, depth)
	case *ast.AnchorNode:
		value, err := r.value(n.Value, depth)
		r.anchors[n.Name.GetToken().Value] = value
		return value, err
	case *ast.AliasNode:
		return r.alias(n, depth)
	case *ast.TagNode:
		return nil, fmt.Errorf("%d: the tag %s is not supported", line(node), n.Start.Value)
	}
	return scalar(node)
}

// scalar reads a single value.
func scalar(node ast.Node) (jinja.Value, error) {
	switch n := node.(type) {
	case nil, *ast.NullNode:
		return nil, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.IntegerNode:
		return integer(n.Value), nil
	case *ast.FloatNode:
		return n.Value, nil
	case *ast.InfinityNode:
		return n.Value, nil
	case *ast.NanNode:
		return n.GetValue(), nil
	case *ast.StringNode:
		if n.Token.Type == token.StringType {
			return plainScalar(n.Value), nil
		}
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	}
	return nil, fmt.Errorf("%d: cannot read %q", line(node), node.String())
}

// integer takes what the parser has for whole numbers: int64 or uint64.
func integer(value any) jinja.Value {
	if n, ok := value.(uint64); ok {
		if n > 1<<63-1 {
			return new(big.Int).SetUint64(n)
		}
		return int64(n)
	}
	return value
}

func (r *reader) list(n *ast.SequenceNode, depth int) (jinja.Value, error) {
	list := jinja.NewList()
	for _, item := range n.Values {
		value, err := r.value(item, depth+1)
		if err != nil {
			return nil, err
		}
		list.Items = append(list.Items, value)
	}
	return list, nil
}

func (r *reader) dict(pairs []*ast.MappingValueNode, depth int) (jinja.Value, error) {
	out := jinja.NewDict()
	for _, pair := range pairs {
		value, err := r.value(pair.Value, depth+1)
		if err != nil {
			return nil, err
		}
		if !pair.Key.IsMergeKey() {
			out.Set(pair.Key.GetToken().Value, value)
			continue
		}
		merged, ok := value.(*jinja.Dict)
		if !ok {
			return nil, fmt.Errorf("%d: << needs a mapping", line(pair.Key))
		}
		for _, key := range merged.Keys() {
			if _, there := out.Get(key); !there {
				value, _ := merged.Get(key)
				out.Set(key, value)
			}
		}
	}
	return out, nil
}

func (r *reader) alias(n *ast.AliasNode, depth int) (jinja.Value, error) {
	name := n.Value.GetToken().Value
	value, ok := r.anchors[name]
	if !ok {
		return nil, fmt.Errorf("%d: there is no &%s before *%s", line(n), name, name)
	}
	nodes, deep := size(value)
	if depth+deep > maxDepth {
		return nil, fmt.Errorf("%d: nested more than %d levels deep", line(n), maxDepth)
	}
	r.nodes += nodes
	return value, nil
}

// size counts the values in a tree and its levels.
func size(value jinja.Value) (nodes, depth int) {
	var inside []jinja.Value
	switch v := value.(type) {
	case *jinja.List:
		inside = v.Items
	case *jinja.Dict:
		for _, key := range v.Keys() {
			value, _ := v.Get(key)
			inside = append(inside, value)
		}
	}
	nodes = 1
	for _, v := range inside {
		n, d := size(v)
		nodes, depth = nodes+n, max(depth, d+1)
	}
	return nodes, depth
}

// floatForm is what counts as a float beyond YAML's own forms: an exponent needs no point before it.
var floatForm = regexp.MustCompile(`^[-+]?([0-9][0-9_]*)(\.[0-9_]*)?[eE][-+]?[0-9]+$`)

func plainScalar(text string) jinja.Value {
	switch text {
	case "yes", "Yes", "YES", "on", "On", "ON":
		return true
	case "no", "No", "NO", "off", "Off", "OFF":
		return false
	}
	if floatForm.MatchString(text) {
		if f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64); err == nil {
			return f
		}
	}
	return text
}
