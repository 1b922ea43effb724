// Package grammar keeps an answer to a form: what comes out is a sentence of a grammar, or a JSON value that a schema
// takes.
//
// A [Source] says what texts there are: [Schema] reads JSON Schema, [GBNF] llama.cpp's grammars. What of a schema cannot be
// promised is refused by name, never ignored. [Source.Compile] joins it with the tokens of a model. A [State] follows an
// answer and masks the logits of tokens that cannot come next.
//
// Grammars are context-free, over bytes. A state is a set of stacks of places in rules; equal stacks are one pointer, and
// equal sets one node, so that nodes and their followers form an automaton that is built as it is walked. The mask of a
// node is computed once, by a walk through the sorted vocabulary.
package grammar
