// What is emulated: the card's kernels, and some that fail.
#include "kernels.cu"
#include "faults.cu"
#include "products.cu"
