//go:build !purego && !noasm

#include "textflag.h"

// SHA-256 of sixteen messages at once: every register holds one 32-bit word of
// each. Z0–Z7 are a–h, Z16–Z31 the sixteen words of the message schedule that
// are in use, Z8–Z14 are scratch.

// SIGMA sets x to (in >>> r1) ^ (in >>> r2) ^ (in >>> r3).
#define SIGMA(in, r1, r2, r3, x, y, z) \
	VPRORD     $r1, in, x; \
	VPRORD     $r2, in, y; \
	VPRORD     $r3, in, z; \
	VPTERNLOGD $0x96, z, y, x

#define ROUND(a, b, c, d, e, f, g, h, w, i) \
	VPADDD.BCST (4*(i))(R9), w, Z8; \
	VPADDD      Z8, h, h; \
	SIGMA(e, 6, 11, 25, Z8, Z9, Z10); \
	VMOVDQA32   e, Z11; \
	VPTERNLOGD  $0xCA, g, f, Z11; \
	VPADDD      Z8, h, h; \
	VPADDD      Z11, h, h; \
	VPADDD      h, d, d; \
	SIGMA(a, 2, 13, 22, Z12, Z13, Z14); \
	VMOVDQA32   a, Z11; \
	VPTERNLOGD  $0xE8, c, b, Z11; \
	VPADDD      Z12, h, h; \
	VPADDD      Z11, h, h

// NEXT replaces w0, word i of the schedule, by word i+16.
#define NEXT(w0, w1, w9, w14) \
	VPRORD     $7, w1, Z8; \
	VPRORD     $18, w1, Z9; \
	VPSRLD     $3, w1, Z10; \
	VPTERNLOGD $0x96, Z10, Z9, Z8; \
	VPRORD     $17, w14, Z12; \
	VPRORD     $19, w14, Z13; \
	VPSRLD     $10, w14, Z14; \
	VPTERNLOGD $0x96, Z14, Z13, Z12; \
	VPADDD     w9, w0, w0; \
	VPADDD     Z8, w0, w0; \
	VPADDD     Z12, w0, w0

#define EIGHT(w0, w1, w2, w3, w4, w5, w6, w7, i) \
	ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, w0, i); \
	ROUND(Z7, Z0, Z1, Z2, Z3, Z4, Z5, Z6, w1, i+1); \
	ROUND(Z6, Z7, Z0, Z1, Z2, Z3, Z4, Z5, w2, i+2); \
	ROUND(Z5, Z6, Z7, Z0, Z1, Z2, Z3, Z4, w3, i+3); \
	ROUND(Z4, Z5, Z6, Z7, Z0, Z1, Z2, Z3, w4, i+4); \
	ROUND(Z3, Z4, Z5, Z6, Z7, Z0, Z1, Z2, w5, i+5); \
	ROUND(Z2, Z3, Z4, Z5, Z6, Z7, Z0, Z1, w6, i+6); \
	ROUND(Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z0, w7, i+7)

// LOAD puts the 64 bytes at DX of the messages n, n+4, n+8 and n+12 into four
// registers: 16 bytes of each message in each.
#define LOAD(n, w0, w1, w2, w3) \
	MOVQ           (24*n)(SI), R10; \
	MOVQ           (24*(n+4))(SI), R11; \
	MOVQ           (24*(n+8))(SI), R12; \
	MOVQ           (24*(n+12))(SI), R13; \
	VMOVDQU        0(R10)(DX*1), X8; \
	VMOVDQU        16(R10)(DX*1), X9; \
	VMOVDQU        32(R10)(DX*1), X10; \
	VMOVDQU        48(R10)(DX*1), X11; \
	VBROADCASTI32X4 0(R11)(DX*1), K1, Z8; \
	VBROADCASTI32X4 16(R11)(DX*1), K1, Z9; \
	VBROADCASTI32X4 32(R11)(DX*1), K1, Z10; \
	VBROADCASTI32X4 48(R11)(DX*1), K1, Z11; \
	VBROADCASTI32X4 0(R12)(DX*1), K2, Z8; \
	VBROADCASTI32X4 16(R12)(DX*1), K2, Z9; \
	VBROADCASTI32X4 32(R12)(DX*1), K2, Z10; \
	VBROADCASTI32X4 48(R12)(DX*1), K2, Z11; \
	VBROADCASTI32X4 0(R13)(DX*1), K3, Z8; \
	VBROADCASTI32X4 16(R13)(DX*1), K3, Z9; \
	VBROADCASTI32X4 32(R13)(DX*1), K3, Z10; \
	VBROADCASTI32X4 48(R13)(DX*1), K3, Z11; \
	VPSHUFB        Z15, Z8, w0; \
	VPSHUFB        Z15, Z9, w1; \
	VPSHUFB        Z15, Z10, w2; \
	VPSHUFB        Z15, Z11, w3

// TURN turns four words of messages 4i, 4i+1, 4i+2 and 4i+3 into one word of
// each, within each quarter of the registers.
#define TURN(w0, w1, w2, w3) \
	VPUNPCKLDQ  w1, w0, Z8; \
	VPUNPCKHDQ  w1, w0, Z9; \
	VPUNPCKLDQ  w3, w2, Z10; \
	VPUNPCKHDQ  w3, w2, Z11; \
	VPUNPCKLQDQ Z10, Z8, w0; \
	VPUNPCKHQDQ Z10, Z8, w1; \
	VPUNPCKLQDQ Z11, Z9, w2; \
	VPUNPCKHQDQ Z11, Z9, w3

// func hashLanes(state *[8][16]uint32, rows *[16][]byte, blocks int, constants *[64]uint32)
TEXT ·hashLanes(SB), NOSPLIT, $0-32
	MOVQ state+0(FP), DI
	MOVQ rows+8(FP), SI
	MOVQ blocks+16(FP), CX
	MOVQ constants+24(FP), R8
	XORQ DX, DX

	MOVL      $0x00F0, AX
	KMOVW     AX, K1
	MOVL      $0x0F00, AX
	KMOVW     AX, K2
	MOVL      $0xF000, AX
	KMOVW     AX, K3
	VBROADCASTI32X4 swapBytes<>(SB), Z15
	VMOVDQU32 0(DI), Z0
	VMOVDQU32 64(DI), Z1
	VMOVDQU32 128(DI), Z2
	VMOVDQU32 192(DI), Z3
	VMOVDQU32 256(DI), Z4
	VMOVDQU32 320(DI), Z5
	VMOVDQU32 384(DI), Z6
	VMOVDQU32 448(DI), Z7

block:
	LOAD(0, Z16, Z20, Z24, Z28)
	LOAD(1, Z17, Z21, Z25, Z29)
	LOAD(2, Z18, Z22, Z26, Z30)
	LOAD(3, Z19, Z23, Z27, Z31)
	TURN(Z16, Z17, Z18, Z19)
	TURN(Z20, Z21, Z22, Z23)
	TURN(Z24, Z25, Z26, Z27)
	TURN(Z28, Z29, Z30, Z31)

	MOVQ R8, R9
	MOVQ $3, AX

rounds:
	EIGHT(Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, 0)
	EIGHT(Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31, 8)
	NEXT(Z16, Z17, Z25, Z30)
	NEXT(Z17, Z18, Z26, Z31)
	NEXT(Z18, Z19, Z27, Z16)
	NEXT(Z19, Z20, Z28, Z17)
	NEXT(Z20, Z21, Z29, Z18)
	NEXT(Z21, Z22, Z30, Z19)
	NEXT(Z22, Z23, Z31, Z20)
	NEXT(Z23, Z24, Z16, Z21)
	NEXT(Z24, Z25, Z17, Z22)
	NEXT(Z25, Z26, Z18, Z23)
	NEXT(Z26, Z27, Z19, Z24)
	NEXT(Z27, Z28, Z20, Z25)
	NEXT(Z28, Z29, Z21, Z26)
	NEXT(Z29, Z30, Z22, Z27)
	NEXT(Z30, Z31, Z23, Z28)
	NEXT(Z31, Z16, Z24, Z29)
	ADDQ $64, R9
	DECQ AX
	JNZ  rounds
	EIGHT(Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, 0)
	EIGHT(Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31, 8)

	VPADDD    0(DI), Z0, Z0
	VPADDD    64(DI), Z1, Z1
	VPADDD    128(DI), Z2, Z2
	VPADDD    192(DI), Z3, Z3
	VPADDD    256(DI), Z4, Z4
	VPADDD    320(DI), Z5, Z5
	VPADDD    384(DI), Z6, Z6
	VPADDD    448(DI), Z7, Z7
	VMOVDQU32 Z0, 0(DI)
	VMOVDQU32 Z1, 64(DI)
	VMOVDQU32 Z2, 128(DI)
	VMOVDQU32 Z3, 192(DI)
	VMOVDQU32 Z4, 256(DI)
	VMOVDQU32 Z5, 320(DI)
	VMOVDQU32 Z6, 384(DI)
	VMOVDQU32 Z7, 448(DI)
	ADDQ      $64, DX
	DECQ      CX
	JNZ       block
	VZEROUPPER
	RET

DATA swapBytes<>+0(SB)/8, $0x0405060700010203
DATA swapBytes<>+8(SB)/8, $0x0C0D0E0F08090A0B
GLOBL swapBytes<>(SB), RODATA|NOPTR, $16

// func foldRow(sums *[8][64]byte, factors *[256][8][2][64]byte, row *[16384]byte)
//
// A chunk is in Z8, its halves changed over in Z9: the low bytes of products
// need both bytes of the factors' partners, and so do the high bytes.
TEXT ·foldRow(SB), NOSPLIT, $0-24
	MOVQ  sums+0(FP), DI
	MOVQ  factors+8(FP), SI
	MOVQ  row+16(FP), DX
	MOVL  $256, CX
	VPXORD Z0, Z0, Z0
	VPXORD Z1, Z1, Z1
	VPXORD Z2, Z2, Z2
	VPXORD Z3, Z3, Z3
	VPXORD Z4, Z4, Z4
	VPXORD Z5, Z5, Z5
	VPXORD Z6, Z6, Z6
	VPXORD Z7, Z7, Z7

// FACTOR adds factor l times the chunk to sum.
#define FACTOR(l, sum, x, y) \
	VGF2P8AFFINEQB $0, (128*l)(SI), Z8, x; \
	VGF2P8AFFINEQB $0, (128*l+64)(SI), Z9, y; \
	VPTERNLOGD     $0x96, y, x, sum

chunk:
	VMOVDQU64  (DX), Z8
	VSHUFI64X2 $0x4E, Z8, Z8, Z9
	FACTOR(0, Z0, Z10, Z11)
	FACTOR(1, Z1, Z12, Z13)
	FACTOR(2, Z2, Z14, Z15)
	FACTOR(3, Z3, Z16, Z17)
	FACTOR(4, Z4, Z18, Z19)
	FACTOR(5, Z5, Z20, Z21)
	FACTOR(6, Z6, Z22, Z23)
	FACTOR(7, Z7, Z24, Z25)
	ADDQ       $1024, SI
	ADDQ       $64, DX
	DECQ       CX
	JNZ        chunk
	VMOVDQU64  Z0, 0(DI)
	VMOVDQU64  Z1, 64(DI)
	VMOVDQU64  Z2, 128(DI)
	VMOVDQU64  Z3, 192(DI)
	VMOVDQU64  Z4, 256(DI)
	VMOVDQU64  Z5, 320(DI)
	VMOVDQU64  Z6, 384(DI)
	VMOVDQU64  Z7, 448(DI)
	VZEROUPPER
	RET
