package grammar

// What JSON is made of. Characters are written as they are, or escaped; escapes of surrogates are left out, so that each
// character is one.
const (
	ruleSpace  = "space"
	ruleValue  = "value"
	ruleObject = "object"
	ruleArray  = "array"
	ruleChar   = "char"
	ruleText   = "string"
	ruleNumber = "number"
)

const (
	mostSpaces   = 16 // of an indented line
	mostDigits   = 15 // of a number, which float64 holds
	mostFraction = 15
)

var (
	digit    = class{{'0', '9'}}
	nonzero  = class{{'1', '9'}}
	hexDigit = class{{'0', '9'}, {'a', 'f'}, {'A', 'F'}}
	space    = ref(ruleSpace)
	text     = seq{literal(`"`), repeat{ref(ruleChar), 0, -1}, literal(`"`)}
	whole    = alt{literal("0"), seq{nonzero, repeat{digit, 0, mostDigits - 1}}}
	fraction = seq{literal("."), repeat{digit, 1, mostFraction}}
	exponent = seq{class{{'e', 'e'}, {'E', 'E'}}, repeat{class{{'+', '+'}, {'-', '-'}}, 0, 1}, repeat{digit, 1, 2}}
	integer  = seq{repeat{literal("-"), 0, 1}, whole}
	null     = literal("null")
	boolean  = alt{literal("true"), literal("false")}
)

// jsonRules are the rules that every source of JSON has.
func jsonRules() map[string]node {
	member := seq{ref(ruleText), literal(":"), space, ref(ruleValue)}
	return map[string]node{
		ruleSpace: alt{literal(""), literal(" "), seq{literal("\n"), repeat{class{{' ', ' '}, {'\t', '\t'}}, 0, mostSpaces}}},
		ruleChar: alt{
			class{{0x20, '!'}, {'#', '['}, {']', 0x10ffff}},
			seq{literal(`\`), class{{'"', '"'}, {'\\', '\\'}, {'/', '/'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}}},
			seq{literal(`\u`), alt{
				seq{class{{'0', '9'}, {'a', 'c'}, {'A', 'C'}, {'e', 'f'}, {'E', 'F'}}, hexDigit, hexDigit, hexDigit},
				seq{class{{'d', 'd'}, {'D', 'D'}}, class{{'0', '7'}}, hexDigit, hexDigit},
			}},
		},
		ruleText:   text,
		ruleNumber: seq{integer, repeat{fraction, 0, 1}, repeat{exponent, 0, 1}},
		ruleValue:  alt{ref(ruleObject), ref(ruleArray), ref(ruleText), ref(ruleNumber), boolean, null},
		ruleObject: listOf("{", member, "}", 0, -1),
		ruleArray:  listOf("[", ref(ruleValue), "]", 0, -1),
	}
}

// listOf is items between brackets, with commas.
func listOf(open string, item node, end string, least, most int) node {
	begin, done := seq{literal(open), space}, seq{space, literal(end)}
	if most == 0 {
		return seq{literal(open), space, literal(end)}
	}
	more := seq{space, literal(","), space, item}
	rest := most
	if most > 0 {
		rest = most - 1
	}
	items := seq{begin, item, repeat{more, max(least-1, 0), rest}, done}
	if least > 0 {
		return items
	}
	return alt{items, seq{literal(open), space, literal(end)}}
}

// JSON is every JSON object: what "json_object" asks for.
func JSON() *Source { return &Source{ref(ruleObject), jsonRules()} }
