// The experts of one token: a thread of its own. Of equal logits the first is taken, and a NaN comes last.
//   logits T [rows, n], sizes int
//   ids int [rows, k], scores float [rows, k]
const int rows = sizes[0], n = sizes[1], k = sizes[2], normalized = sizes[3];
const int row = thread_position_in_grid.x;
if (row >= rows) return;
const int at = row * n, to = row * k;
for (int p = 0; p < k; p++) {
    int best = -1;
    float highest = 0;
    for (int e = 0; e < n; e++) {
        bool taken = false;
        for (int b = 0; b < p; b++) taken = taken || ids[to + b] == e;
        float v = float(logits[at + e]);
        if (!taken && (best < 0 || v > highest || (isnan(highest) && !isnan(v)))) {
            best = e;
            highest = v;
        }
    }
    ids[to + p] = best;
}
const float top = float(logits[at + ids[to]]);
float sum = 0;
for (int p = 0; p < k; p++) {
    float v = precise::exp(float(logits[at + ids[to + p]]) - top);
    scores[to + p] = v;
    sum += v;
}
if (!normalized) {
    sum = 0;
    for (int e = 0; e < n; e++) sum += precise::exp(float(logits[at + e]) - top);
}
for (int p = 0; p < k; p++) scores[to + p] = scores[to + p] / sum;
