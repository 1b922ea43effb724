package screen

import (
	"fmt"
	"strings"
	"time"

	"github.com/lentil-lm/lentil/run"
)

// count writes a number for people: "950", "3.3k", "1.2M".
func count(n int64) string {
	switch v := float64(n); {
	case v < 1000:
		return fmt.Sprintf("%d", n)
	case v < 999_950:
		return fmt.Sprintf("%.1fk", v/1e3)
	case v < 999_950_000:
		return fmt.Sprintf("%.1fM", v/1e6)
	default:
		return fmt.Sprintf("%.1fG", v/1e9)
	}
}

// planText lays a plan out as a small table with its verdict.
func planText(p run.Plan) string {
	var b strings.Builder
	b.WriteString("Plan\n")
	width := len("FLOPs per step")
	for _, part := range p.Parts {
		width = max(width, len(part.Name))
	}
	row := func(name, value string) { fmt.Fprintf(&b, "  %-*s  %10s\n", width, name, value) }
	for _, part := range p.Parts {
		row(part.Name, run.Bytes(part.Bytes))
	}
	row("memory, total", run.Bytes(p.TotalBytes))
	if p.AvailableBytes > 0 {
		row("available", run.Bytes(p.AvailableBytes))
	}
	if p.FLOPsPerStep > 0 {
		row("FLOPs per step", flops(p.FLOPsPerStep))
	}
	if p.SecondsPerStep > 0 {
		row("time, estimated", run.Duration(time.Duration(p.SecondsPerStep*float64(p.Iterations)*1e9)))
	}
	if !p.Fits {
		b.WriteString("  This does not fit into memory.\n")
		for _, r := range p.Remedies {
			fmt.Fprintf(&b, "  Try: %s\n", r)
		}
	}
	return b.String()
}

func flops(n float64) string {
	for _, unit := range []string{"", "K", "M", "G", "T", "P"} {
		if n < 999.5 {
			return fmt.Sprintf("%.3g %sFLOP", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.3g EFLOP", n)
}
