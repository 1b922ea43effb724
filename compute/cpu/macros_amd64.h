// Macros that several files of assembly share.

// Rows of ·expConst, 32 bytes each.
#define LOW    ·expConst+0(SB)
#define HIGH   ·expConst+32(SB)
#define LOG2E  ·expConst+64(SB)
#define LN2HI  ·expConst+96(SB)
#define LN2LO  ·expConst+128(SB)
#define C2     ·expConst+160(SB)
#define C3     ·expConst+192(SB)
#define C4     ·expConst+224(SB)
#define C5     ·expConst+256(SB)
#define C6     ·expConst+288(SB)
#define C7     ·expConst+320(SB)
#define ONE    ·expConst+352(SB)
#define BIAS   ·expConst+384(SB) // 127 as an integer
#define SIGN   ·expConst+416(SB)
#define EMPTY  ·expConst+448(SB)
#define IONE   ·expConst+480(SB)

// x = e^x, see exp in vector_generic.go; p, n and m are free registers. The
// comparison (not below the range) is true for a NaN, and the minimum keeps it.
#define EXP(x, p, n, m) \
	VMOVUPS      HIGH, p;          \
	VCMPPS       $5, LOW, x, m;    \
	VMINPS       x, p, x;          \
	VMULPS       LOG2E, x, n;      \
	VROUNDPS     $8, n, n;         \
	VFNMADD231PS LN2HI, n, x;      \
	VFNMADD231PS LN2LO, n, x;      \
	VMOVUPS      C7, p;            \
	VFMADD213PS  C6, x, p;         \
	VFMADD213PS  C5, x, p;         \
	VFMADD213PS  C4, x, p;         \
	VFMADD213PS  C3, x, p;         \
	VFMADD213PS  C2, x, p;         \
	VMULPS       x, p, p;          \
	VCVTPS2DQ    n, n;             \
	VFMADD213PS  x, x, p;          \
	VPADDD       BIAS, n, n;       \
	VADDPS       ONE, p, p;        \
	VPSLLD       $23, n, n;        \
	VMULPS       n, p, x;          \
	VANDPS       m, x, x

// s = sigmoid(g): e = exp(-|g|), then 1/(1+e) or e/(1+e).
#define SIGMOID(g, s, p, n, m) \
	VORPS     SIGN, g, s;       \
	EXP(s, p, n, m);            \
	VMOVUPS   ONE, p;           \
	VADDPS    p, s, n;          \
	VBLENDVPS g, s, p, s;       \
	VDIVPS    n, s, s

// The sum of the lanes of Y0 into X0; X1 is free.
#define SUM8 \
	VEXTRACTF128 $1, Y0, X1;   \
	VADDPS       X1, X0, X0;   \
	VPERMILPS    $0x4e, X0, X1;\
	VADDPS       X1, X0, X0;   \
	VPERMILPS    $0xb1, X0, X1;\
	VADDPS       X1, X0, X0
