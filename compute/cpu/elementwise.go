package cpu

// grain is the fewest elements worth a task of their own: about 10 µs of work.
const grain = 1 << 13
