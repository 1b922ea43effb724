// Generated from _generate/gemm.neon by go run ./compute/cpu/_generate; DO NOT EDIT.

//go:build !purego

#include "textflag.h"

// func tile12x8(k int, a, b, c *float32, ldc int, add bool)
TEXT ·tile12x8(SB), NOSPLIT, $0-41
	MOVD k+0(FP), R0
	MOVD a+8(FP), R1
	MOVD b+16(FP), R2
	MOVD c+24(FP), R3
	MOVD ldc+32(FP), R4
	LSL  $2, R4 // bytes from row to row of c

	// c is needed at the end only: fetch it meanwhile.
	MOVD R3, R5
	PRFM (R5), PLDL1KEEP
	ADD R4, R5
	PRFM (R5), PLDL1KEEP
	ADD R4, R5
	PRFM (R5), PLDL1KEEP
	ADD R4, R5
	PRFM (R5), PLDL1KEEP
	ADD R4, R5
	PRFM (R5), PLDL1KEEP
	ADD R4, R5
	PRFM (R5), PLDL1KEEP
	ADD R4, R5
	PRFM (R5), PLDL1KEEP
	ADD R4, R5
	PRFM (R5), PLDL1KEEP
	ADD R4, R5
	PRFM (R5), PLDL1KEEP
	ADD R4, R5
	PRFM (R5), PLDL1KEEP
	ADD R4, R5
	PRFM (R5), PLDL1KEEP
	ADD R4, R5
	PRFM (R5), PLDL1KEEP
	ADD R4, R5

	WORD $0x4f000408 // movi v8.4s, #0
	WORD $0x4f000409 // movi v9.4s, #0
	WORD $0x4f00040a // movi v10.4s, #0
	WORD $0x4f00040b // movi v11.4s, #0
	WORD $0x4f00040c // movi v12.4s, #0
	WORD $0x4f00040d // movi v13.4s, #0
	WORD $0x4f00040e // movi v14.4s, #0
	WORD $0x4f00040f // movi v15.4s, #0
	WORD $0x4f000410 // movi v16.4s, #0
	WORD $0x4f000411 // movi v17.4s, #0
	WORD $0x4f000412 // movi v18.4s, #0
	WORD $0x4f000413 // movi v19.4s, #0
	WORD $0x4f000414 // movi v20.4s, #0
	WORD $0x4f000415 // movi v21.4s, #0
	WORD $0x4f000416 // movi v22.4s, #0
	WORD $0x4f000417 // movi v23.4s, #0
	WORD $0x4f000418 // movi v24.4s, #0
	WORD $0x4f000419 // movi v25.4s, #0
	WORD $0x4f00041a // movi v26.4s, #0
	WORD $0x4f00041b // movi v27.4s, #0
	WORD $0x4f00041c // movi v28.4s, #0
	WORD $0x4f00041d // movi v29.4s, #0
	WORD $0x4f00041e // movi v30.4s, #0
	WORD $0x4f00041f // movi v31.4s, #0

	SUBS $4, R0
	BLT  tail

four:
	WORD $0xad400420 // ldp q0, q1, [x1, #0]
	WORD $0xad401043 // ldp q3, q4, [x2, #0]
	WORD $0x3dc00822 // ldr q2, [x1, #32]
	WORD $0x4f801068 // fmla v8.4s, v3.4s, v0.s[0]
	WORD $0x4f801089 // fmla v9.4s, v4.4s, v0.s[0]
	WORD $0x4fa0106a // fmla v10.4s, v3.4s, v0.s[1]
	WORD $0x4fa0108b // fmla v11.4s, v4.4s, v0.s[1]
	WORD $0x4f80186c // fmla v12.4s, v3.4s, v0.s[2]
	WORD $0x4f80188d // fmla v13.4s, v4.4s, v0.s[2]
	WORD $0x4fa0186e // fmla v14.4s, v3.4s, v0.s[3]
	WORD $0x4fa0188f // fmla v15.4s, v4.4s, v0.s[3]
	WORD $0x4f811070 // fmla v16.4s, v3.4s, v1.s[0]
	WORD $0x4f811091 // fmla v17.4s, v4.4s, v1.s[0]
	WORD $0x4fa11072 // fmla v18.4s, v3.4s, v1.s[1]
	WORD $0x4fa11093 // fmla v19.4s, v4.4s, v1.s[1]
	WORD $0x4f811874 // fmla v20.4s, v3.4s, v1.s[2]
	WORD $0x4f811895 // fmla v21.4s, v4.4s, v1.s[2]
	WORD $0x4fa11876 // fmla v22.4s, v3.4s, v1.s[3]
	WORD $0x4fa11897 // fmla v23.4s, v4.4s, v1.s[3]
	WORD $0x4f821078 // fmla v24.4s, v3.4s, v2.s[0]
	WORD $0x4f821099 // fmla v25.4s, v4.4s, v2.s[0]
	WORD $0x4fa2107a // fmla v26.4s, v3.4s, v2.s[1]
	WORD $0x4fa2109b // fmla v27.4s, v4.4s, v2.s[1]
	WORD $0x4f82187c // fmla v28.4s, v3.4s, v2.s[2]
	WORD $0x4f82189d // fmla v29.4s, v4.4s, v2.s[2]
	WORD $0x4fa2187e // fmla v30.4s, v3.4s, v2.s[3]
	WORD $0x4fa2189f // fmla v31.4s, v4.4s, v2.s[3]
	WORD $0xad418420 // ldp q0, q1, [x1, #48]
	WORD $0xad411043 // ldp q3, q4, [x2, #32]
	WORD $0x3dc01422 // ldr q2, [x1, #80]
	WORD $0x4f801068 // fmla v8.4s, v3.4s, v0.s[0]
	WORD $0x4f801089 // fmla v9.4s, v4.4s, v0.s[0]
	WORD $0x4fa0106a // fmla v10.4s, v3.4s, v0.s[1]
	WORD $0x4fa0108b // fmla v11.4s, v4.4s, v0.s[1]
	WORD $0x4f80186c // fmla v12.4s, v3.4s, v0.s[2]
	WORD $0x4f80188d // fmla v13.4s, v4.4s, v0.s[2]
	WORD $0x4fa0186e // fmla v14.4s, v3.4s, v0.s[3]
	WORD $0x4fa0188f // fmla v15.4s, v4.4s, v0.s[3]
	WORD $0x4f811070 // fmla v16.4s, v3.4s, v1.s[0]
	WORD $0x4f811091 // fmla v17.4s, v4.4s, v1.s[0]
	WORD $0x4fa11072 // fmla v18.4s, v3.4s, v1.s[1]
	WORD $0x4fa11093 // fmla v19.4s, v4.4s, v1.s[1]
	WORD $0x4f811874 // fmla v20.4s, v3.4s, v1.s[2]
	WORD $0x4f811895 // fmla v21.4s, v4.4s, v1.s[2]
	WORD $0x4fa11876 // fmla v22.4s, v3.4s, v1.s[3]
	WORD $0x4fa11897 // fmla v23.4s, v4.4s, v1.s[3]
	WORD $0x4f821078 // fmla v24.4s, v3.4s, v2.s[0]
	WORD $0x4f821099 // fmla v25.4s, v4.4s, v2.s[0]
	WORD $0x4fa2107a // fmla v26.4s, v3.4s, v2.s[1]
	WORD $0x4fa2109b // fmla v27.4s, v4.4s, v2.s[1]
	WORD $0x4f82187c // fmla v28.4s, v3.4s, v2.s[2]
	WORD $0x4f82189d // fmla v29.4s, v4.4s, v2.s[2]
	WORD $0x4fa2187e // fmla v30.4s, v3.4s, v2.s[3]
	WORD $0x4fa2189f // fmla v31.4s, v4.4s, v2.s[3]
	WORD $0xad430420 // ldp q0, q1, [x1, #96]
	WORD $0xad421043 // ldp q3, q4, [x2, #64]
	WORD $0x3dc02022 // ldr q2, [x1, #128]
	WORD $0x4f801068 // fmla v8.4s, v3.4s, v0.s[0]
	WORD $0x4f801089 // fmla v9.4s, v4.4s, v0.s[0]
	WORD $0x4fa0106a // fmla v10.4s, v3.4s, v0.s[1]
	WORD $0x4fa0108b // fmla v11.4s, v4.4s, v0.s[1]
	WORD $0x4f80186c // fmla v12.4s, v3.4s, v0.s[2]
	WORD $0x4f80188d // fmla v13.4s, v4.4s, v0.s[2]
	WORD $0x4fa0186e // fmla v14.4s, v3.4s, v0.s[3]
	WORD $0x4fa0188f // fmla v15.4s, v4.4s, v0.s[3]
	WORD $0x4f811070 // fmla v16.4s, v3.4s, v1.s[0]
	WORD $0x4f811091 // fmla v17.4s, v4.4s, v1.s[0]
	WORD $0x4fa11072 // fmla v18.4s, v3.4s, v1.s[1]
	WORD $0x4fa11093 // fmla v19.4s, v4.4s, v1.s[1]
	WORD $0x4f811874 // fmla v20.4s, v3.4s, v1.s[2]
	WORD $0x4f811895 // fmla v21.4s, v4.4s, v1.s[2]
	WORD $0x4fa11876 // fmla v22.4s, v3.4s, v1.s[3]
	WORD $0x4fa11897 // fmla v23.4s, v4.4s, v1.s[3]
	WORD $0x4f821078 // fmla v24.4s, v3.4s, v2.s[0]
	WORD $0x4f821099 // fmla v25.4s, v4.4s, v2.s[0]
	WORD $0x4fa2107a // fmla v26.4s, v3.4s, v2.s[1]
	WORD $0x4fa2109b // fmla v27.4s, v4.4s, v2.s[1]
	WORD $0x4f82187c // fmla v28.4s, v3.4s, v2.s[2]
	WORD $0x4f82189d // fmla v29.4s, v4.4s, v2.s[2]
	WORD $0x4fa2187e // fmla v30.4s, v3.4s, v2.s[3]
	WORD $0x4fa2189f // fmla v31.4s, v4.4s, v2.s[3]
	WORD $0xad448420 // ldp q0, q1, [x1, #144]
	WORD $0xad431043 // ldp q3, q4, [x2, #96]
	WORD $0x3dc02c22 // ldr q2, [x1, #176]
	WORD $0x4f801068 // fmla v8.4s, v3.4s, v0.s[0]
	WORD $0x4f801089 // fmla v9.4s, v4.4s, v0.s[0]
	WORD $0x4fa0106a // fmla v10.4s, v3.4s, v0.s[1]
	WORD $0x4fa0108b // fmla v11.4s, v4.4s, v0.s[1]
	WORD $0x4f80186c // fmla v12.4s, v3.4s, v0.s[2]
	WORD $0x4f80188d // fmla v13.4s, v4.4s, v0.s[2]
	WORD $0x4fa0186e // fmla v14.4s, v3.4s, v0.s[3]
	WORD $0x4fa0188f // fmla v15.4s, v4.4s, v0.s[3]
	WORD $0x4f811070 // fmla v16.4s, v3.4s, v1.s[0]
	WORD $0x4f811091 // fmla v17.4s, v4.4s, v1.s[0]
	WORD $0x4fa11072 // fmla v18.4s, v3.4s, v1.s[1]
	WORD $0x4fa11093 // fmla v19.4s, v4.4s, v1.s[1]
	WORD $0x4f811874 // fmla v20.4s, v3.4s, v1.s[2]
	WORD $0x4f811895 // fmla v21.4s, v4.4s, v1.s[2]
	WORD $0x4fa11876 // fmla v22.4s, v3.4s, v1.s[3]
	WORD $0x4fa11897 // fmla v23.4s, v4.4s, v1.s[3]
	WORD $0x4f821078 // fmla v24.4s, v3.4s, v2.s[0]
	WORD $0x4f821099 // fmla v25.4s, v4.4s, v2.s[0]
	WORD $0x4fa2107a // fmla v26.4s, v3.4s, v2.s[1]
	WORD $0x4fa2109b // fmla v27.4s, v4.4s, v2.s[1]
	WORD $0x4f82187c // fmla v28.4s, v3.4s, v2.s[2]
	WORD $0x4f82189d // fmla v29.4s, v4.4s, v2.s[2]
	WORD $0x4fa2187e // fmla v30.4s, v3.4s, v2.s[3]
	WORD $0x4fa2189f // fmla v31.4s, v4.4s, v2.s[3]
	ADD  $192, R1
	ADD  $128, R2
	SUBS $4, R0
	BGE  four

tail:
	ADDS $4, R0
	BEQ  sums

one:
	WORD $0xad400420 // ldp q0, q1, [x1, #0]
	WORD $0xad401043 // ldp q3, q4, [x2, #0]
	WORD $0x3dc00822 // ldr q2, [x1, #32]
	WORD $0x4f801068 // fmla v8.4s, v3.4s, v0.s[0]
	WORD $0x4f801089 // fmla v9.4s, v4.4s, v0.s[0]
	WORD $0x4fa0106a // fmla v10.4s, v3.4s, v0.s[1]
	WORD $0x4fa0108b // fmla v11.4s, v4.4s, v0.s[1]
	WORD $0x4f80186c // fmla v12.4s, v3.4s, v0.s[2]
	WORD $0x4f80188d // fmla v13.4s, v4.4s, v0.s[2]
	WORD $0x4fa0186e // fmla v14.4s, v3.4s, v0.s[3]
	WORD $0x4fa0188f // fmla v15.4s, v4.4s, v0.s[3]
	WORD $0x4f811070 // fmla v16.4s, v3.4s, v1.s[0]
	WORD $0x4f811091 // fmla v17.4s, v4.4s, v1.s[0]
	WORD $0x4fa11072 // fmla v18.4s, v3.4s, v1.s[1]
	WORD $0x4fa11093 // fmla v19.4s, v4.4s, v1.s[1]
	WORD $0x4f811874 // fmla v20.4s, v3.4s, v1.s[2]
	WORD $0x4f811895 // fmla v21.4s, v4.4s, v1.s[2]
	WORD $0x4fa11876 // fmla v22.4s, v3.4s, v1.s[3]
	WORD $0x4fa11897 // fmla v23.4s, v4.4s, v1.s[3]
	WORD $0x4f821078 // fmla v24.4s, v3.4s, v2.s[0]
	WORD $0x4f821099 // fmla v25.4s, v4.4s, v2.s[0]
	WORD $0x4fa2107a // fmla v26.4s, v3.4s, v2.s[1]
	WORD $0x4fa2109b // fmla v27.4s, v4.4s, v2.s[1]
	WORD $0x4f82187c // fmla v28.4s, v3.4s, v2.s[2]
	WORD $0x4f82189d // fmla v29.4s, v4.4s, v2.s[2]
	WORD $0x4fa2187e // fmla v30.4s, v3.4s, v2.s[3]
	WORD $0x4fa2189f // fmla v31.4s, v4.4s, v2.s[3]
	ADD  $48, R1
	ADD  $32, R2
	SUBS $1, R0
	BNE  one

sums:
	MOVBU add+40(FP), R6
	CBZ   R6, store
	MOVD  R3, R5
	WORD $0xad4004a0 // ldp q0, q1, [x5]
	WORD $0x4e20d508 // fadd v8.4s, v8.4s, v0.4s
	WORD $0x4e21d529 // fadd v9.4s, v9.4s, v1.4s
	ADD R4, R5
	WORD $0xad4004a0 // ldp q0, q1, [x5]
	WORD $0x4e20d54a // fadd v10.4s, v10.4s, v0.4s
	WORD $0x4e21d56b // fadd v11.4s, v11.4s, v1.4s
	ADD R4, R5
	WORD $0xad4004a0 // ldp q0, q1, [x5]
	WORD $0x4e20d58c // fadd v12.4s, v12.4s, v0.4s
	WORD $0x4e21d5ad // fadd v13.4s, v13.4s, v1.4s
	ADD R4, R5
	WORD $0xad4004a0 // ldp q0, q1, [x5]
	WORD $0x4e20d5ce // fadd v14.4s, v14.4s, v0.4s
	WORD $0x4e21d5ef // fadd v15.4s, v15.4s, v1.4s
	ADD R4, R5
	WORD $0xad4004a0 // ldp q0, q1, [x5]
	WORD $0x4e20d610 // fadd v16.4s, v16.4s, v0.4s
	WORD $0x4e21d631 // fadd v17.4s, v17.4s, v1.4s
	ADD R4, R5
	WORD $0xad4004a0 // ldp q0, q1, [x5]
	WORD $0x4e20d652 // fadd v18.4s, v18.4s, v0.4s
	WORD $0x4e21d673 // fadd v19.4s, v19.4s, v1.4s
	ADD R4, R5
	WORD $0xad4004a0 // ldp q0, q1, [x5]
	WORD $0x4e20d694 // fadd v20.4s, v20.4s, v0.4s
	WORD $0x4e21d6b5 // fadd v21.4s, v21.4s, v1.4s
	ADD R4, R5
	WORD $0xad4004a0 // ldp q0, q1, [x5]
	WORD $0x4e20d6d6 // fadd v22.4s, v22.4s, v0.4s
	WORD $0x4e21d6f7 // fadd v23.4s, v23.4s, v1.4s
	ADD R4, R5
	WORD $0xad4004a0 // ldp q0, q1, [x5]
	WORD $0x4e20d718 // fadd v24.4s, v24.4s, v0.4s
	WORD $0x4e21d739 // fadd v25.4s, v25.4s, v1.4s
	ADD R4, R5
	WORD $0xad4004a0 // ldp q0, q1, [x5]
	WORD $0x4e20d75a // fadd v26.4s, v26.4s, v0.4s
	WORD $0x4e21d77b // fadd v27.4s, v27.4s, v1.4s
	ADD R4, R5
	WORD $0xad4004a0 // ldp q0, q1, [x5]
	WORD $0x4e20d79c // fadd v28.4s, v28.4s, v0.4s
	WORD $0x4e21d7bd // fadd v29.4s, v29.4s, v1.4s
	ADD R4, R5
	WORD $0xad4004a0 // ldp q0, q1, [x5]
	WORD $0x4e20d7de // fadd v30.4s, v30.4s, v0.4s
	WORD $0x4e21d7ff // fadd v31.4s, v31.4s, v1.4s
	ADD R4, R5

store:
	WORD $0xad002468 // stp q8, q9, [x3]
	ADD R4, R3
	WORD $0xad002c6a // stp q10, q11, [x3]
	ADD R4, R3
	WORD $0xad00346c // stp q12, q13, [x3]
	ADD R4, R3
	WORD $0xad003c6e // stp q14, q15, [x3]
	ADD R4, R3
	WORD $0xad004470 // stp q16, q17, [x3]
	ADD R4, R3
	WORD $0xad004c72 // stp q18, q19, [x3]
	ADD R4, R3
	WORD $0xad005474 // stp q20, q21, [x3]
	ADD R4, R3
	WORD $0xad005c76 // stp q22, q23, [x3]
	ADD R4, R3
	WORD $0xad006478 // stp q24, q25, [x3]
	ADD R4, R3
	WORD $0xad006c7a // stp q26, q27, [x3]
	ADD R4, R3
	WORD $0xad00747c // stp q28, q29, [x3]
	ADD R4, R3
	WORD $0xad007c7e // stp q30, q31, [x3]
	ADD R4, R3
	RET

// func narrowNEON(k int, a *float32, line, step int, b, c *float32, add bool)
TEXT ·narrowNEON(SB), NOSPLIT, $0-49
	MOVD k+0(FP), R0
	MOVD a+8(FP), R1
	MOVD line+16(FP), R12
	MOVD step+24(FP), R11
	MOVD b+32(FP), R9
	MOVD c+40(FP), R10
	LSL  $2, R12
	LSL  $2, R11
	ADD  R12, R1, R2
	ADD  R12, R2, R3
	ADD  R12, R3, R4
	ADD  R12, R4, R5
	ADD  R12, R5, R6
	ADD  R12, R6, R7
	ADD  R12, R7, R8

	WORD $0x4f000410 // movi v16.4s, #0
	WORD $0x4f000411 // movi v17.4s, #0
	WORD $0x4f000412 // movi v18.4s, #0
	WORD $0x4f000413 // movi v19.4s, #0
	WORD $0x4f000414 // movi v20.4s, #0
	WORD $0x4f000415 // movi v21.4s, #0
	WORD $0x4f000416 // movi v22.4s, #0
	WORD $0x4f000417 // movi v23.4s, #0
	WORD $0x4f000418 // movi v24.4s, #0
	WORD $0x4f000419 // movi v25.4s, #0
	WORD $0x4f00041a // movi v26.4s, #0
	WORD $0x4f00041b // movi v27.4s, #0
	WORD $0x4f00041c // movi v28.4s, #0
	WORD $0x4f00041d // movi v29.4s, #0
	WORD $0x4f00041e // movi v30.4s, #0
	WORD $0x4f00041f // movi v31.4s, #0

loop:
	WORD $0xacc10520 // ldp q0, q1, [x9], #32
	WORD $0x4d40c822 // ld1r {v2.4s}, [x1]
	WORD $0x4e22cc10 // fmla v16.4s, v0.4s, v2.4s
	WORD $0x4e22cc31 // fmla v17.4s, v1.4s, v2.4s
	ADD R11, R1
	WORD $0x4d40c842 // ld1r {v2.4s}, [x2]
	WORD $0x4e22cc12 // fmla v18.4s, v0.4s, v2.4s
	WORD $0x4e22cc33 // fmla v19.4s, v1.4s, v2.4s
	ADD R11, R2
	WORD $0x4d40c862 // ld1r {v2.4s}, [x3]
	WORD $0x4e22cc14 // fmla v20.4s, v0.4s, v2.4s
	WORD $0x4e22cc35 // fmla v21.4s, v1.4s, v2.4s
	ADD R11, R3
	WORD $0x4d40c882 // ld1r {v2.4s}, [x4]
	WORD $0x4e22cc16 // fmla v22.4s, v0.4s, v2.4s
	WORD $0x4e22cc37 // fmla v23.4s, v1.4s, v2.4s
	ADD R11, R4
	WORD $0x4d40c8a2 // ld1r {v2.4s}, [x5]
	WORD $0x4e22cc18 // fmla v24.4s, v0.4s, v2.4s
	WORD $0x4e22cc39 // fmla v25.4s, v1.4s, v2.4s
	ADD R11, R5
	WORD $0x4d40c8c2 // ld1r {v2.4s}, [x6]
	WORD $0x4e22cc1a // fmla v26.4s, v0.4s, v2.4s
	WORD $0x4e22cc3b // fmla v27.4s, v1.4s, v2.4s
	ADD R11, R6
	WORD $0x4d40c8e2 // ld1r {v2.4s}, [x7]
	WORD $0x4e22cc1c // fmla v28.4s, v0.4s, v2.4s
	WORD $0x4e22cc3d // fmla v29.4s, v1.4s, v2.4s
	ADD R11, R7
	WORD $0x4d40c902 // ld1r {v2.4s}, [x8]
	WORD $0x4e22cc1e // fmla v30.4s, v0.4s, v2.4s
	WORD $0x4e22cc3f // fmla v31.4s, v1.4s, v2.4s
	ADD R11, R8
	SUBS $1, R0
	BNE  loop

	MOVBU add+48(FP), R6
	CBZ   R6, store
	WORD $0xad400540 // ldp q0, q1, [x10, #0]
	WORD $0x4e20d610 // fadd v16.4s, v16.4s, v0.4s
	WORD $0x4e21d631 // fadd v17.4s, v17.4s, v1.4s
	WORD $0xad410540 // ldp q0, q1, [x10, #32]
	WORD $0x4e20d652 // fadd v18.4s, v18.4s, v0.4s
	WORD $0x4e21d673 // fadd v19.4s, v19.4s, v1.4s
	WORD $0xad420540 // ldp q0, q1, [x10, #64]
	WORD $0x4e20d694 // fadd v20.4s, v20.4s, v0.4s
	WORD $0x4e21d6b5 // fadd v21.4s, v21.4s, v1.4s
	WORD $0xad430540 // ldp q0, q1, [x10, #96]
	WORD $0x4e20d6d6 // fadd v22.4s, v22.4s, v0.4s
	WORD $0x4e21d6f7 // fadd v23.4s, v23.4s, v1.4s
	WORD $0xad440540 // ldp q0, q1, [x10, #128]
	WORD $0x4e20d718 // fadd v24.4s, v24.4s, v0.4s
	WORD $0x4e21d739 // fadd v25.4s, v25.4s, v1.4s
	WORD $0xad450540 // ldp q0, q1, [x10, #160]
	WORD $0x4e20d75a // fadd v26.4s, v26.4s, v0.4s
	WORD $0x4e21d77b // fadd v27.4s, v27.4s, v1.4s
	WORD $0xad460540 // ldp q0, q1, [x10, #192]
	WORD $0x4e20d79c // fadd v28.4s, v28.4s, v0.4s
	WORD $0x4e21d7bd // fadd v29.4s, v29.4s, v1.4s
	WORD $0xad470540 // ldp q0, q1, [x10, #224]
	WORD $0x4e20d7de // fadd v30.4s, v30.4s, v0.4s
	WORD $0x4e21d7ff // fadd v31.4s, v31.4s, v1.4s

store:
	WORD $0xad004550 // stp q16, q17, [x10]
	WORD $0xad014d52 // stp q18, q19, [x10, #32]
	WORD $0xad025554 // stp q20, q21, [x10, #64]
	WORD $0xad035d56 // stp q22, q23, [x10, #96]
	WORD $0xad046558 // stp q24, q25, [x10, #128]
	WORD $0xad056d5a // stp q26, q27, [x10, #160]
	WORD $0xad06755c // stp q28, q29, [x10, #192]
	WORD $0xad077d5e // stp q30, q31, [x10, #224]
	RET

// func interleave4NEON(dst *float32, width int, src *float32, ld, n int)
TEXT ·interleave4NEON(SB), NOSPLIT, $0-40
	MOVD dst+0(FP), R0
	MOVD width+8(FP), R1
	MOVD src+16(FP), R2
	MOVD ld+24(FP), R3
	MOVD n+32(FP), R4
	LSL  $2, R1         // bytes from column to column of dst
	LSL  $2, R3         // bytes from row to row of src
	ADD  R3, R2, R5
	ADD  R3, R5, R6
	ADD  R3, R6, R7
	SUBS $4, R4
	BLT  tail

four:
	WORD $0x3cc10440 // ldr q0, [x2], #16
	WORD $0x3cc104a1 // ldr q1, [x5], #16
	WORD $0x3cc104c2 // ldr q2, [x6], #16
	WORD $0x3cc104e3 // ldr q3, [x7], #16
	WORD $0x4e823804 // zip1 v4.4s, v0.4s, v2.4s // a0 c0 a1 c1
	WORD $0x4e827805 // zip2 v5.4s, v0.4s, v2.4s
	WORD $0x4e833826 // zip1 v6.4s, v1.4s, v3.4s // b0 d0 b1 d1
	WORD $0x4e837827 // zip2 v7.4s, v1.4s, v3.4s
	WORD $0x4e863880 // zip1 v0.4s, v4.4s, v6.4s // column 0
	WORD $0x4e867881 // zip2 v1.4s, v4.4s, v6.4s
	WORD $0x4e8738a2 // zip1 v2.4s, v5.4s, v7.4s
	WORD $0x4e8778a3 // zip2 v3.4s, v5.4s, v7.4s
	WORD $0x3d800000 // str q0, [x0]
	ADD R1, R0
	WORD $0x3d800001 // str q1, [x0]
	ADD R1, R0
	WORD $0x3d800002 // str q2, [x0]
	ADD R1, R0
	WORD $0x3d800003 // str q3, [x0]
	ADD R1, R0
	SUBS $4, R4
	BGE  four

tail:
	ADDS $4, R4
	BEQ  done

one:
	WORD $0xbc404440 // ldr s0, [x2], #4
	WORD $0xbc4044a1 // ldr s1, [x5], #4
	WORD $0xbc4044c2 // ldr s2, [x6], #4
	WORD $0xbc4044e3 // ldr s3, [x7], #4
	WORD $0xbd000000 // str s0, [x0]
	WORD $0xbd000401 // str s1, [x0, #4]
	WORD $0xbd000802 // str s2, [x0, #8]
	WORD $0xbd000c03 // str s3, [x0, #12]
	ADD  R1, R0
	SUBS $1, R4
	BNE  one

done:
	RET

// func interleave2NEON(dst *float32, width int, src *float32, ld, n int)
TEXT ·interleave2NEON(SB), NOSPLIT, $0-40
	MOVD dst+0(FP), R0
	MOVD width+8(FP), R1
	MOVD src+16(FP), R2
	MOVD ld+24(FP), R3
	MOVD n+32(FP), R4
	LSL  $2, R1
	ADD  R3<<2, R2, R5
	SUBS $4, R4
	BLT  tail

four:
	WORD $0x3cc10440 // ldr q0, [x2], #16
	WORD $0x3cc104a1 // ldr q1, [x5], #16
	WORD $0x4e813802 // zip1 v2.4s, v0.4s, v1.4s // a0 b0 a1 b1
	WORD $0x4e817803 // zip2 v3.4s, v0.4s, v1.4s
	WORD $0xfd000002 // str d2, [x0]
	WORD $0x4ec27842 // zip2 v2.2d, v2.2d, v2.2d
	ADD R1, R0
	WORD $0xfd000002 // str d2, [x0]
	ADD R1, R0
	WORD $0xfd000003 // str d3, [x0]
	WORD $0x4ec37863 // zip2 v3.2d, v3.2d, v3.2d
	ADD R1, R0
	WORD $0xfd000003 // str d3, [x0]
	ADD R1, R0
	SUBS $4, R4
	BGE  four

tail:
	ADDS $4, R4
	BEQ  done

one:
	WORD $0xbc404440 // ldr s0, [x2], #4
	WORD $0xbc4044a1 // ldr s1, [x5], #4
	WORD $0xbd000000 // str s0, [x0]
	WORD $0xbd000401 // str s1, [x0, #4]
	ADD  R1, R0
	SUBS $1, R4
	BNE  one

done:
	RET

// func scatter8NEON(dst *float32, stride int, src *float32, n int)
TEXT ·scatter8NEON(SB), NOSPLIT, $0-32
	MOVD dst+0(FP), R0
	MOVD stride+8(FP), R1
	MOVD src+16(FP), R2
	MOVD n+24(FP), R3
	LSL  $2, R1

loop:
	WORD $0xacc10440 // ldp q0, q1, [x2], #32
	WORD $0xad000400 // stp q0, q1, [x0]
	ADD  R1, R0
	SUBS $1, R3
	BNE  loop
	RET

// func prefetchNEON(a, b, c *byte)
TEXT ·prefetchNEON(SB), NOSPLIT, $0-24
	MOVD a+0(FP), R0
	MOVD b+8(FP), R1
	MOVD c+16(FP), R2
	PRFM (R0), PLDL1KEEP
	PRFM 64(R0), PLDL1KEEP
	PRFM 128(R0), PLDL1KEEP
	PRFM (R1), PLDL1KEEP
	PRFM (R2), PLDL1KEEP
	RET
