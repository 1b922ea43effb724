// Generated from _generate/gemv.neon by go run ./compute/cpu/_generate; DO NOT EDIT.

//go:build !purego

#include "textflag.h"

// func quantize64NEON(q *int8, scale, sum, x *float32, groups int)
TEXT ·quantize64NEON(SB), NOSPLIT, $0-40
	MOVD q+0(FP), R0
	MOVD scale+8(FP), R2
	MOVD sum+16(FP), R3
	MOVD x+24(FP), R1
	MOVD groups+32(FP), R4
	MOVD $127, R6
	WORD $0x4e040cd9 // dup v25.4s, w6
	WORD $0x4e21db39 // scvtf v25.4s, v25.4s
	MOVD $0, R5 // number of the group

group:
	WORD $0xacc10420 // ldp q0, q1, [x1], #32
	WORD $0xacc10c22 // ldp q2, q3, [x1], #32
	WORD $0xacc11424 // ldp q4, q5, [x1], #32
	WORD $0xacc11c26 // ldp q6, q7, [x1], #32
	WORD $0x4ea0f810 // fabs v16.4s, v0.4s
	WORD $0x4ea0f831 // fabs v17.4s, v1.4s
	WORD $0x4ea0f852 // fabs v18.4s, v2.4s
	WORD $0x4ea0f873 // fabs v19.4s, v3.4s
	WORD $0x4ea0f894 // fabs v20.4s, v4.4s
	WORD $0x4ea0f8b5 // fabs v21.4s, v5.4s
	WORD $0x4ea0f8d6 // fabs v22.4s, v6.4s
	WORD $0x4ea0f8f7 // fabs v23.4s, v7.4s
	WORD $0x4e31f610 // fmax v16.4s, v16.4s, v17.4s
	WORD $0x4e33f652 // fmax v18.4s, v18.4s, v19.4s
	WORD $0x4e35f694 // fmax v20.4s, v20.4s, v21.4s
	WORD $0x4e37f6d6 // fmax v22.4s, v22.4s, v23.4s
	WORD $0x4e32f610 // fmax v16.4s, v16.4s, v18.4s
	WORD $0x4e36f694 // fmax v20.4s, v20.4s, v22.4s
	WORD $0x4e34f610 // fmax v16.4s, v16.4s, v20.4s
	WORD $0x6e30fa10 // fmaxv s16, v16.4s
	WORD $0x1e391a18 // fdiv s24, s16, s25
	WORD $0x1e301b3a // fdiv s26, s25, s16
	WORD $0x4f9a9000 // fmul v0.4s, v0.4s, v26.s[0]
	WORD $0x4e21a800 // fcvtns v0.4s, v0.4s
	WORD $0x4f9a9021 // fmul v1.4s, v1.4s, v26.s[0]
	WORD $0x4e21a821 // fcvtns v1.4s, v1.4s
	WORD $0x4f9a9042 // fmul v2.4s, v2.4s, v26.s[0]
	WORD $0x4e21a842 // fcvtns v2.4s, v2.4s
	WORD $0x4f9a9063 // fmul v3.4s, v3.4s, v26.s[0]
	WORD $0x4e21a863 // fcvtns v3.4s, v3.4s
	WORD $0x4f9a9084 // fmul v4.4s, v4.4s, v26.s[0]
	WORD $0x4e21a884 // fcvtns v4.4s, v4.4s
	WORD $0x4f9a90a5 // fmul v5.4s, v5.4s, v26.s[0]
	WORD $0x4e21a8a5 // fcvtns v5.4s, v5.4s
	WORD $0x4f9a90c6 // fmul v6.4s, v6.4s, v26.s[0]
	WORD $0x4e21a8c6 // fcvtns v6.4s, v6.4s
	WORD $0x4f9a90e7 // fmul v7.4s, v7.4s, v26.s[0]
	WORD $0x4e21a8e7 // fcvtns v7.4s, v7.4s
	WORD $0x0e614810 // sqxtn v16.4h, v0.4s
	WORD $0x4e614830 // sqxtn2 v16.8h, v1.4s
	WORD $0x0e614851 // sqxtn v17.4h, v2.4s
	WORD $0x4e614871 // sqxtn2 v17.8h, v3.4s
	WORD $0x0e614892 // sqxtn v18.4h, v4.4s
	WORD $0x4e6148b2 // sqxtn2 v18.8h, v5.4s
	WORD $0x0e6148d3 // sqxtn v19.4h, v6.4s
	WORD $0x4e6148f3 // sqxtn2 v19.8h, v7.4s
	WORD $0x0e214a14 // sqxtn v20.8b, v16.8h
	WORD $0x4e214a34 // sqxtn2 v20.16b, v17.8h
	WORD $0x0e214a55 // sqxtn v21.8b, v18.8h
	WORD $0x4e214a75 // sqxtn2 v21.16b, v19.8h
	WORD $0x4ea18400 // add v0.4s, v0.4s, v1.4s
	WORD $0x4ea38442 // add v2.4s, v2.4s, v3.4s
	WORD $0x4ea58484 // add v4.4s, v4.4s, v5.4s
	WORD $0x4ea784c6 // add v6.4s, v6.4s, v7.4s
	WORD $0x4ea28400 // add v0.4s, v0.4s, v2.4s
	WORD $0x4ea68484 // add v4.4s, v4.4s, v6.4s
	WORD $0x4e151a96 // uzp1 v22.16b, v20.16b, v21.16b // evens
	WORD $0x4e155a97 // uzp2 v23.16b, v20.16b, v21.16b // odds

	// Group g goes to bytes 16(g mod 2) and 32+16(g mod 2) of run g/2.
	WORD $0x3d800016 // str q22, [x0]
	WORD $0x3d800817 // str q23, [x0, #32]
	ADD $16, R0
	ADD $1, R5
	TBNZ $0, R5, odd
	ADD $32, R0

odd:
	WORD $0x4ea48400 // add v0.4s, v0.4s, v4.4s
	WORD $0x4eb1b800 // addv s0, v0.4s
	WORD $0x4e21d800 // scvtf v0.4s, v0.4s
	WORD $0x1e380800 // fmul s0, s0, s24
	WORD $0xbc004460 // str s0, [x3], #4
	WORD $0x4e040718 // dup v24.4s, v24.s[0]
	WORD $0x3c810458 // str q24, [x2], #16
	SUBS $1, R4
	BNE  group
	RET

// func quantize32NEON(q *int8, scale, sum, x *float32, groups int)
TEXT ·quantize32NEON(SB), NOSPLIT, $0-40
	MOVD q+0(FP), R0
	MOVD scale+8(FP), R2
	MOVD sum+16(FP), R3
	MOVD x+24(FP), R1
	MOVD groups+32(FP), R4
	MOVD $127, R6
	WORD $0x4e040cd9 // dup v25.4s, w6
	WORD $0x4e21db39 // scvtf v25.4s, v25.4s

group:
	WORD $0xacc10420 // ldp q0, q1, [x1], #32
	WORD $0xacc10c22 // ldp q2, q3, [x1], #32
	WORD $0xacc11424 // ldp q4, q5, [x1], #32
	WORD $0xacc11c26 // ldp q6, q7, [x1], #32
	WORD $0x4ea0f810 // fabs v16.4s, v0.4s
	WORD $0x4ea0f831 // fabs v17.4s, v1.4s
	WORD $0x4ea0f852 // fabs v18.4s, v2.4s
	WORD $0x4ea0f873 // fabs v19.4s, v3.4s
	WORD $0x4ea0f894 // fabs v20.4s, v4.4s
	WORD $0x4ea0f8b5 // fabs v21.4s, v5.4s
	WORD $0x4ea0f8d6 // fabs v22.4s, v6.4s
	WORD $0x4ea0f8f7 // fabs v23.4s, v7.4s
	WORD $0x4e31f610 // fmax v16.4s, v16.4s, v17.4s
	WORD $0x4e33f652 // fmax v18.4s, v18.4s, v19.4s
	WORD $0x4e35f694 // fmax v20.4s, v20.4s, v21.4s
	WORD $0x4e37f6d6 // fmax v22.4s, v22.4s, v23.4s
	WORD $0x4e32f610 // fmax v16.4s, v16.4s, v18.4s
	WORD $0x4e36f694 // fmax v20.4s, v20.4s, v22.4s
	WORD $0x4e34f610 // fmax v16.4s, v16.4s, v20.4s
	WORD $0x6e30fa10 // fmaxv s16, v16.4s
	WORD $0x1e391a18 // fdiv s24, s16, s25
	WORD $0x1e301b3a // fdiv s26, s25, s16
	WORD $0x4f9a9000 // fmul v0.4s, v0.4s, v26.s[0]
	WORD $0x4e21a800 // fcvtns v0.4s, v0.4s
	WORD $0x4f9a9021 // fmul v1.4s, v1.4s, v26.s[0]
	WORD $0x4e21a821 // fcvtns v1.4s, v1.4s
	WORD $0x4f9a9042 // fmul v2.4s, v2.4s, v26.s[0]
	WORD $0x4e21a842 // fcvtns v2.4s, v2.4s
	WORD $0x4f9a9063 // fmul v3.4s, v3.4s, v26.s[0]
	WORD $0x4e21a863 // fcvtns v3.4s, v3.4s
	WORD $0x4f9a9084 // fmul v4.4s, v4.4s, v26.s[0]
	WORD $0x4e21a884 // fcvtns v4.4s, v4.4s
	WORD $0x4f9a90a5 // fmul v5.4s, v5.4s, v26.s[0]
	WORD $0x4e21a8a5 // fcvtns v5.4s, v5.4s
	WORD $0x4f9a90c6 // fmul v6.4s, v6.4s, v26.s[0]
	WORD $0x4e21a8c6 // fcvtns v6.4s, v6.4s
	WORD $0x4f9a90e7 // fmul v7.4s, v7.4s, v26.s[0]
	WORD $0x4e21a8e7 // fcvtns v7.4s, v7.4s
	WORD $0x0e614810 // sqxtn v16.4h, v0.4s
	WORD $0x4e614830 // sqxtn2 v16.8h, v1.4s
	WORD $0x0e614851 // sqxtn v17.4h, v2.4s
	WORD $0x4e614871 // sqxtn2 v17.8h, v3.4s
	WORD $0x0e614892 // sqxtn v18.4h, v4.4s
	WORD $0x4e6148b2 // sqxtn2 v18.8h, v5.4s
	WORD $0x0e6148d3 // sqxtn v19.4h, v6.4s
	WORD $0x4e6148f3 // sqxtn2 v19.8h, v7.4s
	WORD $0x0e214a14 // sqxtn v20.8b, v16.8h
	WORD $0x4e214a34 // sqxtn2 v20.16b, v17.8h
	WORD $0x0e214a55 // sqxtn v21.8b, v18.8h
	WORD $0x4e214a75 // sqxtn2 v21.16b, v19.8h
	WORD $0x4ea18400 // add v0.4s, v0.4s, v1.4s
	WORD $0x4ea38442 // add v2.4s, v2.4s, v3.4s
	WORD $0x4ea58484 // add v4.4s, v4.4s, v5.4s
	WORD $0x4ea784c6 // add v6.4s, v6.4s, v7.4s
	WORD $0x4ea28400 // add v0.4s, v0.4s, v2.4s
	WORD $0x4ea68484 // add v4.4s, v4.4s, v6.4s
	WORD $0xac815414 // stp q20, q21, [x0], #32
	WORD $0x4eb1b800 // addv s0, v0.4s
	WORD $0x4e21d800 // scvtf v0.4s, v0.4s
	WORD $0x1e380800 // fmul s0, s0, s24
	WORD $0xbc004460 // str s0, [x3], #4
	WORD $0x4eb1b884 // addv s4, v4.4s
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x1e380884 // fmul s4, s4, s24
	WORD $0xbc004464 // str s4, [x3], #4
	WORD $0xbc004458 // str s24, [x2], #4
	SUBS $1, R4
	BNE  group
	RET

// func dotQ4NEON(y *float32, rows int, w *byte, scales, biases *float32, x *int8, scale, sum *float32, runs, shift int)
TEXT ·dotQ4NEON(SB), NOSPLIT, $0-80
	MOVD y+0(FP), R0
	MOVD rows+8(FP), R1
	MOVD w+16(FP), R2
	MOVD scales+24(FP), R3
	MOVD biases+32(FP), R4
	MOVD runs+64(FP), R11
	MOVD shift+72(FP), R9
	LSL  $1, R11
	LSR  R9, R11, R11 // scales in a row
	WORD $0x4f00e5ef // movi v15.16b, #15

row:
	MOVD x+40(FP), R5
	MOVD scale+48(FP), R6
	MOVD sum+56(FP), R7
	MOVD runs+64(FP), R8
	MOVD $0, R10
	WORD $0x4f000400 // movi v0.4s, #0
	WORD $0x4f000401 // movi v1.4s, #0

run:
	PRFM 1024(R2), PLDL1KEEP
	WORD $0xacc10c42 // ldp q2, q3, [x2], #32
	WORD $0xad4014a4 // ldp q4, q5, [x5] // even values of both groups
	WORD $0xad411ca6 // ldp q6, q7, [x5, #32] // odd ones
	ADD  $64, R5
	WORD $0x4e2f1c50 // and v16.16b, v2.16b, v15.16b
	WORD $0x4e2f1c71 // and v17.16b, v3.16b, v15.16b
	WORD $0x6f0c0452 // ushr v18.16b, v2.16b, #4
	WORD $0x6f0c0473 // ushr v19.16b, v3.16b, #4
	WORD $0x0e24c21a // smull v26.8h, v16.8b, v4.8b
	WORD $0x4e24821a // smlal2 v26.8h, v16.16b, v4.16b
	WORD $0x0e26825a // smlal v26.8h, v18.8b, v6.8b
	WORD $0x4e26825a // smlal2 v26.8h, v18.16b, v6.16b
	WORD $0x4e602b54 // saddlp v20.4s, v26.8h
	WORD $0x0e25c23a // smull v26.8h, v17.8b, v5.8b
	WORD $0x4e25823a // smlal2 v26.8h, v17.16b, v5.16b
	WORD $0x0e27827a // smlal v26.8h, v19.8b, v7.8b
	WORD $0x4e27827a // smlal2 v26.8h, v19.16b, v7.16b
	WORD $0x4e602b55 // saddlp v21.4s, v26.8h
	LSR  R9, R10, R12
	ADD  $1, R10
	LSR  R9, R10, R13
	ADD  $1, R10
	ADD  R12<<2, R3, R12
	ADD  R13<<2, R3, R13
	WORD $0x4d40c996 // ld1r {v22.4s}, [x12]
	WORD $0x4d40c9b7 // ld1r {v23.4s}, [x13]
	WORD $0xacc164d8 // ldp q24, q25, [x6], #32
	WORD $0x4e21da94 // scvtf v20.4s, v20.4s
	WORD $0x4e21dab5 // scvtf v21.4s, v21.4s
	WORD $0x6e38ded6 // fmul v22.4s, v22.4s, v24.4s
	WORD $0x6e39def7 // fmul v23.4s, v23.4s, v25.4s
	WORD $0x4e36ce80 // fmla v0.4s, v20.4s, v22.4s
	WORD $0x4e37cea1 // fmla v1.4s, v21.4s, v23.4s
	SUBS $1, R8
	BNE  run

	ADD  R11<<2, R3
	SUBS $4, R11, R12
	BLT  tail

bias4:
	WORD $0x3cc10482 // ldr q2, [x4], #16
	WORD $0x3cc104e3 // ldr q3, [x7], #16
	WORD $0x4e23cc40 // fmla v0.4s, v2.4s, v3.4s
	SUBS $4, R12
	BGE  bias4

tail:
	ADDS $4, R12
	BEQ  next

bias:
	WORD $0xbc404482 // ldr s2, [x4], #4
	WORD $0xbc4044e3 // ldr s3, [x7], #4
	WORD $0x4e23cc41 // fmla v1.4s, v2.4s, v3.4s // three lanes are 0
	SUBS $1, R12
	BNE  bias

next:
	WORD $0x4e21d400 // fadd v0.4s, v0.4s, v1.4s
	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	WORD $0xbc004400 // str s0, [x0], #4
	SUBS $1, R1
	BNE  row
	RET

// func dotQ4DotProd(y *float32, rows int, w *byte, scales, biases *float32, x *int8, scale, sum *float32, runs, shift int)
TEXT ·dotQ4DotProd(SB), NOSPLIT, $0-80
	MOVD y+0(FP), R0
	MOVD rows+8(FP), R1
	MOVD w+16(FP), R2
	MOVD scales+24(FP), R3
	MOVD biases+32(FP), R4
	MOVD runs+64(FP), R11
	MOVD shift+72(FP), R9
	LSL  $1, R11
	LSR  R9, R11, R11 // scales in a row
	WORD $0x4f00e5ef // movi v15.16b, #15

row:
	MOVD x+40(FP), R5
	MOVD scale+48(FP), R6
	MOVD sum+56(FP), R7
	MOVD runs+64(FP), R8
	MOVD $0, R10
	WORD $0x4f000400 // movi v0.4s, #0
	WORD $0x4f000401 // movi v1.4s, #0

run:
	PRFM 1024(R2), PLDL1KEEP
	WORD $0xacc10c42 // ldp q2, q3, [x2], #32
	WORD $0xad4014a4 // ldp q4, q5, [x5] // even values of both groups
	WORD $0xad411ca6 // ldp q6, q7, [x5, #32] // odd ones
	ADD  $64, R5
	WORD $0x4e2f1c50 // and v16.16b, v2.16b, v15.16b
	WORD $0x4e2f1c71 // and v17.16b, v3.16b, v15.16b
	WORD $0x6f0c0452 // ushr v18.16b, v2.16b, #4
	WORD $0x6f0c0473 // ushr v19.16b, v3.16b, #4
	WORD $0x4f000414 // movi v20.4s, #0
	WORD $0x4e849614 // sdot v20.4s, v16.16b, v4.16b
	WORD $0x4e869654 // sdot v20.4s, v18.16b, v6.16b
	WORD $0x4f000415 // movi v21.4s, #0
	WORD $0x4e859635 // sdot v21.4s, v17.16b, v5.16b
	WORD $0x4e879675 // sdot v21.4s, v19.16b, v7.16b
	LSR  R9, R10, R12
	ADD  $1, R10
	LSR  R9, R10, R13
	ADD  $1, R10
	ADD  R12<<2, R3, R12
	ADD  R13<<2, R3, R13
	WORD $0x4d40c996 // ld1r {v22.4s}, [x12]
	WORD $0x4d40c9b7 // ld1r {v23.4s}, [x13]
	WORD $0xacc164d8 // ldp q24, q25, [x6], #32
	WORD $0x4e21da94 // scvtf v20.4s, v20.4s
	WORD $0x4e21dab5 // scvtf v21.4s, v21.4s
	WORD $0x6e38ded6 // fmul v22.4s, v22.4s, v24.4s
	WORD $0x6e39def7 // fmul v23.4s, v23.4s, v25.4s
	WORD $0x4e36ce80 // fmla v0.4s, v20.4s, v22.4s
	WORD $0x4e37cea1 // fmla v1.4s, v21.4s, v23.4s
	SUBS $1, R8
	BNE  run

	ADD  R11<<2, R3
	SUBS $4, R11, R12
	BLT  tail

bias4:
	WORD $0x3cc10482 // ldr q2, [x4], #16
	WORD $0x3cc104e3 // ldr q3, [x7], #16
	WORD $0x4e23cc40 // fmla v0.4s, v2.4s, v3.4s
	SUBS $4, R12
	BGE  bias4

tail:
	ADDS $4, R12
	BEQ  next

bias:
	WORD $0xbc404482 // ldr s2, [x4], #4
	WORD $0xbc4044e3 // ldr s3, [x7], #4
	WORD $0x4e23cc41 // fmla v1.4s, v2.4s, v3.4s // three lanes are 0
	SUBS $1, R12
	BNE  bias

next:
	WORD $0x4e21d400 // fadd v0.4s, v0.4s, v1.4s
	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	WORD $0xbc004400 // str s0, [x0], #4
	SUBS $1, R1
	BNE  row
	RET
