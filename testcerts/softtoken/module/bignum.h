/* Numbers modulo an odd number, by Montgomery's method. Limbs are 64 bits,
 * least significant first; byte strings are big-endian. Nothing here runs in
 * constant time: the soft token is for trials and tests. */
#ifndef BIGNUM_H
#define BIGNUM_H

#include <stddef.h>
#include <stdint.h>

enum { MAX_LIMBS = 64 }; /* 4096 bits */
typedef uint64_t limb;

/* A modulus of n limbs. R is 2^(64 n); x is "in Montgomery form" as x R mod m. */
typedef struct {
	size_t n;
	limb m[MAX_LIMBS], one[MAX_LIMBS], rr[MAX_LIMBS]; /* m, R mod m, R^2 mod m */
	limb m0;                                          /* -1/m mod 2^64 */
} modulus;

/* 0, or -1 if m is even, zero or too long. */
int mod_init(modulus *M, const limb *m, size_t n);
/* r = a b / R mod m, for b < m and a < R. r may be a or b. */
void mod_mul(limb *r, const limb *a, const limb *b, const modulus *M);
void mod_add(limb *r, const limb *a, const limb *b, const modulus *M);
void mod_sub(limb *r, const limb *a, const limb *b, const modulus *M);
/* r = a^e; a and r are in Montgomery form, e is a plain number of en limbs. */
void mod_exp(limb *r, const limb *a, const limb *e, size_t en, const modulus *M);
/* r = 1/a for a prime modulus, both in Montgomery form. */
void mod_inv(limb *r, const limb *a, const modulus *M);
void to_mont(limb *r, const limb *a, const modulus *M);   /* a < R, plain; reduces */
void from_mont(limb *r, const limb *a, const modulus *M);

int cmp(const limb *a, const limb *b, size_t n);
int is_zero(const limb *a, size_t n);
size_t bit_len(const limb *a, size_t n);
/* -1 if the number does not fit into n limbs, or into len bytes. */
int from_bytes(limb *r, size_t n, const uint8_t *b, size_t len);
int to_bytes(uint8_t *b, size_t len, const limb *a, size_t n);

#endif
