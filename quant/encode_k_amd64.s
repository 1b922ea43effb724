//go:build !purego

#include "textflag.h"

// Nothing here fuses a product with a sum, and sums run in the order of the plain
// form, so that the results are its to the bit.

DATA ·kMagnitude+0(SB)/4, $0x7fffffff
GLOBL ·kMagnitude(SB), RODATA|NOPTR, $4
DATA ·kInfinity+0(SB)/4, $0x7f800000
GLOBL ·kInfinity(SB), RODATA|NOPTR, $4
DATA ·kPart32+0(SB)/4, $0x3d000000 // 1/32
GLOBL ·kPart32(SB), RODATA|NOPTR, $4
DATA ·kTiny+0(SB)/4, $0x26901d7d // 1e-15
GLOBL ·kTiny(SB), RODATA|NOPTR, $4
DATA ·kInt64+0(SB)/4, $0x5f000000 // 2^63
GLOBL ·kInt64(SB), RODATA|NOPTR, $4
DATA ·kLow+0(SB)/4, $0xc2000000 // -32
GLOBL ·kLow(SB), RODATA|NOPTR, $4
DATA ·kHigh+0(SB)/4, $0x41f80000 // 31
GLOBL ·kHigh(SB), RODATA|NOPTR, $4

// func hasAVX2() bool
TEXT ·hasAVX2(SB), NOSPLIT, $0-1
	MOVB $0, ret+0(FP)
	XORL AX, AX
	CPUID
	CMPL AX, $7
	JLT  done
	MOVL $1, AX
	XORL CX, CX
	CPUID
	ANDL $0x18000000, CX // AVX, and XGETBV may be asked
	CMPL CX, $0x18000000
	JNE  done
	XORL CX, CX
	XGETBV
	ANDL $6, AX          // the system keeps the vector registers
	CMPL AX, $6
	JNE  done
	MOVL $7, AX
	XORL CX, CX
	CPUID
	SHRL $5, BX
	ANDL $1, BX
	MOVB BX, ret+0(FP)

done:
	RET

// Eight weights from each of eight groups that lie DX bytes apart, as eight
// vectors of one weight of each group. SI is the first group, R12 the fifth, R11
// three times DX.
#define TRANSPOSE(from, to) \
	VMOVUPS    from(SI), Y0;          \
	VMOVUPS    from(SI)(DX*1), Y1;    \
	VMOVUPS    from(SI)(DX*2), Y2;    \
	VMOVUPS    from(SI)(R11*1), Y3;   \
	VMOVUPS    from(R12), Y4;         \
	VMOVUPS    from(R12)(DX*1), Y5;   \
	VMOVUPS    from(R12)(DX*2), Y6;   \
	VMOVUPS    from(R12)(R11*1), Y7;  \
	VUNPCKLPS  Y1, Y0, Y8;            \
	VUNPCKHPS  Y1, Y0, Y9;            \
	VUNPCKLPS  Y3, Y2, Y10;           \
	VUNPCKHPS  Y3, Y2, Y11;           \
	VUNPCKLPS  Y5, Y4, Y12;           \
	VUNPCKHPS  Y5, Y4, Y13;           \
	VUNPCKLPS  Y7, Y6, Y14;           \
	VUNPCKHPS  Y7, Y6, Y15;           \
	VUNPCKLPD  Y10, Y8, Y0;           \
	VUNPCKHPD  Y10, Y8, Y1;           \
	VUNPCKLPD  Y11, Y9, Y2;           \
	VUNPCKHPD  Y11, Y9, Y3;           \
	VUNPCKLPD  Y14, Y12, Y4;          \
	VUNPCKHPD  Y14, Y12, Y5;          \
	VUNPCKLPD  Y15, Y13, Y6;          \
	VUNPCKHPD  Y15, Y13, Y7;          \
	VPERM2F128 $0x20, Y4, Y0, Y8;     \
	VPERM2F128 $0x20, Y5, Y1, Y9;     \
	VPERM2F128 $0x20, Y6, Y2, Y10;    \
	VPERM2F128 $0x20, Y7, Y3, Y11;    \
	VPERM2F128 $0x31, Y4, Y0, Y12;    \
	VPERM2F128 $0x31, Y5, Y1, Y13;    \
	VPERM2F128 $0x31, Y6, Y2, Y14;    \
	VPERM2F128 $0x31, Y7, Y3, Y15;    \
	VMOVAPS    Y8, to(DI);            \
	VMOVAPS    Y9, (to+32)(DI);       \
	VMOVAPS    Y10, (to+64)(DI);      \
	VMOVAPS    Y11, (to+96)(DI);      \
	VMOVAPS    Y12, (to+128)(DI);     \
	VMOVAPS    Y13, (to+160)(DI);     \
	VMOVAPS    Y14, (to+192)(DI);     \
	VMOVAPS    Y15, (to+224)(DI)

// At CX, for one weight of each group: x, its importance w, x - base, and q.
#define X 0(DI)(CX*1)
#define W 1024(DI)(CX*1)
#define RAISED 2048(DI)(CX*1)
#define Q 3072(DI)(CX*1)

// q of the trial and its sums, see gridsAVX2.
#define SUMS(off) \
	VMULPS   off+RAISED, Y0, Y4; \
	VROUNDPS $8, Y4, Y4;         \
	VMINPS   Y15, Y4, Y4;        \
	VMOVAPS  Y4, off+Q;          \
	VMULPS   off+W, Y4, Y5;      \
	VADDPS   Y5, Y1, Y1;         \
	VMULPS   Y4, Y5, Y6;         \
	VADDPS   Y6, Y2, Y2;         \
	VMULPS   off+X, Y5, Y7;      \
	VADDPS   Y7, Y3, Y3

#define DISTANCE(off, t) \
	VMULPS off+Q, Y4, t; \
	VADDPS Y5, t, t;     \
	VSUBPS off+X, t, t;  \
	VMULPS t, t, t;      \
	VMULPS off+W, t, t;  \
	VADDPS t, Y6, Y6

// func gridsAVX2(found *grids, x *[256]float32, spans *float32, n int)
TEXT ·gridsAVX2(SB), 0, $4128-32
	MOVQ found+0(FP), AX
	MOVQ x+8(FP), SI
	MOVQ spans+16(FP), R9
	MOVQ n+24(FP), R10
	LEAQ 31(SP), DI
	ANDQ $~31, DI
	MOVQ $128, DX
	LEAQ (DX)(DX*2), R11
	LEAQ (SI)(DX*4), R12
	TRANSPOSE(0, 0)
	TRANSPOSE(32, 256)
	TRANSPOSE(64, 512)
	TRANSPOSE(96, 768)

	// low Y0, high Y1, sum of squares Y2
	VMOVAPS (DI), Y0
	VMOVAPS Y0, Y1
	VXORPS  Y2, Y2, Y2
	XORQ    CX, CX

squares:
	VMOVAPS X, Y3
	VMINPS  Y3, Y0, Y0
	VMAXPS  Y3, Y1, Y1
	VMULPS  Y3, Y3, Y4
	VADDPS  Y4, Y2, Y2
	ADDQ    $32, CX
	CMPQ    CX, $1024
	JNE     squares

	VXORPS       Y13, Y13, Y13
	VXORPS       Y14, Y14, Y14
	VMINPS       Y13, Y0, Y0       // low = min(low, 0)
	VMOVUPS      Y0, 64(AX)        // base
	VBROADCASTSS ·kPart32(SB), Y3
	VMULPS       Y3, Y2, Y2
	VSQRTPS      Y2, Y2            // typical
	VBROADCASTSS ·kMagnitude(SB), Y5
	XORQ         CX, CX

importance:
	VMOVAPS X, Y3
	VANDPS  Y5, Y3, Y4
	VADDPS  Y4, Y2, Y4    // w = typical + |x|
	VMOVAPS Y4, W
	VADDPS  Y4, Y14, Y14  // sumW
	VMULPS  Y3, Y4, Y4
	VADDPS  Y4, Y13, Y13  // sumX += w * x
	VSUBPS  Y0, Y3, Y3
	VMOVAPS Y3, RAISED
	ADDQ    $32, CX
	CMPQ    CX, $1024
	JNE     importance

	// levels Y15, sumW Y14, sumX Y13, least distance Y12; with it: scale Y11,
	// low Y10, inverse Y9; high - base Y8
	VBROADCASTSS (R9), Y15
	VBROADCASTSS ·kInfinity(SB), Y12
	VSUBPS       Y0, Y1, Y8
	VMOVAPS      Y0, Y10
	VDIVPS       Y15, Y8, Y11
	VXORPS       Y9, Y9, Y9
	XORQ         R8, R8              // the number of the trial

trial:
	// inverse Y0; 0 for groups without a range, whose q are 0
	VBROADCASTSS ·kInfinity(SB), Y1
	VBROADCASTSS (R9)(R8*4), Y0
	VDIVPS       Y8, Y0, Y0
	VCMPPS       $1, Y1, Y0, Y1      // inverse < infinity
	VANDPS       Y1, Y0, Y0
	VXORPS       Y1, Y1, Y1
	VXORPS       Y2, Y2, Y2
	VXORPS       Y3, Y3, Y3
	XORQ         CX, CX

sums:
	SUMS(0)
	SUMS(32)
	SUMS(64)
	SUMS(96)
	ADDQ $128, CX
	CMPQ CX, $1024
	JNE  sums

	TESTQ R8, R8
	JNZ   squaresfit
	VMOVAPS  Y11, Y4
	VMOVAPS  Y10, Y5
	VPCMPEQD Y7, Y7, Y7
	JMP      distance

squaresfit:
	// newScale Y4 and newLow Y5, valid where det > 0: Y7
	VMULPS    Y2, Y14, Y4
	VMULPS    Y1, Y1, Y5
	VSUBPS    Y5, Y4, Y4         // det = sumW*sumQQ - sumQ*sumQ
	VXORPS    Y5, Y5, Y5
	VCMPPS    $1, Y4, Y5, Y7     // 0 < det
	VMULPS    Y3, Y14, Y5
	VMULPS    Y1, Y13, Y6
	VSUBPS    Y6, Y5, Y5
	VDIVPS    Y4, Y5, Y5         // (sumW*sumXQ - sumX*sumQ) / det
	VMULPS    Y13, Y2, Y6
	VMULPS    Y3, Y1, Y1
	VSUBPS    Y1, Y6, Y6
	VDIVPS    Y4, Y6, Y6         // (sumQQ*sumX - sumQ*sumXQ) / det
	VDIVPS    Y2, Y3, Y3         // sumXQ / sumQQ
	VXORPS    Y4, Y4, Y4
	VCMPPS    $1, Y6, Y4, Y1     // 0 < newLow
	VBLENDVPS Y1, Y3, Y5, Y4
	VANDNPS   Y6, Y1, Y5

distance:
	VXORPS Y6, Y6, Y6
	XORQ   CX, CX

distances:
	DISTANCE(0, Y1)
	DISTANCE(32, Y2)
	DISTANCE(64, Y3)
	DISTANCE(96, Y1)
	ADDQ $128, CX
	CMPQ CX, $1024
	JNE  distances

	VCMPPS    $1, Y12, Y6, Y1    // distance < best
	VANDPS    Y7, Y1, Y1
	VBLENDVPS Y1, Y6, Y12, Y12
	VBLENDVPS Y1, Y4, Y11, Y11
	VBLENDVPS Y1, Y5, Y10, Y10
	VBLENDVPS Y1, Y0, Y9, Y9
	INCQ      R8
	CMPQ      R8, R10
	JNE       trial

	VMOVUPS Y11, (AX)
	VMOVUPS Y10, 32(AX)
	VMOVUPS Y9, 96(AX)
	VZEROUPPER
	RET

#undef X
#undef W

// At CX, for one weight x of each group: x, w = x*x, and w*x.
#define X 0(DI)(CX*1)
#define W 512(DI)(CX*1)
#define WX 1024(DI)(CX*1)

#define GAINS(off) \
	VMULPS   off+X, Y2, Y5;  \
	VROUNDPS $8, Y5, Y5;     \
	VMAXPS   Y15, Y5, Y5;    \
	VMINPS   Y13, Y5, Y5;    \
	VMULPS   off+WX, Y5, Y6; \
	VADDPS   Y6, Y3, Y3;     \
	VMULPS   off+W, Y5, Y7;  \
	VMULPS   Y5, Y7, Y7;     \
	VADDPS   Y7, Y4, Y4

// func signedAVX2(scale, inverse, x, lowest *float32, n int)
TEXT ·signedAVX2(SB), 0, $1568-40
	MOVQ scale+0(FP), AX
	MOVQ inverse+8(FP), BX
	MOVQ x+16(FP), SI
	MOVQ lowest+24(FP), R9
	MOVQ n+32(FP), R10
	LEAQ 31(SP), DI
	ANDQ $~31, DI
	MOVQ $64, DX
	LEAQ (DX)(DX*2), R11
	LEAQ (SI)(DX*4), R12
	TRANSPOSE(0, 0)
	TRANSPOSE(32, 256)

	// extreme Y0, its magnitude Y1
	VXORPS       Y0, Y0, Y0
	VXORPS       Y1, Y1, Y1
	VBROADCASTSS ·kMagnitude(SB), Y5
	XORQ         CX, CX

extremes:
	VMOVAPS   X, Y2
	VANDPS    Y5, Y2, Y3
	VCMPPS    $1, Y3, Y1, Y4    // |extreme| < |x|
	VBLENDVPS Y4, Y2, Y0, Y0
	VMAXPS    Y3, Y1, Y1
	VMULPS    Y2, Y2, Y3
	VMOVAPS   Y3, W
	VMULPS    Y2, Y3, Y3
	VMOVAPS   Y3, WX
	ADDQ      $32, CX
	CMPQ      CX, $512
	JNE       extremes

	// -32 Y15, not tiny Y14, 31 Y13, all ones in the first trial Y12; of the best
	// trial: scale Y11, gain Y10, inverse Y9
	VBROADCASTSS ·kTiny(SB), Y2
	VCMPPS       $5, Y2, Y1, Y14
	VBROADCASTSS ·kLow(SB), Y15
	VBROADCASTSS ·kHigh(SB), Y13
	VPCMPEQD     Y12, Y12, Y12
	VXORPS       Y11, Y11, Y11
	VXORPS       Y10, Y10, Y10
	VDIVPS       Y0, Y15, Y9
	XORQ         R8, R8

trial:
	// inverse Y2, sumXQ Y3, sumQQ Y4
	VBROADCASTSS (R9)(R8*4), Y2
	VDIVPS       Y0, Y2, Y2
	VXORPS       Y3, Y3, Y3
	VXORPS       Y4, Y4, Y4
	XORQ         CX, CX

gains:
	GAINS(0)
	GAINS(32)
	GAINS(64)
	GAINS(96)
	ADDQ $128, CX
	CMPQ CX, $512
	JNE  gains

	VMULPS    Y3, Y3, Y5
	VMULPS    Y4, Y10, Y6
	VCMPPS    $1, Y5, Y6, Y5     // gain*sumQQ < sumXQ*sumXQ
	VORPS     Y12, Y5, Y5
	VXORPS    Y12, Y12, Y12
	VCMPPS    $1, Y4, Y12, Y6    // 0 < sumQQ
	VANDPS    Y6, Y5, Y5
	VDIVPS    Y4, Y3, Y6
	VMULPS    Y3, Y6, Y7
	VBLENDVPS Y5, Y6, Y11, Y11
	VBLENDVPS Y5, Y7, Y10, Y10
	VBLENDVPS Y5, Y2, Y9, Y9
	INCQ      R8
	CMPQ      R8, R10
	JNE       trial

	VANDPS  Y14, Y11, Y11
	VANDPS  Y14, Y9, Y9
	VMOVUPS Y11, (AX)
	VMOVUPS Y9, (BX)
	VZEROUPPER
	RET

// y = level((y + offset) / scale, low, high) - low, see integersAVX2
#define LEVEL(y, t) \
	VADDPS    Y9, y, y;         \
	VDIVPS    Y8, y, y;         \
	VCMPPS    $1, Y11, y, t;    \
	VROUNDPS  $8, y, y;         \
	VMAXPS    Y15, y, y;        \
	VMINPS    Y14, y, y;        \
	VBLENDVPS t, y, Y15, y;     \
	VSUBPS    Y15, y, y;        \
	VCVTTPS2DQ y, y

// func integersAVX2(q *[256]uint8, x *[256]float32, scale, offset *[16]float32, low, high float32)
TEXT ·integersAVX2(SB), NOSPLIT, $0-40
	MOVQ         q+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         scale+16(FP), R8
	MOVQ         offset+24(FP), R9
	VBROADCASTSS low+32(FP), Y15
	VBROADCASTSS high+36(FP), Y14
	VBROADCASTSS ·kInt64(SB), Y11
	XORQ         CX, CX

sixteen:
	VBROADCASTSS (R8)(CX*4), Y8
	VBROADCASTSS (R9)(CX*4), Y9
	VMOVUPS      (SI), Y0
	VMOVUPS      32(SI), Y1
	LEVEL(Y0, Y2)
	LEVEL(Y1, Y3)
	VPACKSSDW    Y1, Y0, Y0
	VPERMQ       $0xd8, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPACKUSWB    X1, X0, X0
	VMOVDQU      X0, (DI)
	ADDQ         $64, SI
	ADDQ         $16, DI
	INCQ         CX
	CMPQ         CX, $16
	JNE          sixteen
	VZEROUPPER
	RET
