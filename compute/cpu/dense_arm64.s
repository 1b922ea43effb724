// Generated from _generate/dense.neon by go run ./compute/cpu/_generate; DO NOT EDIT.

//go:build !purego

#include "textflag.h"

// func dotF16NEON(y *float32, rows int, w *byte, x *float32, n int)
TEXT ·dotF16NEON(SB), NOSPLIT, $0-40
	MOVD y+0(FP), R0
	MOVD rows+8(FP), R1
	MOVD w+16(FP), R2
	MOVD n+32(FP), R4

row:
	MOVD x+24(FP), R3
	MOVD R4, R5
	WORD $0x4f000414 // movi v20.4s, #0
	WORD $0x4f000415 // movi v21.4s, #0
	WORD $0x4f000416 // movi v22.4s, #0
	WORD $0x4f000417 // movi v23.4s, #0

loop:
	PRFM 1024(R2), PLDL1KEEP
	WORD $0xacc10c42 // ldp q2, q3, [x2], #32
	WORD $0x0e217844 // fcvtl v4.4s, v2.4h
	WORD $0x4e217845 // fcvtl2 v5.4s, v2.8h
	WORD $0x0e217866 // fcvtl v6.4s, v3.4h
	WORD $0x4e217867 // fcvtl2 v7.4s, v3.8h
	WORD $0xacc14470 // ldp q16, q17, [x3], #32
	WORD $0xacc14c72 // ldp q18, q19, [x3], #32
	WORD $0x4e30cc94 // fmla v20.4s, v4.4s, v16.4s
	WORD $0x4e31ccb5 // fmla v21.4s, v5.4s, v17.4s
	WORD $0x4e32ccd6 // fmla v22.4s, v6.4s, v18.4s
	WORD $0x4e33ccf7 // fmla v23.4s, v7.4s, v19.4s
	SUBS $16, R5
	BNE  loop

	WORD $0x4e35d694 // fadd v20.4s, v20.4s, v21.4s
	WORD $0x4e37d6d6 // fadd v22.4s, v22.4s, v23.4s
	WORD $0x4e36d680 // fadd v0.4s, v20.4s, v22.4s
	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	WORD $0xbc004400 // str s0, [x0], #4
	SUBS $1, R1
	BNE  row
	RET

// func dotBF16NEON(y *float32, rows int, w *byte, x *float32, n int)
TEXT ·dotBF16NEON(SB), NOSPLIT, $0-40
	MOVD y+0(FP), R0
	MOVD rows+8(FP), R1
	MOVD w+16(FP), R2
	MOVD n+32(FP), R4

row:
	MOVD x+24(FP), R3
	MOVD R4, R5
	WORD $0x4f000414 // movi v20.4s, #0
	WORD $0x4f000415 // movi v21.4s, #0
	WORD $0x4f000416 // movi v22.4s, #0
	WORD $0x4f000417 // movi v23.4s, #0

loop:
	PRFM 1024(R2), PLDL1KEEP
	WORD $0xacc10c42 // ldp q2, q3, [x2], #32
	WORD $0x2e613844 // shll v4.4s, v2.4h, #16
	WORD $0x6e613845 // shll2 v5.4s, v2.8h, #16
	WORD $0x2e613866 // shll v6.4s, v3.4h, #16
	WORD $0x6e613867 // shll2 v7.4s, v3.8h, #16
	WORD $0xacc14470 // ldp q16, q17, [x3], #32
	WORD $0xacc14c72 // ldp q18, q19, [x3], #32
	WORD $0x4e30cc94 // fmla v20.4s, v4.4s, v16.4s
	WORD $0x4e31ccb5 // fmla v21.4s, v5.4s, v17.4s
	WORD $0x4e32ccd6 // fmla v22.4s, v6.4s, v18.4s
	WORD $0x4e33ccf7 // fmla v23.4s, v7.4s, v19.4s
	SUBS $16, R5
	BNE  loop

	WORD $0x4e35d694 // fadd v20.4s, v20.4s, v21.4s
	WORD $0x4e37d6d6 // fadd v22.4s, v22.4s, v23.4s
	WORD $0x4e36d680 // fadd v0.4s, v20.4s, v22.4s
	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	WORD $0xbc004400 // str s0, [x0], #4
	SUBS $1, R1
	BNE  row
	RET

// func dotF32NEON(y *float32, rows int, w *byte, x *float32, n int)
TEXT ·dotF32NEON(SB), NOSPLIT, $0-40
	MOVD y+0(FP), R0
	MOVD rows+8(FP), R1
	MOVD w+16(FP), R2
	MOVD n+32(FP), R4

row:
	MOVD x+24(FP), R3
	MOVD R4, R5
	WORD $0x4f000414 // movi v20.4s, #0
	WORD $0x4f000415 // movi v21.4s, #0
	WORD $0x4f000416 // movi v22.4s, #0
	WORD $0x4f000417 // movi v23.4s, #0

loop:
	PRFM 1024(R2), PLDL1KEEP
	WORD $0xacc11444 // ldp q4, q5, [x2], #32
	WORD $0xacc11c46 // ldp q6, q7, [x2], #32
	WORD $0xacc14470 // ldp q16, q17, [x3], #32
	WORD $0xacc14c72 // ldp q18, q19, [x3], #32
	WORD $0x4e30cc94 // fmla v20.4s, v4.4s, v16.4s
	WORD $0x4e31ccb5 // fmla v21.4s, v5.4s, v17.4s
	WORD $0x4e32ccd6 // fmla v22.4s, v6.4s, v18.4s
	WORD $0x4e33ccf7 // fmla v23.4s, v7.4s, v19.4s
	SUBS $16, R5
	BNE  loop

	WORD $0x4e35d694 // fadd v20.4s, v20.4s, v21.4s
	WORD $0x4e37d6d6 // fadd v22.4s, v22.4s, v23.4s
	WORD $0x4e36d680 // fadd v0.4s, v20.4s, v22.4s
	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	WORD $0xbc004400 // str s0, [x0], #4
	SUBS $1, R1
	BNE  row
	RET

// func widenF16NEON(dst *float32, src *byte, n int)
TEXT ·widenF16NEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R2
	MOVD n+16(FP), R1

loop:
	WORD $0xacc10c42 // ldp q2, q3, [x2], #32
	WORD $0x0e217844 // fcvtl v4.4s, v2.4h
	WORD $0x4e217845 // fcvtl2 v5.4s, v2.8h
	WORD $0x0e217866 // fcvtl v6.4s, v3.4h
	WORD $0x4e217867 // fcvtl2 v7.4s, v3.8h
	WORD $0xac811404 // stp q4, q5, [x0], #32
	WORD $0xac811c06 // stp q6, q7, [x0], #32
	SUBS $16, R1
	BNE  loop
	RET

// func widenBF16NEON(dst *float32, src *byte, n int)
TEXT ·widenBF16NEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R2
	MOVD n+16(FP), R1

loop:
	WORD $0xacc10c42 // ldp q2, q3, [x2], #32
	WORD $0x2e613844 // shll v4.4s, v2.4h, #16
	WORD $0x6e613845 // shll2 v5.4s, v2.8h, #16
	WORD $0x2e613866 // shll v6.4s, v3.4h, #16
	WORD $0x6e613867 // shll2 v7.4s, v3.8h, #16
	WORD $0xac811404 // stp q4, q5, [x0], #32
	WORD $0xac811c06 // stp q6, q7, [x0], #32
	SUBS $16, R1
	BNE  loop
	RET

// func narrowF16NEON(dst *byte, src *float32, n int)
TEXT ·narrowF16NEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD n+16(FP), R2

loop:
	WORD $0xacc10420 // ldp q0, q1, [x1], #32
	WORD $0x0e216802 // fcvtn v2.4h, v0.4s
	WORD $0x4e216822 // fcvtn2 v2.8h, v1.4s
	WORD $0x3c810402 // str q2, [x0], #16
	SUBS   $8, R2
	BNE    loop
	RET

// func narrowBF16NEON(dst *byte, src *float32, n int)
TEXT ·narrowBF16NEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD n+16(FP), R2
	MOVD $0x7fff, R3
	WORD $0x4e040c70 // dup v16.4s, w3
	WORD $0x4f000431 // movi v17.4s, #1
	MOVD $0x400000, R3
	WORD $0x4e040c72 // dup v18.4s, w3

loop:
	WORD $0xacc10420 // ldp q0, q1, [x1], #32
	WORD $0x6f300402 // ushr v2.4s, v0.4s, #16
	WORD $0x4e311c42 // and v2.16b, v2.16b, v17.16b // the last bit kept
	WORD $0x4eb08442 // add v2.4s, v2.4s, v16.4s
	WORD $0x4ea08442 // add v2.4s, v2.4s, v0.4s
	WORD $0x4e20e403 // fcmeq v3.4s, v0.4s, v0.4s // not a NaN
	WORD $0x4eb21c00 // orr v0.16b, v0.16b, v18.16b // a quiet NaN
	WORD $0x6e601c43 // bsl v3.16b, v2.16b, v0.16b
	WORD $0x6f300424 // ushr v4.4s, v1.4s, #16
	WORD $0x4e311c84 // and v4.16b, v4.16b, v17.16b // the last bit kept
	WORD $0x4eb08484 // add v4.4s, v4.4s, v16.4s
	WORD $0x4ea18484 // add v4.4s, v4.4s, v1.4s
	WORD $0x4e21e425 // fcmeq v5.4s, v1.4s, v1.4s // not a NaN
	WORD $0x4eb21c21 // orr v1.16b, v1.16b, v18.16b // a quiet NaN
	WORD $0x6e611c85 // bsl v5.16b, v4.16b, v1.16b
	WORD $0x0f108466 // shrn v6.4h, v3.4s, #16
	WORD $0x4f1084a6 // shrn2 v6.8h, v5.4s, #16
	WORD $0x3c810406 // str q6, [x0], #16
	SUBS  $8, R2
	BNE   loop
	RET

// func dotRowsNEON(y *float32, rows int, x *float32, ld int, q *float32, n int)
TEXT ·dotRowsNEON(SB), NOSPLIT, $0-48
	MOVD y+0(FP), R0
	MOVD rows+8(FP), R1
	MOVD x+16(FP), R2
	MOVD ld+24(FP), R3
	MOVD n+40(FP), R5
	LSL  $2, R3

row:
	MOVD q+32(FP), R4
	MOVD R2, R6
	WORD $0x4f000400 // movi v0.4s, #0
	WORD $0x4f000401 // movi v1.4s, #0
	WORD $0x4f000402 // movi v2.4s, #0
	WORD $0x4f000403 // movi v3.4s, #0
	SUBS $16, R5, R7
	BLT  tail

loop:
	WORD $0xacc114c4 // ldp q4, q5, [x6], #32
	WORD $0xacc11cc6 // ldp q6, q7, [x6], #32
	WORD $0xacc14490 // ldp q16, q17, [x4], #32
	WORD $0xacc14c92 // ldp q18, q19, [x4], #32
	WORD $0x4e30cc80 // fmla v0.4s, v4.4s, v16.4s
	WORD $0x4e31cca1 // fmla v1.4s, v5.4s, v17.4s
	WORD $0x4e32ccc2 // fmla v2.4s, v6.4s, v18.4s
	WORD $0x4e33cce3 // fmla v3.4s, v7.4s, v19.4s
	SUBS $16, R7
	BGE  loop

tail:
	ADDS $16, R7
	BEQ  sum

four:
	WORD $0x3cc104c4 // ldr q4, [x6], #16
	WORD $0x3cc10490 // ldr q16, [x4], #16
	WORD $0x4e30cc80 // fmla v0.4s, v4.4s, v16.4s
	SUBS $4, R7
	BNE  four

sum:
	WORD $0x4e21d400 // fadd v0.4s, v0.4s, v1.4s
	WORD $0x4e23d442 // fadd v2.4s, v2.4s, v3.4s
	WORD $0x4e22d400 // fadd v0.4s, v0.4s, v2.4s
	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	WORD $0xbc004400 // str s0, [x0], #4
	ADD  R3, R2
	SUBS $1, R1
	BNE  row
	RET

// func addRowsNEON(y, p *float32, rows int, x *float32, ld, n int)
TEXT ·addRowsNEON(SB), NOSPLIT, $0-48
	MOVD y+0(FP), R0
	MOVD rows+16(FP), R2
	MOVD x+24(FP), R3
	MOVD ld+32(FP), R4
	MOVD n+40(FP), R5
	LSL  $2, R4
	SUBS $16, R5
	BLT  tail

wide:
	WORD $0xad400400 // ldp q0, q1, [x0]
	WORD $0xad410c02 // ldp q2, q3, [x0, #32]
	MOVD p+8(FP), R1
	MOVD R3, R6
	MOVD R2, R7

wideRow:
	WORD $0x4ddfc830 // ld1r {v16.4s}, [x1], #4
	WORD $0xad4014c4 // ldp q4, q5, [x6]
	WORD $0xad411cc6 // ldp q6, q7, [x6, #32]
	ADD  R4, R6
	WORD $0x4e30cc80 // fmla v0.4s, v4.4s, v16.4s
	WORD $0x4e30cca1 // fmla v1.4s, v5.4s, v16.4s
	WORD $0x4e30ccc2 // fmla v2.4s, v6.4s, v16.4s
	WORD $0x4e30cce3 // fmla v3.4s, v7.4s, v16.4s
	SUBS $1, R7
	BNE  wideRow

	WORD $0xac810400 // stp q0, q1, [x0], #32
	WORD $0xac810c02 // stp q2, q3, [x0], #32
	ADD  $64, R3
	SUBS $16, R5
	BGE  wide

tail:
	ADDS $16, R5
	BEQ  done

four:
	WORD $0x3dc00000 // ldr q0, [x0]
	MOVD p+8(FP), R1
	MOVD R3, R6
	MOVD R2, R7

fourRow:
	WORD $0x4ddfc830 // ld1r {v16.4s}, [x1], #4
	WORD $0x3dc000c4 // ldr q4, [x6]
	ADD  R4, R6
	WORD $0x4e30cc80 // fmla v0.4s, v4.4s, v16.4s
	SUBS $1, R7
	BNE  fourRow

	WORD $0x3c810400 // str q0, [x0], #16
	ADD  $16, R3
	SUBS $4, R5
	BNE  four

done:
	RET
