// silu(gate)·up, an element for each thread.
//   gate, up T [n], sizes int
//   y T [n]
const int i = thread_position_in_grid.x;
if (i >= sizes[0]) return;
const float a = float(gate[i]);
y[i] = T(a / (1 + precise::exp(-a)) * float(up[i]));
