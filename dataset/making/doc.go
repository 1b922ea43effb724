// Package making makes datasets of books: rows that a model is trained on, questions that it is measured by, and where
// each of them comes from.
//
// Books become passages: runs of blocks below one heading. What a page states in a form that can be read without a
// model (cells of tables, definitions, sentences with figures and reasons, lists, recipes, what stands below a heading)
// becomes facts, each with its quote, its place, and several wordings of the question. One wording of each is for
// measuring alone. Passages are split in blocks of a chapter, so that neighbours lie on one side.
package making
