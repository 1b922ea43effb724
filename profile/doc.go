// Package profile holds what a person eats and does not eat, as data: a file with diets, allergies, goals and dislikes.
// One file has three uses, which therefore agree. Render writes it as the text that a model is told, in training and in
// serving; Scan looks for foods in an answer that break its rules; evaluation counts them.
//
// Foods are known from a lexicon (lexicon.txt, part of the program), with their synonyms, what is made of them, and how that
// is known. The scanner understands "without nuts" and "nut-free", but it reads words, not meaning: a clean answer is
// no proof that a dish is safe.
package profile
