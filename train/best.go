package train

import (
	"github.com/lentil-lm/lentil/fault"
	"github.com/lentil-lm/lentil/run"
)

// Best is the best validation of a run, of the weights before the update of Iteration.
type Best struct {
	Iteration int // 0: there was none
	Loss      float64
}

// compare looks whether the last validation is the best one.
func (tr *Trainer) compare(s *state) error {
	it, r, o := s.result.Iterations+1, &s.result, tr.Options
	if !isNumber(r.ValLoss) || r.Best.Iteration > 0 && r.ValLoss >= r.Best.Loss {
		s.worse++
		switch r.Early = o.EarlyStop > 0 && s.worse >= o.EarlyStop; {
		case !r.Early:
		case r.Best.Iteration == 0:
			tr.report(run.Message{Text: fault.Say("This is the last step: of the validations so far (%d), none had a loss that is a number.", s.worse)})
		default:
			tr.report(run.Message{Text: fault.Say("This is the last step: %d validations were not better than that of iteration %d, %.3f.", s.worse, r.Best.Iteration, r.Best.Loss)})
		}
		return nil
	}
	s.worse, r.Best = 0, Best{it, r.ValLoss}
	if rank, _ := tr.rank(); rank > 0 || tr.SaveBest == nil {
		return nil
	}
	return tr.orWarn(tr.SaveBest(r.Best), "the best weights, those before iteration", it)
}
