// The gradient of one query of one head: a group of 32 threads, which share the numbers of a head. It computes the
// probabilities of the keys that the query sees once more, and leaves their logarithmic sum and Σ dy·y for the gradient
// of keys.
//   q, y, dy T [rows, heads·dim], k, v T [rows, kvHeads·dim], starts int [rows], sizes int, numbers float
//   dq T as q, sums float [rows, heads, 2]
const int heads = sizes[0], kvHeads = sizes[1], dim = sizes[2], window = sizes[3];
const float scale = numbers[0], cap = numbers[1];
const int i = threadgroup_position_in_grid.x, h = threadgroup_position_in_grid.y;
const int lane = thread_position_in_threadgroup.x;
const int own = (i * heads + h) * dim, kvWidth = kvHeads * dim, kv = h / (heads / kvHeads) * dim;
float qs[8], dys[8], sum[8];
float delta = 0;
for (int n = 0, d = lane; d < dim; n++, d += 32) {
    qs[n] = float(q[own + d]);
    dys[n] = float(dy[own + d]);
    sum[n] = 0;
    delta += dys[n] * float(y[own + d]);
}
delta = simd_sum(delta);
int first = starts[i];
if (window > 0) first = max(first, i + 1 - window);

float top = -INFINITY, total = 0;
for (int j = first; j <= i; j++) {
    float s = 0;
    for (int n = 0, d = lane; d < dim; n++, d += 32) s += qs[n] * float(k[j * kvWidth + kv + d]);
    s = simd_sum(s) * scale;
    if (cap > 0) s = cap * precise::tanh(s / cap);
    float higher = max(top, s);
    total = total * precise::exp(top - higher) + precise::exp(s - higher);
    top = higher;
}
const float lse = top + precise::log(total);

for (int j = first; j <= i; j++) {
    float s = 0, dp = 0;
    for (int n = 0, d = lane; d < dim; n++, d += 32) {
        s += qs[n] * float(k[j * kvWidth + kv + d]);
        dp += dys[n] * float(v[j * kvWidth + kv + d]);
    }
    s = simd_sum(s) * scale;
    dp = simd_sum(dp);
    float slope = scale;
    if (cap > 0) {
        float t = precise::tanh(s / cap);
        s = cap * t;
        slope *= 1 - t * t;
    }
    float ds = precise::exp(s - lse) * (dp - delta) * slope;
    for (int n = 0, d = lane; d < dim; n++, d += 32) sum[n] += ds * float(k[j * kvWidth + kv + d]);
}
for (int n = 0, d = lane; d < dim; n++, d += 32) dq[own + d] = T(sum[n]);
if (lane == 0) {
    sums[(i * heads + h) * 2] = lse;
    sums[(i * heads + h) * 2 + 1] = delta;
}
