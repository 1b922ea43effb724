package eval

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
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
