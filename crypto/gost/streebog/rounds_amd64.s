#include "textflag.h"

// A word of the input, in AX, gives its eight bytes to R8 … R15, each through
// row of the table at DI; OP is MOVQ for the first word, then XORQ. BX and CX
// are scratch.
#define SPREAD(row, OP) \
	MOVBLZX AX, BX; \
	MOVBLZX AH, CX; \
	SHRQ    $16, AX; \
	OP      (row*2048)(DI)(BX*8), R8; \
	OP      (row*2048)(DI)(CX*8), R9; \
	MOVBLZX AX, BX; \
	MOVBLZX AH, CX; \
	SHRQ    $16, AX; \
	OP      (row*2048)(DI)(BX*8), R10; \
	OP      (row*2048)(DI)(CX*8), R11; \
	MOVBLZX AX, BX; \
	MOVBLZX AH, CX; \
	SHRL    $16, AX; \
	OP      (row*2048)(DI)(BX*8), R12; \
	OP      (row*2048)(DI)(CX*8), R13; \
	MOVBLZX AX, BX; \
	SHRL    $8, AX; \
	OP      (row*2048)(DI)(BX*8), R14; \
	OP      (row*2048)(DI)(AX*8), R15

// R8 … R15 become LPS of the vector at a(A) plus the vector at b(B).
#define LPS(a, A, b, B) \
	MOVQ (a+0)(A), AX; \
	XORQ (b+0)(B), AX; \
	SPREAD(0, MOVQ); \
	MOVQ (a+8)(A), AX; \
	XORQ (b+8)(B), AX; \
	SPREAD(1, XORQ); \
	MOVQ (a+16)(A), AX; \
	XORQ (b+16)(B), AX; \
	SPREAD(2, XORQ); \
	MOVQ (a+24)(A), AX; \
	XORQ (b+24)(B), AX; \
	SPREAD(3, XORQ); \
	MOVQ (a+32)(A), AX; \
	XORQ (b+32)(B), AX; \
	SPREAD(4, XORQ); \
	MOVQ (a+40)(A), AX; \
	XORQ (b+40)(B), AX; \
	SPREAD(5, XORQ); \
	MOVQ (a+48)(A), AX; \
	XORQ (b+48)(B), AX; \
	SPREAD(6, XORQ); \
	MOVQ (a+56)(A), AX; \
	XORQ (b+56)(B), AX; \
	SPREAD(7, XORQ)

#define STORE(a, A) \
	MOVQ R8, (a+0)(A); \
	MOVQ R9, (a+8)(A); \
	MOVQ R10, (a+16)(A); \
	MOVQ R11, (a+24)(A); \
	MOVQ R12, (a+32)(A); \
	MOVQ R13, (a+40)(A); \
	MOVQ R14, (a+48)(A); \
	MOVQ R15, (a+56)(A)

// func rounds(t *lookup, c *[12]vector, s, k *vector)
//
// Keys of odd rounds lie at 8(SP), those of even rounds at 72(SP), the number
// of pairs of rounds left at 0(SP). Each key is made one round before it is
// needed: no step then waits for the one just before it, and the processor
// works on two at once.
TEXT ·rounds(SB), NOSPLIT, $136-32
	MOVQ  k+24(FP), AX
	MOVOU 0(AX), X0
	MOVOU 16(AX), X1
	MOVOU 32(AX), X2
	MOVOU 48(AX), X3
	MOVOU X0, 8(SP)
	MOVOU X1, 24(SP)
	MOVOU X2, 40(SP)
	MOVOU X3, 56(SP)
	MOVQ  t+0(FP), DI
	MOVQ  c+8(FP), SI
	MOVQ  s+16(FP), DX
	MOVQ  $6, 0(SP)

loop:
	LPS(0, SI, 8, SP)
	STORE(72, SP)
	LPS(0, DX, 8, SP)
	STORE(0, DX)
	LPS(64, SI, 72, SP)
	STORE(8, SP)
	LPS(0, DX, 72, SP)
	STORE(0, DX)
	ADDQ $128, SI
	DECQ 0(SP)
	JNZ  loop

	MOVQ  k+24(FP), AX
	MOVOU 8(SP), X0
	MOVOU 24(SP), X1
	MOVOU 40(SP), X2
	MOVOU 56(SP), X3
	MOVOU X0, 0(AX)
	MOVOU X1, 16(AX)
	MOVOU X2, 32(AX)
	MOVOU X3, 48(AX)
	RET
