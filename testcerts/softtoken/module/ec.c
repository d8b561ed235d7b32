/* ECDSA in Jacobian coordinates: x = X / Z^2, y = Y / Z^3, infinity has Z = 0.
 * Coordinates are in Montgomery form. The formulas hold for any a, so that
 * other short Weierstrass curves need a row of the table only. */
#include "os.h"
#include "sign.h"

#include <string.h>

typedef struct {
	limb x[CURVE_LIMBS], y[CURVE_LIMBS], z[CURVE_LIMBS];
} point;

/* SEC 2 version 2, sections 2.4.2 and 2.5.1: p, a, n, G. */
static const struct {
	const char *name;
	size_t bytes;
	uint8_t params[10];
	size_t params_len;
	const char *p, *a, *n, *x, *y;
} rows[] = {
	{ "p-256", 32, { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 }, 10,
	  "FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF",
	  "FFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFC",
	  "FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551",
	  "6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296",
	  "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5" },
	{ "p-384", 48, { 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22 }, 7,
	  "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFF",
	  "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFC",
	  "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973",
	  "AA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7",
	  "3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F" },
};
enum { CURVES = sizeof rows / sizeof *rows };
static curve curves[CURVES];

static void hex(limb *r, size_t n, const char *s)
{
	memset(r, 0, n * sizeof *r);
	for (size_t i = 0, len = strlen(s); i < len; i++) {
		char c = s[len - 1 - i];
		r[i / 16] |= (limb)(c <= '9' ? c - '0' : c - 'A' + 10) << (4 * (i % 16));
	}
}

int curves_init(void)
{
	limb t[CURVE_LIMBS];
	for (size_t i = 0; i < CURVES; i++) {
		curve *c = &curves[i];
		size_t n = rows[i].bytes / 8;
		c->name = rows[i].name;
		c->bytes = rows[i].bytes;
		c->params = rows[i].params;
		c->params_len = rows[i].params_len;
		hex(t, n, rows[i].p);
		if (mod_init(&c->p, t, n))
			return -1;
		hex(t, n, rows[i].n);
		if (mod_init(&c->n, t, n))
			return -1;
		hex(t, n, rows[i].a);
		to_mont(c->a, t, &c->p);
		hex(t, n, rows[i].x);
		to_mont(c->gx, t, &c->p);
		hex(t, n, rows[i].y);
		to_mont(c->gy, t, &c->p);
	}
	return 0;
}

const curve *curve_by_name(const char *name)
{
	for (size_t i = 0; i < CURVES; i++)
		if (!strcmp(name, curves[i].name))
			return &curves[i];
	return NULL;
}

static void twice(point *r, const point *a, const curve *c)
{
	const modulus *P = &c->p;
	limb yy[CURVE_LIMBS], s[CURVE_LIMBS], m[CURVE_LIMBS], t[CURVE_LIMBS], z[CURVE_LIMBS];
	mod_mul(z, a->y, a->z, P);
	mod_add(z, z, z, P);
	mod_mul(yy, a->y, a->y, P);
	mod_mul(s, a->x, yy, P); /* s = 4 X Y^2 */
	mod_add(s, s, s, P);
	mod_add(s, s, s, P);
	mod_mul(t, a->z, a->z, P); /* m = 3 X^2 + a Z^4 */
	mod_mul(t, t, t, P);
	mod_mul(m, t, c->a, P);
	mod_mul(t, a->x, a->x, P);
	mod_add(m, m, t, P);
	mod_add(m, m, t, P);
	mod_add(m, m, t, P);
	mod_mul(r->x, m, m, P); /* X' = m^2 - 2 s */
	mod_sub(r->x, r->x, s, P);
	mod_sub(r->x, r->x, s, P);
	mod_mul(yy, yy, yy, P); /* Y' = m (s - X') - 8 Y^4 */
	for (int i = 0; i < 3; i++)
		mod_add(yy, yy, yy, P);
	mod_sub(t, s, r->x, P);
	mod_mul(t, t, m, P);
	mod_sub(r->y, t, yy, P);
	memcpy(r->z, z, sizeof z); /* Z' = 2 Y Z */
}

static void plus(point *r, const point *a, const point *b, const curve *c)
{
	const modulus *P = &c->p;
	limb z1[CURVE_LIMBS], z2[CURVE_LIMBS], u1[CURVE_LIMBS], s1[CURVE_LIMBS], h[CURVE_LIMBS], d[CURVE_LIMBS], t[CURVE_LIMBS];
	if (is_zero(a->z, P->n) || is_zero(b->z, P->n)) {
		*r = is_zero(a->z, P->n) ? *b : *a;
		return;
	}
	mod_mul(z1, a->z, a->z, P);
	mod_mul(z2, b->z, b->z, P);
	mod_mul(u1, a->x, z2, P);
	mod_mul(h, b->x, z1, P);
	mod_sub(h, h, u1, P); /* h = X2 Z1^2 - X1 Z2^2 */
	mod_mul(s1, a->y, z2, P);
	mod_mul(s1, s1, b->z, P);
	mod_mul(d, b->y, z1, P);
	mod_mul(d, d, a->z, P);
	mod_sub(d, d, s1, P); /* d = Y2 Z1^3 - Y1 Z2^3 */
	if (is_zero(h, P->n)) {
		if (is_zero(d, P->n))
			twice(r, a, c);
		else
			memset(r, 0, sizeof *r);
		return;
	}
	mod_mul(r->z, a->z, b->z, P);
	mod_mul(r->z, r->z, h, P);
	mod_mul(t, h, h, P);
	mod_mul(u1, u1, t, P); /* X1 Z2^2 h^2 */
	mod_mul(h, h, t, P);
	mod_mul(r->x, d, d, P);
	mod_sub(r->x, r->x, h, P);
	mod_sub(r->x, r->x, u1, P);
	mod_sub(r->x, r->x, u1, P);
	mod_sub(u1, u1, r->x, P);
	mod_mul(u1, u1, d, P);
	mod_mul(h, h, s1, P);
	mod_sub(r->y, u1, h, P);
}

/* The affine coordinates of k G, in Montgomery form. k is in [1, n-1]. */
static void times_g(limb *x, limb *y, const limb *k, const curve *c)
{
	const modulus *P = &c->p;
	point table[16], r;
	limb i[CURVE_LIMBS], ii[CURVE_LIMBS];
	memset(table, 0, sizeof table);
	memset(&r, 0, sizeof r);
	memcpy(table[1].x, c->gx, sizeof c->gx);
	memcpy(table[1].y, c->gy, sizeof c->gy);
	memcpy(table[1].z, P->one, P->n * sizeof(limb));
	for (int j = 2; j < 16; j++)
		plus(&table[j], &table[j - 1], &table[1], c);
	for (size_t top = 16 * P->n; top-- > 0;) {
		for (int j = 0; j < 4; j++)
			twice(&r, &r, c);
		plus(&r, &r, &table[k[top / 16] >> (4 * (top % 16)) & 15], c);
	}
	mod_inv(i, r.z, P);
	mod_mul(ii, i, i, P);
	mod_mul(x, r.x, ii, P);
	mod_mul(ii, ii, i, P);
	mod_mul(y, r.y, ii, P);
}

int ec_load(ec_key *k, const curve *c, bytes d, bytes x, bytes y)
{
	size_t n = c->p.n;
	limb wx[CURVE_LIMBS], wy[CURVE_LIMBS], gx[CURVE_LIMBS], gy[CURVE_LIMBS];
	memset(k, 0, sizeof *k);
	k->c = c;
	if (from_bytes(k->d, n, d.b, d.len) || from_bytes(wx, n, x.b, x.len) || from_bytes(wy, n, y.b, y.len))
		return -1;
	if (is_zero(k->d, n) || cmp(k->d, c->n.m, n) >= 0)
		return -1;
	times_g(gx, gy, k->d, c);
	from_mont(gx, gx, &c->p);
	from_mont(gy, gy, &c->p);
	return cmp(gx, wx, n) || cmp(gy, wy, n) ? -1 : 0;
}

int ecdsa_sign(const ec_key *k, const uint8_t *digest, size_t len, uint8_t *sig)
{
	const curve *c = k->c;
	const modulus *N = &c->n;
	limb e[CURVE_LIMBS], d[CURVE_LIMBS], nonce[CURVE_LIMBS], r[CURVE_LIMBS], s[CURVE_LIMBS], y[CURVE_LIMBS];
	uint8_t rnd[8 * CURVE_LIMBS];
	/* The orders here fill their bytes, so the left part ends on a byte. */
	if (from_bytes(e, N->n, digest, len < c->bytes ? len : c->bytes))
		return -1;
	to_mont(e, e, N);
	to_mont(d, k->d, N);
	do {
		do {
			if (os_random(rnd, c->bytes) || from_bytes(nonce, N->n, rnd, c->bytes))
				return -1;
		} while (is_zero(nonce, N->n) || cmp(nonce, N->m, N->n) >= 0);
		times_g(r, y, nonce, c);
		from_mont(r, r, &c->p);
		to_mont(r, r, N);
		mod_mul(s, r, d, N); /* s = (e + r d) / nonce */
		mod_add(s, s, e, N);
		to_mont(nonce, nonce, N);
		mod_inv(nonce, nonce, N);
		mod_mul(s, s, nonce, N);
	} while (is_zero(r, N->n) || is_zero(s, N->n));
	from_mont(r, r, N);
	from_mont(s, s, N);
	return to_bytes(sig, c->bytes, r, N->n) || to_bytes(sig + c->bytes, c->bytes, s, N->n) ? -1 : 0;
}
