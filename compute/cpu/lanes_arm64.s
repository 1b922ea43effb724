// Generated from _generate/lanes.neon by go run ./compute/cpu/_generate; DO NOT EDIT.

//go:build !purego

#include "textflag.h"

// Attention's loops over panels of lanes, see attention.go.

// func softmaxLanesNEON(s *float32, n, w int, scale float32, st *lanes)
//
// Four lanes at a time. st: lo, hi, top, sum, keep at 0, 128, 256, 384, 512.
TEXT ·softmaxLanesNEON(SB), NOSPLIT, $0-40
	MOVD  s+0(FP), R0
	MOVD  n+8(FP), R1
	MOVD  w+16(FP), R2
	FMOVS scale+24(FP), F15
	MOVD  st+32(FP), R3
	LSL   $2, R2, R4          // bytes from key to key
	LSR   $2, R2
	MOVD $·neonConst(SB), R15
	WORD $0xacc145f0 // ldp q16, q17, [x15], #32 // expLow, expHigh
	WORD $0xacc14df2 // ldp q18, q19, [x15], #32 // log2e, ln2High
	WORD $0xacc155f4 // ldp q20, q21, [x15], #32 // ln2Low, expC2
	WORD $0xacc15df6 // ldp q22, q23, [x15], #32 // expC3, expC4
	WORD $0xacc165f8 // ldp q24, q25, [x15], #32 // expC5, expC6
	WORD $0xacc16dfa // ldp q26, q27, [x15], #32 // expC7, 1
	WORD $0xacc175fc // ldp q28, q29, [x15], #32 // 127 as an integer, the sign bit
	WORD $0xad407dfe // ldp q30, q31, [x15] // emptyTop, 1 as an integer

part:
	WORD $0x3dc0006d // ldr q13, [x3]
	WORD $0x6ebf85ad // sub v13.4s, v13.4s, v31.4s
	WORD $0x3dc0206e // ldr q14, [x3, #128]
	WORD $0x3dc0406c // ldr q12, [x3, #256] // top so far
	WORD $0x4eac1d8b // mov v11.16b, v12.16b
	WORD $0x4f00040a // movi v10.4s, #0 // number of the key
	MOVD R0, R5
	MOVD R1, R6

top:
	WORD $0x3dc000a0 // ldr q0, [x5]
	ADD  R4, R5
	WORD $0x4ead3541 // cmgt v1.4s, v10.4s, v13.4s
	WORD $0x4eaa35c2 // cmgt v2.4s, v14.4s, v10.4s
	WORD $0x4e221c21 // and v1.16b, v1.16b, v2.16b
	WORD $0x4f8f9000 // fmul v0.4s, v0.4s, v15.s[0]
	WORD $0x6e7e1c01 // bsl v1.16b, v0.16b, v30.16b
	WORD $0x4e21f58c // fmax v12.4s, v12.4s, v1.4s
	WORD $0x4ebf854a // add v10.4s, v10.4s, v31.4s
	SUBS $1, R6
	BNE  top

	WORD $0x4eacd560 // fsub v0.4s, v11.4s, v12.4s
	WORD $0x6ea0e603 // fcmgt v3.4s, v16.4s, v0.4s
	WORD $0x4eb1f400 // fmin v0.4s, v0.4s, v17.4s
	WORD $0x6e32dc02 // fmul v2.4s, v0.4s, v18.4s
	WORD $0x4e218842 // frintn v2.4s, v2.4s
	WORD $0x4eb3cc40 // fmls v0.4s, v2.4s, v19.4s
	WORD $0x4eb4cc40 // fmls v0.4s, v2.4s, v20.4s
	WORD $0x4eb91f21 // mov v1.16b, v25.16b
	WORD $0x4e20cf41 // fmla v1.4s, v26.4s, v0.4s
	WORD $0x4eb81f04 // mov v4.16b, v24.16b
	WORD $0x4e20cc24 // fmla v4.4s, v1.4s, v0.4s
	WORD $0x4eb71ee1 // mov v1.16b, v23.16b
	WORD $0x4e20cc81 // fmla v1.4s, v4.4s, v0.4s
	WORD $0x4eb61ec4 // mov v4.16b, v22.16b
	WORD $0x4e20cc24 // fmla v4.4s, v1.4s, v0.4s
	WORD $0x4eb51ea1 // mov v1.16b, v21.16b
	WORD $0x4e20cc81 // fmla v1.4s, v4.4s, v0.4s
	WORD $0x6e20dc21 // fmul v1.4s, v1.4s, v0.4s
	WORD $0x4e21a842 // fcvtns v2.4s, v2.4s
	WORD $0x4ea01c04 // mov v4.16b, v0.16b
	WORD $0x4e20cc24 // fmla v4.4s, v1.4s, v0.4s
	WORD $0x4ebc8442 // add v2.4s, v2.4s, v28.4s
	WORD $0x4e3bd484 // fadd v4.4s, v4.4s, v27.4s
	WORD $0x4f375442 // shl v2.4s, v2.4s, #23
	WORD $0x6e22dc80 // fmul v0.4s, v4.4s, v2.4s
	WORD $0x4e631c00 // bic v0.16b, v0.16b, v3.16b
	WORD $0x3d808060 // str q0, [x3, #512] // keep
	WORD $0x3dc0606b // ldr q11, [x3, #384]
	WORD $0x6e20dd6b // fmul v11.4s, v11.4s, v0.4s // sum
	WORD $0x3d80406c // str q12, [x3, #256]
	WORD $0x6ea0f98c // fneg v12.4s, v12.4s
	WORD $0x4f00040a // movi v10.4s, #0
	MOVD R0, R5
	MOVD R1, R6

exp:
	WORD $0x3dc000a5 // ldr q5, [x5]
	WORD $0x4eac1d80 // mov v0.16b, v12.16b
	WORD $0x4f8f10a0 // fmla v0.4s, v5.4s, v15.s[0] // s*scale - top
	WORD $0x6ea0e603 // fcmgt v3.4s, v16.4s, v0.4s
	WORD $0x4eb1f400 // fmin v0.4s, v0.4s, v17.4s
	WORD $0x6e32dc02 // fmul v2.4s, v0.4s, v18.4s
	WORD $0x4e218842 // frintn v2.4s, v2.4s
	WORD $0x4eb3cc40 // fmls v0.4s, v2.4s, v19.4s
	WORD $0x4eb4cc40 // fmls v0.4s, v2.4s, v20.4s
	WORD $0x4eb91f21 // mov v1.16b, v25.16b
	WORD $0x4e20cf41 // fmla v1.4s, v26.4s, v0.4s
	WORD $0x4eb81f04 // mov v4.16b, v24.16b
	WORD $0x4e20cc24 // fmla v4.4s, v1.4s, v0.4s
	WORD $0x4eb71ee1 // mov v1.16b, v23.16b
	WORD $0x4e20cc81 // fmla v1.4s, v4.4s, v0.4s
	WORD $0x4eb61ec4 // mov v4.16b, v22.16b
	WORD $0x4e20cc24 // fmla v4.4s, v1.4s, v0.4s
	WORD $0x4eb51ea1 // mov v1.16b, v21.16b
	WORD $0x4e20cc81 // fmla v1.4s, v4.4s, v0.4s
	WORD $0x6e20dc21 // fmul v1.4s, v1.4s, v0.4s
	WORD $0x4e21a842 // fcvtns v2.4s, v2.4s
	WORD $0x4ea01c04 // mov v4.16b, v0.16b
	WORD $0x4e20cc24 // fmla v4.4s, v1.4s, v0.4s
	WORD $0x4ebc8442 // add v2.4s, v2.4s, v28.4s
	WORD $0x4e3bd484 // fadd v4.4s, v4.4s, v27.4s
	WORD $0x4f375442 // shl v2.4s, v2.4s, #23
	WORD $0x6e22dc80 // fmul v0.4s, v4.4s, v2.4s
	WORD $0x4e631c00 // bic v0.16b, v0.16b, v3.16b
	WORD $0x4ead3545 // cmgt v5.4s, v10.4s, v13.4s
	WORD $0x4eaa35c6 // cmgt v6.4s, v14.4s, v10.4s
	WORD $0x4e261ca5 // and v5.16b, v5.16b, v6.16b
	WORD $0x4e251c00 // and v0.16b, v0.16b, v5.16b
	WORD $0x3d8000a0 // str q0, [x5]
	ADD  R4, R5
	WORD $0x4e20d56b // fadd v11.4s, v11.4s, v0.4s
	WORD $0x4ebf854a // add v10.4s, v10.4s, v31.4s
	SUBS $1, R6
	BNE  exp

	WORD $0x3d80606b // str q11, [x3, #384]
	ADD  $16, R3
	ADD  $16, R0
	SUBS $1, R2
	BNE  part
	RET

// func gradLanesNEON(s, dp *float32, n, w int, scale float32, st *lanes)
TEXT ·gradLanesNEON(SB), NOSPLIT, $0-48
	MOVD  s+0(FP), R0
	MOVD  dp+8(FP), R7
	MOVD  n+16(FP), R1
	MOVD  w+24(FP), R2
	FMOVS scale+32(FP), F15
	MOVD  st+40(FP), R3
	LSL   $2, R2, R4
	LSR   $2, R2
	MOVD $·neonConst(SB), R15
	WORD $0xacc145f0 // ldp q16, q17, [x15], #32 // expLow, expHigh
	WORD $0xacc14df2 // ldp q18, q19, [x15], #32 // log2e, ln2High
	WORD $0xacc155f4 // ldp q20, q21, [x15], #32 // ln2Low, expC2
	WORD $0xacc15df6 // ldp q22, q23, [x15], #32 // expC3, expC4
	WORD $0xacc165f8 // ldp q24, q25, [x15], #32 // expC5, expC6
	WORD $0xacc16dfa // ldp q26, q27, [x15], #32 // expC7, 1
	WORD $0xacc175fc // ldp q28, q29, [x15], #32 // 127 as an integer, the sign bit
	WORD $0xad407dfe // ldp q30, q31, [x15] // emptyTop, 1 as an integer

part:
	WORD $0x3dc0006d // ldr q13, [x3]
	WORD $0x6ebf85ad // sub v13.4s, v13.4s, v31.4s
	WORD $0x3dc0206e // ldr q14, [x3, #128]
	WORD $0x3dc0406c // ldr q12, [x3, #256] // lse
	WORD $0x6ea0f98c // fneg v12.4s, v12.4s
	WORD $0x3dc0806b // ldr q11, [x3, #512] // delta
	WORD $0x4f00040a // movi v10.4s, #0
	MOVD R0, R5
	MOVD R7, R8
	MOVD R1, R6

loop:
	WORD $0x3dc000a5 // ldr q5, [x5]
	WORD $0x4eac1d80 // mov v0.16b, v12.16b
	WORD $0x4f8f10a0 // fmla v0.4s, v5.4s, v15.s[0]
	WORD $0x6ea0e603 // fcmgt v3.4s, v16.4s, v0.4s
	WORD $0x4eb1f400 // fmin v0.4s, v0.4s, v17.4s
	WORD $0x6e32dc02 // fmul v2.4s, v0.4s, v18.4s
	WORD $0x4e218842 // frintn v2.4s, v2.4s
	WORD $0x4eb3cc40 // fmls v0.4s, v2.4s, v19.4s
	WORD $0x4eb4cc40 // fmls v0.4s, v2.4s, v20.4s
	WORD $0x4eb91f21 // mov v1.16b, v25.16b
	WORD $0x4e20cf41 // fmla v1.4s, v26.4s, v0.4s
	WORD $0x4eb81f04 // mov v4.16b, v24.16b
	WORD $0x4e20cc24 // fmla v4.4s, v1.4s, v0.4s
	WORD $0x4eb71ee1 // mov v1.16b, v23.16b
	WORD $0x4e20cc81 // fmla v1.4s, v4.4s, v0.4s
	WORD $0x4eb61ec4 // mov v4.16b, v22.16b
	WORD $0x4e20cc24 // fmla v4.4s, v1.4s, v0.4s
	WORD $0x4eb51ea1 // mov v1.16b, v21.16b
	WORD $0x4e20cc81 // fmla v1.4s, v4.4s, v0.4s
	WORD $0x6e20dc21 // fmul v1.4s, v1.4s, v0.4s
	WORD $0x4e21a842 // fcvtns v2.4s, v2.4s
	WORD $0x4ea01c04 // mov v4.16b, v0.16b
	WORD $0x4e20cc24 // fmla v4.4s, v1.4s, v0.4s
	WORD $0x4ebc8442 // add v2.4s, v2.4s, v28.4s
	WORD $0x4e3bd484 // fadd v4.4s, v4.4s, v27.4s
	WORD $0x4f375442 // shl v2.4s, v2.4s, #23
	WORD $0x6e22dc80 // fmul v0.4s, v4.4s, v2.4s
	WORD $0x4e631c00 // bic v0.16b, v0.16b, v3.16b
	WORD $0x4ead3545 // cmgt v5.4s, v10.4s, v13.4s
	WORD $0x4eaa35c6 // cmgt v6.4s, v14.4s, v10.4s
	WORD $0x4e261ca5 // and v5.16b, v5.16b, v6.16b
	WORD $0x4e251c00 // and v0.16b, v0.16b, v5.16b
	WORD $0x3dc00106 // ldr q6, [x8]
	WORD $0x4eabd4c6 // fsub v6.4s, v6.4s, v11.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x3d8000a0 // str q0, [x5]
	WORD $0x3d800106 // str q6, [x8]
	ADD  R4, R5
	ADD  R4, R8
	WORD $0x4ebf854a // add v10.4s, v10.4s, v31.4s
	SUBS $1, R6
	BNE  loop

	ADD  $16, R3
	ADD  $16, R0
	ADD  $16, R7
	SUBS $1, R2
	BNE  part
	RET

// func scaleLanesNEON(x *float32, n int, keep *[maxLanes]float32)
//
// Eight lanes, all that a panel has.
TEXT ·scaleLanesNEON(SB), NOSPLIT, $0-24
	MOVD x+0(FP), R0
	MOVD n+8(FP), R1
	MOVD keep+16(FP), R2
	WORD $0xad400440 // ldp q0, q1, [x2]

loop:
	WORD $0xad400c02 // ldp q2, q3, [x0]
	WORD $0x6e20dc42 // fmul v2.4s, v2.4s, v0.4s
	WORD $0x6e21dc63 // fmul v3.4s, v3.4s, v1.4s
	WORD $0xac810c02 // stp q2, q3, [x0], #32
	SUBS $1, R1
	BNE  loop
	RET
