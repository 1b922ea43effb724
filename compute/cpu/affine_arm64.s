// Generated from _generate/affine.neon by go run ./compute/cpu/_generate; DO NOT EDIT.

//go:build !purego

#include "textflag.h"

// func affineGroupsNEON(dst *float32, src *byte, scales, biases *float32, groups, group, bits int, shifts *[8]int64)
TEXT ·affineGroupsNEON(SB), NOSPLIT, $0-64
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD scales+16(FP), R2
	MOVD biases+24(FP), R3
	MOVD groups+32(FP), R4
	MOVD group+40(FP), R5
	MOVD bits+48(FP), R9
	MOVD shifts+56(FP), R11
	LSR  $5, R5                // runs of 32 in a group
	CMP  $4, R9
	BEQ  nibbles
	CMP  $8, R9
	BEQ  bytes
	MOVD $1, R10
	LSL  R9, R10, R10
	SUB  $1, R10
	WORD $0x4e040d5f // dup v31.4s, w10
	WORD $0xad406578 // ldp q24, q25, [x11]
	WORD $0xad416d7a // ldp q26, q27, [x11, #32]

anyGroup:
	WORD $0x4ddfc850 // ld1r {v16.4s}, [x2], #4
	WORD $0x4ddfc871 // ld1r {v17.4s}, [x3], #4
	MOVD R5, R8

any:
	WORD $0x4d40cc28 // ld1r {v8.2d}, [x1]
	ADD R9, R1
	WORD $0x6ef84509 // ushl v9.2d, v8.2d, v24.2d
	WORD $0x6ef9450a // ushl v10.2d, v8.2d, v25.2d
	WORD $0x6efa450b // ushl v11.2d, v8.2d, v26.2d
	WORD $0x6efb450c // ushl v12.2d, v8.2d, v27.2d
	WORD $0x4e8a1920 // uzp1 v0.4s, v9.4s, v10.4s
	WORD $0x4e8c1961 // uzp1 v1.4s, v11.4s, v12.4s
	WORD $0x4e3f1c00 // and v0.16b, v0.16b, v31.16b
	WORD $0x4e3f1c21 // and v1.16b, v1.16b, v31.16b
	WORD $0x6e21d800 // ucvtf v0.4s, v0.4s
	WORD $0x6e21d821 // ucvtf v1.4s, v1.4s
	WORD $0x4d40cc28 // ld1r {v8.2d}, [x1]
	ADD R9, R1
	WORD $0x6ef84509 // ushl v9.2d, v8.2d, v24.2d
	WORD $0x6ef9450a // ushl v10.2d, v8.2d, v25.2d
	WORD $0x6efa450b // ushl v11.2d, v8.2d, v26.2d
	WORD $0x6efb450c // ushl v12.2d, v8.2d, v27.2d
	WORD $0x4e8a1922 // uzp1 v2.4s, v9.4s, v10.4s
	WORD $0x4e8c1963 // uzp1 v3.4s, v11.4s, v12.4s
	WORD $0x4e3f1c42 // and v2.16b, v2.16b, v31.16b
	WORD $0x4e3f1c63 // and v3.16b, v3.16b, v31.16b
	WORD $0x6e21d842 // ucvtf v2.4s, v2.4s
	WORD $0x6e21d863 // ucvtf v3.4s, v3.4s
	WORD $0x4d40cc28 // ld1r {v8.2d}, [x1]
	ADD R9, R1
	WORD $0x6ef84509 // ushl v9.2d, v8.2d, v24.2d
	WORD $0x6ef9450a // ushl v10.2d, v8.2d, v25.2d
	WORD $0x6efa450b // ushl v11.2d, v8.2d, v26.2d
	WORD $0x6efb450c // ushl v12.2d, v8.2d, v27.2d
	WORD $0x4e8a1924 // uzp1 v4.4s, v9.4s, v10.4s
	WORD $0x4e8c1965 // uzp1 v5.4s, v11.4s, v12.4s
	WORD $0x4e3f1c84 // and v4.16b, v4.16b, v31.16b
	WORD $0x4e3f1ca5 // and v5.16b, v5.16b, v31.16b
	WORD $0x6e21d884 // ucvtf v4.4s, v4.4s
	WORD $0x6e21d8a5 // ucvtf v5.4s, v5.4s
	WORD $0x4d40cc28 // ld1r {v8.2d}, [x1]
	ADD R9, R1
	WORD $0x6ef84509 // ushl v9.2d, v8.2d, v24.2d
	WORD $0x6ef9450a // ushl v10.2d, v8.2d, v25.2d
	WORD $0x6efa450b // ushl v11.2d, v8.2d, v26.2d
	WORD $0x6efb450c // ushl v12.2d, v8.2d, v27.2d
	WORD $0x4e8a1926 // uzp1 v6.4s, v9.4s, v10.4s
	WORD $0x4e8c1967 // uzp1 v7.4s, v11.4s, v12.4s
	WORD $0x4e3f1cc6 // and v6.16b, v6.16b, v31.16b
	WORD $0x4e3f1ce7 // and v7.16b, v7.16b, v31.16b
	WORD $0x6e21d8c6 // ucvtf v6.4s, v6.4s
	WORD $0x6e21d8e7 // ucvtf v7.4s, v7.4s
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc08 // fmla v8.4s, v0.4s, v16.4s
	WORD $0x4e30cc29 // fmla v9.4s, v1.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc48 // fmla v8.4s, v2.4s, v16.4s
	WORD $0x4e30cc69 // fmla v9.4s, v3.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc88 // fmla v8.4s, v4.4s, v16.4s
	WORD $0x4e30cca9 // fmla v9.4s, v5.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30ccc8 // fmla v8.4s, v6.4s, v16.4s
	WORD $0x4e30cce9 // fmla v9.4s, v7.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	SUBS $1, R8
	BNE  any
	SUBS $1, R4
	BNE  anyGroup
	RET

nibbles:
	WORD $0x4f00e5ff // movi v31.16b, #15

nibbleGroup:
	WORD $0x4ddfc850 // ld1r {v16.4s}, [x2], #4
	WORD $0x4ddfc871 // ld1r {v17.4s}, [x3], #4
	MOVD R5, R8

nibble:
	WORD $0x3cc10428 // ldr q8, [x1], #16
	WORD $0x4e3f1d09 // and v9.16b, v8.16b, v31.16b
	WORD $0x6f0c0508 // ushr v8.16b, v8.16b, #4
	WORD $0x4e08392a // zip1 v10.16b, v9.16b, v8.16b
	WORD $0x4e08792b // zip2 v11.16b, v9.16b, v8.16b
	WORD $0x2f08a54c // ushll v12.8h, v10.8b, #0
	WORD $0x6f08a54d // ushll2 v13.8h, v10.16b, #0
	WORD $0x2f08a56e // ushll v14.8h, v11.8b, #0
	WORD $0x6f08a56f // ushll2 v15.8h, v11.16b, #0
	WORD $0x2f10a580 // ushll v0.4s, v12.4h, #0
	WORD $0x6f10a581 // ushll2 v1.4s, v12.8h, #0
	WORD $0x2f10a5a2 // ushll v2.4s, v13.4h, #0
	WORD $0x6f10a5a3 // ushll2 v3.4s, v13.8h, #0
	WORD $0x2f10a5c4 // ushll v4.4s, v14.4h, #0
	WORD $0x6f10a5c5 // ushll2 v5.4s, v14.8h, #0
	WORD $0x2f10a5e6 // ushll v6.4s, v15.4h, #0
	WORD $0x6f10a5e7 // ushll2 v7.4s, v15.8h, #0
	WORD $0x6e21d800 // ucvtf v0.4s, v0.4s
	WORD $0x6e21d821 // ucvtf v1.4s, v1.4s
	WORD $0x6e21d842 // ucvtf v2.4s, v2.4s
	WORD $0x6e21d863 // ucvtf v3.4s, v3.4s
	WORD $0x6e21d884 // ucvtf v4.4s, v4.4s
	WORD $0x6e21d8a5 // ucvtf v5.4s, v5.4s
	WORD $0x6e21d8c6 // ucvtf v6.4s, v6.4s
	WORD $0x6e21d8e7 // ucvtf v7.4s, v7.4s
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc08 // fmla v8.4s, v0.4s, v16.4s
	WORD $0x4e30cc29 // fmla v9.4s, v1.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc48 // fmla v8.4s, v2.4s, v16.4s
	WORD $0x4e30cc69 // fmla v9.4s, v3.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc88 // fmla v8.4s, v4.4s, v16.4s
	WORD $0x4e30cca9 // fmla v9.4s, v5.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30ccc8 // fmla v8.4s, v6.4s, v16.4s
	WORD $0x4e30cce9 // fmla v9.4s, v7.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	SUBS $1, R8
	BNE  nibble
	SUBS $1, R4
	BNE  nibbleGroup
	RET

bytes:
	WORD $0x4ddfc850 // ld1r {v16.4s}, [x2], #4
	WORD $0x4ddfc871 // ld1r {v17.4s}, [x3], #4
	MOVD R5, R8

byte:
	WORD $0xacc12c2a // ldp q10, q11, [x1], #32
	WORD $0x2f08a54c // ushll v12.8h, v10.8b, #0
	WORD $0x6f08a54d // ushll2 v13.8h, v10.16b, #0
	WORD $0x2f08a56e // ushll v14.8h, v11.8b, #0
	WORD $0x6f08a56f // ushll2 v15.8h, v11.16b, #0
	WORD $0x2f10a580 // ushll v0.4s, v12.4h, #0
	WORD $0x6f10a581 // ushll2 v1.4s, v12.8h, #0
	WORD $0x2f10a5a2 // ushll v2.4s, v13.4h, #0
	WORD $0x6f10a5a3 // ushll2 v3.4s, v13.8h, #0
	WORD $0x2f10a5c4 // ushll v4.4s, v14.4h, #0
	WORD $0x6f10a5c5 // ushll2 v5.4s, v14.8h, #0
	WORD $0x2f10a5e6 // ushll v6.4s, v15.4h, #0
	WORD $0x6f10a5e7 // ushll2 v7.4s, v15.8h, #0
	WORD $0x6e21d800 // ucvtf v0.4s, v0.4s
	WORD $0x6e21d821 // ucvtf v1.4s, v1.4s
	WORD $0x6e21d842 // ucvtf v2.4s, v2.4s
	WORD $0x6e21d863 // ucvtf v3.4s, v3.4s
	WORD $0x6e21d884 // ucvtf v4.4s, v4.4s
	WORD $0x6e21d8a5 // ucvtf v5.4s, v5.4s
	WORD $0x6e21d8c6 // ucvtf v6.4s, v6.4s
	WORD $0x6e21d8e7 // ucvtf v7.4s, v7.4s
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc08 // fmla v8.4s, v0.4s, v16.4s
	WORD $0x4e30cc29 // fmla v9.4s, v1.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc48 // fmla v8.4s, v2.4s, v16.4s
	WORD $0x4e30cc69 // fmla v9.4s, v3.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc88 // fmla v8.4s, v4.4s, v16.4s
	WORD $0x4e30cca9 // fmla v9.4s, v5.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30ccc8 // fmla v8.4s, v6.4s, v16.4s
	WORD $0x4e30cce9 // fmla v9.4s, v7.4s, v16.4s
	WORD $0xac812408 // stp q8, q9, [x0], #32
	SUBS $1, R8
	BNE  byte
	SUBS $1, R4
	BNE  bytes
	RET

// func dotAffineNEON(y *float32, rows int, w *byte, scales, biases, x *float32, groups, group, bits int, shifts *[8]int64)
TEXT ·dotAffineNEON(SB), NOSPLIT, $0-80
	MOVD y+0(FP), R0
	MOVD rows+8(FP), R7
	MOVD w+16(FP), R1
	MOVD scales+24(FP), R2
	MOVD biases+32(FP), R3
	MOVD group+56(FP), R5
	MOVD bits+64(FP), R9
	MOVD shifts+72(FP), R11
	LSR  $5, R5
	MOVD $1, R10
	LSL  R9, R10, R10
	SUB  $1, R10
	WORD $0x4e040d5f // dup v31.4s, w10
	WORD $0xad406578 // ldp q24, q25, [x11]
	WORD $0xad416d7a // ldp q26, q27, [x11, #32]
	CMP  $4, R9
	BNE  row
	WORD $0x4f00e5ff // movi v31.16b, #15

row:
	MOVD x+40(FP), R6
	MOVD groups+48(FP), R4
	WORD $0x4f000412 // movi v18.4s, #0
	WORD $0x4f000413 // movi v19.4s, #0
	WORD $0x4f000414 // movi v20.4s, #0
	WORD $0x4f000415 // movi v21.4s, #0
	CMP  $4, R9
	BEQ  nibbleGroup
	CMP  $8, R9
	BEQ  byteGroup

anyGroup:
	WORD $0x4ddfc850 // ld1r {v16.4s}, [x2], #4
	WORD $0x4ddfc871 // ld1r {v17.4s}, [x3], #4
	MOVD R5, R8

any:
	WORD $0x4d40cc28 // ld1r {v8.2d}, [x1]
	ADD R9, R1
	WORD $0x6ef84509 // ushl v9.2d, v8.2d, v24.2d
	WORD $0x6ef9450a // ushl v10.2d, v8.2d, v25.2d
	WORD $0x6efa450b // ushl v11.2d, v8.2d, v26.2d
	WORD $0x6efb450c // ushl v12.2d, v8.2d, v27.2d
	WORD $0x4e8a1920 // uzp1 v0.4s, v9.4s, v10.4s
	WORD $0x4e8c1961 // uzp1 v1.4s, v11.4s, v12.4s
	WORD $0x4e3f1c00 // and v0.16b, v0.16b, v31.16b
	WORD $0x4e3f1c21 // and v1.16b, v1.16b, v31.16b
	WORD $0x6e21d800 // ucvtf v0.4s, v0.4s
	WORD $0x6e21d821 // ucvtf v1.4s, v1.4s
	WORD $0x4d40cc28 // ld1r {v8.2d}, [x1]
	ADD R9, R1
	WORD $0x6ef84509 // ushl v9.2d, v8.2d, v24.2d
	WORD $0x6ef9450a // ushl v10.2d, v8.2d, v25.2d
	WORD $0x6efa450b // ushl v11.2d, v8.2d, v26.2d
	WORD $0x6efb450c // ushl v12.2d, v8.2d, v27.2d
	WORD $0x4e8a1922 // uzp1 v2.4s, v9.4s, v10.4s
	WORD $0x4e8c1963 // uzp1 v3.4s, v11.4s, v12.4s
	WORD $0x4e3f1c42 // and v2.16b, v2.16b, v31.16b
	WORD $0x4e3f1c63 // and v3.16b, v3.16b, v31.16b
	WORD $0x6e21d842 // ucvtf v2.4s, v2.4s
	WORD $0x6e21d863 // ucvtf v3.4s, v3.4s
	WORD $0x4d40cc28 // ld1r {v8.2d}, [x1]
	ADD R9, R1
	WORD $0x6ef84509 // ushl v9.2d, v8.2d, v24.2d
	WORD $0x6ef9450a // ushl v10.2d, v8.2d, v25.2d
	WORD $0x6efa450b // ushl v11.2d, v8.2d, v26.2d
	WORD $0x6efb450c // ushl v12.2d, v8.2d, v27.2d
	WORD $0x4e8a1924 // uzp1 v4.4s, v9.4s, v10.4s
	WORD $0x4e8c1965 // uzp1 v5.4s, v11.4s, v12.4s
	WORD $0x4e3f1c84 // and v4.16b, v4.16b, v31.16b
	WORD $0x4e3f1ca5 // and v5.16b, v5.16b, v31.16b
	WORD $0x6e21d884 // ucvtf v4.4s, v4.4s
	WORD $0x6e21d8a5 // ucvtf v5.4s, v5.4s
	WORD $0x4d40cc28 // ld1r {v8.2d}, [x1]
	ADD R9, R1
	WORD $0x6ef84509 // ushl v9.2d, v8.2d, v24.2d
	WORD $0x6ef9450a // ushl v10.2d, v8.2d, v25.2d
	WORD $0x6efa450b // ushl v11.2d, v8.2d, v26.2d
	WORD $0x6efb450c // ushl v12.2d, v8.2d, v27.2d
	WORD $0x4e8a1926 // uzp1 v6.4s, v9.4s, v10.4s
	WORD $0x4e8c1967 // uzp1 v7.4s, v11.4s, v12.4s
	WORD $0x4e3f1cc6 // and v6.16b, v6.16b, v31.16b
	WORD $0x4e3f1ce7 // and v7.16b, v7.16b, v31.16b
	WORD $0x6e21d8c6 // ucvtf v6.4s, v6.4s
	WORD $0x6e21d8e7 // ucvtf v7.4s, v7.4s
	PRFM 1024(R1), PLDL1KEEP
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc08 // fmla v8.4s, v0.4s, v16.4s
	WORD $0x4e30cc29 // fmla v9.4s, v1.4s, v16.4s
	WORD $0xacc12cca // ldp q10, q11, [x6], #32
	WORD $0x4e2acd12 // fmla v18.4s, v8.4s, v10.4s
	WORD $0x4e2bcd33 // fmla v19.4s, v9.4s, v11.4s
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc48 // fmla v8.4s, v2.4s, v16.4s
	WORD $0x4e30cc69 // fmla v9.4s, v3.4s, v16.4s
	WORD $0xacc12cca // ldp q10, q11, [x6], #32
	WORD $0x4e2acd14 // fmla v20.4s, v8.4s, v10.4s
	WORD $0x4e2bcd35 // fmla v21.4s, v9.4s, v11.4s
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc88 // fmla v8.4s, v4.4s, v16.4s
	WORD $0x4e30cca9 // fmla v9.4s, v5.4s, v16.4s
	WORD $0xacc12cca // ldp q10, q11, [x6], #32
	WORD $0x4e2acd12 // fmla v18.4s, v8.4s, v10.4s
	WORD $0x4e2bcd33 // fmla v19.4s, v9.4s, v11.4s
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30ccc8 // fmla v8.4s, v6.4s, v16.4s
	WORD $0x4e30cce9 // fmla v9.4s, v7.4s, v16.4s
	WORD $0xacc12cca // ldp q10, q11, [x6], #32
	WORD $0x4e2acd14 // fmla v20.4s, v8.4s, v10.4s
	WORD $0x4e2bcd35 // fmla v21.4s, v9.4s, v11.4s
	SUBS $1, R8
	BNE  any
	SUBS $1, R4
	BNE  anyGroup
	JMP  next

nibbleGroup:
	WORD $0x4ddfc850 // ld1r {v16.4s}, [x2], #4
	WORD $0x4ddfc871 // ld1r {v17.4s}, [x3], #4
	MOVD R5, R8

nibble:
	WORD $0x3cc10428 // ldr q8, [x1], #16
	WORD $0x4e3f1d09 // and v9.16b, v8.16b, v31.16b
	WORD $0x6f0c0508 // ushr v8.16b, v8.16b, #4
	WORD $0x4e08392a // zip1 v10.16b, v9.16b, v8.16b
	WORD $0x4e08792b // zip2 v11.16b, v9.16b, v8.16b
	WORD $0x2f08a54c // ushll v12.8h, v10.8b, #0
	WORD $0x6f08a54d // ushll2 v13.8h, v10.16b, #0
	WORD $0x2f08a56e // ushll v14.8h, v11.8b, #0
	WORD $0x6f08a56f // ushll2 v15.8h, v11.16b, #0
	WORD $0x2f10a580 // ushll v0.4s, v12.4h, #0
	WORD $0x6f10a581 // ushll2 v1.4s, v12.8h, #0
	WORD $0x2f10a5a2 // ushll v2.4s, v13.4h, #0
	WORD $0x6f10a5a3 // ushll2 v3.4s, v13.8h, #0
	WORD $0x2f10a5c4 // ushll v4.4s, v14.4h, #0
	WORD $0x6f10a5c5 // ushll2 v5.4s, v14.8h, #0
	WORD $0x2f10a5e6 // ushll v6.4s, v15.4h, #0
	WORD $0x6f10a5e7 // ushll2 v7.4s, v15.8h, #0
	WORD $0x6e21d800 // ucvtf v0.4s, v0.4s
	WORD $0x6e21d821 // ucvtf v1.4s, v1.4s
	WORD $0x6e21d842 // ucvtf v2.4s, v2.4s
	WORD $0x6e21d863 // ucvtf v3.4s, v3.4s
	WORD $0x6e21d884 // ucvtf v4.4s, v4.4s
	WORD $0x6e21d8a5 // ucvtf v5.4s, v5.4s
	WORD $0x6e21d8c6 // ucvtf v6.4s, v6.4s
	WORD $0x6e21d8e7 // ucvtf v7.4s, v7.4s
	PRFM 1024(R1), PLDL1KEEP
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc08 // fmla v8.4s, v0.4s, v16.4s
	WORD $0x4e30cc29 // fmla v9.4s, v1.4s, v16.4s
	WORD $0xacc12cca // ldp q10, q11, [x6], #32
	WORD $0x4e2acd12 // fmla v18.4s, v8.4s, v10.4s
	WORD $0x4e2bcd33 // fmla v19.4s, v9.4s, v11.4s
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc48 // fmla v8.4s, v2.4s, v16.4s
	WORD $0x4e30cc69 // fmla v9.4s, v3.4s, v16.4s
	WORD $0xacc12cca // ldp q10, q11, [x6], #32
	WORD $0x4e2acd14 // fmla v20.4s, v8.4s, v10.4s
	WORD $0x4e2bcd35 // fmla v21.4s, v9.4s, v11.4s
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc88 // fmla v8.4s, v4.4s, v16.4s
	WORD $0x4e30cca9 // fmla v9.4s, v5.4s, v16.4s
	WORD $0xacc12cca // ldp q10, q11, [x6], #32
	WORD $0x4e2acd12 // fmla v18.4s, v8.4s, v10.4s
	WORD $0x4e2bcd33 // fmla v19.4s, v9.4s, v11.4s
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30ccc8 // fmla v8.4s, v6.4s, v16.4s
	WORD $0x4e30cce9 // fmla v9.4s, v7.4s, v16.4s
	WORD $0xacc12cca // ldp q10, q11, [x6], #32
	WORD $0x4e2acd14 // fmla v20.4s, v8.4s, v10.4s
	WORD $0x4e2bcd35 // fmla v21.4s, v9.4s, v11.4s
	SUBS $1, R8
	BNE  nibble
	SUBS $1, R4
	BNE  nibbleGroup
	JMP  next

byteGroup:
	WORD $0x4ddfc850 // ld1r {v16.4s}, [x2], #4
	WORD $0x4ddfc871 // ld1r {v17.4s}, [x3], #4
	MOVD R5, R8

byte:
	WORD $0xacc12c2a // ldp q10, q11, [x1], #32
	WORD $0x2f08a54c // ushll v12.8h, v10.8b, #0
	WORD $0x6f08a54d // ushll2 v13.8h, v10.16b, #0
	WORD $0x2f08a56e // ushll v14.8h, v11.8b, #0
	WORD $0x6f08a56f // ushll2 v15.8h, v11.16b, #0
	WORD $0x2f10a580 // ushll v0.4s, v12.4h, #0
	WORD $0x6f10a581 // ushll2 v1.4s, v12.8h, #0
	WORD $0x2f10a5a2 // ushll v2.4s, v13.4h, #0
	WORD $0x6f10a5a3 // ushll2 v3.4s, v13.8h, #0
	WORD $0x2f10a5c4 // ushll v4.4s, v14.4h, #0
	WORD $0x6f10a5c5 // ushll2 v5.4s, v14.8h, #0
	WORD $0x2f10a5e6 // ushll v6.4s, v15.4h, #0
	WORD $0x6f10a5e7 // ushll2 v7.4s, v15.8h, #0
	WORD $0x6e21d800 // ucvtf v0.4s, v0.4s
	WORD $0x6e21d821 // ucvtf v1.4s, v1.4s
	WORD $0x6e21d842 // ucvtf v2.4s, v2.4s
	WORD $0x6e21d863 // ucvtf v3.4s, v3.4s
	WORD $0x6e21d884 // ucvtf v4.4s, v4.4s
	WORD $0x6e21d8a5 // ucvtf v5.4s, v5.4s
	WORD $0x6e21d8c6 // ucvtf v6.4s, v6.4s
	WORD $0x6e21d8e7 // ucvtf v7.4s, v7.4s
	PRFM 1024(R1), PLDL1KEEP
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc08 // fmla v8.4s, v0.4s, v16.4s
	WORD $0x4e30cc29 // fmla v9.4s, v1.4s, v16.4s
	WORD $0xacc12cca // ldp q10, q11, [x6], #32
	WORD $0x4e2acd12 // fmla v18.4s, v8.4s, v10.4s
	WORD $0x4e2bcd33 // fmla v19.4s, v9.4s, v11.4s
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc48 // fmla v8.4s, v2.4s, v16.4s
	WORD $0x4e30cc69 // fmla v9.4s, v3.4s, v16.4s
	WORD $0xacc12cca // ldp q10, q11, [x6], #32
	WORD $0x4e2acd14 // fmla v20.4s, v8.4s, v10.4s
	WORD $0x4e2bcd35 // fmla v21.4s, v9.4s, v11.4s
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30cc88 // fmla v8.4s, v4.4s, v16.4s
	WORD $0x4e30cca9 // fmla v9.4s, v5.4s, v16.4s
	WORD $0xacc12cca // ldp q10, q11, [x6], #32
	WORD $0x4e2acd12 // fmla v18.4s, v8.4s, v10.4s
	WORD $0x4e2bcd33 // fmla v19.4s, v9.4s, v11.4s
	WORD $0x4eb11e28 // mov v8.16b, v17.16b
	WORD $0x4eb11e29 // mov v9.16b, v17.16b
	WORD $0x4e30ccc8 // fmla v8.4s, v6.4s, v16.4s
	WORD $0x4e30cce9 // fmla v9.4s, v7.4s, v16.4s
	WORD $0xacc12cca // ldp q10, q11, [x6], #32
	WORD $0x4e2acd14 // fmla v20.4s, v8.4s, v10.4s
	WORD $0x4e2bcd35 // fmla v21.4s, v9.4s, v11.4s
	SUBS $1, R8
	BNE  byte
	SUBS $1, R4
	BNE  byteGroup

next:
	WORD $0x4e33d640 // fadd v0.4s, v18.4s, v19.4s
	WORD $0x4e35d681 // fadd v1.4s, v20.4s, v21.4s
	WORD $0x4e21d400 // fadd v0.4s, v0.4s, v1.4s
	WORD $0x6e20d400 // faddp v0.4s, v0.4s, v0.4s
	WORD $0x7e30d800 // faddp s0, v0.2s
	WORD $0xbc004400 // str s0, [x0], #4
	SUBS $1, R7
	BNE  row
	RET
