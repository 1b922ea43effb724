// Package jinja runs programs in the template language Jinja2, as chat templates are.
//
// It behaves as Jinja2 3.1 does under the settings that Hugging Face transformers uses: an immutable sandbox with
// trim_blocks, lstrip_blocks, loop controls, the generation tag, a tojson that keeps non-ASCII characters and key
// order, raise_exception and strftime_now.
//
// Templates come from the internet, so they are treated as hostile: work, memory, output size and recursion are all
// limited, and a template can end in an error but never in a panic.
//
// Templates see values as Python has them: dicts keep their order, integers have no limit. [ParseJSON] makes such
// values; [FormatJSON] and [DumpJSON] write them as Python does.
package jinja
