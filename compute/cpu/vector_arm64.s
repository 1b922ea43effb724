// Generated from _generate/vector.neon by go run ./compute/cpu/_generate; DO NOT EDIT.

//go:build !purego

#include "textflag.h"

// The loops of vector_generic.go on four values at a time. n is a multiple of
// 4 and not zero; what is left over goes to the generic form.

// func dotNEON(a, b *float32, n int) float32
TEXT ·dotNEON(SB), NOSPLIT, $0-28
	MOVD a+0(FP), R0
	MOVD b+8(FP), R1
	MOVD n+16(FP), R2
	WORD $0x4f000400 // movi v0.4s, #0
	WORD $0x4f000401 // movi v1.4s, #0
	WORD $0x4f000402 // movi v2.4s, #0
	WORD $0x4f000403 // movi v3.4s, #0
	SUBS $16, R2
	BLT  tail

loop:
	WORD $0xacc11404 // ldp q4, q5, [x0], #32
	WORD $0xacc11c06 // ldp q6, q7, [x0], #32
	WORD $0xacc14430 // ldp q16, q17, [x1], #32
	WORD $0xacc14c32 // ldp q18, q19, [x1], #32
	WORD $0x4e30cc80 // fmla v0.4s, v4.4s, v16.4s
	WORD $0x4e31cca1 // fmla v1.4s, v5.4s, v17.4s
	WORD $0x4e32ccc2 // fmla v2.4s, v6.4s, v18.4s
	WORD $0x4e33cce3 // fmla v3.4s, v7.4s, v19.4s
	SUBS $16, R2
	BGE  loop

tail:
	ADDS $16, R2
	BEQ  sum

four:
	WORD $0x3cc10404 // ldr q4, [x0], #16
	WORD $0x3cc10430 // ldr q16, [x1], #16
	WORD $0x4e30cc80 // fmla v0.4s, v4.4s, v16.4s
	SUBS $4, R2
	BNE  four

sum:
	WORD $0x4e21d400 // fadd v0.4s, v0.4s, v1.4s
	WORD $0x4e23d442 // fadd v2.4s, v2.4s, v3.4s
	WORD $0x4e22d400 // fadd v0.4s, v0.4s, v2.4s
	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	FMOVS F0, ret+24(FP)
	RET

// func dot3NEON(a, b, c *float32, n int) float32
TEXT ·dot3NEON(SB), NOSPLIT, $0-36
	MOVD a+0(FP), R0
	MOVD b+8(FP), R1
	MOVD c+16(FP), R2
	MOVD n+24(FP), R3
	WORD $0x4f000400 // movi v0.4s, #0
	WORD $0x4f000401 // movi v1.4s, #0
	SUBS $8, R3
	BLT  tail

loop:
	WORD $0xacc11404 // ldp q4, q5, [x0], #32
	WORD $0xacc11c26 // ldp q6, q7, [x1], #32
	WORD $0xacc14450 // ldp q16, q17, [x2], #32
	WORD $0x6e26dc84 // fmul v4.4s, v4.4s, v6.4s
	WORD $0x6e27dca5 // fmul v5.4s, v5.4s, v7.4s
	WORD $0x4e30cc80 // fmla v0.4s, v4.4s, v16.4s
	WORD $0x4e31cca1 // fmla v1.4s, v5.4s, v17.4s
	SUBS $8, R3
	BGE  loop

tail:
	ADDS $8, R3
	BEQ  sum
	WORD $0x3dc00004 // ldr q4, [x0]
	WORD $0x3dc00026 // ldr q6, [x1]
	WORD $0x3dc00050 // ldr q16, [x2]
	WORD $0x6e26dc84 // fmul v4.4s, v4.4s, v6.4s
	WORD $0x4e30cc80 // fmla v0.4s, v4.4s, v16.4s

sum:
	WORD $0x4e21d400 // fadd v0.4s, v0.4s, v1.4s
	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	FMOVS F0, ret+32(FP)
	RET

// func maxNEON(x *float32, n int) float32
TEXT ·maxNEON(SB), NOSPLIT, $0-20
	MOVD x+0(FP), R0
	MOVD n+8(FP), R1
	WORD $0x3dc00000 // ldr q0, [x0]

loop:
	WORD $0x3cc10401 // ldr q1, [x0], #16
	WORD $0x4e21c400 // fmaxnm v0.4s, v0.4s, v1.4s
	SUBS  $4, R1
	BNE   loop
	WORD $0x6e30c800 // fmaxnmv s0, v0.4s
	FMOVS F0, ret+16(FP)
	RET

// func addScaledNEON(y, a *float32, alpha float32, b *float32, n int)
TEXT ·addScaledNEON(SB), NOSPLIT, $0-40
	MOVD  y+0(FP), R0
	MOVD  a+8(FP), R1
	FMOVS alpha+16(FP), F31
	MOVD  b+24(FP), R2
	MOVD  n+32(FP), R3
	SUBS  $8, R3
	BLT   tail

loop:
	WORD $0xacc10420 // ldp q0, q1, [x1], #32
	WORD $0xacc10c42 // ldp q2, q3, [x2], #32
	WORD $0x4f9f1040 // fmla v0.4s, v2.4s, v31.s[0]
	WORD $0x4f9f1061 // fmla v1.4s, v3.4s, v31.s[0]
	WORD $0xac810400 // stp q0, q1, [x0], #32
	SUBS $8, R3
	BGE  loop

tail:
	ADDS $8, R3
	BEQ  done
	WORD $0x3dc00020 // ldr q0, [x1]
	WORD $0x3dc00042 // ldr q2, [x2]
	WORD $0x4f9f1040 // fmla v0.4s, v2.4s, v31.s[0]
	WORD $0x3d800000 // str q0, [x0]

done:
	RET

// func scaleNEON(y *float32, alpha float32, x *float32, n int)
TEXT ·scaleNEON(SB), NOSPLIT, $0-32
	MOVD  y+0(FP), R0
	FMOVS alpha+8(FP), F31
	MOVD  x+16(FP), R1
	MOVD  n+24(FP), R2

loop:
	WORD $0x3cc10420 // ldr q0, [x1], #16
	WORD $0x4f9f9000 // fmul v0.4s, v0.4s, v31.s[0]
	WORD $0x3c810400 // str q0, [x0], #16
	SUBS $4, R2
	BNE  loop
	RET

// func scaleMulNEON(y *float32, alpha float32, x, w *float32, n int)
TEXT ·scaleMulNEON(SB), NOSPLIT, $0-40
	MOVD  y+0(FP), R0
	FMOVS alpha+8(FP), F31
	MOVD  x+16(FP), R1
	MOVD  w+24(FP), R2
	MOVD  n+32(FP), R3

loop:
	WORD $0x3cc10420 // ldr q0, [x1], #16
	WORD $0x3cc10441 // ldr q1, [x2], #16
	WORD $0x4f9f9000 // fmul v0.4s, v0.4s, v31.s[0]
	WORD $0x6e21dc00 // fmul v0.4s, v0.4s, v1.4s
	WORD $0x3c810400 // str q0, [x0], #16
	SUBS $4, R3
	BNE  loop
	RET

// func mulAddNEON(y *float32, alpha float32, a, b *float32, n int)
TEXT ·mulAddNEON(SB), NOSPLIT, $0-40
	MOVD  y+0(FP), R0
	FMOVS alpha+8(FP), F31
	MOVD  a+16(FP), R1
	MOVD  b+24(FP), R2
	MOVD  n+32(FP), R3

loop:
	WORD $0x3cc10420 // ldr q0, [x1], #16
	WORD $0x3cc10441 // ldr q1, [x2], #16
	WORD $0x3dc00002 // ldr q2, [x0]
	WORD $0x4f9f9000 // fmul v0.4s, v0.4s, v31.s[0]
	WORD $0x4e21cc02 // fmla v2.4s, v0.4s, v1.4s
	WORD $0x3c810402 // str q2, [x0], #16
	SUBS $4, R3
	BNE  loop
	RET

// func normGradNEON(y, dy, w, x *float32, inv, mean float32, n int, add bool)
TEXT ·normGradNEON(SB), NOSPLIT, $0-49
	MOVD  y+0(FP), R0
	MOVD  dy+8(FP), R1
	MOVD  w+16(FP), R2
	MOVD  x+24(FP), R3
	FMOVS inv+32(FP), F31
	FMOVS mean+36(FP), F30
	WORD $0x4e0407de // dup v30.4s, v30.s[0]
	MOVD  n+40(FP), R4
	MOVBU add+48(FP), R5
	CBNZ  R5, add

loop:
	WORD $0x3cc10460 // ldr q0, [x3], #16 // x
	WORD $0x3cc10421 // ldr q1, [x1], #16 // dy
	WORD $0x3cc10442 // ldr q2, [x2], #16 // w
	WORD $0x6e22dc21 // fmul v1.4s, v1.4s, v2.4s
	WORD $0x4ebecc01 // fmls v1.4s, v0.4s, v30.4s // dy*w - mean*x
	WORD $0x4f9f9021 // fmul v1.4s, v1.4s, v31.s[0]
	WORD $0x3c810401 // str q1, [x0], #16
	SUBS $4, R4
	BNE  loop
	RET

add:
	WORD $0x3cc10460 // ldr q0, [x3], #16 // x
	WORD $0x3cc10421 // ldr q1, [x1], #16 // dy
	WORD $0x3cc10442 // ldr q2, [x2], #16 // w
	WORD $0x6e22dc21 // fmul v1.4s, v1.4s, v2.4s
	WORD $0x4ebecc01 // fmls v1.4s, v0.4s, v30.4s // dy*w - mean*x
	WORD $0x3dc00003 // ldr q3, [x0]
	WORD $0x4f9f1023 // fmla v3.4s, v1.4s, v31.s[0]
	WORD $0x3c810403 // str q3, [x0], #16
	SUBS $4, R4
	BNE  add
	RET

// func expSumNEON(y, x *float32, shift, alpha float32, n int) float32
TEXT ·expSumNEON(SB), NOSPLIT, $0-36
	MOVD  y+0(FP), R0
	MOVD  x+8(FP), R1
	FMOVS shift+16(FP), F13
	FMOVS alpha+20(FP), F14
	WORD $0x4e0405ad // dup v13.4s, v13.s[0]
	MOVD  n+24(FP), R2
	WORD $0x4f00040f // movi v15.4s, #0
	MOVD $·neonConst(SB), R15
	WORD $0xacc145f0 // ldp q16, q17, [x15], #32 // expLow, expHigh
	WORD $0xacc14df2 // ldp q18, q19, [x15], #32 // log2e, ln2High
	WORD $0xacc155f4 // ldp q20, q21, [x15], #32 // ln2Low, expC2
	WORD $0xacc15df6 // ldp q22, q23, [x15], #32 // expC3, expC4
	WORD $0xacc165f8 // ldp q24, q25, [x15], #32 // expC5, expC6
	WORD $0xacc16dfa // ldp q26, q27, [x15], #32 // expC7, 1
	WORD $0xacc175fc // ldp q28, q29, [x15], #32 // 127 as an integer, the sign bit
	WORD $0xad407dfe // ldp q30, q31, [x15] // emptyTop, 1 as an integer

loop:
	WORD $0x3cc10420 // ldr q0, [x1], #16
	WORD $0x4eadd400 // fsub v0.4s, v0.4s, v13.4s
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
	WORD $0x4f8e9000 // fmul v0.4s, v0.4s, v14.s[0]
	WORD $0x3c810400 // str q0, [x0], #16
	WORD $0x4e20d5ef // fadd v15.4s, v15.4s, v0.4s
	SUBS $4, R2
	BNE  loop

	WORD $0x4eaf1de0 // mov v0.16b, v15.16b
	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	FMOVS F0, ret+32(FP)
	RET

// func swigluNEON(y, gate, up *float32, n int)
TEXT ·swigluNEON(SB), NOSPLIT, $0-32
	MOVD y+0(FP), R0
	MOVD gate+8(FP), R1
	MOVD up+16(FP), R2
	MOVD n+24(FP), R3
	MOVD $·neonConst(SB), R15
	WORD $0xacc145f0 // ldp q16, q17, [x15], #32 // expLow, expHigh
	WORD $0xacc14df2 // ldp q18, q19, [x15], #32 // log2e, ln2High
	WORD $0xacc155f4 // ldp q20, q21, [x15], #32 // ln2Low, expC2
	WORD $0xacc15df6 // ldp q22, q23, [x15], #32 // expC3, expC4
	WORD $0xacc165f8 // ldp q24, q25, [x15], #32 // expC5, expC6
	WORD $0xacc16dfa // ldp q26, q27, [x15], #32 // expC7, 1
	WORD $0xacc175fc // ldp q28, q29, [x15], #32 // 127 as an integer, the sign bit
	WORD $0xad407dfe // ldp q30, q31, [x15] // emptyTop, 1 as an integer

loop:
	WORD $0x3cc10425 // ldr q5, [x1], #16
	WORD $0x3cc10446 // ldr q6, [x2], #16
	WORD $0x4ebd1ca0 // orr v0.16b, v5.16b, v29.16b
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
	WORD $0x4f2104a3 // sshr v3.4s, v5.4s, #31
	WORD $0x4e3bd402 // fadd v2.4s, v0.4s, v27.4s
	WORD $0x6e7b1c03 // bsl v3.16b, v0.16b, v27.16b
	WORD $0x6e22fc60 // fdiv v0.4s, v3.4s, v2.4s
	WORD $0x6e25dc00 // fmul v0.4s, v0.4s, v5.4s
	WORD $0x6e26dc00 // fmul v0.4s, v0.4s, v6.4s
	WORD $0x3c810400 // str q0, [x0], #16
	SUBS $4, R3
	BNE  loop
	RET

// func swigluGradNEON(dgate, dup, gate, up, dy *float32, n int)
TEXT ·swigluGradNEON(SB), NOSPLIT, $0-48
	MOVD dgate+0(FP), R0
	MOVD dup+8(FP), R1
	MOVD gate+16(FP), R2
	MOVD up+24(FP), R3
	MOVD dy+32(FP), R4
	MOVD n+40(FP), R5
	MOVD $·neonConst(SB), R15
	WORD $0xacc145f0 // ldp q16, q17, [x15], #32 // expLow, expHigh
	WORD $0xacc14df2 // ldp q18, q19, [x15], #32 // log2e, ln2High
	WORD $0xacc155f4 // ldp q20, q21, [x15], #32 // ln2Low, expC2
	WORD $0xacc15df6 // ldp q22, q23, [x15], #32 // expC3, expC4
	WORD $0xacc165f8 // ldp q24, q25, [x15], #32 // expC5, expC6
	WORD $0xacc16dfa // ldp q26, q27, [x15], #32 // expC7, 1
	WORD $0xacc175fc // ldp q28, q29, [x15], #32 // 127 as an integer, the sign bit
	WORD $0xad407dfe // ldp q30, q31, [x15] // emptyTop, 1 as an integer

loop:
	WORD $0x3cc10445 // ldr q5, [x2], #16 // g
	WORD $0x3cc10466 // ldr q6, [x3], #16 // u
	WORD $0x3cc10487 // ldr q7, [x4], #16 // d
	WORD $0x4ebd1ca0 // orr v0.16b, v5.16b, v29.16b
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
	WORD $0x4f2104a3 // sshr v3.4s, v5.4s, #31
	WORD $0x4e3bd402 // fadd v2.4s, v0.4s, v27.4s
	WORD $0x6e7b1c03 // bsl v3.16b, v0.16b, v27.16b
	WORD $0x6e22fc60 // fdiv v0.4s, v3.4s, v2.4s
	WORD $0x4ea0d761 // fsub v1.4s, v27.4s, v0.4s // 1-s
	WORD $0x4ebb1f62 // mov v2.16b, v27.16b
	WORD $0x4e21cca2 // fmla v2.4s, v5.4s, v1.4s // 1 + g(1-s)
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s // d*s
	WORD $0x6e26dc42 // fmul v2.4s, v2.4s, v6.4s
	WORD $0x6e27dc42 // fmul v2.4s, v2.4s, v7.4s
	WORD $0x6e25dce7 // fmul v7.4s, v7.4s, v5.4s
	WORD $0x3c810402 // str q2, [x0], #16
	WORD $0x3c810427 // str q7, [x1], #16
	SUBS $4, R5
	BNE  loop
	RET

// func rotateNEON(ya, yb, a, b, c, s *float32, n int)
TEXT ·rotateNEON(SB), NOSPLIT, $0-56
	MOVD ya+0(FP), R0
	MOVD yb+8(FP), R1
	MOVD a+16(FP), R2
	MOVD b+24(FP), R3
	MOVD c+32(FP), R4
	MOVD s+40(FP), R5
	MOVD n+48(FP), R6

loop:
	WORD $0x3cc10440 // ldr q0, [x2], #16
	WORD $0x3cc10461 // ldr q1, [x3], #16
	WORD $0x3cc10482 // ldr q2, [x4], #16
	WORD $0x3cc104a3 // ldr q3, [x5], #16
	WORD $0x6e22dc04 // fmul v4.4s, v0.4s, v2.4s
	WORD $0x6e22dc25 // fmul v5.4s, v1.4s, v2.4s
	WORD $0x4ea3cc24 // fmls v4.4s, v1.4s, v3.4s // a*c - b*s
	WORD $0x4e23cc05 // fmla v5.4s, v0.4s, v3.4s // a*s + b*c
	WORD $0x3c810404 // str q4, [x0], #16
	WORD $0x3c810425 // str q5, [x1], #16
	SUBS $4, R6
	BNE  loop
	RET

// func adamNEON(p2, m2, v2, p, dp, m, v *float32, n int, o *adamStep)
TEXT ·adamNEON(SB), NOSPLIT, $0-72
	MOVD p2+0(FP), R0
	MOVD m2+8(FP), R1
	MOVD v2+16(FP), R2
	MOVD p+24(FP), R3
	MOVD dp+32(FP), R4
	MOVD m+40(FP), R5
	MOVD v+48(FP), R6
	MOVD n+56(FP), R7
	MOVD o+64(FP), R8
	WORD $0xad404510 // ldp q16, q17, [x8] // lr root eps keep, beta1 rest1 beta2 rest2
	WORD $0x4e140612 // dup v18.4s, v16.s[2] // eps

loop:
	WORD $0x3cc10480 // ldr q0, [x4], #16 // g
	WORD $0x3cc104a1 // ldr q1, [x5], #16 // m
	WORD $0x3cc104c2 // ldr q2, [x6], #16 // v
	WORD $0x3cc10463 // ldr q3, [x3], #16 // p
	WORD $0x6e20dc04 // fmul v4.4s, v0.4s, v0.4s
	WORD $0x4fb19000 // fmul v0.4s, v0.4s, v17.s[1]
	WORD $0x4fb19884 // fmul v4.4s, v4.4s, v17.s[3]
	WORD $0x4f911020 // fmla v0.4s, v1.4s, v17.s[0] // m
	WORD $0x4f911844 // fmla v4.4s, v2.4s, v17.s[2] // v
	WORD $0x3c810420 // str q0, [x1], #16
	WORD $0x3c810444 // str q4, [x2], #16
	WORD $0x6ea1f884 // fsqrt v4.4s, v4.4s
	WORD $0x4eb21e45 // mov v5.16b, v18.16b
	WORD $0x4fb01085 // fmla v5.4s, v4.4s, v16.s[1] // sqrt(v)*root + eps
	WORD $0x4f909000 // fmul v0.4s, v0.4s, v16.s[0]
	WORD $0x6e25fc00 // fdiv v0.4s, v0.4s, v5.4s
	WORD $0x4fb09863 // fmul v3.4s, v3.4s, v16.s[3]
	WORD $0x4ea0d463 // fsub v3.4s, v3.4s, v0.4s // p*keep - step
	WORD $0x3c810403 // str q3, [x0], #16
	SUBS  $4, R7
	BNE   loop
	RET
