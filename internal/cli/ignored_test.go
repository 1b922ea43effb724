package cli

import (
	"strings"
	"testing"
)

// TestIgnoredFlags: a flag that changes nothing here says so, once and only when it is given.
func TestIgnoredFlags(t *testing.T) {
	t.Parallel()
	for flag, args := range map[string][]string{
		"trust-remote-code":         {"generate", "--model", "./none"},
		"use-default-chat-template": {"generate", "--model", "./none"},
		"clear-cache-threshold":     {"train", "--model", "./none", "--clear-cache-threshold", "5"},
	} {
		if flag != "clear-cache-threshold" {
			if _, _, text := lentil(t, "", args...); strings.Contains(text, "Note:") {
				t.Errorf("--%s is not given: %s", flag, text)
			}
			args = append(args, "--"+flag)
		}
		if _, _, text := lentil(t, "", args...); strings.Count(text, "Note: --"+flag+" changes nothing: ") != 1 {
			t.Errorf("--%s: %s", flag, text)
		}
	}
}

// TestReportTo: a service that gets no reports is refused, by flag and by config, with what there is instead.
func TestReportTo(t *testing.T) {
	t.Parallel()
	const want = " wandb: Lentil sends nothing to a service\nGive --report-to tensorboard, which writes files that the tools of wandb and swanlab import, too"
	config := writeFile(t, "lora.yaml", "report_to: wandb\n")
	for _, args := range [][]string{{"train", "--report-to", "wandb"}, {"test", "--report-to=wandb"}, {"train", "--config", config}} {
		if code, _, text := lentil(t, "", args...); code != ExitUsage || !strings.Contains(text, want) {
			t.Errorf("%v: exit %d, %s", args, code, text)
		}
	}
	none := writeFile(t, "lora.yaml", "report_to: null\nmodel: ./none\n")
	if _, _, text := lentil(t, "", "train", "--config", none); !strings.Contains(text, "--model ./none: there is no such folder") {
		t.Errorf("null: %s", text)
	}
}
