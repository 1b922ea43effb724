package eval

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lentil-lm/lentil/endpoint"
	"github.com/lentil-lm/lentil/eval/score"
)

// TestJudge: an endpoint that always likes the first answer prefers nobody, and one that looks for 9 g prefers that.
func TestJudge(t *testing.T) {
	t.Parallel()
	calls, busy := 0, true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		if r.URL.Path == "/v1/models" {
			fmt.Fprint(w, `{"data":[{"id":"first"},{"id":"fair"}]}`)
			return
		}
		var q struct {
			Model    string
			Messages []struct{ Content string }
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Header.Get("Authorization") != "Bearer secret" {
			t.Error(err, r.Header)
		}
		if busy {
			busy = false
			http.Error(w, "later", http.StatusTooManyRequests)
			return
		}
		answer := "<think>B?</think> A"
		if q.Model == "fair" {
			a, b, _ := strings.Cut(q.Messages[0].Content, "Answer B:")
			answer = map[bool]string{true: "A", false: map[bool]string{true: "**B**", false: "TIE"}[strings.Contains(b, "9 g")]}[strings.Contains(a[strings.Index(a, "Answer A:"):], "9 g")]
		}
		text, _ := json.Marshal(answer)
		fmt.Fprintf(w, `{"choices":[{"message":{"content":%s}}]}`, text)
	}))
	defer server.Close()
	for model, want := range map[string]score.Judged{"": {Judge: "first", Tied: 2}, "fair": {Judge: "fair", Won: 1, Tied: 1}} {
		c, err := endpoint.Open(t.Context(), server.URL+"/v1", model, endpoint.Options{Setting: "judge", Key: "secret", Wait: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		answers, err := OpenAnswers("out", t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		r := &score.Results{Columns: []score.Column{{Name: "base", Against: -1}, {Name: "tuned"}}, Answered: []score.Answered{
			{Question: score.Question{Question: "How much?", Answer: "9 g"}, Replies: []score.Reply{{Answer: "8 g"}, {Answer: "9 g"}}},
			{Question: score.Question{Question: "How many?", Answer: "7"}, Replies: []score.Reply{{Answer: "6"}, {Answer: "5"}}},
		}}
		v := Evaluation{Judge: EndpointJudge{c}, Answers: answers, Votes: 1}
		if err := v.judge(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		got := r.Judged[0]
		if got.Judge != want.Judge || got.Won != want.Won || got.Tied != want.Tied || got.Lost != want.Lost {
			t.Errorf("%+v, want %+v", got, want)
		}
		before := calls
		if err := v.judge(t.Context(), r); err != nil || calls != before {
			t.Errorf("the same votes were asked for again: %d calls, %v", calls-before, err)
		}
		answers.Close()
	}
}

// A fickle judge votes by the number of the vote, and notes which answer came first.
type fickle struct {
	votes string // x: for the answer 8 g, y: for the answer 9 g, T: for neither
	asked []string
}

func (*fickle) Name() string { return "fickle" }

func (f *fickle) Vote(_ context.Context, prompt string, vote int) (byte, error) {
	first := "x"
	if strings.Contains(prompt, "Answer A: 9 g") {
		first = "y"
	}
	f.asked = append(f.asked, fmt.Sprint(first, vote))
	switch want := f.votes[vote : vote+1]; want {
	case "T":
		return 'T', nil
	case first:
		return 'A', nil
	default:
		return 'B', nil
	}
}

// TestVotes: most votes decide, each is given in both orders, and a tie is nobody's.
func TestVotes(t *testing.T) {
	t.Parallel()
	for votes, want := range map[string]score.Judged{"y": {Won: 1}, "xyy": {Won: 1}, "xxy": {Lost: 1}, "xy": {Tied: 1}, "xTy": {Tied: 1}, "TTy": {Won: 1}, "TT": {Tied: 1}} {
		j := &fickle{votes: votes}
		r := &score.Results{Columns: []score.Column{{Name: "base", Against: -1}, {Name: "tuned"}}, Answered: []score.Answered{
			{Question: score.Question{Question: "How much?", Answer: "9 g"}, Replies: []score.Reply{{Answer: "8 g"}, {Answer: "9 g"}}},
			{Question: score.Question{Question: "How many?", Answer: "7"}, Replies: []score.Reply{{Answer: "7"}, {Answer: "7"}}}, // nothing to judge
		}}
		v := Evaluation{Judge: j, Votes: len(votes)}
		if err := v.judge(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		got := r.Judged[0]
		if want.Tied++; got.Won != want.Won || got.Lost != want.Lost || got.Tied != want.Tied {
			t.Errorf("%s: %+v, want %+v", votes, got, want)
		}
		var orders []string
		for k := range votes {
			orders = append(orders, fmt.Sprint("x", k), fmt.Sprint("y", k))
		}
		if !slices.Equal(j.asked, orders) {
			t.Errorf("%s: asked in the orders %v, want %v", votes, j.asked, orders)
		}
	}
}
