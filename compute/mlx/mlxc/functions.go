package mlxc

// A function of the library, an index into names.
type function int

const (
	setErrorHandler function = iota
	versionOf
	stringNew
	stringData
	stringFree
	metalIsAvailable
	defaultCPUStream
	defaultGPUStream
	streamFree
	synchronize
	deviceNewType
	deviceFree
	deviceInfoNew
	deviceInfoGet
	deviceInfoGetSize
	deviceInfoFree
	getActiveMemory
	getPeakMemory
	getCacheMemory
	resetPeakMemory
	clearCache
	setCacheLimit
	setMemoryLimit
	setWiredLimit

	arrayNewData
	arrayFree
	arraySet
	arrayEval
	arrayBytes
	arrayData
	arrayDims
	arrayShape
	arrayStrides
	vectorNew
	vectorNewData
	vectorFree
	asyncEval
	vectorGet
	vectorStringNewData
	vectorStringFree
	metalKernelNew
	metalKernelFree
	metalKernelApply
	metalConfigNew
	metalConfigFree
	metalConfigOutput
	metalConfigGrid
	metalConfigGroup
	metalConfigType

	matmul
	quantizedMatmul
	gatherMM
	gatherQMM
	dequantize
	transposeAxes
	reshape
	broadcastTo
	add
	subtract
	multiply
	divide
	maximum
	minimum
	negative
	square
	sqrt
	rsqrt
	exp
	expm1
	log
	log1p
	round
	tanh
	sigmoid
	cosine
	sine
	isFinite
	equal
	greater
	greaterEqual
	shiftLeft
	shiftRight
	bitwiseAnd
	where
	sumAxis
	allAxis
	maxAxis
	minAxis
	cumSumAxis
	logSumExpAxis
	softmaxAxis
	argMaxAxis
	argMinAxis
	argSortAxis
	randomBits
	takeAxis
	takeAlongAxis
	scatterAddAxis
	slice
	sliceUpdate
	concatenateAxis
	astype
	contiguous
	zeros
	fastRMSNorm
	fastAttention
	functions // how many there are
)

// names are the symbols of the library, without their "mlx_".
var names = [functions]string{
	setErrorHandler: "set_error_handler", versionOf: "version", stringNew: "string_new", stringData: "string_data", stringFree: "string_free",
	metalIsAvailable: "metal_is_available", defaultCPUStream: "default_cpu_stream_new", defaultGPUStream: "default_gpu_stream_new",
	streamFree: "stream_free", synchronize: "synchronize", deviceNewType: "device_new_type", deviceFree: "device_free",
	deviceInfoNew: "device_info_new", deviceInfoGet: "device_info_get", deviceInfoGetSize: "device_info_get_size", deviceInfoFree: "device_info_free",
	getActiveMemory: "get_active_memory", getPeakMemory: "get_peak_memory", getCacheMemory: "get_cache_memory",
	resetPeakMemory: "reset_peak_memory", clearCache: "clear_cache", setCacheLimit: "set_cache_limit", setMemoryLimit: "set_memory_limit", setWiredLimit: "set_wired_limit",

	arrayNewData: "array_new_data", arrayFree: "array_free", arraySet: "array_set", arrayEval: "array_eval", arrayBytes: "array_nbytes",
	arrayData: "array_data_uint8", arrayDims: "array_ndim", arrayShape: "array_shape", arrayStrides: "array_strides", vectorNew: "vector_array_new", vectorNewData: "vector_array_new_data", vectorFree: "vector_array_free",
	asyncEval: "async_eval",
	vectorGet: "vector_array_get", vectorStringNewData: "vector_string_new_data", vectorStringFree: "vector_string_free",
	metalKernelNew: "fast_metal_kernel_new", metalKernelFree: "fast_metal_kernel_free", metalKernelApply: "fast_metal_kernel_apply",
	metalConfigNew: "fast_metal_kernel_config_new", metalConfigFree: "fast_metal_kernel_config_free",
	metalConfigOutput: "fast_metal_kernel_config_add_output_arg", metalConfigGrid: "fast_metal_kernel_config_set_grid",
	metalConfigGroup: "fast_metal_kernel_config_set_thread_group", metalConfigType: "fast_metal_kernel_config_add_template_arg_dtype",

	matmul: "matmul", quantizedMatmul: "quantized_matmul", gatherMM: "gather_mm", gatherQMM: "gather_qmm", dequantize: "dequantize", transposeAxes: "transpose_axes", reshape: "reshape",
	broadcastTo: "broadcast_to", add: "add", subtract: "subtract", multiply: "multiply", divide: "divide", maximum: "maximum", minimum: "minimum", negative: "negative",
	square: "square", sqrt: "sqrt", rsqrt: "rsqrt", exp: "exp", expm1: "expm1", log: "log", log1p: "log1p", round: "round", tanh: "tanh", sigmoid: "sigmoid", cosine: "cos", sine: "sin",
	isFinite: "isfinite", equal: "equal", greater: "greater", greaterEqual: "greater_equal", shiftLeft: "left_shift", shiftRight: "right_shift", bitwiseAnd: "bitwise_and", where: "where", sumAxis: "sum_axis", allAxis: "all_axis", maxAxis: "max_axis", minAxis: "min_axis", cumSumAxis: "cumsum_axis",
	logSumExpAxis: "logsumexp_axis", softmaxAxis: "softmax_axis", argMaxAxis: "argmax_axis", argMinAxis: "argmin_axis", argSortAxis: "argsort_axis", randomBits: "random_bits", takeAxis: "take_axis", takeAlongAxis: "take_along_axis",
	scatterAddAxis: "scatter_add_axis", slice: "slice", sliceUpdate: "slice_update", concatenateAxis: "concatenate_axis", astype: "astype",
	contiguous: "contiguous", zeros: "zeros", fastRMSNorm: "fast_rms_norm", fastAttention: "fast_scaled_dot_product_attention",
}
