// Generated from _generate/kwiden.neon by go run ./compute/cpu/_generate; DO NOT EDIT.

//go:build !purego

#include "textflag.h"

// func widenQ4KNEON(dst *[superBlock]float32, q *[128]byte, sm *[16]float32)
TEXT ·widenQ4KNEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD q+8(FP), R1
	MOVD sm+16(FP), R2
	ADD  $32, R2, R3          // minima
	MOVD $4, R4
	WORD $0x4f00e5ef // movi v15.16b, #15

loop:
	WORD $0x4ddfc850 // ld1r {v16.4s}, [x2], #4
	WORD $0x4ddfc851 // ld1r {v17.4s}, [x2], #4
	WORD $0x4ddfc872 // ld1r {v18.4s}, [x3], #4
	WORD $0x4ddfc873 // ld1r {v19.4s}, [x3], #4
	WORD $0x6ea0fa52 // fneg v18.4s, v18.4s
	WORD $0x6ea0fa73 // fneg v19.4s, v19.4s
	WORD $0xacc15434 // ldp q20, q21, [x1], #32
	WORD $0x4e2f1e96 // and v22.16b, v20.16b, v15.16b
	WORD $0x4e2f1eb7 // and v23.16b, v21.16b, v15.16b
	WORD $0x6f0c0694 // ushr v20.16b, v20.16b, #4
	WORD $0x6f0c06b5 // ushr v21.16b, v21.16b, #4
	WORD $0x2f08a6c2 // ushll v2.8h, v22.8b, #0
	WORD $0x6f08a6c3 // ushll2 v3.8h, v22.16b, #0
	WORD $0x2f10a444 // ushll v4.4s, v2.4h, #0
	WORD $0x6f10a445 // ushll2 v5.4s, v2.8h, #0
	WORD $0x2f10a466 // ushll v6.4s, v3.4h, #0
	WORD $0x6f10a467 // ushll2 v7.4s, v3.8h, #0
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x4eb21e48 // mov v8.16b, v18.16b
	WORD $0x4eb21e49 // mov v9.16b, v18.16b
	WORD $0x4eb21e4a // mov v10.16b, v18.16b
	WORD $0x4eb21e4b // mov v11.16b, v18.16b
	WORD $0x4e30cc88 // fmla v8.4s, v4.4s, v16.4s
	WORD $0x4e30cca9 // fmla v9.4s, v5.4s, v16.4s
	WORD $0x4e30ccca // fmla v10.4s, v6.4s, v16.4s
	WORD $0x4e30cceb // fmla v11.4s, v7.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0xac812c0a // stp q10, q11, [x0], #32
	WORD $0x2f08a6e2 // ushll v2.8h, v23.8b, #0
	WORD $0x6f08a6e3 // ushll2 v3.8h, v23.16b, #0
	WORD $0x2f10a444 // ushll v4.4s, v2.4h, #0
	WORD $0x6f10a445 // ushll2 v5.4s, v2.8h, #0
	WORD $0x2f10a466 // ushll v6.4s, v3.4h, #0
	WORD $0x6f10a467 // ushll2 v7.4s, v3.8h, #0
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x4eb21e48 // mov v8.16b, v18.16b
	WORD $0x4eb21e49 // mov v9.16b, v18.16b
	WORD $0x4eb21e4a // mov v10.16b, v18.16b
	WORD $0x4eb21e4b // mov v11.16b, v18.16b
	WORD $0x4e30cc88 // fmla v8.4s, v4.4s, v16.4s
	WORD $0x4e30cca9 // fmla v9.4s, v5.4s, v16.4s
	WORD $0x4e30ccca // fmla v10.4s, v6.4s, v16.4s
	WORD $0x4e30cceb // fmla v11.4s, v7.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0xac812c0a // stp q10, q11, [x0], #32
	WORD $0x2f08a682 // ushll v2.8h, v20.8b, #0
	WORD $0x6f08a683 // ushll2 v3.8h, v20.16b, #0
	WORD $0x2f10a444 // ushll v4.4s, v2.4h, #0
	WORD $0x6f10a445 // ushll2 v5.4s, v2.8h, #0
	WORD $0x2f10a466 // ushll v6.4s, v3.4h, #0
	WORD $0x6f10a467 // ushll2 v7.4s, v3.8h, #0
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x4eb31e68 // mov v8.16b, v19.16b
	WORD $0x4eb31e69 // mov v9.16b, v19.16b
	WORD $0x4eb31e6a // mov v10.16b, v19.16b
	WORD $0x4eb31e6b // mov v11.16b, v19.16b
	WORD $0x4e31cc88 // fmla v8.4s, v4.4s, v17.4s
	WORD $0x4e31cca9 // fmla v9.4s, v5.4s, v17.4s
	WORD $0x4e31ccca // fmla v10.4s, v6.4s, v17.4s
	WORD $0x4e31cceb // fmla v11.4s, v7.4s, v17.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0xac812c0a // stp q10, q11, [x0], #32
	WORD $0x2f08a6a2 // ushll v2.8h, v21.8b, #0
	WORD $0x6f08a6a3 // ushll2 v3.8h, v21.16b, #0
	WORD $0x2f10a444 // ushll v4.4s, v2.4h, #0
	WORD $0x6f10a445 // ushll2 v5.4s, v2.8h, #0
	WORD $0x2f10a466 // ushll v6.4s, v3.4h, #0
	WORD $0x6f10a467 // ushll2 v7.4s, v3.8h, #0
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x4eb31e68 // mov v8.16b, v19.16b
	WORD $0x4eb31e69 // mov v9.16b, v19.16b
	WORD $0x4eb31e6a // mov v10.16b, v19.16b
	WORD $0x4eb31e6b // mov v11.16b, v19.16b
	WORD $0x4e31cc88 // fmla v8.4s, v4.4s, v17.4s
	WORD $0x4e31cca9 // fmla v9.4s, v5.4s, v17.4s
	WORD $0x4e31ccca // fmla v10.4s, v6.4s, v17.4s
	WORD $0x4e31cceb // fmla v11.4s, v7.4s, v17.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0xac812c0a // stp q10, q11, [x0], #32
	SUBS $1, R4
	BNE  loop
	RET

// func widenQ6KNEON(dst *[superBlock]float32, q *[192]byte, scales *[16]float32)
TEXT ·widenQ6KNEON(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD q+8(FP), R1
	MOVD scales+16(FP), R2
	ADD  $128, R1, R3         // bit pairs
	MOVD $2, R4
	WORD $0x4f00e5ef // movi v15.16b, #15
	WORD $0x4f01e61e // movi v30.16b, #48
	WORD $0x4f01e41f // movi v31.16b, #32

loop:
	WORD $0xacc12428 // ldp q8, q9, [x1], #32
	WORD $0xacc12c2a // ldp q10, q11, [x1], #32
	WORD $0xacc1346c // ldp q12, q13, [x3], #32
	WORD $0x4e2f1d16 // and v22.16b, v8.16b, v15.16b
	WORD $0x4e2f1d37 // and v23.16b, v9.16b, v15.16b
	WORD $0x4f0c5598 // shl v24.16b, v12.16b, #4
	WORD $0x4f0c55b9 // shl v25.16b, v13.16b, #4
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0x4ddfc840 // ld1r {v0.4s}, [x2], #4
	WORD $0x6e3f86d6 // sub v22.16b, v22.16b, v31.16b
	WORD $0x0f08a6c2 // sshll v2.8h, v22.8b, #0
	WORD $0x4f08a6c3 // sshll2 v3.8h, v22.16b, #0
	WORD $0x0f10a444 // sshll v4.4s, v2.4h, #0
	WORD $0x4f10a445 // sshll2 v5.4s, v2.8h, #0
	WORD $0x0f10a466 // sshll v6.4s, v3.4h, #0
	WORD $0x4f10a467 // sshll2 v7.4s, v3.8h, #0
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	WORD $0xac811404 // stp q4, q5, [x0], #32
	WORD $0xac811c06 // stp q6, q7, [x0], #32
	WORD $0x4ddfc840 // ld1r {v0.4s}, [x2], #4
	WORD $0x6e3f86f7 // sub v23.16b, v23.16b, v31.16b
	WORD $0x0f08a6e2 // sshll v2.8h, v23.8b, #0
	WORD $0x4f08a6e3 // sshll2 v3.8h, v23.16b, #0
	WORD $0x0f10a444 // sshll v4.4s, v2.4h, #0
	WORD $0x4f10a445 // sshll2 v5.4s, v2.8h, #0
	WORD $0x0f10a466 // sshll v6.4s, v3.4h, #0
	WORD $0x4f10a467 // sshll2 v7.4s, v3.8h, #0
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	WORD $0xac811404 // stp q4, q5, [x0], #32
	WORD $0xac811c06 // stp q6, q7, [x0], #32
	WORD $0x4e2f1d56 // and v22.16b, v10.16b, v15.16b
	WORD $0x4e2f1d77 // and v23.16b, v11.16b, v15.16b
	WORD $0x4f0a5598 // shl v24.16b, v12.16b, #2
	WORD $0x4f0a55b9 // shl v25.16b, v13.16b, #2
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0x4ddfc840 // ld1r {v0.4s}, [x2], #4
	WORD $0x6e3f86d6 // sub v22.16b, v22.16b, v31.16b
	WORD $0x0f08a6c2 // sshll v2.8h, v22.8b, #0
	WORD $0x4f08a6c3 // sshll2 v3.8h, v22.16b, #0
	WORD $0x0f10a444 // sshll v4.4s, v2.4h, #0
	WORD $0x4f10a445 // sshll2 v5.4s, v2.8h, #0
	WORD $0x0f10a466 // sshll v6.4s, v3.4h, #0
	WORD $0x4f10a467 // sshll2 v7.4s, v3.8h, #0
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	WORD $0xac811404 // stp q4, q5, [x0], #32
	WORD $0xac811c06 // stp q6, q7, [x0], #32
	WORD $0x4ddfc840 // ld1r {v0.4s}, [x2], #4
	WORD $0x6e3f86f7 // sub v23.16b, v23.16b, v31.16b
	WORD $0x0f08a6e2 // sshll v2.8h, v23.8b, #0
	WORD $0x4f08a6e3 // sshll2 v3.8h, v23.16b, #0
	WORD $0x0f10a444 // sshll v4.4s, v2.4h, #0
	WORD $0x4f10a445 // sshll2 v5.4s, v2.8h, #0
	WORD $0x0f10a466 // sshll v6.4s, v3.4h, #0
	WORD $0x4f10a467 // sshll2 v7.4s, v3.8h, #0
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	WORD $0xac811404 // stp q4, q5, [x0], #32
	WORD $0xac811c06 // stp q6, q7, [x0], #32
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x4eac1d98 // mov v24.16b, v12.16b
	WORD $0x4ead1db9 // mov v25.16b, v13.16b
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0x4ddfc840 // ld1r {v0.4s}, [x2], #4
	WORD $0x6e3f86d6 // sub v22.16b, v22.16b, v31.16b
	WORD $0x0f08a6c2 // sshll v2.8h, v22.8b, #0
	WORD $0x4f08a6c3 // sshll2 v3.8h, v22.16b, #0
	WORD $0x0f10a444 // sshll v4.4s, v2.4h, #0
	WORD $0x4f10a445 // sshll2 v5.4s, v2.8h, #0
	WORD $0x0f10a466 // sshll v6.4s, v3.4h, #0
	WORD $0x4f10a467 // sshll2 v7.4s, v3.8h, #0
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	WORD $0xac811404 // stp q4, q5, [x0], #32
	WORD $0xac811c06 // stp q6, q7, [x0], #32
	WORD $0x4ddfc840 // ld1r {v0.4s}, [x2], #4
	WORD $0x6e3f86f7 // sub v23.16b, v23.16b, v31.16b
	WORD $0x0f08a6e2 // sshll v2.8h, v23.8b, #0
	WORD $0x4f08a6e3 // sshll2 v3.8h, v23.16b, #0
	WORD $0x0f10a444 // sshll v4.4s, v2.4h, #0
	WORD $0x4f10a445 // sshll2 v5.4s, v2.8h, #0
	WORD $0x0f10a466 // sshll v6.4s, v3.4h, #0
	WORD $0x4f10a467 // sshll2 v7.4s, v3.8h, #0
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	WORD $0xac811404 // stp q4, q5, [x0], #32
	WORD $0xac811c06 // stp q6, q7, [x0], #32
	WORD $0x6f0c0556 // ushr v22.16b, v10.16b, #4
	WORD $0x6f0c0577 // ushr v23.16b, v11.16b, #4
	WORD $0x6f0e0598 // ushr v24.16b, v12.16b, #2
	WORD $0x6f0e05b9 // ushr v25.16b, v13.16b, #2
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0x4ddfc840 // ld1r {v0.4s}, [x2], #4
	WORD $0x6e3f86d6 // sub v22.16b, v22.16b, v31.16b
	WORD $0x0f08a6c2 // sshll v2.8h, v22.8b, #0
	WORD $0x4f08a6c3 // sshll2 v3.8h, v22.16b, #0
	WORD $0x0f10a444 // sshll v4.4s, v2.4h, #0
	WORD $0x4f10a445 // sshll2 v5.4s, v2.8h, #0
	WORD $0x0f10a466 // sshll v6.4s, v3.4h, #0
	WORD $0x4f10a467 // sshll2 v7.4s, v3.8h, #0
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	WORD $0xac811404 // stp q4, q5, [x0], #32
	WORD $0xac811c06 // stp q6, q7, [x0], #32
	WORD $0x4ddfc840 // ld1r {v0.4s}, [x2], #4
	WORD $0x6e3f86f7 // sub v23.16b, v23.16b, v31.16b
	WORD $0x0f08a6e2 // sshll v2.8h, v23.8b, #0
	WORD $0x4f08a6e3 // sshll2 v3.8h, v23.16b, #0
	WORD $0x0f10a444 // sshll v4.4s, v2.4h, #0
	WORD $0x4f10a445 // sshll2 v5.4s, v2.8h, #0
	WORD $0x0f10a466 // sshll v6.4s, v3.4h, #0
	WORD $0x4f10a467 // sshll2 v7.4s, v3.8h, #0
	WORD $0x4e21d884 // scvtf v4.4s, v4.4s
	WORD $0x4e21d8a5 // scvtf v5.4s, v5.4s
	WORD $0x4e21d8c6 // scvtf v6.4s, v6.4s
	WORD $0x4e21d8e7 // scvtf v7.4s, v7.4s
	WORD $0x6e20dc84 // fmul v4.4s, v4.4s, v0.4s
	WORD $0x6e20dca5 // fmul v5.4s, v5.4s, v0.4s
	WORD $0x6e20dcc6 // fmul v6.4s, v6.4s, v0.4s
	WORD $0x6e20dce7 // fmul v7.4s, v7.4s, v0.4s
	WORD $0xac811404 // stp q4, q5, [x0], #32
	WORD $0xac811c06 // stp q6, q7, [x0], #32
	SUBS $1, R4
	BNE  loop
	RET
