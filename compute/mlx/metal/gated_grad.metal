// The gradient of silu(gate)·up, an element for each thread.
//   gate, up, dy T [n], sizes int
//   dgate, dup T [n]
const int i = thread_position_in_grid.x;
if (i >= sizes[0]) return;
const float a = float(gate[i]), d = float(dy[i]);
const float s = 1 / (1 + precise::exp(-a));
dgate[i] = T(d * float(up[i]) * s * (1 + a * (1 - s)));
dup[i] = T(d * a * s);
