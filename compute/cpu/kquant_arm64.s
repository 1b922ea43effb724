// Generated from _generate/kquant.neon by go run ./compute/cpu/_generate; DO NOT EDIT.

//go:build !purego

#include "textflag.h"

// func dotQ4KNEON(y *float32, rows int, w *byte, x *int8, scale, sum *float32, blocks int)
TEXT ·dotQ4KNEON(SB), NOSPLIT, $0-56
	MOVD y+0(FP), R0
	MOVD rows+8(FP), R1
	MOVD w+16(FP), R2
	WORD $0x4f00e5ef // movi v15.16b, #15

row:
	MOVD x+24(FP), R3
	MOVD scale+32(FP), R4
	MOVD sum+40(FP), R5
	MOVD blocks+48(FP), R6
	WORD $0x4f000400 // movi v0.4s, #0
	WORD $0x4f000401 // movi v1.4s, #0

block:
	PRFM 1440(R2), PLDL1KEEP
	PRFM 1504(R2), PLDL1KEEP

	// Six-bit scales and minima: four of each in the low bits of the first
	// eight bytes, four more in the nibbles of the last four and the bits above.
	MOVWU 4(R2), R7
	MOVWU 8(R2), R8
	MOVWU 12(R2), R9
	LSR   $2, R7, R10
	LSR   $2, R8, R11
	ANDW  $0x30303030, R10
	ANDW  $0x30303030, R11
	ANDW  $0x3f3f3f3f, R7      // scales 0 to 3
	ANDW  $0x3f3f3f3f, R8      // minima 0 to 3
	ANDW  $0x0f0f0f0f, R9, R12
	LSR   $4, R9
	ANDW  $0x0f0f0f0f, R9
	ORR   R10, R12             // scales 4 to 7
	ORR   R11, R9              // minima 4 to 7
	ORR   R12<<32, R7
	ORR   R9<<32, R8
	WORD $0x9e6700e4 // fmov d4, x7
	WORD $0x9e670105 // fmov d5, x8
	WORD $0x2f08a484 // ushll v4.8h, v4.8b, #0
	WORD $0x2f10a490 // ushll v16.4s, v4.4h, #0
	WORD $0x6f10a491 // ushll2 v17.4s, v4.8h, #0
	WORD $0x6e21da10 // ucvtf v16.4s, v16.4s
	WORD $0x6e21da31 // ucvtf v17.4s, v17.4s
	WORD $0x2f08a4a5 // ushll v5.8h, v5.8b, #0
	WORD $0x2f10a4b2 // ushll v18.4s, v5.4h, #0
	WORD $0x6f10a4b3 // ushll2 v19.4s, v5.8h, #0
	WORD $0x6e21da52 // ucvtf v18.4s, v18.4s
	WORD $0x6e21da73 // ucvtf v19.4s, v19.4s
	WORD $0x7d400042 // ldr h2, [x2] // d
	WORD $0x7d400443 // ldr h3, [x2, #2] // dmin
	WORD $0x1ee24042 // fcvt s2, h2
	WORD $0x1ee24063 // fcvt s3, h3
	WORD $0xacc11c86 // ldp q6, q7, [x4], #32
	WORD $0x4f8290c6 // fmul v6.4s, v6.4s, v2.s[0]
	WORD $0x4f8290e7 // fmul v7.4s, v7.4s, v2.s[0]
	WORD $0x6e26de10 // fmul v16.4s, v16.4s, v6.4s // factors of the eight groups
	WORD $0x6e27de31 // fmul v17.4s, v17.4s, v7.4s
	WORD $0xacc11ca6 // ldp q6, q7, [x5], #32
	WORD $0x4f8390c6 // fmul v6.4s, v6.4s, v3.s[0]
	WORD $0x4f8390e7 // fmul v7.4s, v7.4s, v3.s[0]
	WORD $0x4ea6ce40 // fmls v0.4s, v18.4s, v6.4s
	WORD $0x4ea7ce61 // fmls v1.4s, v19.4s, v7.4s

	WORD $0xad40a448 // ldp q8, q9, [x2, #16]
	WORD $0xacc12c6a // ldp q10, q11, [x3], #32
	WORD $0xacc1346c // ldp q12, q13, [x3], #32
	WORD $0x4e2f1d14 // and v20.16b, v8.16b, v15.16b
	WORD $0x4e2f1d35 // and v21.16b, v9.16b, v15.16b
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x0e2ac29a // smull v26.8h, v20.8b, v10.8b
	WORD $0x4e2a829a // smlal2 v26.8h, v20.16b, v10.16b
	WORD $0x0e2b82ba // smlal v26.8h, v21.8b, v11.8b
	WORD $0x4e2b82ba // smlal2 v26.8h, v21.16b, v11.16b
	WORD $0x4e602b58 // saddlp v24.4s, v26.8h
	WORD $0x0e2cc2da // smull v26.8h, v22.8b, v12.8b
	WORD $0x4e2c82da // smlal2 v26.8h, v22.16b, v12.16b
	WORD $0x0e2d82fa // smlal v26.8h, v23.8b, v13.8b
	WORD $0x4e2d82fa // smlal2 v26.8h, v23.16b, v13.16b
	WORD $0x4e602b59 // saddlp v25.4s, v26.8h
	WORD $0x4e21db18 // scvtf v24.4s, v24.4s
	WORD $0x4e21db39 // scvtf v25.4s, v25.4s
	WORD $0x4f901300 // fmla v0.4s, v24.4s, v16.s[0]
	WORD $0x4fb01321 // fmla v1.4s, v25.4s, v16.s[1]
	WORD $0xad41a448 // ldp q8, q9, [x2, #48]
	WORD $0xacc12c6a // ldp q10, q11, [x3], #32
	WORD $0xacc1346c // ldp q12, q13, [x3], #32
	WORD $0x4e2f1d14 // and v20.16b, v8.16b, v15.16b
	WORD $0x4e2f1d35 // and v21.16b, v9.16b, v15.16b
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x0e2ac29a // smull v26.8h, v20.8b, v10.8b
	WORD $0x4e2a829a // smlal2 v26.8h, v20.16b, v10.16b
	WORD $0x0e2b82ba // smlal v26.8h, v21.8b, v11.8b
	WORD $0x4e2b82ba // smlal2 v26.8h, v21.16b, v11.16b
	WORD $0x4e602b58 // saddlp v24.4s, v26.8h
	WORD $0x0e2cc2da // smull v26.8h, v22.8b, v12.8b
	WORD $0x4e2c82da // smlal2 v26.8h, v22.16b, v12.16b
	WORD $0x0e2d82fa // smlal v26.8h, v23.8b, v13.8b
	WORD $0x4e2d82fa // smlal2 v26.8h, v23.16b, v13.16b
	WORD $0x4e602b59 // saddlp v25.4s, v26.8h
	WORD $0x4e21db18 // scvtf v24.4s, v24.4s
	WORD $0x4e21db39 // scvtf v25.4s, v25.4s
	WORD $0x4f901b00 // fmla v0.4s, v24.4s, v16.s[2]
	WORD $0x4fb01b21 // fmla v1.4s, v25.4s, v16.s[3]
	WORD $0xad42a448 // ldp q8, q9, [x2, #80]
	WORD $0xacc12c6a // ldp q10, q11, [x3], #32
	WORD $0xacc1346c // ldp q12, q13, [x3], #32
	WORD $0x4e2f1d14 // and v20.16b, v8.16b, v15.16b
	WORD $0x4e2f1d35 // and v21.16b, v9.16b, v15.16b
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x0e2ac29a // smull v26.8h, v20.8b, v10.8b
	WORD $0x4e2a829a // smlal2 v26.8h, v20.16b, v10.16b
	WORD $0x0e2b82ba // smlal v26.8h, v21.8b, v11.8b
	WORD $0x4e2b82ba // smlal2 v26.8h, v21.16b, v11.16b
	WORD $0x4e602b58 // saddlp v24.4s, v26.8h
	WORD $0x0e2cc2da // smull v26.8h, v22.8b, v12.8b
	WORD $0x4e2c82da // smlal2 v26.8h, v22.16b, v12.16b
	WORD $0x0e2d82fa // smlal v26.8h, v23.8b, v13.8b
	WORD $0x4e2d82fa // smlal2 v26.8h, v23.16b, v13.16b
	WORD $0x4e602b59 // saddlp v25.4s, v26.8h
	WORD $0x4e21db18 // scvtf v24.4s, v24.4s
	WORD $0x4e21db39 // scvtf v25.4s, v25.4s
	WORD $0x4f911300 // fmla v0.4s, v24.4s, v17.s[0]
	WORD $0x4fb11321 // fmla v1.4s, v25.4s, v17.s[1]
	WORD $0xad43a448 // ldp q8, q9, [x2, #112]
	WORD $0xacc12c6a // ldp q10, q11, [x3], #32
	WORD $0xacc1346c // ldp q12, q13, [x3], #32
	WORD $0x4e2f1d14 // and v20.16b, v8.16b, v15.16b
	WORD $0x4e2f1d35 // and v21.16b, v9.16b, v15.16b
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x0e2ac29a // smull v26.8h, v20.8b, v10.8b
	WORD $0x4e2a829a // smlal2 v26.8h, v20.16b, v10.16b
	WORD $0x0e2b82ba // smlal v26.8h, v21.8b, v11.8b
	WORD $0x4e2b82ba // smlal2 v26.8h, v21.16b, v11.16b
	WORD $0x4e602b58 // saddlp v24.4s, v26.8h
	WORD $0x0e2cc2da // smull v26.8h, v22.8b, v12.8b
	WORD $0x4e2c82da // smlal2 v26.8h, v22.16b, v12.16b
	WORD $0x0e2d82fa // smlal v26.8h, v23.8b, v13.8b
	WORD $0x4e2d82fa // smlal2 v26.8h, v23.16b, v13.16b
	WORD $0x4e602b59 // saddlp v25.4s, v26.8h
	WORD $0x4e21db18 // scvtf v24.4s, v24.4s
	WORD $0x4e21db39 // scvtf v25.4s, v25.4s
	WORD $0x4f911b00 // fmla v0.4s, v24.4s, v17.s[2]
	WORD $0x4fb11b21 // fmla v1.4s, v25.4s, v17.s[3]
	ADD  $144, R2
	SUBS $1, R6
	BNE  block

	WORD $0x4e21d400 // fadd v0.4s, v0.4s, v1.4s
	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	WORD $0xbc004400 // str s0, [x0], #4
	SUBS $1, R1
	BNE  row
	RET

// func dotQ4KDotProd(y *float32, rows int, w *byte, x *int8, scale, sum *float32, blocks int)
TEXT ·dotQ4KDotProd(SB), NOSPLIT, $0-56
	MOVD y+0(FP), R0
	MOVD rows+8(FP), R1
	MOVD w+16(FP), R2
	WORD $0x4f00e5ef // movi v15.16b, #15

row:
	MOVD x+24(FP), R3
	MOVD scale+32(FP), R4
	MOVD sum+40(FP), R5
	MOVD blocks+48(FP), R6
	WORD $0x4f000400 // movi v0.4s, #0
	WORD $0x4f000401 // movi v1.4s, #0

block:
	PRFM 1440(R2), PLDL1KEEP
	PRFM 1504(R2), PLDL1KEEP

	// Six-bit scales and minima: four of each in the low bits of the first
	// eight bytes, four more in the nibbles of the last four and the bits above.
	MOVWU 4(R2), R7
	MOVWU 8(R2), R8
	MOVWU 12(R2), R9
	LSR   $2, R7, R10
	LSR   $2, R8, R11
	ANDW  $0x30303030, R10
	ANDW  $0x30303030, R11
	ANDW  $0x3f3f3f3f, R7      // scales 0 to 3
	ANDW  $0x3f3f3f3f, R8      // minima 0 to 3
	ANDW  $0x0f0f0f0f, R9, R12
	LSR   $4, R9
	ANDW  $0x0f0f0f0f, R9
	ORR   R10, R12             // scales 4 to 7
	ORR   R11, R9              // minima 4 to 7
	ORR   R12<<32, R7
	ORR   R9<<32, R8
	WORD $0x9e6700e4 // fmov d4, x7
	WORD $0x9e670105 // fmov d5, x8
	WORD $0x2f08a484 // ushll v4.8h, v4.8b, #0
	WORD $0x2f10a490 // ushll v16.4s, v4.4h, #0
	WORD $0x6f10a491 // ushll2 v17.4s, v4.8h, #0
	WORD $0x6e21da10 // ucvtf v16.4s, v16.4s
	WORD $0x6e21da31 // ucvtf v17.4s, v17.4s
	WORD $0x2f08a4a5 // ushll v5.8h, v5.8b, #0
	WORD $0x2f10a4b2 // ushll v18.4s, v5.4h, #0
	WORD $0x6f10a4b3 // ushll2 v19.4s, v5.8h, #0
	WORD $0x6e21da52 // ucvtf v18.4s, v18.4s
	WORD $0x6e21da73 // ucvtf v19.4s, v19.4s
	WORD $0x7d400042 // ldr h2, [x2] // d
	WORD $0x7d400443 // ldr h3, [x2, #2] // dmin
	WORD $0x1ee24042 // fcvt s2, h2
	WORD $0x1ee24063 // fcvt s3, h3
	WORD $0xacc11c86 // ldp q6, q7, [x4], #32
	WORD $0x4f8290c6 // fmul v6.4s, v6.4s, v2.s[0]
	WORD $0x4f8290e7 // fmul v7.4s, v7.4s, v2.s[0]
	WORD $0x6e26de10 // fmul v16.4s, v16.4s, v6.4s // factors of the eight groups
	WORD $0x6e27de31 // fmul v17.4s, v17.4s, v7.4s
	WORD $0xacc11ca6 // ldp q6, q7, [x5], #32
	WORD $0x4f8390c6 // fmul v6.4s, v6.4s, v3.s[0]
	WORD $0x4f8390e7 // fmul v7.4s, v7.4s, v3.s[0]
	WORD $0x4ea6ce40 // fmls v0.4s, v18.4s, v6.4s
	WORD $0x4ea7ce61 // fmls v1.4s, v19.4s, v7.4s

	WORD $0xad40a448 // ldp q8, q9, [x2, #16]
	WORD $0xacc12c6a // ldp q10, q11, [x3], #32
	WORD $0xacc1346c // ldp q12, q13, [x3], #32
	WORD $0x4e2f1d14 // and v20.16b, v8.16b, v15.16b
	WORD $0x4e2f1d35 // and v21.16b, v9.16b, v15.16b
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x4f000418 // movi v24.4s, #0
	WORD $0x4e8a9698 // sdot v24.4s, v20.16b, v10.16b
	WORD $0x4e8b96b8 // sdot v24.4s, v21.16b, v11.16b
	WORD $0x4f000419 // movi v25.4s, #0
	WORD $0x4e8c96d9 // sdot v25.4s, v22.16b, v12.16b
	WORD $0x4e8d96f9 // sdot v25.4s, v23.16b, v13.16b
	WORD $0x4e21db18 // scvtf v24.4s, v24.4s
	WORD $0x4e21db39 // scvtf v25.4s, v25.4s
	WORD $0x4f901300 // fmla v0.4s, v24.4s, v16.s[0]
	WORD $0x4fb01321 // fmla v1.4s, v25.4s, v16.s[1]
	WORD $0xad41a448 // ldp q8, q9, [x2, #48]
	WORD $0xacc12c6a // ldp q10, q11, [x3], #32
	WORD $0xacc1346c // ldp q12, q13, [x3], #32
	WORD $0x4e2f1d14 // and v20.16b, v8.16b, v15.16b
	WORD $0x4e2f1d35 // and v21.16b, v9.16b, v15.16b
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x4f000418 // movi v24.4s, #0
	WORD $0x4e8a9698 // sdot v24.4s, v20.16b, v10.16b
	WORD $0x4e8b96b8 // sdot v24.4s, v21.16b, v11.16b
	WORD $0x4f000419 // movi v25.4s, #0
	WORD $0x4e8c96d9 // sdot v25.4s, v22.16b, v12.16b
	WORD $0x4e8d96f9 // sdot v25.4s, v23.16b, v13.16b
	WORD $0x4e21db18 // scvtf v24.4s, v24.4s
	WORD $0x4e21db39 // scvtf v25.4s, v25.4s
	WORD $0x4f901b00 // fmla v0.4s, v24.4s, v16.s[2]
	WORD $0x4fb01b21 // fmla v1.4s, v25.4s, v16.s[3]
	WORD $0xad42a448 // ldp q8, q9, [x2, #80]
	WORD $0xacc12c6a // ldp q10, q11, [x3], #32
	WORD $0xacc1346c // ldp q12, q13, [x3], #32
	WORD $0x4e2f1d14 // and v20.16b, v8.16b, v15.16b
	WORD $0x4e2f1d35 // and v21.16b, v9.16b, v15.16b
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x4f000418 // movi v24.4s, #0
	WORD $0x4e8a9698 // sdot v24.4s, v20.16b, v10.16b
	WORD $0x4e8b96b8 // sdot v24.4s, v21.16b, v11.16b
	WORD $0x4f000419 // movi v25.4s, #0
	WORD $0x4e8c96d9 // sdot v25.4s, v22.16b, v12.16b
	WORD $0x4e8d96f9 // sdot v25.4s, v23.16b, v13.16b
	WORD $0x4e21db18 // scvtf v24.4s, v24.4s
	WORD $0x4e21db39 // scvtf v25.4s, v25.4s
	WORD $0x4f911300 // fmla v0.4s, v24.4s, v17.s[0]
	WORD $0x4fb11321 // fmla v1.4s, v25.4s, v17.s[1]
	WORD $0xad43a448 // ldp q8, q9, [x2, #112]
	WORD $0xacc12c6a // ldp q10, q11, [x3], #32
	WORD $0xacc1346c // ldp q12, q13, [x3], #32
	WORD $0x4e2f1d14 // and v20.16b, v8.16b, v15.16b
	WORD $0x4e2f1d35 // and v21.16b, v9.16b, v15.16b
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x4f000418 // movi v24.4s, #0
	WORD $0x4e8a9698 // sdot v24.4s, v20.16b, v10.16b
	WORD $0x4e8b96b8 // sdot v24.4s, v21.16b, v11.16b
	WORD $0x4f000419 // movi v25.4s, #0
	WORD $0x4e8c96d9 // sdot v25.4s, v22.16b, v12.16b
	WORD $0x4e8d96f9 // sdot v25.4s, v23.16b, v13.16b
	WORD $0x4e21db18 // scvtf v24.4s, v24.4s
	WORD $0x4e21db39 // scvtf v25.4s, v25.4s
	WORD $0x4f911b00 // fmla v0.4s, v24.4s, v17.s[2]
	WORD $0x4fb11b21 // fmla v1.4s, v25.4s, v17.s[3]
	ADD  $144, R2
	SUBS $1, R6
	BNE  block

	WORD $0x4e21d400 // fadd v0.4s, v0.4s, v1.4s
	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	WORD $0xbc004400 // str s0, [x0], #4
	SUBS $1, R1
	BNE  row
	RET

// func dotQ6KNEON(y *float32, rows int, w *byte, x *int8, scale, sum *float32, blocks int)
TEXT ·dotQ6KNEON(SB), NOSPLIT, $0-56
	MOVD y+0(FP), R0
	MOVD rows+8(FP), R1
	MOVD w+16(FP), R2
	WORD $0x4f00e5ef // movi v15.16b, #15
	WORD $0x4f01e61e // movi v30.16b, #48
	MOVD $-32, R7
	WORD $0x4e040cff // dup v31.4s, w7
	WORD $0x4e21dbff // scvtf v31.4s, v31.4s

row:
	MOVD x+24(FP), R3
	MOVD scale+32(FP), R4
	MOVD sum+40(FP), R5
	MOVD blocks+48(FP), R6
	WORD $0x4f000400 // movi v0.4s, #0

block:
	PRFM 1472(R2), PLDL1KEEP
	PRFM 1536(R2), PLDL1KEEP
	PRFM 1600(R2), PLDL1KEEP
	WORD $0x3dc03042 // ldr q2, [x2, #192]
	WORD $0x0f08a443 // sshll v3.8h, v2.8b, #0
	WORD $0x4f08a444 // sshll2 v4.8h, v2.16b, #0
	WORD $0x0f10a470 // sshll v16.4s, v3.4h, #0
	WORD $0x4f10a471 // sshll2 v17.4s, v3.8h, #0
	WORD $0x0f10a492 // sshll v18.4s, v4.4h, #0
	WORD $0x4f10a493 // sshll2 v19.4s, v4.8h, #0
	WORD $0x4e21da10 // scvtf v16.4s, v16.4s
	WORD $0x4e21da31 // scvtf v17.4s, v17.4s
	WORD $0x4e21da52 // scvtf v18.4s, v18.4s
	WORD $0x4e21da73 // scvtf v19.4s, v19.4s

	// The numbers stand 32 too high: -32 Σ scale·(sum of the activations).
	WORD $0xacc114a4 // ldp q4, q5, [x5], #32
	WORD $0xacc11ca6 // ldp q6, q7, [x5], #32
	WORD $0x6e24de01 // fmul v1.4s, v16.4s, v4.4s
	WORD $0x4e25ce21 // fmla v1.4s, v17.4s, v5.4s
	WORD $0x4e26ce41 // fmla v1.4s, v18.4s, v6.4s
	WORD $0x4e27ce61 // fmla v1.4s, v19.4s, v7.4s
	WORD $0x6e3fdc21 // fmul v1.4s, v1.4s, v31.4s
	WORD $0x4f000402 // movi v2.4s, #0

	WORD $0xacc11484 // ldp q4, q5, [x4], #32 // an activations' scale for two of the weights'
	WORD $0x4e843886 // zip1 v6.4s, v4.4s, v4.4s
	WORD $0x4e847887 // zip2 v7.4s, v4.4s, v4.4s
	WORD $0x4e8538a8 // zip1 v8.4s, v5.4s, v5.4s
	WORD $0x4e8578a9 // zip2 v9.4s, v5.4s, v5.4s
	WORD $0x6e26de10 // fmul v16.4s, v16.4s, v6.4s
	WORD $0x6e27de31 // fmul v17.4s, v17.4s, v7.4s
	WORD $0x6e28de52 // fmul v18.4s, v18.4s, v8.4s
	WORD $0x6e29de73 // fmul v19.4s, v19.4s, v9.4s

	MOVD R2, R7               // low nibbles
	ADD  $128, R2, R8         // bit pairs
	WORD $0xacc124e8 // ldp q8, q9, [x7], #32
	WORD $0xacc12cea // ldp q10, q11, [x7], #32
	WORD $0xacc1350c // ldp q12, q13, [x8], #32
	WORD $0x4e2f1d16 // and v22.16b, v8.16b, v15.16b
	WORD $0x4e2f1d37 // and v23.16b, v9.16b, v15.16b
	WORD $0x4f0c5598 // shl v24.16b, v12.16b, #4
	WORD $0x4f0c55b9 // shl v25.16b, v13.16b, #4
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x0e34c2da // smull v26.8h, v22.8b, v20.8b
	WORD $0x4e3482da // smlal2 v26.8h, v22.16b, v20.16b
	WORD $0x4e602b5b // saddlp v27.4s, v26.8h
	WORD $0x0e35c2fa // smull v26.8h, v23.8b, v21.8b
	WORD $0x4e3582fa // smlal2 v26.8h, v23.16b, v21.16b
	WORD $0x4e602b5c // saddlp v28.4s, v26.8h
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f901361 // fmla v1.4s, v27.4s, v16.s[0]
	WORD $0x4fb01382 // fmla v2.4s, v28.4s, v16.s[1]
	WORD $0x4e2f1d56 // and v22.16b, v10.16b, v15.16b
	WORD $0x4e2f1d77 // and v23.16b, v11.16b, v15.16b
	WORD $0x4f0a5598 // shl v24.16b, v12.16b, #2
	WORD $0x4f0a55b9 // shl v25.16b, v13.16b, #2
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x0e34c2da // smull v26.8h, v22.8b, v20.8b
	WORD $0x4e3482da // smlal2 v26.8h, v22.16b, v20.16b
	WORD $0x4e602b5b // saddlp v27.4s, v26.8h
	WORD $0x0e35c2fa // smull v26.8h, v23.8b, v21.8b
	WORD $0x4e3582fa // smlal2 v26.8h, v23.16b, v21.16b
	WORD $0x4e602b5c // saddlp v28.4s, v26.8h
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f901b61 // fmla v1.4s, v27.4s, v16.s[2]
	WORD $0x4fb01b82 // fmla v2.4s, v28.4s, v16.s[3]
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x4eac1d98 // mov v24.16b, v12.16b
	WORD $0x4ead1db9 // mov v25.16b, v13.16b
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x0e34c2da // smull v26.8h, v22.8b, v20.8b
	WORD $0x4e3482da // smlal2 v26.8h, v22.16b, v20.16b
	WORD $0x4e602b5b // saddlp v27.4s, v26.8h
	WORD $0x0e35c2fa // smull v26.8h, v23.8b, v21.8b
	WORD $0x4e3582fa // smlal2 v26.8h, v23.16b, v21.16b
	WORD $0x4e602b5c // saddlp v28.4s, v26.8h
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f911361 // fmla v1.4s, v27.4s, v17.s[0]
	WORD $0x4fb11382 // fmla v2.4s, v28.4s, v17.s[1]
	WORD $0x6f0c0556 // ushr v22.16b, v10.16b, #4
	WORD $0x6f0c0577 // ushr v23.16b, v11.16b, #4
	WORD $0x6f0e0598 // ushr v24.16b, v12.16b, #2
	WORD $0x6f0e05b9 // ushr v25.16b, v13.16b, #2
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x0e34c2da // smull v26.8h, v22.8b, v20.8b
	WORD $0x4e3482da // smlal2 v26.8h, v22.16b, v20.16b
	WORD $0x4e602b5b // saddlp v27.4s, v26.8h
	WORD $0x0e35c2fa // smull v26.8h, v23.8b, v21.8b
	WORD $0x4e3582fa // smlal2 v26.8h, v23.16b, v21.16b
	WORD $0x4e602b5c // saddlp v28.4s, v26.8h
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f911b61 // fmla v1.4s, v27.4s, v17.s[2]
	WORD $0x4fb11b82 // fmla v2.4s, v28.4s, v17.s[3]
	WORD $0xacc124e8 // ldp q8, q9, [x7], #32
	WORD $0xacc12cea // ldp q10, q11, [x7], #32
	WORD $0xacc1350c // ldp q12, q13, [x8], #32
	WORD $0x4e2f1d16 // and v22.16b, v8.16b, v15.16b
	WORD $0x4e2f1d37 // and v23.16b, v9.16b, v15.16b
	WORD $0x4f0c5598 // shl v24.16b, v12.16b, #4
	WORD $0x4f0c55b9 // shl v25.16b, v13.16b, #4
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x0e34c2da // smull v26.8h, v22.8b, v20.8b
	WORD $0x4e3482da // smlal2 v26.8h, v22.16b, v20.16b
	WORD $0x4e602b5b // saddlp v27.4s, v26.8h
	WORD $0x0e35c2fa // smull v26.8h, v23.8b, v21.8b
	WORD $0x4e3582fa // smlal2 v26.8h, v23.16b, v21.16b
	WORD $0x4e602b5c // saddlp v28.4s, v26.8h
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f921361 // fmla v1.4s, v27.4s, v18.s[0]
	WORD $0x4fb21382 // fmla v2.4s, v28.4s, v18.s[1]
	WORD $0x4e2f1d56 // and v22.16b, v10.16b, v15.16b
	WORD $0x4e2f1d77 // and v23.16b, v11.16b, v15.16b
	WORD $0x4f0a5598 // shl v24.16b, v12.16b, #2
	WORD $0x4f0a55b9 // shl v25.16b, v13.16b, #2
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x0e34c2da // smull v26.8h, v22.8b, v20.8b
	WORD $0x4e3482da // smlal2 v26.8h, v22.16b, v20.16b
	WORD $0x4e602b5b // saddlp v27.4s, v26.8h
	WORD $0x0e35c2fa // smull v26.8h, v23.8b, v21.8b
	WORD $0x4e3582fa // smlal2 v26.8h, v23.16b, v21.16b
	WORD $0x4e602b5c // saddlp v28.4s, v26.8h
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f921b61 // fmla v1.4s, v27.4s, v18.s[2]
	WORD $0x4fb21b82 // fmla v2.4s, v28.4s, v18.s[3]
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x4eac1d98 // mov v24.16b, v12.16b
	WORD $0x4ead1db9 // mov v25.16b, v13.16b
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x0e34c2da // smull v26.8h, v22.8b, v20.8b
	WORD $0x4e3482da // smlal2 v26.8h, v22.16b, v20.16b
	WORD $0x4e602b5b // saddlp v27.4s, v26.8h
	WORD $0x0e35c2fa // smull v26.8h, v23.8b, v21.8b
	WORD $0x4e3582fa // smlal2 v26.8h, v23.16b, v21.16b
	WORD $0x4e602b5c // saddlp v28.4s, v26.8h
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f931361 // fmla v1.4s, v27.4s, v19.s[0]
	WORD $0x4fb31382 // fmla v2.4s, v28.4s, v19.s[1]
	WORD $0x6f0c0556 // ushr v22.16b, v10.16b, #4
	WORD $0x6f0c0577 // ushr v23.16b, v11.16b, #4
	WORD $0x6f0e0598 // ushr v24.16b, v12.16b, #2
	WORD $0x6f0e05b9 // ushr v25.16b, v13.16b, #2
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x0e34c2da // smull v26.8h, v22.8b, v20.8b
	WORD $0x4e3482da // smlal2 v26.8h, v22.16b, v20.16b
	WORD $0x4e602b5b // saddlp v27.4s, v26.8h
	WORD $0x0e35c2fa // smull v26.8h, v23.8b, v21.8b
	WORD $0x4e3582fa // smlal2 v26.8h, v23.16b, v21.16b
	WORD $0x4e602b5c // saddlp v28.4s, v26.8h
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f931b61 // fmla v1.4s, v27.4s, v19.s[2]
	WORD $0x4fb31b82 // fmla v2.4s, v28.4s, v19.s[3]
	WORD $0x7d41a043 // ldr h3, [x2, #208]
	WORD $0x1ee24063 // fcvt s3, h3
	WORD $0x4e22d421 // fadd v1.4s, v1.4s, v2.4s
	WORD $0x4f831020 // fmla v0.4s, v1.4s, v3.s[0]
	ADD  $210, R2
	SUBS $1, R6
	BNE  block

	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	WORD $0xbc004400 // str s0, [x0], #4
	SUBS $1, R1
	BNE  row
	RET

// func dotQ6KDotProd(y *float32, rows int, w *byte, x *int8, scale, sum *float32, blocks int)
TEXT ·dotQ6KDotProd(SB), NOSPLIT, $0-56
	MOVD y+0(FP), R0
	MOVD rows+8(FP), R1
	MOVD w+16(FP), R2
	WORD $0x4f00e5ef // movi v15.16b, #15
	WORD $0x4f01e61e // movi v30.16b, #48
	MOVD $-32, R7
	WORD $0x4e040cff // dup v31.4s, w7
	WORD $0x4e21dbff // scvtf v31.4s, v31.4s

row:
	MOVD x+24(FP), R3
	MOVD scale+32(FP), R4
	MOVD sum+40(FP), R5
	MOVD blocks+48(FP), R6
	WORD $0x4f000400 // movi v0.4s, #0

block:
	PRFM 1472(R2), PLDL1KEEP
	PRFM 1536(R2), PLDL1KEEP
	PRFM 1600(R2), PLDL1KEEP
	WORD $0x3dc03042 // ldr q2, [x2, #192]
	WORD $0x0f08a443 // sshll v3.8h, v2.8b, #0
	WORD $0x4f08a444 // sshll2 v4.8h, v2.16b, #0
	WORD $0x0f10a470 // sshll v16.4s, v3.4h, #0
	WORD $0x4f10a471 // sshll2 v17.4s, v3.8h, #0
	WORD $0x0f10a492 // sshll v18.4s, v4.4h, #0
	WORD $0x4f10a493 // sshll2 v19.4s, v4.8h, #0
	WORD $0x4e21da10 // scvtf v16.4s, v16.4s
	WORD $0x4e21da31 // scvtf v17.4s, v17.4s
	WORD $0x4e21da52 // scvtf v18.4s, v18.4s
	WORD $0x4e21da73 // scvtf v19.4s, v19.4s

	// The numbers stand 32 too high: -32 Σ scale·(sum of the activations).
	WORD $0xacc114a4 // ldp q4, q5, [x5], #32
	WORD $0xacc11ca6 // ldp q6, q7, [x5], #32
	WORD $0x6e24de01 // fmul v1.4s, v16.4s, v4.4s
	WORD $0x4e25ce21 // fmla v1.4s, v17.4s, v5.4s
	WORD $0x4e26ce41 // fmla v1.4s, v18.4s, v6.4s
	WORD $0x4e27ce61 // fmla v1.4s, v19.4s, v7.4s
	WORD $0x6e3fdc21 // fmul v1.4s, v1.4s, v31.4s
	WORD $0x4f000402 // movi v2.4s, #0

	WORD $0xacc11484 // ldp q4, q5, [x4], #32 // an activations' scale for two of the weights'
	WORD $0x4e843886 // zip1 v6.4s, v4.4s, v4.4s
	WORD $0x4e847887 // zip2 v7.4s, v4.4s, v4.4s
	WORD $0x4e8538a8 // zip1 v8.4s, v5.4s, v5.4s
	WORD $0x4e8578a9 // zip2 v9.4s, v5.4s, v5.4s
	WORD $0x6e26de10 // fmul v16.4s, v16.4s, v6.4s
	WORD $0x6e27de31 // fmul v17.4s, v17.4s, v7.4s
	WORD $0x6e28de52 // fmul v18.4s, v18.4s, v8.4s
	WORD $0x6e29de73 // fmul v19.4s, v19.4s, v9.4s

	MOVD R2, R7               // low nibbles
	ADD  $128, R2, R8         // bit pairs
	WORD $0xacc124e8 // ldp q8, q9, [x7], #32
	WORD $0xacc12cea // ldp q10, q11, [x7], #32
	WORD $0xacc1350c // ldp q12, q13, [x8], #32
	WORD $0x4e2f1d16 // and v22.16b, v8.16b, v15.16b
	WORD $0x4e2f1d37 // and v23.16b, v9.16b, v15.16b
	WORD $0x4f0c5598 // shl v24.16b, v12.16b, #4
	WORD $0x4f0c55b9 // shl v25.16b, v13.16b, #4
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x4f00041b // movi v27.4s, #0
	WORD $0x4e9496db // sdot v27.4s, v22.16b, v20.16b
	WORD $0x4f00041c // movi v28.4s, #0
	WORD $0x4e9596fc // sdot v28.4s, v23.16b, v21.16b
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f901361 // fmla v1.4s, v27.4s, v16.s[0]
	WORD $0x4fb01382 // fmla v2.4s, v28.4s, v16.s[1]
	WORD $0x4e2f1d56 // and v22.16b, v10.16b, v15.16b
	WORD $0x4e2f1d77 // and v23.16b, v11.16b, v15.16b
	WORD $0x4f0a5598 // shl v24.16b, v12.16b, #2
	WORD $0x4f0a55b9 // shl v25.16b, v13.16b, #2
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x4f00041b // movi v27.4s, #0
	WORD $0x4e9496db // sdot v27.4s, v22.16b, v20.16b
	WORD $0x4f00041c // movi v28.4s, #0
	WORD $0x4e9596fc // sdot v28.4s, v23.16b, v21.16b
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f901b61 // fmla v1.4s, v27.4s, v16.s[2]
	WORD $0x4fb01b82 // fmla v2.4s, v28.4s, v16.s[3]
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x4eac1d98 // mov v24.16b, v12.16b
	WORD $0x4ead1db9 // mov v25.16b, v13.16b
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x4f00041b // movi v27.4s, #0
	WORD $0x4e9496db // sdot v27.4s, v22.16b, v20.16b
	WORD $0x4f00041c // movi v28.4s, #0
	WORD $0x4e9596fc // sdot v28.4s, v23.16b, v21.16b
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f911361 // fmla v1.4s, v27.4s, v17.s[0]
	WORD $0x4fb11382 // fmla v2.4s, v28.4s, v17.s[1]
	WORD $0x6f0c0556 // ushr v22.16b, v10.16b, #4
	WORD $0x6f0c0577 // ushr v23.16b, v11.16b, #4
	WORD $0x6f0e0598 // ushr v24.16b, v12.16b, #2
	WORD $0x6f0e05b9 // ushr v25.16b, v13.16b, #2
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x4f00041b // movi v27.4s, #0
	WORD $0x4e9496db // sdot v27.4s, v22.16b, v20.16b
	WORD $0x4f00041c // movi v28.4s, #0
	WORD $0x4e9596fc // sdot v28.4s, v23.16b, v21.16b
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f911b61 // fmla v1.4s, v27.4s, v17.s[2]
	WORD $0x4fb11b82 // fmla v2.4s, v28.4s, v17.s[3]
	WORD $0xacc124e8 // ldp q8, q9, [x7], #32
	WORD $0xacc12cea // ldp q10, q11, [x7], #32
	WORD $0xacc1350c // ldp q12, q13, [x8], #32
	WORD $0x4e2f1d16 // and v22.16b, v8.16b, v15.16b
	WORD $0x4e2f1d37 // and v23.16b, v9.16b, v15.16b
	WORD $0x4f0c5598 // shl v24.16b, v12.16b, #4
	WORD $0x4f0c55b9 // shl v25.16b, v13.16b, #4
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x4f00041b // movi v27.4s, #0
	WORD $0x4e9496db // sdot v27.4s, v22.16b, v20.16b
	WORD $0x4f00041c // movi v28.4s, #0
	WORD $0x4e9596fc // sdot v28.4s, v23.16b, v21.16b
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f921361 // fmla v1.4s, v27.4s, v18.s[0]
	WORD $0x4fb21382 // fmla v2.4s, v28.4s, v18.s[1]
	WORD $0x4e2f1d56 // and v22.16b, v10.16b, v15.16b
	WORD $0x4e2f1d77 // and v23.16b, v11.16b, v15.16b
	WORD $0x4f0a5598 // shl v24.16b, v12.16b, #2
	WORD $0x4f0a55b9 // shl v25.16b, v13.16b, #2
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x4f00041b // movi v27.4s, #0
	WORD $0x4e9496db // sdot v27.4s, v22.16b, v20.16b
	WORD $0x4f00041c // movi v28.4s, #0
	WORD $0x4e9596fc // sdot v28.4s, v23.16b, v21.16b
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f921b61 // fmla v1.4s, v27.4s, v18.s[2]
	WORD $0x4fb21b82 // fmla v2.4s, v28.4s, v18.s[3]
	WORD $0x6f0c0516 // ushr v22.16b, v8.16b, #4
	WORD $0x6f0c0537 // ushr v23.16b, v9.16b, #4
	WORD $0x4eac1d98 // mov v24.16b, v12.16b
	WORD $0x4ead1db9 // mov v25.16b, v13.16b
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x4f00041b // movi v27.4s, #0
	WORD $0x4e9496db // sdot v27.4s, v22.16b, v20.16b
	WORD $0x4f00041c // movi v28.4s, #0
	WORD $0x4e9596fc // sdot v28.4s, v23.16b, v21.16b
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f931361 // fmla v1.4s, v27.4s, v19.s[0]
	WORD $0x4fb31382 // fmla v2.4s, v28.4s, v19.s[1]
	WORD $0x6f0c0556 // ushr v22.16b, v10.16b, #4
	WORD $0x6f0c0577 // ushr v23.16b, v11.16b, #4
	WORD $0x6f0e0598 // ushr v24.16b, v12.16b, #2
	WORD $0x6f0e05b9 // ushr v25.16b, v13.16b, #2
	WORD $0x4e3e1f18 // and v24.16b, v24.16b, v30.16b
	WORD $0x4e3e1f39 // and v25.16b, v25.16b, v30.16b
	WORD $0x4eb81ed6 // orr v22.16b, v22.16b, v24.16b
	WORD $0x4eb91ef7 // orr v23.16b, v23.16b, v25.16b
	WORD $0xacc15474 // ldp q20, q21, [x3], #32
	WORD $0x4f00041b // movi v27.4s, #0
	WORD $0x4e9496db // sdot v27.4s, v22.16b, v20.16b
	WORD $0x4f00041c // movi v28.4s, #0
	WORD $0x4e9596fc // sdot v28.4s, v23.16b, v21.16b
	WORD $0x4e21db7b // scvtf v27.4s, v27.4s
	WORD $0x4e21db9c // scvtf v28.4s, v28.4s
	WORD $0x4f931b61 // fmla v1.4s, v27.4s, v19.s[2]
	WORD $0x4fb31b82 // fmla v2.4s, v28.4s, v19.s[3]
	WORD $0x7d41a043 // ldr h3, [x2, #208]
	WORD $0x1ee24063 // fcvt s3, h3
	WORD $0x4e22d421 // fadd v1.4s, v1.4s, v2.4s
	WORD $0x4f831020 // fmla v0.4s, v1.4s, v3.s[0]
	ADD  $210, R2
	SUBS $1, R6
	BNE  block

	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	WORD $0xbc004400 // str s0, [x0], #4
	SUBS $1, R1
	BNE  row
	RET
