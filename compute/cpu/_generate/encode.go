package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// form is one shape of an instruction. Its fields say, operand by operand,
// where the operand's numbers go in the word:
//
//	d n m a  register number at bit 0, 5, 16 or 10
//	e        register at bit 16 and a lane of 32 bits, as multiplications take it
//	l        register at bit 5 and a lane of 32 bits, as dup takes it
//	< >      shift to the left (added) or right (subtracted) at bit 16
//	i        eight bits, three at bit 16 and five at bit 5
//	b        memory: register at bit 5, nothing else
//	q p P    memory with an offset: in units of the form's size at bit 10 (ldr),
//	         at bit 15 (ldp), or after use and in bytes at bit 12
type form struct {
	word   uint32
	fields string
	size   int
}

// forms lists what the kernels use: words from the Arm Architecture Reference
// Manual (DDI 0487), section C7.2.
var forms = map[string]form{
	"fadd v.4s v.4s v.4s":     {0x4e20d400, "dnm", 0},
	"fsub v.4s v.4s v.4s":     {0x4ea0d400, "dnm", 0},
	"fmul v.4s v.4s v.4s":     {0x6e20dc00, "dnm", 0},
	"fdiv v.4s v.4s v.4s":     {0x6e20fc00, "dnm", 0},
	"fmla v.4s v.4s v.4s":     {0x4e20cc00, "dnm", 0},
	"fmls v.4s v.4s v.4s":     {0x4ea0cc00, "dnm", 0},
	"fmla v.4s v.4s v.s[]":    {0x4f801000, "dne", 0},
	"fmul v.4s v.4s v.s[]":    {0x4f809000, "dne", 0},
	"fmax v.4s v.4s v.4s":     {0x4e20f400, "dnm", 0},
	"fmin v.4s v.4s v.4s":     {0x4ea0f400, "dnm", 0},
	"fcmgt v.4s v.4s v.4s":    {0x6ea0e400, "dnm", 0},
	"fcmeq v.4s v.4s v.4s":    {0x4e20e400, "dnm", 0},
	"faddp v.4s v.4s v.4s":    {0x6e20d400, "dnm", 0},
	"faddp s v.2s":            {0x7e30d800, "dn", 0},
	"fmaxnm v.4s v.4s v.4s":   {0x4e20c400, "dnm", 0},
	"fmaxnmv s v.4s":          {0x6e30c800, "dn", 0},
	"fmaxv s v.4s":            {0x6e30f800, "dn", 0},
	"fabs v.4s v.4s":          {0x4ea0f800, "dn", 0},
	"fneg v.4s v.4s":          {0x6ea0f800, "dn", 0},
	"fsqrt v.4s v.4s":         {0x6ea1f800, "dn", 0},
	"frintn v.4s v.4s":        {0x4e218800, "dn", 0},
	"fcvtns v.4s v.4s":        {0x4e21a800, "dn", 0},
	"scvtf v.4s v.4s":         {0x4e21d800, "dn", 0},
	"ucvtf v.4s v.4s":         {0x6e21d800, "dn", 0},
	"fcvtl v.4s v.4h":         {0x0e217800, "dn", 0},
	"fcvtl2 v.4s v.8h":        {0x4e217800, "dn", 0},
	"fcvtn v.4h v.4s":         {0x0e216800, "dn", 0},
	"fcvtn2 v.8h v.4s":        {0x4e216800, "dn", 0},
	"fcvt s h":                {0x1ee24000, "dn", 0},
	"fmul s s s":              {0x1e200800, "dnm", 0},
	"fdiv s s s":              {0x1e201800, "dnm", 0},
	"add v.4s v.4s v.4s":      {0x4ea08400, "dnm", 0},
	"sub v.4s v.4s v.4s":      {0x6ea08400, "dnm", 0},
	"sub v.16b v.16b v.16b":   {0x6e208400, "dnm", 0},
	"cmgt v.4s v.4s v.4s":     {0x4ea03400, "dnm", 0},
	"addv s v.4s":             {0x4eb1b800, "dn", 0},
	"and v.16b v.16b v.16b":   {0x4e201c00, "dnm", 0},
	"orr v.16b v.16b v.16b":   {0x4ea01c00, "dnm", 0},
	"bic v.16b v.16b v.16b":   {0x4e601c00, "dnm", 0},
	"bsl v.16b v.16b v.16b":   {0x6e601c00, "dnm", 0},
	"mov v.16b v.16b":         {0x4ea01c00, "dN", 0},
	"movi v.16b #":            {0x4f00e400, "di", 0},
	"movi v.4s #":             {0x4f000400, "di", 0},
	"shl v.4s v.4s #":         {0x4f205400, "dn<", 0},
	"ushr v.4s v.4s #":        {0x6f400400, "dn>", 0},
	"sshr v.4s v.4s #":        {0x4f400400, "dn>", 0},
	"shl v.16b v.16b #":       {0x4f085400, "dn<", 0},
	"ushr v.16b v.16b #":      {0x6f100400, "dn>", 0},
	"shrn v.4h v.4s #":        {0x0f208400, "dn>", 0},
	"shrn2 v.8h v.4s #":       {0x4f208400, "dn>", 0},
	"ushl v.2d v.2d v.2d":     {0x6ee04400, "dnm", 0},
	"shll v.4s v.4h #16":      {0x2e613800, "dn.", 0},
	"shll2 v.4s v.8h #16":     {0x6e613800, "dn.", 0},
	"ushll v.8h v.8b #":       {0x2f08a400, "dn<", 0},
	"ushll2 v.8h v.16b #":     {0x6f08a400, "dn<", 0},
	"ushll v.4s v.4h #":       {0x2f10a400, "dn<", 0},
	"ushll2 v.4s v.8h #":      {0x6f10a400, "dn<", 0},
	"sshll v.8h v.8b #":       {0x0f08a400, "dn<", 0},
	"sshll2 v.8h v.16b #":     {0x4f08a400, "dn<", 0},
	"sshll v.4s v.4h #":       {0x0f10a400, "dn<", 0},
	"sshll2 v.4s v.8h #":      {0x4f10a400, "dn<", 0},
	"sqxtn v.4h v.4s":         {0x0e614800, "dn", 0},
	"sqxtn2 v.8h v.4s":        {0x4e614800, "dn", 0},
	"sqxtn v.8b v.8h":         {0x0e214800, "dn", 0},
	"sqxtn2 v.16b v.8h":       {0x4e214800, "dn", 0},
	"sdot v.4s v.16b v.16b":   {0x4e809400, "dnm", 0},
	"smull v.8h v.8b v.8b":    {0x0e20c000, "dnm", 0},
	"smlal v.8h v.8b v.8b":    {0x0e208000, "dnm", 0},
	"smlal2 v.8h v.16b v.16b": {0x4e208000, "dnm", 0},
	"saddlp v.4s v.8h":        {0x4e602800, "dn", 0},
	"zip1 v.4s v.4s v.4s":     {0x4e803800, "dnm", 0},
	"zip2 v.4s v.4s v.4s":     {0x4e807800, "dnm", 0},
	"zip2 v.2d v.2d v.2d":     {0x4ec07800, "dnm", 0},
	"zip1 v.16b v.16b v.16b":  {0x4e003800, "dnm", 0},
	"zip2 v.16b v.16b v.16b":  {0x4e007800, "dnm", 0},
	"uzp1 v.16b v.16b v.16b":  {0x4e001800, "dnm", 0},
	"uzp2 v.16b v.16b v.16b":  {0x4e005800, "dnm", 0},
	"uzp1 v.4s v.4s v.4s":     {0x4e801800, "dnm", 0},
	"dup v.4s v.s[]":          {0x4e040400, "dl", 0},
	"dup v.4s w":              {0x4e040c00, "dn", 0},
	"fmov d x":                {0x9e670000, "dn", 0},
	"ld1r {v.4s} [x]":         {0x4d40c800, "db", 0},
	"ld1r {v.4s} [x] #4":      {0x4ddfc800, "db.", 0},
	"ld1r {v.2d} [x]":         {0x4d40cc00, "db", 0},
	"ldr q [x,#]":             {0x3dc00000, "dq", 16},
	"str q [x,#]":             {0x3d800000, "dq", 16},
	"ldr d [x,#]":             {0xfd400000, "dq", 8},
	"str d [x,#]":             {0xfd000000, "dq", 8},
	"ldr s [x,#]":             {0xbd400000, "dq", 4},
	"str s [x,#]":             {0xbd000000, "dq", 4},
	"ldr h [x,#]":             {0x7d400000, "dq", 2},
	"ldr q [x] #":             {0x3cc00400, "dbP", 1},
	"str q [x] #":             {0x3c800400, "dbP", 1},
	"ldr s [x] #":             {0xbc400400, "dbP", 1},
	"str s [x] #":             {0xbc000400, "dbP", 1},
	"ldp q q [x,#]":           {0xad400000, "dap", 16},
	"stp q q [x,#]":           {0xad000000, "dap", 16},
	"ldp q q [x] #":           {0xacc00000, "dabp", 16},
	"stp q q [x] #":           {0xac800000, "dabp", 16},
}

// operand is what one operand says beyond its shape.
type operand struct {
	shape          string
	register, lane uint32
	value          int
}

var (
	vector = regexp.MustCompile(`^v(\d+)\.(\d+[bhsd])$`)
	lane   = regexp.MustCompile(`^v(\d+)\.s\[(\d)\]$`)
	list   = regexp.MustCompile(`^\{v(\d+)\.(\d[sd])\}$`)
	scalar = regexp.MustCompile(`^([qdshxw])(\d+)$`)
	number = regexp.MustCompile(`^#(-?\d+)$`)
	memory = regexp.MustCompile(`^\[x(\d+)(?:, ?#(-?\d+))?\]$`)
)

func parseOperand(s string) (o operand, err error) {
	atoi := func(s string) int {
		n, e := strconv.Atoi(s)
		if e != nil && s != "" {
			err = e
		}
		return n
	}
	if m := vector.FindStringSubmatch(s); m != nil {
		o = operand{shape: "v." + m[2], register: uint32(atoi(m[1]))}
	} else if m := lane.FindStringSubmatch(s); m != nil {
		o = operand{shape: "v.s[]", register: uint32(atoi(m[1])), lane: uint32(atoi(m[2]))}
	} else if m := list.FindStringSubmatch(s); m != nil {
		o = operand{shape: "{v." + m[2] + "}", register: uint32(atoi(m[1]))}
	} else if m := scalar.FindStringSubmatch(s); m != nil {
		o = operand{shape: m[1], register: uint32(atoi(m[2]))}
	} else if m := number.FindStringSubmatch(s); m != nil {
		o = operand{shape: "#", value: atoi(m[1])}
	} else if m := memory.FindStringSubmatch(s); m != nil {
		o = operand{shape: "[x,#]", register: uint32(atoi(m[1])), value: atoi(m[2])}
	} else {
		err = fmt.Errorf("operand %q", s)
	}
	if err == nil && (o.register > 31 || o.lane > 3) {
		err = fmt.Errorf("operand %q: no such register or lane", s)
	}
	return o, err
}

// encode gives the word of an instruction in the notation of the architecture.
func encode(line string) (uint32, error) {
	name, rest, _ := strings.Cut(line, " ")
	var ops []operand
	var shapes []string
	for _, s := range splitOperands(rest) {
		o, err := parseOperand(s)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", line, err)
		}
		ops, shapes = append(ops, o), append(shapes, o.shape)
	}
	key := name + " " + strings.Join(shapes, " ")
	f, ok := forms[key]
	if !ok { // [x] without an offset, or with one after use
		key = strings.Replace(key, "[x,#]", "[x]", 1)
		f, ok = forms[key]
	}
	if !ok && len(ops) > 0 { // a number that is part of the instruction
		key = strings.TrimSuffix(key, "#") + fmt.Sprintf("#%d", ops[len(ops)-1].value)
		f, ok = forms[key]
	}
	if !ok {
		return 0, fmt.Errorf("%s: no form %q", line, key)
	}
	w := f.word
	for i, o := range ops {
		field, err := f.field(f.fields[i], o)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", line, err)
		}
		w += field
	}
	return w, nil
}

func (f form) field(kind byte, o operand) (uint32, error) {
	v := uint32(o.value)
	scaled := func(lo, hi int) (uint32, error) {
		if n := o.value / f.size; o.value%f.size == 0 && n >= lo && n <= hi {
			return uint32(n), nil
		}
		return 0, fmt.Errorf("offset %d does not fit", o.value)
	}
	switch kind {
	case 'd':
		return o.register, nil
	case 'n', 'b':
		return o.register << 5, nil
	case 'm':
		return o.register << 16, nil
	case 'N': // both sources
		return o.register<<5 | o.register<<16, nil
	case 'a':
		return o.register << 10, nil
	case 'e':
		return o.register<<16 | o.lane>>1<<11 | o.lane&1<<21, nil
	case 'l':
		return o.register<<5 | o.lane<<19, nil
	case '<':
		return v << 16, nil
	case '>':
		return -(v << 16), nil
	case 'i':
		return v>>5<<16 | v&31<<5, nil
	case 'q':
		n, err := scaled(0, 4095)
		return o.register<<5 | n<<10, err
	case 'p':
		n, err := scaled(-64, 63)
		return o.register<<5 | n&127<<15, err
	case 'P':
		n, err := scaled(-256, 255)
		return n & 511 << 12, err
	}
	return 0, nil
}

// splitOperands cuts at commas outside brackets.
func splitOperands(s string) []string {
	var out []string
	depth, from := 0, 0
	for i, c := range s + "," {
		switch {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case c == ',' && depth == 0:
			if part := strings.TrimSpace(s[from:i]); part != "" {
				out = append(out, part)
			}
			from = i + 1
		}
	}
	return out
}
