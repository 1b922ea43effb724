// Package report draws a run: one HTML file without a network from the manifest, the log and the results in an
// adapter's folder, with charts of its own as SVG, or as PNG. It reads what package run and eval/score wrote, and
// measures nothing: every number in it stands in one of these files.
package report
