#include "bignum.h"

#include <string.h>

typedef unsigned __int128 wide;

int cmp(const limb *a, const limb *b, size_t n)
{
	while (n-- > 0)
		if (a[n] != b[n])
			return a[n] < b[n] ? -1 : 1;
	return 0;
}

int is_zero(const limb *a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (a[i])
			return 0;
	return 1;
}

size_t bit_len(const limb *a, size_t n)
{
	while (n > 0 && !a[n - 1])
		n--;
	return n == 0 ? 0 : 64 * n - (size_t)__builtin_clzll(a[n - 1]);
}

static limb add(limb *r, const limb *a, const limb *b, size_t n)
{
	limb c = 0;
	for (size_t i = 0; i < n; i++) {
		wide x = (wide)a[i] + b[i] + c;
		r[i] = (limb)x;
		c = (limb)(x >> 64);
	}
	return c;
}

static limb sub(limb *r, const limb *a, const limb *b, size_t n)
{
	limb c = 0;
	for (size_t i = 0; i < n; i++) {
		wide x = (wide)a[i] - b[i] - c;
		r[i] = (limb)x;
		c = (limb)(x >> 64) & 1;
	}
	return c;
}

void mod_add(limb *r, const limb *a, const limb *b, const modulus *M)
{
	if (add(r, a, b, M->n) || cmp(r, M->m, M->n) >= 0)
		sub(r, r, M->m, M->n);
}

void mod_sub(limb *r, const limb *a, const limb *b, const modulus *M)
{
	if (sub(r, a, b, M->n))
		add(r, r, M->m, M->n);
}

int mod_init(modulus *M, const limb *m, size_t n)
{
	limb x[MAX_LIMBS] = {1};
	if (n == 0 || n > MAX_LIMBS || !(m[0] & 1) || bit_len(m, n) < 2)
		return -1;
	memset(M, 0, sizeof *M);
	M->n = n;
	memcpy(M->m, m, n * sizeof *m);
	limb inv = 1; /* Newton: each step doubles the bits that are right */
	for (int i = 0; i < 6; i++)
		inv *= 2 - m[0] * inv;
	M->m0 = -inv;
	for (size_t i = 0; i < 128 * n; i++) {
		if (i == 64 * n)
			memcpy(M->one, x, n * sizeof *x);
		mod_add(x, x, x, M);
	}
	memcpy(M->rr, x, n * sizeof *x);
	return 0;
}

/* The one multiplication. Made for each usual length, because a loop of known
 * length runs twice as fast. */
static inline __attribute__((always_inline)) void mul(limb *r, const limb *a, const limb *b, const modulus *M, size_t n)
{
	limb t[MAX_LIMBS + 2];
	for (size_t j = 0; j < n + 2; j++)
		t[j] = 0;
	for (size_t i = 0; i < n; i++) {
		limb c = 0, bi = b[i];
		wide x;
		for (size_t j = 0; j < n; j++) {
			x = (wide)a[j] * bi + t[j] + c;
			t[j] = (limb)x;
			c = (limb)(x >> 64);
		}
		x = (wide)t[n] + c;
		t[n] = (limb)x;
		t[n + 1] = (limb)(x >> 64);
		limb q = t[0] * M->m0;
		x = (wide)q * M->m[0] + t[0];
		c = (limb)(x >> 64);
		for (size_t j = 1; j < n; j++) {
			x = (wide)q * M->m[j] + t[j] + c;
			t[j - 1] = (limb)x;
			c = (limb)(x >> 64);
		}
		x = (wide)t[n] + c;
		t[n - 1] = (limb)x;
		t[n] = t[n + 1] + (limb)(x >> 64);
	}
	if (t[n] || cmp(t, M->m, n) >= 0)
		sub(t, t, M->m, n);
	for (size_t j = 0; j < n; j++)
		r[j] = t[j];
}

void mod_mul(limb *r, const limb *a, const limb *b, const modulus *M)
{
	switch (M->n) {
	case 4: /* 256-bit curves */
		mul(r, a, b, M, 4);
		break;
	case 6:
		mul(r, a, b, M, 6);
		break;
	case 8: /* 512-bit curves */
		mul(r, a, b, M, 8);
		break;
	case 16: /* half of RSA-2048 */
		mul(r, a, b, M, 16);
		break;
	default:
		mul(r, a, b, M, M->n);
	}
}

void to_mont(limb *r, const limb *a, const modulus *M)
{
	mod_mul(r, a, M->rr, M);
}

void from_mont(limb *r, const limb *a, const modulus *M)
{
	limb one[MAX_LIMBS] = {1};
	mod_mul(r, a, one, M);
}

void mod_exp(limb *r, const limb *a, const limb *e, size_t en, const modulus *M)
{
	limb table[16][MAX_LIMBS], x[MAX_LIMBS]; /* a^0 … a^15 */
	size_t size = M->n * sizeof(limb);
	memcpy(table[0], M->one, size);
	for (int i = 1; i < 16; i++)
		mod_mul(table[i], table[i - 1], a, M);
	memcpy(x, M->one, size);
	size_t top = (bit_len(e, en) + 3) / 4;
	while (top-- > 0) {
		for (int i = 0; i < 4; i++)
			mod_mul(x, x, x, M);
		mod_mul(x, x, table[e[top / 16] >> (4 * (top % 16)) & 15], M);
	}
	memcpy(r, x, size);
}

void mod_inv(limb *r, const limb *a, const modulus *M)
{
	limb e[MAX_LIMBS], two[MAX_LIMBS] = {2};
	sub(e, M->m, two, M->n);
	mod_exp(r, a, e, M->n, M);
}

int from_bytes(limb *r, size_t n, const uint8_t *b, size_t len)
{
	while (len > 0 && *b == 0)
		b++, len--;
	if (len > 8 * n)
		return -1;
	memset(r, 0, n * sizeof *r);
	for (size_t i = 0; i < len; i++)
		r[i / 8] |= (limb)b[len - 1 - i] << (8 * (i % 8));
	return 0;
}

int to_bytes(uint8_t *b, size_t len, const limb *a, size_t n)
{
	if (bit_len(a, n) > 8 * len)
		return -1;
	for (size_t i = 0; i < len; i++)
		b[len - 1 - i] = i / 8 < n ? (uint8_t)(a[i / 8] >> (8 * (i % 8))) : 0;
	return 0;
}
