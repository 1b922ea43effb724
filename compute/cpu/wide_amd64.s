//go:build !purego

#include "textflag.h"

// Sums of a row of x and a row of widened weights, in the lanes and the order of
// dotAffineAVX2: values p to p+7 of each run of 32 add up in the lanes of one register, for
// p 0, 8, 16 and 24; the four are added up as (0 + 8) + (16 + 24), and their lanes as SUM8
// does.

// Two runs of a half, as the lanes of a and b, of one row of x at at with two rows of
// weights in Z16, Z17 and Z18, Z19.
#define ROW512(at, a, b, c, d) \
	VMOVUPS     at, Z20;        \
	VMOVUPS     64 at, Z21;     \
	VFMADD231PS Z20, Z16, a;    \
	VFMADD231PS Z21, Z17, b;    \
	VFMADD231PS Z20, Z18, c;    \
	VFMADD231PS Z21, Z19, d

#define WEIGHTS512 \
	VMOVUPS (AX), Z16;           \
	VMOVUPS 64(AX), Z17;         \
	VMOVUPS (AX)(R10*1), Z18;    \
	VMOVUPS 64(AX)(R10*1), Z19

// The sum of lanes 0 to 7 of a, 8 to 15 of a, 0 to 7 of b and 8 to 15 of b to at.
#define TOTAL512(a, ya, xa, b, yb, at) \
	VEXTRACTF64X4 $1, a, Y16;       \
	VADDPS        Y16, ya, ya;      \
	VEXTRACTF64X4 $1, b, Y17;       \
	VADDPS        Y17, yb, yb;      \
	VADDPS        yb, ya, ya;       \
	VEXTRACTF32X4 $1, ya, X16;      \
	VADDPS        X16, xa, xa;      \
	VPERMILPS     $0x4e, xa, X16;   \
	VADDPS        X16, xa, xa;      \
	VPERMILPS     $0xb1, xa, X16;   \
	VADDPS        X16, xa, xa;      \
	VMOVSS        xa, at

#define CLEAR512(a, b, c, d) \
	VPXORD a, a, a; \
	VPXORD b, b, b; \
	VPXORD c, c, c; \
	VPXORD d, d, d

// func dotWideAVX512(y *float32, ldy, dy int, w *float32, ldw int, x *float32, ldx, rows, runs int)
TEXT ·dotWideAVX512(SB), NOSPLIT, $0-72
	MOVQ y+0(FP), DI
	MOVQ ldy+8(FP), R8
	MOVQ dy+16(FP), R9
	MOVQ w+24(FP), SI
	MOVQ ldw+32(FP), R10
	MOVQ x+40(FP), BX
	MOVQ ldx+48(FP), R11
	MOVQ rows+56(FP), R12
	LEAQ (R11)(R11*2), R13

four:
	SUBQ $4, R12
	JLT  rest
	CLEAR512(Z0, Z1, Z2, Z3)
	CLEAR512(Z4, Z5, Z6, Z7)
	CLEAR512(Z8, Z9, Z10, Z11)
	CLEAR512(Z12, Z13, Z14, Z15)
	MOVQ SI, AX
	MOVQ BX, DX
	MOVQ runs+64(FP), CX

run4:
	WEIGHTS512
	ROW512((DX), Z0, Z1, Z2, Z3)
	ROW512((DX)(R11*1), Z4, Z5, Z6, Z7)
	ROW512((DX)(R11*2), Z8, Z9, Z10, Z11)
	ROW512((DX)(R13*1), Z12, Z13, Z14, Z15)
	ADDQ $128, AX
	ADDQ $128, DX
	DECQ CX
	JNZ  run4

	TOTAL512(Z0, Y0, X0, Z1, Y1, (DI))
	TOTAL512(Z2, Y2, X2, Z3, Y3, (DI)(R9*1))
	ADDQ R8, DI
	TOTAL512(Z4, Y4, X4, Z5, Y5, (DI))
	TOTAL512(Z6, Y6, X6, Z7, Y7, (DI)(R9*1))
	ADDQ R8, DI
	TOTAL512(Z8, Y8, X8, Z9, Y9, (DI))
	TOTAL512(Z10, Y10, X10, Z11, Y11, (DI)(R9*1))
	ADDQ R8, DI
	TOTAL512(Z12, Y12, X12, Z13, Y13, (DI))
	TOTAL512(Z14, Y14, X14, Z15, Y15, (DI)(R9*1))
	ADDQ R8, DI
	LEAQ (BX)(R11*4), BX
	JMP  four

rest:
	ADDQ $4, R12
	JZ   done

one:
	CLEAR512(Z0, Z1, Z2, Z3)
	MOVQ SI, AX
	MOVQ BX, DX
	MOVQ runs+64(FP), CX

run1:
	WEIGHTS512
	ROW512((DX), Z0, Z1, Z2, Z3)
	ADDQ $128, AX
	ADDQ $128, DX
	DECQ CX
	JNZ  run1

	TOTAL512(Z0, Y0, X0, Z1, Y1, (DI))
	TOTAL512(Z2, Y2, X2, Z3, Y3, (DI)(R9*1))
	ADDQ R8, DI
	ADDQ R11, BX
	DECQ R12
	JNZ  one

done:
	VZEROUPPER
	RET

// A half of a run of one row of x at at with the weights in Y8 to Y11.
#define ROW256(at, a, b, c, d) \
	VFMADD231PS at, Y8, a;     \
	VFMADD231PS 32 at, Y9, b;  \
	VFMADD231PS 64 at, Y10, c; \
	VFMADD231PS 96 at, Y11, d

#define WEIGHTS256 \
	VMOVUPS (AX), Y8;    \
	VMOVUPS 32(AX), Y9;  \
	VMOVUPS 64(AX), Y10; \
	VMOVUPS 96(AX), Y11

#define CLEAR256(a, b, c, d) \
	VXORPS a, a, a; \
	VXORPS b, b, b; \
	VXORPS c, c, c; \
	VXORPS d, d, d

#define TOTAL256(a, xa, b, c, d) \
	VADDPS       b, a, a;          \
	VADDPS       d, c, c;          \
	VADDPS       c, a, a;          \
	VEXTRACTF128 $1, a, X12;       \
	VADDPS       X12, xa, xa;      \
	VPERMILPS    $0x4e, xa, X12;   \
	VADDPS       X12, xa, xa;      \
	VPERMILPS    $0xb1, xa, X12;   \
	VADDPS       X12, xa, xa;      \
	VMOVSS       xa, (DI);         \
	ADDQ         R8, DI

// func dotWideAVX2(y *float32, ldy int, w, x *float32, ldx, rows, runs int)
TEXT ·dotWideAVX2(SB), NOSPLIT, $0-56
	MOVQ y+0(FP), DI
	MOVQ ldy+8(FP), R8
	MOVQ w+16(FP), SI
	MOVQ x+24(FP), BX
	MOVQ ldx+32(FP), R11
	MOVQ rows+40(FP), R12

two:
	SUBQ $2, R12
	JLT  last
	CLEAR256(Y0, Y1, Y2, Y3)
	CLEAR256(Y4, Y5, Y6, Y7)
	MOVQ SI, AX
	MOVQ BX, DX
	MOVQ runs+48(FP), CX

run2:
	WEIGHTS256
	ROW256((DX), Y0, Y1, Y2, Y3)
	ROW256((DX)(R11*1), Y4, Y5, Y6, Y7)
	ADDQ $128, AX
	ADDQ $128, DX
	DECQ CX
	JNZ  run2

	TOTAL256(Y0, X0, Y1, Y2, Y3)
	TOTAL256(Y4, X4, Y5, Y6, Y7)
	LEAQ (BX)(R11*2), BX
	JMP  two

last:
	ADDQ $2, R12
	JZ   end
	CLEAR256(Y0, Y1, Y2, Y3)
	MOVQ SI, AX
	MOVQ BX, DX
	MOVQ runs+48(FP), CX

run1:
	WEIGHTS256
	ROW256((DX), Y0, Y1, Y2, Y3)
	ADDQ $128, AX
	ADDQ $128, DX
	DECQ CX
	JNZ  run1
	TOTAL256(Y0, X0, Y1, Y2, Y3)

end:
	VZEROUPPER
	RET
