// Package chat renders conversations with the chat template of a model.
//
// A chat template is a Jinja2 program that comes with a model's tokenizer. This package has its own engine for that
// language ([ParseTemplate], [Template.Render]), which behaves as Jinja2 3.1 does under the settings that Hugging Face
// transformers uses: an immutable sandbox with trim_blocks, lstrip_blocks, loop controls, the generation tag, a tojson
// that keeps non-ASCII characters and key order, raise_exception and strftime_now.
//
// Templates come from the internet, so they are treated as hostile: work, memory, output size and recursion are all
// limited, and a template can end in an [Error] but never in a panic.
//
// [Renderer] joins a tokenizer and its template; [ReadConversation] loads the messages of a file.
package chat
