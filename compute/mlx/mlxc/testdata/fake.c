/* A library that has the names of mlx-c and computes nothing. VERSION is the minor version of the interface that it has
   (0: it is something else), MISSING leaves a function out, CRASH is a function that ends the process. */
#include <stdlib.h>
typedef long word;

#define S(name) word mlx_##name(void) { return 0; }

#if VERSION > 0
word mlx_array_new(void) { return 0; }
#endif
#if VERSION >= 6
S(bartlett)
#endif
#if VERSION >= 7
S(stream_new_thread_unsafe)
#endif

#ifdef CRASH
word mlx_matmul(void) { abort(); }
#else
S(matmul)
#endif
#ifndef MISSING
S(quantized_matmul)
#endif

/* handles */
word mlx_default_cpu_stream_new(void) { return 1; }
word mlx_default_gpu_stream_new(void) { return 1; }
word mlx_array_new_data(void) { return 1; }
word mlx_metal_is_available(char *yes) { *yes = 0; return 0; }
word mlx_transpose_axes(word *res) { *res = 1; return 0; }

S(set_error_handler) S(version) S(string_new) S(string_data) S(string_free) S(stream_free) S(synchronize) S(device_new_type) S(device_free)
S(device_info_new) S(device_info_get) S(device_info_get_size) S(device_info_free) S(get_active_memory) S(get_peak_memory) S(get_cache_memory)
S(reset_peak_memory) S(clear_cache) S(set_cache_limit) S(set_wired_limit) S(set_memory_limit) S(array_free) S(array_set) S(array_eval) S(array_nbytes)
S(array_data_uint8) S(array_ndim) S(array_shape) S(array_strides) S(vector_array_new) S(vector_array_new_data) S(vector_array_free) S(async_eval) S(dequantize) S(reshape)
S(broadcast_to) S(add) S(subtract) S(multiply) S(divide) S(maximum) S(negative) S(square) S(sqrt) S(rsqrt) S(exp) S(expm1) S(tanh) S(sigmoid)
S(cos) S(sin) S(isfinite) S(equal) S(greater_equal) S(where) S(sum_axis) S(all_axis) S(logsumexp_axis) S(softmax_axis) S(argmax_axis) S(argmin_axis) S(take_axis)
S(take_along_axis) S(scatter_add_axis) S(slice) S(slice_update) S(concatenate_axis) S(astype) S(contiguous) S(zeros) S(fast_rms_norm) S(gather_mm) S(gather_qmm) S(argsort_axis) S(random_bits)
S(minimum) S(log) S(log1p) S(round) S(greater) S(left_shift) S(right_shift) S(bitwise_and) S(max_axis) S(min_axis) S(cumsum_axis)
S(vector_array_get) S(vector_string_new_data) S(vector_string_free) S(fast_metal_kernel_new) S(fast_metal_kernel_free) S(fast_metal_kernel_apply)
S(fast_metal_kernel_config_new) S(fast_metal_kernel_config_free) S(fast_metal_kernel_config_add_output_arg) S(fast_metal_kernel_config_set_grid)
S(fast_metal_kernel_config_set_thread_group) S(fast_metal_kernel_config_add_template_arg_dtype)
S(fast_scaled_dot_product_attention)
