// Package chat renders conversations with the chat template of a model.
//
// A chat template is a program in Jinja2 that comes with a model's tokenizer; package [jinja] runs it. A [Renderer]
// joins a tokenizer and its template. Messages and tools are values as templates see them: a message is a [Dict] with
// a role and a content.
package chat

import "github.com/lentil-lm/lentil/chat/jinja"

// What conversations are made of, as templates see it.
type (
	Value = jinja.Value
	Dict  = jinja.Dict
	List  = jinja.List
)
