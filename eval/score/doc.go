// Package score tells right answers from wrong ones, without a model that judges: figures with their units, terms with
// their synonyms, "I do not know", choices. It reads question files, and says of two models that answered the same
// questions whether one is better, by the exact test for pairs, with an interval for every share.
//
// It runs nothing: package eval asks the models.
package score
