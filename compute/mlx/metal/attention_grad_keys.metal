// The gradients of one key and its value of one head of keys: a group of 32 threads. They are sums over the queries that
// see the key, of all heads that share it.
//   q, dy T [rows, heads·dim], k, v T [rows, kvHeads·dim], ends int [rows], sums float [rows, heads, 2], sizes int, numbers float
//   dk, dv T as k
const int heads = sizes[0], kvHeads = sizes[1], dim = sizes[2], window = sizes[3];
const float scale = numbers[0], cap = numbers[1];
const int j = threadgroup_position_in_grid.x, g = threadgroup_position_in_grid.y;
const int lane = thread_position_in_threadgroup.x;
const int own = (j * kvHeads + g) * dim, share = heads / kvHeads;
float ks[8], vs[8], dks[8], dvs[8];
for (int n = 0, d = lane; d < dim; n++, d += 32) {
    ks[n] = float(k[own + d]);
    vs[n] = float(v[own + d]);
    dks[n] = 0;
    dvs[n] = 0;
}
int end = ends[j];
if (window > 0) end = min(end, j + window);
for (int i = j; i < end; i++) {
    for (int h = g * share; h < (g + 1) * share; h++) {
        const int at = (i * heads + h) * dim;
        float s = 0, dp = 0;
        for (int n = 0, d = lane; d < dim; n++, d += 32) {
            s += ks[n] * float(q[at + d]);
            dp += vs[n] * float(dy[at + d]);
        }
        s = simd_sum(s) * scale;
        dp = simd_sum(dp);
        float slope = scale;
        if (cap > 0) {
            float t = precise::tanh(s / cap);
            s = cap * t;
            slope *= 1 - t * t;
        }
        const float p = precise::exp(s - sums[(i * heads + h) * 2]);
        const float ds = p * (dp - sums[(i * heads + h) * 2 + 1]) * slope;
        for (int n = 0, d = lane; d < dim; n++, d += 32) {
            dks[n] += ds * float(q[at + d]);
            dvs[n] += p * float(dy[at + d]);
        }
    }
}
for (int n = 0, d = lane; d < dim; n++, d += 32) {
    dk[own + d] = T(dks[n]);
    dv[own + d] = T(dvs[n]);
}
