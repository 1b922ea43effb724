package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/compute"
	"github.com/lentil-lm/lentil/quant"
	"github.com/lentil-lm/lentil/run"
	"github.com/lentil-lm/lentil/tokenizer"
	"github.com/lentil-lm/lentil/weights"
)

// tinyModel writes a random llama of two blocks with a tokenizer and a chat template, and a small dataset.
func tinyModel(t *testing.T) (model, data string) {
	t.Helper()
	const vocab, hidden, inner, blocks = 320, 32, 64, 2
	model, data = t.TempDir(), t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	var entries []weights.Entry
	add := func(name string, shape ...int) {
		values := make([]float32, compute.Shape(shape).Elems())
		for i := range values {
			values[i] = float32(random.NormFloat64()) * 0.1
			if len(shape) == 1 {
				values[i] = 1 // a norm
			}
		}
		entries = append(entries, weights.Entry{Name: name, DType: quant.F32, Shape: shape, Bytes: func() ([]byte, error) { return compute.FloatBytes(values), nil }})
	}
	add("model.embed_tokens.weight", vocab, hidden)
	add("model.norm.weight", hidden)
	for i := range blocks {
		block := fmt.Sprintf("model.layers.%d.", i)
		for _, name := range []string{"q_proj", "k_proj", "v_proj", "o_proj"} {
			add(block+"self_attn."+name+".weight", hidden, hidden)
		}
		add(block+"mlp.gate_proj.weight", inner, hidden)
		add(block+"mlp.up_proj.weight", inner, hidden)
		add(block+"mlp.down_proj.weight", hidden, inner)
		add(block+"input_layernorm.weight", hidden)
		add(block+"post_attention_layernorm.weight", hidden)
	}
	if err := weights.WriteModel(model, entries, weights.ModelOptions{}); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`{"model_type": "llama", "vocab_size": %d, "hidden_size": %d, "intermediate_size": %d, "num_hidden_layers": %d,
		"num_attention_heads": 4, "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "max_position_embeddings": 512}`, vocab, hidden, inner, blocks)
	if err := os.WriteFile(filepath.Join(model, "config.json"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("user assistant Which pulse has the most protein? Lupins have the most protein of all pulses. ", 9)
	tok, err := tokenizer.Train(slices.Values([]string{text}), tokenizer.TrainOptions{
		VocabSize: 300, SpecialTokens: []string{"<|im_start|>", "<|im_end|>"}, EOS: "<|im_end|>", PAD: "<|im_end|>",
		ChatTemplate: "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := tok.Save(model); err != nil {
		t.Fatal(err)
	}
	for split, n := range map[string]int{"train": 24, "valid": 8, "test": 8} {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "{\"prompt\": \"Which pulse has the most protein? %d\", \"completion\": \"Lupins have the most.\"}\n", i)
		}
		if err := os.WriteFile(filepath.Join(data, split+".jsonl"), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return model, data
}

// mustRun runs a command line that has to succeed.
func mustRun(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	code, out, errOut := lentil(t, stdin, args...)
	if code != 0 {
		t.Fatalf("lentil %v: exit %d\n%s%s", args, code, out, errOut)
	}
	return out
}

// TestFromModelToFusedModel goes the whole way: train, test, ask, fuse, ask the fused model.
func TestFromModelToFusedModel(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	adapter, fused, figures := filepath.Join(t.TempDir(), "adapter"), filepath.Join(t.TempDir(), "fused"), filepath.Join(t.TempDir(), "f.json")
	out := mustRun(t, "", "lora", "--train", "--test", "--model", model, "--data", data, "--adapter-path", adapter, "--json", figures,
		"--iters", "30", "--learning-rate", "1e-3", "--steps-per-report", "10", "--steps-per-eval", "15", "--save-every", "20", "--num-layers", "-1", "--mask-prompt", "--threads", "1")
	for _, line := range []string{
		`Loading pretrained model`, `Loading datasets`, `Training`, `Trainable parameters: \d+\.\d{3}% \(0\.\d{3}M/0\.\d{3}M\)`, `Starting training\.\.\., iters: 30`,
		`Iter 1: Val loss \d\.\d{3}, Val took \d+\.\d{3}s`, `Iter 15: Val loss .*`, `Iter 30: Val loss .*`,
		`Iter 10: Train loss \d\.\d{3}, Learning Rate 1\.000e-03, It/sec .*, Tokens/sec .*, Trained Tokens \d+, Peak mem .* GB`,
		`Iter 20: Saved adapter weights to .*/adapters\.safetensors and .*/0000020_adapters\.safetensors\.`,
		`Saved final weights to .*/adapters\.safetensors\.`, `Testing`, `Test loss \d\.\d{3}, Test ppl \d+\.\d{3}\.`,
	} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(out) {
			t.Errorf("no line %s in\n%s", line, out)
		}
	}
	checkAdapterFolder(t, adapter)

	var got loraFigures
	readInto(t, figures, &got)
	tested := mustRun(t, "", "test", "--model", model, "--data", data, "--adapter-path", adapter, "--mask-prompt", "--threads", "1")
	base := mustRun(t, "", "test", "--model", model, "--data", data, "--adapter-path", "", "--mask-prompt", "--threads", "1")
	after, before := testLoss(t, tested), testLoss(t, base)
	if loss := got.TestLoss.(float64); !(math.Abs(loss-after) <= 0.001) || after > before-0.5 {
		t.Errorf("test loss %.3f after training, %.3f with the saved adapter, %.3f before", loss, after, before)
	}

	ask := []string{"generate", "--prompt", "Which pulse?", "--max-tokens", "12", "--verbose", "False", "--exact", "--threads", "1"}
	tuned := mustRun(t, "", append(ask, "--model", model, "--adapter-path", adapter)...)
	report := mustRun(t, "", "fuse", "--model", model, "--adapter-path", adapter, "--save-path", fused, "--export-gguf", "--gguf-type", "F32")
	if !strings.Contains(report, "Worst matrix: model.layers.") || !strings.Contains(report, "Saved the fused model to "+fused) {
		t.Errorf("fuse prints\n%s", report)
	}
	inTheWay := filepath.Join(adapter, "adapters.safetensors")
	if code, _, errOut := lentil(t, "", "fuse", "--model", model, "--adapter-path", adapter, "--save-path", fused+"2", "--export-gguf", "--gguf-path", inTheWay); code != 2 || !strings.Contains(errOut, "is there already") {
		t.Errorf("a GGUF file over another: exit %d, %s", code, errOut)
	}
	if again := mustRun(t, "", append(ask, "--model", fused)...); again != tuned {
		t.Errorf("the fused model says %q, the tuned one %q", again, tuned)
	}
	if again := mustRun(t, "", append(ask, "--model", filepath.Join(fused, "ggml-model-f32.gguf"))...); again != tuned {
		t.Errorf("the exported model says %q, the tuned one %q", again, tuned)
	}
}

func testLoss(t *testing.T, out string) float64 {
	t.Helper()
	var loss, ppl float64
	at := strings.Index(out, "Test loss")
	if at < 0 {
		t.Fatalf("no test loss in\n%s", out)
	}
	if _, err := fmt.Sscanf(out[at:], "Test loss %f, Test ppl %f.", &loss, &ppl); err != nil {
		t.Fatal(err)
	}
	return loss
}

func checkAdapterFolder(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"adapters.safetensors", "0000020_adapters.safetensors", "adapter_config.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	manifest, err := run.ReadManifest(dir)
	if err != nil || len(manifest.Data) != 3 || manifest.Settings["iters"] != 30.0 {
		t.Errorf("manifest %+v, %v", manifest, err)
	}
	records, err := run.ReadLog(filepath.Join(dir, run.LogName))
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, r := range records {
		count[r.Kind]++
	}
	for kind, n := range map[string]int{"plan": 1, "start": 1, "train": 3, "validation": 3, "save": 2, "test": 1, "end": 1} {
		if count[kind] != n {
			t.Errorf("the log has %d events %s, want %d", count[kind], kind, n)
		}
	}
}

// Checkpointing computes numbers twice, the frozen cache keeps them: losses are equal to the digit.
func TestWhatSavesChangesNothing(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	losses := func(flags ...string) []string {
		args := []string{"train", "--model", model, "--data", data, "--adapter-path", filepath.Join(t.TempDir(), "a"), "--iters", "6", "--steps-per-report", "2", "--learning-rate", "1e-3", "--num-layers", "1", "--threads", "1"}
		return regexp.MustCompile(`(Train|Val) loss \d\.\d+`).FindAllString(mustRun(t, "", append(args, flags...)...), -1)
	}
	want := losses()
	for _, flag := range []string{"--grad-checkpoint", "--no-frozen-cache"} {
		if got := losses(flag); len(got) != 5 || !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", flag, got, want)
		}
	}
}

func TestInterruptedTrainingSaves(t *testing.T) {
	t.Parallel()
	model, data := tinyModel(t)
	adapter := filepath.Join(t.TempDir(), "adapter")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errOut strings.Builder
	done := make(chan int)
	go func() {
		done <- Main(ctx, []string{"train", "--model", model, "--data", data, "--adapter-path", adapter, "--iters", "1000000", "--num-layers", "2", "--threads", "1", "--steps-per-eval", "1000000"},
			Streams{In: strings.NewReader(""), Out: &out, Err: &errOut})
	}()
	// The log tells when training is under way.
	for {
		if records, err := run.ReadLog(filepath.Join(adapter, run.LogName)); err == nil && slices.ContainsFunc(records, func(r run.Record) bool { return r.Kind == "train" }) {
			break
		}
		select {
		case code := <-done:
			t.Fatalf("ended by itself with %d\n%s%s", code, out.String(), errOut.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	command := []string{"train", "--model", model, "--data", data, "--adapter-path", adapter, "--num-layers", "2", "--threads", "1", "--steps-per-eval", "1000000"}
	code, _, held := lentil(t, "", command...)
	if code != ExitUsage || !strings.Contains(held, fmt.Sprintf("is held by process %d", os.Getpid())) {
		t.Errorf("a second run in the folder: %d %q", code, held)
	}
	cancel()
	if code := <-done; code != ExitInterrupted || errOut.String() != "" {
		t.Errorf("exit %d, stderr %q", code, errOut.String())
	}
	form := regexp.MustCompile(`To go on from iteration (\d+) of 1000000, give the same command again.\n$`)
	match := form.FindStringSubmatch(out.String())
	if match == nil {
		t.Fatalf("output does not say how to go on:\n%s", out.String())
	}
	from, _ := strconv.Atoi(match[1])
	again := mustRun(t, "", append(command, "--resume", "--iters", strconv.Itoa(from+2))...)
	if !strings.Contains(again, fmt.Sprintf("Going on from iteration %d of %d.\n", from, from+2)) || !strings.Contains(again, fmt.Sprintf("Resuming training at iteration %d...", from+1)) {
		t.Errorf("no word of going on in\n%s", again)
	}
	again = mustRun(t, "", append(command, "--iters", strconv.Itoa(from+2))...)
	if !strings.Contains(again, "nothing is left to be trained. Give a larger --iters") {
		t.Errorf("a run that has come to its end:\n%s", again)
	}
	weights := filepath.Join(adapter, "adapters.safetensors")
	again = mustRun(t, "", append(command, "--iters", "1", "--resume-adapter-file", weights)...)
	if !strings.Contains(again, "Loading fine-tuned weights from "+weights) || !strings.Contains(again, "Starting training..., iters: 1\n") {
		t.Errorf("no word of the resumed weights in\n%s", again)
	}
}

func TestChatKeepsTheConversation(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	out := mustRun(t, "Which pulse?\nh\nr\n\nAnd now?\nq\nnever read\n", "chat", "--model", model, "--max-tokens", "5", "--system-prompt", strings.Repeat("x", 60), "--threads", "1")
	for want, n := range map[string]int{"tok/s · prompt ": 2, "context cleared\n": 1, "forget the conversation": 1, strings.Repeat("x", 57) + "...\n": 1, "bye\n": 1} {
		if strings.Count(out, want) != n {
			t.Errorf("%q is there %d times, want %d, in\n%s", want, strings.Count(out, want), n, out)
		}
	}
}

func TestGenerateFlags(t *testing.T) {
	t.Parallel()
	model, _ := tinyModel(t)
	base := []string{"generate", "--model", model, "--threads", "1", "-m", "6"}
	figures := filepath.Join(t.TempDir(), "g.json")
	out := mustRun(t, "", append(base, "-p", `a\tb`, "--json", figures)...)
	form := regexp.MustCompile(`(?s)^==========\n.*\n==========\nPrompt: (\d+) tokens, \d+\.\d{3} tokens-per-sec\nGeneration: \d tokens, \d+\.\d{3} tokens-per-sec\nPeak memory: \d+\.\d{3} GB\n$`)
	if !form.MatchString(out) {
		t.Errorf("printed %q", out)
	}
	var got map[string]any
	readInto(t, figures, &got)
	if got["finish_reason"] != "length" || got["generation_tokens"] != 6.0 {
		t.Errorf("--json: %v", got)
	}
	piped := mustRun(t, "a\tb", append(base, "-p", "-", "--verbose", "false")...)
	if text := got["text"].(string); piped != text+"\n" {
		t.Errorf("from standard input %q, from the flag %q", piped, text)
	}
	sampled := append(base, "-p", "x", "--temp", "1", "--seed", "7", "--verbose", "f")
	if first, again := mustRun(t, "", sampled...), mustRun(t, "", sampled...); first != again {
		t.Errorf("the same seed gives %q, then %q", first, again)
	}
	for _, c := range []struct{ args, want string }{
		{"--temp -1", "lentil: --temp -1: expected 0 or more\n"},
		{"-qa", "--quantize-activations is not supported"},
		{"--kv-bits 7", "--kv-bits 7: expected 2, 3, 4, 5, 6 or 8"},
		{"--kv-bits 0", "--kv-bits 0: expected"},
		{"--kv-group-size 16", "--kv-group-size 16: expected 32, 64 or 128"},
		{"--kv-bits 4 --quantized-kv-start -1", "--quantized-kv-start -1: expected 0 or more"},
		{"--kv-bits 4 --max-kv-size 100", "do not go together\nGive one of the two."},
		{"--kv-bits 4", "--kv-group-size: 64 does not divide the 8 values of a head (layer 0)\nLeave out --kv-bits"},
		{"--extra-eos-token <|im_end|> nonsense", "--extra-eos-token nonsense: this is no token"},
		{"--chat-template-config [1]", "--chat-template-config: expected a JSON object"},
		{"--adapter-path " + model, "adapter_config.json is not there"},
		{"--threads -2", "--threads -2: "},
	} {
		code, _, errOut := lentil(t, "", append(slices.Clone(base), strings.Fields(c.args)...)...)
		if code != ExitUsage || !strings.Contains(errOut, c.want) {
			t.Errorf("%s: %d %q", c.args, code, errOut)
		}
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	figures := filepath.Join(t.TempDir(), "d.json")
	out := mustRun(t, "", "doctor", "--quick", "--threads", "1", "--json", figures)
	for _, want := range []string{"processor ", "memory ", "disk ", "model cache ", "not a terminal", "device       cpu ("} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	text, err := os.ReadFile(figures)
	if err != nil {
		t.Fatal(err)
	}
	var c doctorFigures
	if err := json.Unmarshal(text, &c); err != nil || c.CPU.Cores < 1 || len(c.Devices) == 0 || c.Devices[len(c.Devices)-1].Threads != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}
