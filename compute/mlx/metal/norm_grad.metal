// The gradient of one row of an RMS norm: a group of 128 threads.
//   x, dy, before T [rows, n], w float [n], sizes int, numbers float
//   dx T [rows, n], to which before is added
const int n = sizes[0], adds = sizes[1];
const float eps = numbers[0];
const int row = threadgroup_position_in_grid.x, thread = thread_position_in_threadgroup.x;
const int group = thread / 32, lane = thread % 32;
const long at = long(row) * n;
threadgroup float squares[4], dots[4];

float square = 0, product = 0;
for (int c = thread; c < n; c += 128) {
    float v = float(x[at + c]);
    square += v * v;
    product += v * float(dy[at + c]) * w[c];
}
square = simd_sum(square);
product = simd_sum(product);
if (lane == 0) {
    squares[group] = square;
    dots[group] = product;
}
threadgroup_barrier(mem_flags::mem_threadgroup);
square = squares[0] + squares[1] + squares[2] + squares[3];
product = dots[0] + dots[1] + dots[2] + dots[3];
const float inverse = precise::rsqrt(square / n + eps);
const float mean = product * inverse * inverse / n;
for (int c = thread; c < n; c += 128) {
    float v = inverse * (float(dy[at + c]) * w[c] - float(x[at + c]) * mean);
    if (adds) v += float(before[at + c]);
    dx[at + c] = T(v);
}
