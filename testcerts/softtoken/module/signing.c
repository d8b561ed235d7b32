/* Signing and random bytes. The arithmetic runs outside the lock on a copy of
 * the key, so that sessions of several threads work side by side. */
#include "session.h"

#include <string.h>

static size_t hash_size(CK_MECHANISM_TYPE m)
{
	return m == CKM_SHA256 ? 32 : m == CKM_SHA384 ? 48 : m == CKM_SHA512 ? 64 : 0;
}

static size_t mgf_size(CK_ULONG g)
{
	return g == CKG_MGF1_SHA256 ? 32 : g == CKG_MGF1_SHA384 ? 48 : g == CKG_MGF1_SHA512 ? 64 : 0;
}

static size_t signature_size(const private_key *k)
{
	return k->type == CKK_RSA ? k->rsa.bytes : 2 * k->ec.c->bytes;
}

static CK_RV start(session *s, const CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	if (s->signing)
		return CKR_OPERATION_ACTIVE;
	if (m->mechanism != CKM_RSA_PKCS && m->mechanism != CKM_RSA_PKCS_PSS && m->mechanism != CKM_ECDSA)
		return CKR_MECHANISM_INVALID;
	if (!s->slot->logged_in)
		return CKR_USER_NOT_LOGGED_IN;
	const object *o = slot_object(s->slot, key);
	if (!o)
		return CKR_KEY_HANDLE_INVALID;
	if (!o->key || (o->key->type == CKK_EC) != (m->mechanism == CKM_ECDSA))
		return CKR_KEY_TYPE_INCONSISTENT;
	if (m->mechanism == CKM_RSA_PKCS_PSS) {
		CK_RSA_PKCS_PSS_PARAMS p;
		if (!m->pParameter || m->ulParameterLen != sizeof p)
			return CKR_MECHANISM_PARAM_INVALID;
		memcpy(&p, m->pParameter, sizeof p);
		s->pss_hash = hash_size(p.hashAlg);
		s->pss_mgf = mgf_size(p.mgf);
		s->pss_salt = p.sLen;
		if (!s->pss_hash || !s->pss_mgf || p.sLen > o->key->rsa.bytes)
			return CKR_MECHANISM_PARAM_INVALID;
	} else if (m->ulParameterLen != 0)
		return CKR_MECHANISM_PARAM_INVALID;
	s->mechanism = m->mechanism;
	s->key = key;
	s->signing = 1;
	s->pin_given = 0;
	return CKR_OK;
}

CK_RV C_SignInit(CK_SESSION_HANDLE h, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
	session *s;
	if (!m)
		return CKR_ARGUMENTS_BAD;
	os_lock();
	CK_RV rv = session_get(h, &s);
	if (rv == CKR_OK)
		rv = start(s, m, key);
	os_unlock();
	return rv;
}

/* Makes the signature; op has the parameters. */
static CK_RV make(const session *op, const private_key *k, const CK_BYTE *data, CK_ULONG len, uint8_t *sig)
{
	uint8_t em[MAX_SIGNATURE];
	if (op->mechanism == CKM_ECDSA) {
		if (len == 0 || len > 64)
			return CKR_DATA_LEN_RANGE;
		return ecdsa_sign(&k->ec, data, len, sig) ? CKR_GENERAL_ERROR : CKR_OK;
	}
	if (op->mechanism == CKM_RSA_PKCS && pkcs1_pad(&k->rsa, data, len, em))
		return CKR_DATA_LEN_RANGE;
	if (op->mechanism == CKM_RSA_PKCS_PSS) {
		if (len != op->pss_hash)
			return CKR_DATA_LEN_RANGE;
		int bad = pss_pad(&k->rsa, data, op->pss_hash, op->pss_mgf, op->pss_salt, em);
		if (bad)
			return bad == -1 ? CKR_MECHANISM_PARAM_INVALID : CKR_GENERAL_ERROR;
	}
	return rsa_sign(&k->rsa, em, sig) ? CKR_DEVICE_ERROR : CKR_OK;
}

CK_RV C_Sign(CK_SESSION_HANDLE h, CK_BYTE_PTR data, CK_ULONG len, CK_BYTE_PTR out, CK_ULONG_PTR out_len)
{
	session *s, op;
	private_key key;
	uint8_t sig[MAX_SIGNATURE];
	size_t size = 0;
	fault f;
	if (!out_len || (!data && len))
		return CKR_ARGUMENTS_BAD;
	os_lock();
	CK_RV rv = session_get(h, &s);
	if (rv == CKR_OK && !s->signing)
		rv = CKR_OPERATION_NOT_INITIALIZED;
	if (rv == CKR_OK) {
		const object *o = slot_object(s->slot, s->key); /* there while the session lives and is logged in */
		if (!o)
			rv = CKR_OPERATION_NOT_INITIALIZED;
		else if (o->key->always && !s->pin_given)
			rv = CKR_USER_NOT_LOGGED_IN;
		else
			size = signature_size(o->key);
		if (rv == CKR_OK && (!out || *out_len < size)) { /* asking for the length does not end the operation */
			*out_len = (CK_ULONG)size;
			os_unlock();
			return out ? CKR_BUFFER_TOO_SMALL : CKR_OK;
		}
		s->signing = 0;
		if (rv == CKR_OK) {
			memcpy(&key, o->key, sizeof key);
			op = *s;
			s->slot->signs++;
			fault_read(s->slot, &f);
		}
	}
	os_unlock();
	if (rv)
		return rv;

	rv = fault_act(op.slot, &f);
	if (rv == CKR_OK)
		rv = make(&op, &key, data, len, sig);
	memset(&key, 0, sizeof key);
	if (rv == CKR_OK && !strcmp(f.name, "badsig"))
		sig[size / 2] ^= 1;

	s = NULL;
	os_lock();
	CK_RV now = session_get(h, &s); /* a token pulled in between gives nothing */
	if (now == CKR_SESSION_HANDLE_INVALID && s)
		now = CKR_DEVICE_REMOVED;
	os_unlock();
	if (now)
		return now;
	if (rv == CKR_OK) {
		memcpy(out, sig, size);
		*out_len = (CK_ULONG)size;
	}
	return rv;
}

CK_RV C_GenerateRandom(CK_SESSION_HANDLE h, CK_BYTE_PTR data, CK_ULONG len)
{
	session *s;
	if (!data && len)
		return CKR_ARGUMENTS_BAD;
	os_lock();
	CK_RV rv = session_get(h, &s);
	os_unlock();
	return rv ? rv : os_random(data, len) ? CKR_GENERAL_ERROR : CKR_OK;
}
