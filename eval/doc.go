// Package eval measures how well a model predicts text it is given.
package eval
