// The loss of one row of logits and the gradient of its weighted loss: a group of 256 threads.
//   logits T [rows, n], targets int [rows], weight float [rows], sizes int
//   loss float [rows], grad T [rows, n]
const int n = sizes[0];
const int row = threadgroup_position_in_grid.x, thread = thread_position_in_threadgroup.x;
const int group = thread / 32, lane = thread % 32;
const long at = long(row) * n;
threadgroup float parts[8];

float top = -INFINITY;
for (int c = thread; c < n; c += 256) top = max(top, float(logits[at + c]));
top = simd_max(top);
if (lane == 0) parts[group] = top;
threadgroup_barrier(mem_flags::mem_threadgroup);
for (int k = 0; k < 8; k++) top = max(top, parts[k]);
threadgroup_barrier(mem_flags::mem_threadgroup);

float sum = 0;
for (int c = thread; c < n; c += 256) sum += precise::exp(float(logits[at + c]) - top);
sum = simd_sum(sum);
if (lane == 0) parts[group] = sum;
threadgroup_barrier(mem_flags::mem_threadgroup);
sum = 0;
for (int k = 0; k < 8; k++) sum += parts[k];

const float lse = top + precise::log(sum), w = weight[row];
const int target = targets[row];
if (thread == 0) loss[row] = lse - float(logits[at + target]);
for (int c = thread; c < n; c += 256) {
    float p = precise::exp(float(logits[at + c]) - lse);
    grad[at + c] = T(w * (c == target ? p - 1 : p));
}
