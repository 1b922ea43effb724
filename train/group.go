package train

import (
	"fmt"
	"sync"

	"github.com/lentil-lm/lentil/compute"
)

// Group makes workers of one process, for several devices of a computer.
func Group(size int) []Reduce {
	g := &group{size: size}
	g.meeting = sync.NewCond(&g.mu)
	out := make([]Reduce, size)
	for rank := range out {
		out[rank] = &member{g, rank}
	}
	return out
}

// A group is where the members' calls meet. Each call is a round.
type group struct {
	mu      sync.Mutex
	meeting *sync.Cond
	size    int
	round   int
	numbers [][]float64 // of the members in this round, by rank
	floats  [][]float32
	came    int
	left    error
}

type member struct {
	*group
	rank int
}

func (m *member) Rank() (rank, size int) { return m.rank, m.size }

func (m *member) Sum(numbers []float64) error {
	return m.meet(func() { m.numbers[m.rank] = numbers }, func() error { return sum(m.numbers) })
}

func (m *member) SumGradients(dev compute.Device, gradients []compute.Buffer) error {
	return SumOnHost(dev, gradients, func(all []float32) error {
		return m.meet(func() { m.floats[m.rank] = all }, func() error { return sum(m.floats) })
	})
}

func (m *member) Leave(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left == nil {
		m.left = fmt.Errorf("%w: worker %d: %w", ErrWorker, m.rank, err)
	}
	m.meeting.Broadcast()
}

// meet waits for all members to have brought what they have. The last one to come does the work.
func (m *member) meet(bring func(), work func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left != nil {
		return m.left
	}
	if m.came == 0 {
		m.numbers, m.floats = make([][]float64, m.size), make([][]float32, m.size)
	}
	bring()
	round := m.round
	if m.came++; m.came == m.size {
		if m.left = work(); m.left == nil {
			m.round, m.came = round+1, 0
		}
		m.meeting.Broadcast()
	}
	for m.round == round && m.left == nil {
		m.meeting.Wait()
	}
	if m.round == round {
		return m.left
	}
	return nil
}

// sum adds the members' numbers up in the order of ranks, for each of them.
func sum[T float32 | float64](all [][]T) error {
	total := make([]T, len(all[0]))
	for _, part := range all {
		if len(part) != len(total) {
			return fmt.Errorf("workers bring %d and %d numbers", len(total), len(part))
		}
		for i, v := range part {
			total[i] += v
		}
	}
	for _, part := range all {
		copy(part, total)
	}
	return nil
}
