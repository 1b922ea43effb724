package jinja

// Limits of one rendering. A real conversation stays orders of magnitude below each of them; together they keep a
// hostile template to seconds of work, less than a gigabyte of memory and no stack overflow.
const (
	maxSteps       = 20_000_000 // evaluated nodes and touched elements
	loopSteps      = 4          // what one turn of a loop costs beside its body
	callSteps      = 8          // what one call of a macro costs beside its body
	maxAlloc       = 512 << 20  // bytes of all strings and lists made, freed ones included
	maxTextBytes   = 16 << 20   // one string, and the output: far more than any model reads
	maxCalls       = 300        // nested macro calls; CPython's own limit lies near
	maxEvalDepth   = 20_000     // nested expressions, over all calls
	maxSourceBytes = 4 << 20    // template text
	maxRange       = 100_000    // elements of a range, as in Jinja2's sandbox
)

func errTextTooLong() error {
	return errorf(limitError, "a text grew beyond %d MiB", maxTextBytes>>20)
}

// step charges n units of work.
func (st *state) step(n int) error {
	if st.steps += n; st.steps > maxSteps {
		return errorf(limitError, "gave up after %d steps of work: the template loops without end or is built to waste time", maxSteps)
	}
	return nil
}

// alloc charges n bytes of new strings or lists.
func (st *state) alloc(n int) error {
	if n > maxTextBytes {
		return errTextTooLong()
	}
	if st.mem += n; st.mem > maxAlloc {
		return errorf(limitError, "gave up after %d MiB of strings and lists", maxAlloc>>20)
	}
	return st.step(n / 64)
}

// touch charges for an operation that may read its operands from end to end.
func (st *state) touch(operands ...Value) error {
	n := 0
	for _, v := range operands {
		switch v := v.(type) {
		case string:
			n += len(v) / 32
		case markup:
			n += len(v) / 32
		case *List:
			n += len(v.Items) / 64
		case *tuple:
			n += len(v.items) / 64
		}
	}
	return st.step(n)
}
