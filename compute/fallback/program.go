package fallback

import "github.com/lentil-lm/lentil/compute"

// Compile makes a program on the device, if that has all ops.
func (d *Device) Compile(calls []compute.Call) (compute.Program, error) {
	dev, ok := d.Device.(compute.Compiler)
	if !ok {
		return nil, compute.ErrUnsupported
	}
	own := make([]compute.Call, len(calls))
	for i, c := range calls {
		own[i] = compute.Call{Op: c.Op, Out: inners(c.Out), In: inners(c.In)}
	}
	p, err := dev.Compile(own)
	if err != nil {
		return nil, err
	}
	for _, c := range calls {
		d.count(c.Op.Name(), true)
	}
	return p, nil
}
