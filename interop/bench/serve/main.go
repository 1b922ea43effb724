// Command serve puts load on a server with OpenAI's API, and tells what it does under it.
//
//	lentil serve --model MODEL --port 9000 --data "" --prompt-cache-size 40
//	go run ./interop/bench/serve --url http://127.0.0.1:9000
//
// It prints the tokens per second of one stream and of several in the same run, how long the time between tokens is, how long
// it is to the first token behind a prefix that the server knows and one that it does not, and with --seconds how that
// stays under a mix of prompts, beside clients that leave, one that does not read and one that sends prompts of 1 MB. With
// --beside it asks another server of the same model in turn. It ends with an error if an answer did.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	url     = flag.String("url", "http://127.0.0.1:8080", "the server")
	model   = flag.String("model", "", "id of the model")
	streams = flag.Int("streams", 16, "streams at a time")
	tokens  = flag.Int("tokens", 64, "tokens of each answer")
	prefix  = flag.Int("prefix", 2000, "words of the prefix that is known")
	seconds = flag.Int("seconds", 0, "length of the mixed load")
	beside  = flag.String("beside", "", "another server to compare with")
	rounds  = flag.Int("rounds", 3, "times that each is asked in turn")
)

// answer is what a stream did.
type answer struct {
	first  time.Duration
	gaps   []time.Duration
	prompt int // tokens
	tokens int
	err    error
}

// ask streams an answer of exactly n tokens, greedy: no token ends it before.
func ask(ctx context.Context, url, prompt string, n int) (a answer) {
	body, _ := json.Marshal(map[string]any{
		"model": *model, "prompt": prompt, "max_tokens": n, "stream": true, "stream_options": map[string]any{"include_usage": true}, "temperature": 0,
	})
	began := time.Now()
	r, _ := http.NewRequestWithContext(ctx, "POST", url+"/v1/completions", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		a.err = err
		return a
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(reply.Body)
		a.err = fmt.Errorf("%d %s", reply.StatusCode, text)
		return a
	}
	last := time.Time{}
	done := false
	lines := bufio.NewScanner(reply.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			done = true
			break
		}
		var v struct {
			Choices []struct{ Text string }
			Usage   *struct {
				PromptTokens     int `json:"prompt_tokens"`
				CompletionTokens int `json:"completion_tokens"`
			}
			Error any
		}
		if err := json.Unmarshal([]byte(data), &v); err != nil || v.Error != nil {
			a.err = fmt.Errorf("%s: %v", data, err)
			return a
		}
		if v.Usage != nil {
			a.prompt, a.tokens = v.Usage.PromptTokens, v.Usage.CompletionTokens
		}
		if len(v.Choices) == 0 || v.Choices[0].Text == "" {
			continue
		}
		now := time.Now()
		if last.IsZero() {
			a.first = now.Sub(began)
		} else {
			a.gaps = append(a.gaps, now.Sub(last))
		}
		last = now
	}
	if a.tokens == 0 && !last.IsZero() { // not all servers tell: each piece is a token then
		a.tokens = len(a.gaps) + 1
	}
	if !done {
		a.err = fmt.Errorf("the stream ended early: %v", lines.Err())
	}
	return a
}

// together runs n streams and gives tokens per second of all.
func together(url string, n int) (rate float64, all []answer) {
	began := time.Now()
	all = make([]answer, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { all[i] = ask(context.Background(), url, fmt.Sprintf("Story %d of a cook who", i), *tokens) })
	}
	wg.Wait()
	total := 0
	for _, a := range all {
		if a.err != nil {
			log.Fatal(a.err)
		}
		total += a.tokens
	}
	return float64(total) / time.Since(began).Seconds(), all
}

func quantile(v []time.Duration, q float64) time.Duration {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	return v[min(int(q*float64(len(v))), len(v)-1)].Round(time.Millisecond / 10)
}

// words makes a text of n words that no other has.
func words(n int, seed uint64) string {
	r := rand.New(rand.NewPCG(seed, seed))
	stock := strings.Fields("beans rice oats iron fibre lentils water salt bread apple carrot protein starch grain pulse fruit")
	var b strings.Builder
	for range n {
		b.WriteString(stock[r.IntN(len(stock))] + " ")
	}
	return b.String()
}

func main() {
	flag.Parse()
	together(*url, 1) // warm
	one, _ := together(*url, 1)
	many, all := together(*url, *streams)
	again, _ := together(*url, 1)
	var gaps []time.Duration
	for _, a := range all {
		gaps = append(gaps, a.gaps...)
	}
	one = (one + again) / 2
	fmt.Printf("1 stream: %.1f tokens/s; %d streams: %.1f tokens/s, %.2f times as many; between tokens p50 %s, p99 %s\n", one, *streams, many, many/one, quantile(gaps, 0.5), quantile(gaps, 0.99))
	if *beside != "" {
		compare()
	}
	if *prefix > 0 {
		text := words(*prefix, uint64(time.Now().UnixNano()))
		cold := ask(context.Background(), *url, text+"so", 2)
		warm := ask(context.Background(), *url, text+"then", 2)
		if cold.err != nil || warm.err != nil {
			log.Fatal(cold.err, warm.err)
		}
		fmt.Printf("first token behind %d tokens: %s unknown, %s known, 1/%.0f\n", cold.prompt, cold.first.Round(time.Millisecond), warm.first.Round(time.Millisecond), cold.first.Seconds()/warm.first.Seconds())
	}
	if *seconds > 0 && mixed() > 0 {
		os.Exit(1)
	}
}

// compare asks two servers in turn.
func compare() {
	var ours, theirs, ratios []float64
	together(*beside, 1)
	for range *rounds {
		a, _ := together(*url, *streams)
		b, _ := together(*beside, *streams)
		ours, theirs, ratios = append(ours, a), append(theirs, b), append(ratios, a/b)
	}
	slices.Sort(ratios)
	fmt.Printf("%d streams in turn: %.1f tokens/s, beside %.1f; ratios %.2f, median %.2f\n", *streams, ours, theirs, ratios, ratios[len(ratios)/2])
}

// gauge reads a figure of the server's, 0 if it has none.
func gauge(name string) (v float64) {
	r, err := http.Get(*url + "/metrics")
	if err != nil {
		return 0
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, _ = strconv.ParseFloat(text, 64)
		}
	}
	return v
}

// load is what the mixed load did.
type load struct {
	mu                          sync.Mutex
	gaps, firsts                []time.Duration
	answers, left, busy, errors int
	large                       int // prompts of 1 MB that were refused
	memory                      []float64
}

// client asks again and again until ctx ends: seven of eight prompts are short. Every fifth time it leaves early.
func (l *load) client(ctx context.Context, i int) {
	r := rand.New(rand.NewPCG(uint64(i), 1))
	for n := 0; ctx.Err() == nil; n++ {
		one, leave := context.WithCancel(ctx)
		early := (i+n)%5 == 0
		if early {
			time.AfterFunc(time.Duration(r.IntN(1000))*time.Millisecond, leave)
		}
		size := 1 + r.IntN(60)
		if r.IntN(8) == 0 {
			size = 300 + r.IntN(max(1, *prefix-300))
		}
		a := ask(one, *url, words(size, r.Uint64()), 8+r.IntN(*tokens))
		leave()
		l.mu.Lock()
		switch {
		case a.err == nil:
			l.answers++
			l.firsts, l.gaps = append(l.firsts, a.first), append(l.gaps, a.gaps...)
		case early || ctx.Err() != nil:
			l.left++
		case strings.HasPrefix(a.err.Error(), "429"):
			l.busy++
		default:
			l.errors++
			log.Print(a.err)
		}
		l.mu.Unlock()
	}
}

// pester sends a prompt of 1 MB every other second, which is to be refused.
func (l *load) pester(ctx context.Context) {
	for ctx.Err() == nil {
		a := ask(ctx, *url, words(170_000, 1), 1)
		l.mu.Lock()
		if a.err != nil && strings.HasPrefix(a.err.Error(), "400") {
			l.large++
		} else if ctx.Err() == nil {
			l.errors++
			log.Printf("a prompt of 1 MB: %v", a.err)
		}
		l.mu.Unlock()
		pause(ctx, 2*time.Second)
	}
}

// watch notes the server's memory.
func (l *load) watch(ctx context.Context) {
	for ctx.Err() == nil {
		l.memory = append(l.memory, gauge("lentil_memory_bytes")/1e6)
		pause(ctx, time.Duration(*seconds)*time.Second/20)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// mixed is the load of many, and gives the number of errors.
func mixed() int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(*seconds)*time.Second)
	defer cancel()
	stuck, _ := json.Marshal(map[string]any{"model": *model, "prompt": "x", "max_tokens": 1000, "stream": true, "logprobs": 20})
	if r, err := http.Post(*url+"/v1/completions", "application/json", bytes.NewReader(stuck)); err == nil {
		defer r.Body.Close()
	}
	var l load
	var wg sync.WaitGroup
	for i := range *streams {
		wg.Go(func() { l.client(ctx, i) })
	}
	wg.Go(func() { l.pester(ctx) })
	wg.Go(func() { l.watch(ctx) })
	wg.Wait()
	fmt.Printf("%d s of %d clients: %d answers, %d left early, %d told to come again, %d prompts of 1 MB refused, %d errors; first token p50 %s p99 %s, between tokens p50 %s p99 %s\n",
		*seconds, *streams, l.answers, l.left, l.busy, l.large, l.errors, quantile(l.firsts, 0.5), quantile(l.firsts, 0.99), quantile(l.gaps, 0.5), quantile(l.gaps, 0.99))
	if half := len(l.memory) / 2; half > 0 {
		fmt.Printf("memory: %.0f MB in the first half, %.0f MB in the second, %.0f MB with the files of weights\n",
			slices.Max(l.memory[:half]), slices.Max(l.memory[half:]), gauge("lentil_memory_peak_bytes")/1e6)
	}
	return l.errors
}
