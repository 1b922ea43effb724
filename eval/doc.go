// Package eval measures how well a model predicts a text.
package eval
