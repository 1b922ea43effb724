package run

import (
	"fmt"
	"strings"
	"time"
)

// Bytes writes a size for people, in powers of ten: "512 B", "3.21 GB".
func Bytes(n int64) string {
	units := []string{"kB", "MB", "GB", "TB", "PB"}
	if n < 1000 && n > -1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/1000, 0
	for (v >= 999.5 || v <= -999.5) && unit < len(units)-1 {
		v, unit = v/1000, unit+1
	}
	switch {
	case v < 9.995:
		return fmt.Sprintf("%.2f %s", v, units[unit])
	case v < 99.95:
		return fmt.Sprintf("%.1f %s", v, units[unit])
	}
	return fmt.Sprintf("%.0f %s", v, units[unit])
}

// Count writes a number for people: "950", "3.3k", "1.2M".
func Count(n int64) string {
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

// Duration writes a time span for people: "0.4s", "12s", "3m 05s", "2h 14m", "3d 4h".
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %02ds", s/60, s%60)
	case s < 48*3600:
		return fmt.Sprintf("%dh %02dm", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%dd %dh", s/86400, s%86400/3600)
}

// String lays the plan out as a small table with its verdict.
func (p Plan) String() string {
	var b strings.Builder
	b.WriteString("Plan\n")
	width := len("FLOPs per step")
	for _, part := range p.Parts {
		width = max(width, len(part.Name))
	}
	row := func(name, value string) { fmt.Fprintf(&b, "  %-*s  %10s\n", width, name, value) }
	for _, part := range p.Parts {
		row(part.Name, Bytes(part.Bytes))
	}
	row("memory, total", Bytes(p.TotalBytes))
	if p.AvailableBytes > 0 {
		row("available", Bytes(p.AvailableBytes))
	}
	if p.FLOPsPerStep > 0 {
		row("FLOPs per step", flops(p.FLOPsPerStep))
	}
	if p.SecondsPerStep > 0 {
		row("time, estimated", Duration(time.Duration(p.SecondsPerStep*float64(p.Iterations)*1e9)))
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
