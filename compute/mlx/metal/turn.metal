// RoPE: a pair of a head for each thread, and the rest of the head, which stays, by the last threads.
//   x T [rows, heads, dim], cosines, sines float [rows, half], sizes int
//   y T as x
const int rows = sizes[0], heads = sizes[1], dim = sizes[2], half_ = sizes[3], interleaved = sizes[4], inverse = sizes[5];
const int each = dim - half_; // threads of a head
const int i = thread_position_in_grid.x;
if (i >= rows * heads * each) return;
const int p = i % each, row = i / each / heads;
const int at = i / each * dim;
if (p >= half_) { // not turned
    y[at + half_ + p] = x[at + half_ + p];
    return;
}
const int first = interleaved ? 2 * p : p, second = interleaved ? 2 * p + 1 : p + half_;
const float c = cosines[row * half_ + p], s = inverse ? -sines[row * half_ + p] : sines[row * half_ + p];
const float a = float(x[at + first]), b = float(x[at + second]);
y[at + first] = T(a * c - b * s);
y[at + second] = T(a * s + b * c);
