/* Private keys and what they do with bytes that the host has hashed. */
#ifndef SIGN_H
#define SIGN_H

#include "bignum.h"

/* The longest signature, in bytes: RSA-4096. */
enum { MAX_SIGNATURE = 512 };

typedef struct {
	size_t bytes, bits; /* of the modulus n = p q */
	modulus n, p, q;
	limb e, dp[MAX_LIMBS], dq[MAX_LIMBS];
	limb qinv[MAX_LIMBS]; /* 1/q mod p, in Montgomery form */
} rsa_key;

enum { CURVE_LIMBS = 8 }; /* 512 bits */

/* A short Weierstrass curve y^2 = x^3 + a x + b. Only points that the key's
 * own file gives are used, and these are compared with d G: b is not needed. */
typedef struct {
	const char *name;
	size_t bytes;           /* of a coordinate and of the order */
	const uint8_t *params;  /* CKA_EC_PARAMS: the DER of the curve's identifier */
	size_t params_len;
	modulus p, n;           /* field and order */
	limb a[CURVE_LIMBS], gx[CURVE_LIMBS], gy[CURVE_LIMBS]; /* in Montgomery form */
} curve;

typedef struct {
	const curve *c;
	limb d[CURVE_LIMBS];
} ec_key;

/* A byte string of a key file. */
typedef struct {
	const uint8_t *b;
	size_t len;
} bytes;

/* Each returns 0, or -1 for numbers that are no key of ours: RSA of 2048 to
 * 4096 bits with primes of equal length, a point that is not d G. */
int rsa_load(rsa_key *k, bytes n, bytes e, bytes p, bytes q, bytes dp, bytes dq, bytes qinv);
int ec_load(ec_key *k, const curve *c, bytes d, bytes x, bytes y);

/* Fills the table of curves; -1 cannot happen with the constants given. */
int curves_init(void);
const curve *curve_by_name(const char *name);

/* Puts data, the DigestInfo that the host made, into an EMSA-PKCS1-v1_5 block
 * of k->bytes. -1 if it is too long (RFC 8017 section 9.2). */
int pkcs1_pad(const rsa_key *k, const uint8_t *data, size_t len, uint8_t *em);
/* Puts the digest into an EMSA-PSS block of k->bytes with fresh salt (RFC 8017
 * section 9.1.1). hash and mgf are digest lengths of SHA-2. -1 if the salt is
 * too long for the key, -2 without random bytes. */
int pss_pad(const rsa_key *k, const uint8_t *digest, size_t hash, size_t mgf, size_t salt_len, uint8_t *em);
/* sig = em^d mod n, k->bytes long. -1 if the key is wrong. */
int rsa_sign(const rsa_key *k, const uint8_t *em, uint8_t *sig);
/* sig = r || s, each c->bytes big-endian (PKCS #11 mechanisms, section 2.3.1).
 * Of a digest longer than the order the left part counts. -1 without random bytes. */
int ecdsa_sign(const ec_key *k, const uint8_t *digest, size_t len, uint8_t *sig);

/* SHA-2 with a digest of 32, 48 or 64 bytes. */
void sha2(size_t bytes, const uint8_t *data, size_t len, uint8_t *out);

#endif
