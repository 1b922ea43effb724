package train

// newAdamW is adam with decoupled weight decay, of all parameters alike.
func newAdamW(a *arguments) adam {
	o := newAdam(a)
	o.decay = float32(a.number("weight_decay", 0.01, notNegative))
	return o
}
