// Package eval measures what a model knows: how well it predicts a text, and which questions it answers right, with an
// adapter and without. Answers are marked by package score; results tell what became right, what became wrong and what
// was forgotten.
package eval
