package corpus

// dice is a SplitMix64 random stream, written out so that a seed gives the same corpus for ever.
type dice struct{ state uint64 }

func (d *dice) next() uint64 {
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// upto draws from [0, n).
func (d *dice) upto(n int) int { return int(d.next() % uint64(n)) }

// between draws from [low, high].
func (d *dice) between(low, high int) int { return low + d.upto(high-low+1) }

// chance is true in percent of the draws.
func (d *dice) chance(percent int) bool { return d.upto(100) < percent }

// pick draws one of the list.
func pick[T any](d *dice, list []T) T { return list[d.upto(len(list))] }

// some draws n different members of the list, in random order.
func some[T any](d *dice, list []T, n int) []T {
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	n = min(n, len(list))
	out := make([]T, n)
	for i := range n {
		j := i + d.upto(len(order)-i)
		order[i], order[j] = order[j], order[i]
		out[i] = list[order[i]]
	}
	return out
}
