/* Certificates and keys from their files to PKCS #11 objects. */
#include "token.h"

#include <stdlib.h>
#include <string.h>

/* Adds an attribute. Once memory or room has run out the object stays with -1
 * attributes, and nothing more is added. */
static void put(object *o, CK_ATTRIBUTE_TYPE type, const void *value, size_t len)
{
	if (o->nattrs < 0)
		return;
	if (o->len + len > o->size) {
		size_t size = 2 * (o->len + len) + 256;
		uint8_t *d = realloc(o->data, size);
		if (!d) {
			o->nattrs = -1;
			return;
		}
		o->data = d;
		o->size = size;
	}
	if (o->nattrs == MAX_ATTRIBUTES) {
		o->nattrs = -1;
		return;
	}
	if (len > 0)
		memcpy(o->data + o->len, value, len);
	o->attrs[o->nattrs++] = (attribute){ type, o->len, len };
	o->len += len;
}

static void put_number(object *o, CK_ATTRIBUTE_TYPE type, CK_ULONG v)
{
	put(o, type, &v, sizeof v);
}

static void put_bool(object *o, CK_ATTRIBUTE_TYPE type, int v)
{
	CK_BBOOL b = (CK_BBOOL)v;
	put(o, type, &b, 1);
}

static void put_flags(object *o, const CK_ATTRIBUTE_TYPE *types, size_t n, int v)
{
	for (size_t i = 0; i < n; i++)
		put_bool(o, types[i], v);
}

/* A byte string from a hex line; b has room for size bytes. */
static int hex_field(const char *text, const char *name, uint8_t *b, size_t size, bytes *out)
{
	char v[2 * MAX_SIGNATURE + 1];
	if (text_field(text, name, v, sizeof v))
		return -1;
	size_t n = strlen(v);
	if (n % 2 || n / 2 > size)
		return -1;
	for (size_t i = 0; i < n; i++) {
		char c = v[i];
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (d < 0)
			return -1;
		b[i / 2] = (uint8_t)(i % 2 ? b[i / 2] | d : d << 4);
	}
	*out = (bytes){ b, n / 2 };
	return 0;
}

static void common(object *o, CK_OBJECT_CLASS class, int is_private, const char *label, bytes id)
{
	o->is_private = is_private;
	put_number(o, CKA_CLASS, class);
	put_bool(o, CKA_TOKEN, 1);
	put_bool(o, CKA_PRIVATE, is_private);
	put_bool(o, CKA_MODIFIABLE, 0);
	put(o, CKA_LABEL, label, strlen(label));
	put(o, CKA_ID, id.b, id.len);
}

/* Steps over one DER element and gives it whole, and its contents. */
static int der(const uint8_t **p, const uint8_t *end, int tag, bytes *whole, bytes *inside)
{
	const uint8_t *b = *p;
	if (end - b < 2 || b[0] != tag)
		return -1;
	size_t len = b[1], head = 2;
	if (len & 0x80) {
		size_t n = len & 0x7f;
		if (n == 0 || n > 3 || (size_t)(end - b) < 2 + n)
			return -1;
		len = 0;
		for (size_t i = 0; i < n; i++)
			len = len << 8 | b[2 + i];
		head = 2 + n;
	}
	if (len > (size_t)(end - b) - head)
		return -1;
	*whole = (bytes){ b, head + len };
	*inside = (bytes){ b + head, len };
	*p = b + head + len;
	return 0;
}

/* RFC 5280 section 4.1: Certificate { tbsCertificate { [0] version, serialNumber, signature, issuer, validity, subject, … */
static int certificate(object *o, const uint8_t *b, size_t len, const char *label, bytes id)
{
	bytes cert, tbs, in, skip, serial, issuer, subject;
	const uint8_t *p = b;
	if (der(&p, b + len, 0x30, &cert, &in) || cert.len != len)
		return -1;
	p = in.b;
	if (der(&p, in.b + in.len, 0x30, &skip, &tbs))
		return -1;
	p = tbs.b;
	const uint8_t *end = tbs.b + tbs.len;
	if (p < end && *p == 0xa0 && der(&p, end, 0xa0, &skip, &in))
		return -1;
	if (der(&p, end, 0x02, &serial, &in) || der(&p, end, 0x30, &skip, &in) || der(&p, end, 0x30, &issuer, &in) ||
	    der(&p, end, 0x30, &skip, &in) || der(&p, end, 0x30, &subject, &in))
		return -1;
	common(o, CKO_CERTIFICATE, 0, label, id);
	put_number(o, CKA_CERTIFICATE_TYPE, 0); /* CKC_X_509 */
	put_number(o, CKA_CERTIFICATE_CATEGORY, 0);
	put_bool(o, CKA_TRUSTED, 0);
	put(o, CKA_SUBJECT, subject.b, subject.len);
	put(o, CKA_ISSUER, issuer.b, issuer.len);
	put(o, CKA_SERIAL_NUMBER, serial.b, serial.len);
	put(o, CKA_VALUE, b, len);
	return 0;
}

static int rsa_objects(object *pub, object *priv, const char *text)
{
	static const char *const names[] = { "n", "e", "p", "q", "dp", "dq", "qinv" };
	uint8_t b[7][MAX_SIGNATURE];
	bytes v[7];
	for (int i = 0; i < 7; i++)
		if (hex_field(text, names[i], b[i], sizeof b[i], &v[i]))
			return -1;
	if (rsa_load(&priv->key->rsa, v[0], v[1], v[2], v[3], v[4], v[5], v[6]))
		return -1;
	put(pub, CKA_MODULUS, v[0].b, v[0].len);
	put_number(pub, CKA_MODULUS_BITS, priv->key->rsa.bits);
	put(pub, CKA_PUBLIC_EXPONENT, v[1].b, v[1].len);
	put(priv, CKA_MODULUS, v[0].b, v[0].len);
	put(priv, CKA_PUBLIC_EXPONENT, v[1].b, v[1].len);
	return 0;
}

static int ec_objects(object *pub, object *priv, const char *text)
{
	char name[16];
	uint8_t d[CURVE_LIMBS * 8], x[CURVE_LIMBS * 8], y[CURVE_LIMBS * 8], pt[3 + 2 * sizeof x];
	bytes vd, vx, vy;
	if (text_field(text, "curve", name, sizeof name))
		return -1;
	const curve *c = curve_by_name(name);
	if (!c || hex_field(text, "d", d, sizeof d, &vd) || hex_field(text, "x", x, sizeof x, &vx) || hex_field(text, "y", y, sizeof y, &vy) ||
	    vx.len != c->bytes || vy.len != c->bytes || ec_load(&priv->key->ec, c, vd, vx, vy))
		return -1;
	pt[0] = 0x04; /* OCTET STRING of an uncompressed point (PKCS #11 mechanisms, section 2.3.3) */
	pt[1] = (uint8_t)(1 + 2 * c->bytes);
	pt[2] = 0x04;
	memcpy(pt + 3, x, c->bytes);
	memcpy(pt + 3 + c->bytes, y, c->bytes);
	put(pub, CKA_EC_PARAMS, c->params, c->params_len);
	put(pub, CKA_EC_POINT, pt, 3 + 2 * c->bytes);
	put(priv, CKA_EC_PARAMS, c->params, c->params_len);
	return 0;
}

static const CK_ATTRIBUTE_TYPE pub_no[] = { CKA_LOCAL, CKA_DERIVE, CKA_ENCRYPT, CKA_WRAP, CKA_VERIFY_RECOVER, CKA_TRUSTED };
static const CK_ATTRIBUTE_TYPE priv_yes[] = { CKA_SENSITIVE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_SIGN };
static const CK_ATTRIBUTE_TYPE priv_no[] = { CKA_LOCAL, CKA_DERIVE, CKA_DECRYPT, CKA_UNWRAP, CKA_SIGN_RECOVER, CKA_EXTRACTABLE };
#define COUNT(a) (sizeof(a) / sizeof *(a))

static int key_pair(object *pub, object *priv, const char *text, const char *label, bytes id)
{
	char v[8];
	priv->key = calloc(1, sizeof *priv->key);
	if (!priv->key || text_field(text, "type", v, sizeof v))
		return -1;
	priv->key->type = !strcmp(v, "ec") ? CKK_EC : CKK_RSA;
	int bad = strcmp(v, "ec") && strcmp(v, "rsa");
	priv->key->always = !text_field(text, "always", v, sizeof v) && !strcmp(v, "1");
	common(pub, CKO_PUBLIC_KEY, 0, label, id);
	common(priv, CKO_PRIVATE_KEY, 1, label, id);
	put_number(pub, CKA_KEY_TYPE, priv->key->type);
	put_number(priv, CKA_KEY_TYPE, priv->key->type);
	put_bool(pub, CKA_VERIFY, 1);
	put_flags(pub, pub_no, COUNT(pub_no), 0);
	put_flags(priv, priv_yes, COUNT(priv_yes), 1);
	put_flags(priv, priv_no, COUNT(priv_no), 0);
	put_bool(priv, CKA_ALWAYS_AUTHENTICATE, priv->key->always);
	return bad || (priv->key->type == CKK_EC ? ec_objects(pub, priv, text) : rsa_objects(pub, priv, text)) ? -1 : 0;
}

/* Adds what the file name.ext holds; other files are passed over. */
static CK_RV load_file(slot *s, const char *file)
{
	char name[MAX_NAME], other[MAX_NAME + 8], path[MAX_PATH_BYTES], text[MAX_TEXT], label[256];
	uint8_t idb[128];
	bytes id = { idb, 0 };
	size_t n = strlen(file);
	int is_crt = n > 4 && !strcmp(file + n - 4, ".crt");
	if (!is_crt && !(n > 4 && !strcmp(file + n - 4, ".key")))
		return CKR_OK;
	if (s->nobjects + 2 > MAX_OBJECTS)
		return CKR_DEVICE_ERROR;
	memcpy(name, file, n - 4);
	name[n - 4] = 0;
	strcpy(label, name);
	text[0] = 0;
	/* id and label: a certificate's own, or its key's. */
	const char *const exts[] = { is_crt ? ".id" : ".key", ".key" };
	for (int i = 0; i < 2; i++) {
		strcpy(other, name);
		strcat(other, exts[i]);
		if (slot_path(path, s, other))
			return CKR_DEVICE_ERROR;
		if (!os_exists(path))
			continue;
		if (slot_text(s, other, text) || hex_field(text, "id", idb, sizeof idb, &id) || text_field(text, "label", label, sizeof label))
			return CKR_DEVICE_ERROR;
		break;
	}
	object *o = &s->objects[s->nobjects];
	if (!is_crt) {
		s->nobjects += 2;
		if (key_pair(o, o + 1, text, label, id))
			return CKR_DEVICE_ERROR;
		return o[0].nattrs < 0 || o[1].nattrs < 0 ? CKR_HOST_MEMORY : CKR_OK;
	}
	uint8_t *b = malloc(MAX_CERTIFICATE);
	if (!b)
		return CKR_HOST_MEMORY;
	s->nobjects++;
	long len = slot_path(path, s, file) ? -1 : os_read(path, b, MAX_CERTIFICATE);
	CK_RV rv = len < 0 || certificate(o, b, (size_t)len, label, id) ? CKR_DEVICE_ERROR : o->nattrs < 0 ? CKR_HOST_MEMORY : CKR_OK;
	free(b);
	return rv;
}

CK_RV slot_load(slot *s)
{
	char path[MAX_PATH_BYTES];
	char (*names)[MAX_NAME] = malloc(2 * MAX_OBJECTS * sizeof *names);
	slot_unload(s);
	s->epoch++;
	s->objects = calloc(MAX_OBJECTS, sizeof *s->objects);
	CK_RV rv = names && s->objects ? CKR_OK : CKR_HOST_MEMORY;
	int n = rv || slot_path(path, s, "") ? 0 : os_list(path, names, 2 * MAX_OBJECTS);
	for (int i = 0; i < n && rv == CKR_OK; i++)
		rv = load_file(s, names[i]);
	free(names);
	if (rv == CKR_OK)
		s->loaded = 1;
	else
		slot_unload(s);
	return rv;
}
