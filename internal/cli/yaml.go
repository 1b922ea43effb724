package cli

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on a config file, so that a wrong file is refused instead of filling memory.
const (
	maxConfigBytes = 1 << 20
	maxConfigNodes = 100_000 // aliases counted as often as they are used
)

// A setting is one top-level key of a YAML config.
type setting struct {
	key   string
	value any // nil, bool, int64, uint64, float64, string, []any or dict
	line  int
}

// readYAML reads the top-level keys of a YAML config, in order. Plain scalars mean what they mean to
// PyYAML's SafeLoader as mlx-lm sets it up: yes, no, on and off are booleans, and 1e-5 is a number.
func readYAML(path string) ([]setting, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, usage("config: %w", err)
	}
	if info.Size() > maxConfigBytes {
		return nil, usage("%s: %d bytes is too large for a config file", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usage("config: %w", err)
	}
	settings, err := parseYAML(text)
	if err != nil {
		return nil, usage("%s:%w", path, err)
	}
	return settings, nil
}

// parseYAML is readYAML on text; its errors begin with a line number and a colon.
func parseYAML(text []byte) (settings []setting, err error) {
	file, err := parser.ParseBytes(text, 0)
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
		return nil, fmt.Errorf("%d: a second document; a config is one", at)
	}
	reader := yamlReader{anchors: map[string]any{}}
	body := file.Docs[0].Body
	if _, ok := body.(*ast.NullNode); ok {
		return nil, nil
	}
	pairs, ok := mapping(body)
	if !ok {
		return nil, fmt.Errorf("%d: expected lines of the form key: value", line(body))
	}
	seen := map[string]int{}
	for _, pair := range pairs {
		key := pair.Key.GetToken().Value
		if at, ok := seen[key]; ok {
			return nil, fmt.Errorf("%d: %s is already set in line %d", line(pair.Key), key, at)
		}
		seen[key] = line(pair.Key)
		value, err := reader.value(pair.Value)
		if err != nil {
			return nil, err
		}
		settings = append(settings, setting{key, value, seen[key]})
	}
	return settings, nil
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

type yamlReader struct {
	anchors map[string]any
	nodes   int
}

func (r *yamlReader) value(node ast.Node) (any, error) {
	if r.nodes++; r.nodes > maxConfigNodes {
		return nil, fmt.Errorf("%d: too many values for a config file", line(node))
	}
	if pairs, ok := mapping(node); ok {
		return r.dict(pairs)
	}
	switch n := node.(type) {
	case nil, *ast.NullNode:
		return nil, nil
	case *ast.BoolNode:
		return n.Value, nil
	case *ast.IntegerNode:
		return n.Value, nil
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
	case *ast.TagNode:
		return nil, fmt.Errorf("%d: the tag %s is not supported", line(node), n.Start.Value)
	case *ast.SequenceNode:
		return r.list(n)
	case *ast.AnchorNode:
		value, err := r.value(n.Value)
		r.anchors[n.Name.GetToken().Value] = value
		return value, err
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		value, ok := r.anchors[name]
		if !ok {
			return nil, fmt.Errorf("%d: there is no &%s before *%s", line(node), name, name)
		}
		r.nodes += size(value)
		return value, nil
	}
	return nil, fmt.Errorf("%d: cannot read %q", line(node), node.String())
}

func (r *yamlReader) list(n *ast.SequenceNode) (any, error) {
	items := []any{}
	for _, item := range n.Values {
		value, err := r.value(item)
		if err != nil {
			return nil, err
		}
		items = append(items, value)
	}
	return items, nil
}

func (r *yamlReader) dict(pairs []*ast.MappingValueNode) (any, error) {
	out := dict{}
	for _, pair := range pairs {
		value, err := r.value(pair.Value)
		if err != nil {
			return nil, err
		}
		if pair.Key.IsMergeKey() {
			if merged, ok := value.(dict); ok {
				for _, m := range merged {
					if _, there := out.get(m.key); !there {
						out.set(m.key, m.value)
					}
				}
				continue
			}
			return nil, fmt.Errorf("%d: << needs a mapping", line(pair.Key))
		}
		out.set(pair.Key.GetToken().Value, value)
	}
	return out, nil
}

// size counts the values in a tree.
func size(value any) int {
	n := 1
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			n += size(item)
		}
	case dict:
		for _, m := range v {
			n += size(m.value)
		}
	}
	return n
}

// floatForm is what counts as a float beyond YAML's own forms: an exponent needs no point before it.
var floatForm = regexp.MustCompile(`^[-+]?([0-9][0-9_]*)(\.[0-9_]*)?[eE][-+]?[0-9]+$`)

func plainScalar(text string) any {
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
