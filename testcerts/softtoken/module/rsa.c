/* RSA signatures by the Chinese remainder theorem. */
#include "os.h"
#include "sign.h"

#include <string.h>

int rsa_load(rsa_key *k, bytes n, bytes e, bytes p, bytes q, bytes dp, bytes dq, bytes qinv)
{
	limb t[MAX_LIMBS];
	memset(k, 0, sizeof *k);
	if (from_bytes(t, MAX_LIMBS, n.b, n.len))
		return -1;
	k->bits = bit_len(t, MAX_LIMBS);
	k->bytes = (k->bits + 7) / 8;
	if (k->bits < 2048 || mod_init(&k->n, t, (k->bits + 63) / 64))
		return -1;
	size_t half = (k->n.n + 1) / 2;
	if (from_bytes(t, half, p.b, p.len) || bit_len(t, half) <= 64 * (half - 1) || mod_init(&k->p, t, half))
		return -1;
	if (from_bytes(t, half, q.b, q.len) || bit_len(t, half) <= 64 * (half - 1) || mod_init(&k->q, t, half))
		return -1;
	if (from_bytes(&k->e, 1, e.b, e.len) || from_bytes(k->dp, half, dp.b, dp.len) || from_bytes(k->dq, half, dq.b, dq.len))
		return -1;
	if (from_bytes(t, half, qinv.b, qinv.len) || cmp(t, k->p.m, half) >= 0)
		return -1;
	to_mont(k->qinv, t, &k->p);
	return 0;
}

/* r = x^e mod m for x of 2 m->n limbs; r is plain. */
static void half_exp(limb *r, const limb *x, const limb *e, const modulus *M)
{
	limb lo[MAX_LIMBS], hi[MAX_LIMBS];
	to_mont(lo, x, M); /* x = hi R + lo */
	to_mont(hi, x + M->n, M);
	to_mont(hi, hi, M);
	mod_add(lo, lo, hi, M);
	mod_exp(lo, lo, e, M->n, M);
	from_mont(r, lo, M);
}

int rsa_sign(const rsa_key *k, const uint8_t *em, uint8_t *sig)
{
	size_t half = k->p.n;
	limb x[2 * MAX_LIMBS] = {0}, s[2 * MAX_LIMBS] = {0}, check[MAX_LIMBS];
	limb sp[MAX_LIMBS], sq[MAX_LIMBS], h[MAX_LIMBS];
	if (from_bytes(x, 2 * half, em, k->bytes) || cmp(x, k->n.m, k->n.n) >= 0)
		return -1;
	half_exp(sp, x, k->dp, &k->p);
	half_exp(sq, x, k->dq, &k->q);
	/* h = (sp - sq) / q mod p; s = sq + q h */
	to_mont(h, sq, &k->p);
	to_mont(sp, sp, &k->p);
	mod_sub(h, sp, h, &k->p);
	mod_mul(h, h, k->qinv, &k->p);
	from_mont(h, h, &k->p);
	memcpy(s, sq, half * sizeof *s);
	for (size_t i = 0; i < half; i++) {
		limb c = 0;
		for (size_t j = 0; j < half; j++) {
			unsigned __int128 w = (unsigned __int128)k->q.m[j] * h[i] + s[i + j] + c;
			s[i + j] = (limb)w;
			c = (limb)(w >> 64);
		}
		for (size_t j = i + half; c && j < 2 * half; j++) {
			s[j] += c;
			c = s[j] < c;
		}
	}
	/* A damaged key must not give a signature that tells p or q away. */
	if (cmp(s, k->n.m, k->n.n) >= 0)
		return -1;
	to_mont(check, s, &k->n);
	mod_exp(check, check, &k->e, 1, &k->n);
	from_mont(check, check, &k->n);
	if (cmp(check, x, k->n.n))
		return -1;
	return to_bytes(sig, k->bytes, s, k->n.n);
}

int pkcs1_pad(const rsa_key *k, const uint8_t *data, size_t len, uint8_t *em)
{
	if (len + 11 > k->bytes)
		return -1;
	memset(em, 0xff, k->bytes);
	em[0] = 0;
	em[1] = 1;
	em[k->bytes - len - 1] = 0;
	memcpy(em + k->bytes - len, data, len);
	return 0;
}

int pss_pad(const rsa_key *k, const uint8_t *digest, size_t hash, size_t mgf, size_t salt_len, uint8_t *em)
{
	size_t len = (k->bits - 1 + 7) / 8;
	uint8_t salt[MAX_SIGNATURE], m[8 + 64 + MAX_SIGNATURE] = {0}, seed[64 + 4], mask[64];
	if (salt_len > len || hash + salt_len + 2 > len)
		return -1;
	if (os_random(salt, salt_len))
		return -2;
	memset(em, 0, k->bytes);
	em += k->bytes - len;
	size_t db = len - hash - 1; /* zeros, 1, salt; then H; then 0xbc */
	memcpy(m + 8, digest, hash);
	memcpy(m + 8 + hash, salt, salt_len);
	sha2(hash, m, 8 + hash + salt_len, em + db);
	em[db - salt_len - 1] = 1;
	memcpy(em + db - salt_len, salt, salt_len);
	em[len - 1] = 0xbc;
	memcpy(seed, em + db, hash);
	for (size_t i = 0; i < db; i++) {
		if (i % mgf == 0) {
			for (size_t j = 0; j < 4; j++)
				seed[hash + j] = (uint8_t)(i / mgf >> (24 - 8 * j));
			sha2(mgf, seed, hash + 4, mask);
		}
		em[i] ^= mask[i % mgf];
	}
	em[0] &= (uint8_t)(0xff >> (8 * len - (k->bits - 1)));
	return 0;
}
