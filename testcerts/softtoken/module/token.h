/* Readers, tokens and objects as the folder $SOFTTOKEN_DIR holds them:
 *
 *   READER/token     label=, serial=, manufacturer=, model=  (UTF-8, a line each)
 *   READER/pin       pin=, min=, max= (lengths in bytes), tries= (of a fresh PIN); change=1: it has to be changed
 *   READER/tries     attempts left; absent: all of them
 *   READER/puk       the security officer's PIN: puk=, tries=; without the file nobody can log in as that
 *   READER/puktries  its attempts left; absent: all of them
 *   READER/pad       right, wrong or cancel: the reader has a PIN pad, and this is what is done at it
 *   READER/absent    exists while the token is out of its reader
 *   READER/inserted  any text; another text means that the token was out in between
 *   READER/fault     what C_Sign does wrong, see fault.c
 *   READER/NAME.crt  a certificate, DER
 *   READER/NAME.key  a private key: type=rsa, id=, label=, n=, e=, p=, q=, dp=, dq=, qinv=, or
 *                    type=ec, id=, label=, curve=p-256|p-384, d=, x=, y=; numbers and id in hex;
 *                    always=1 makes it want the PIN for every signature
 *   READER/NAME.id   id= and label= of NAME.crt where they are not NAME.key's
 *
 * Objects are read when the first session is opened; PIN, tries and fault each
 * time. A file that cannot be read as said makes C_OpenSession fail. */
#ifndef TOKEN_H
#define TOKEN_H

#include "cryptoki.h"
#include "os.h"
#include "sign.h"

enum { MAX_SLOTS = 32, MAX_OBJECTS = 192, MAX_ATTRIBUTES = 28, MAX_CERTIFICATE = 1 << 16, MAX_TEXT = 1 << 14, MAX_PIN = 256 };

typedef struct {
	CK_KEY_TYPE type;
	int always; /* CKA_ALWAYS_AUTHENTICATE */
	union {
		rsa_key rsa;
		ec_key ec;
	};
} private_key;

typedef struct {
	CK_ATTRIBUTE_TYPE type;
	size_t at, len; /* in the object's data */
} attribute;

typedef struct {
	int is_private;
	private_key *key; /* NULL for certificates and public keys */
	attribute attrs[MAX_ATTRIBUTES];
	int nattrs;
	uint8_t *data;
	size_t len, size;
} object;

typedef struct {
	char name[MAX_NAME];
	int present;       /* at the last look */
	char inserted[32]; /* and what the file held then */
	int told_present;  /* what C_WaitForSlotEvent told last */
	char told_inserted[32];
	int logged_in, so_logged_in; /* the user, the security officer; never both */
	int loaded;        /* objects were read */
	unsigned long epoch; /* counts loads: handles of an earlier one are invalid */
	unsigned long signs; /* C_Sign calls since C_Initialize */
	object *objects;
	int nobjects;
} slot;

typedef struct {
	int set; /* there is a PIN */
	char pin[MAX_PIN];
	size_t len, min, max;
	unsigned tries, left;
	int change;  /* it has to be changed */
	char pad[8]; /* what is done at the reader's PIN pad; empty: it has none */
} pin_state;

/* READER/NAME; -1 if it is too long. */
int slot_path(char path[MAX_PATH_BYTES], const slot *s, const char *name);
/* Whether the token is in its reader now; inserted gets the file's text. */
int slot_look(const slot *s, char inserted[32]);
/* Reads the objects. CKR_OK, CKR_DEVICE_ERROR for a file that is not as said, or CKR_HOST_MEMORY. */
CK_RV slot_load(slot *s);
/* Forgets objects and login. */
void slot_unload(slot *s);
/* The object with this handle, or NULL. A private one only when logged in. */
object *slot_object(slot *s, CK_OBJECT_HANDLE h);
CK_OBJECT_HANDLE slot_handle(const slot *s, int i);
const attribute *object_attribute(const object *o, CK_ATTRIBUTE_TYPE t);

/* The value of a "name=value" line; -1 if it is absent or too long. */
int text_field(const char *text, const char *name, char *value, size_t size);
/* Reads READER/NAME as text; -1 as os_read says. */
int slot_text(const slot *s, const char *name, char text[MAX_TEXT]);

/* The flags of both PINs and the bounds of the user's; 0 or -1. */
int pin_info(const slot *s, CK_FLAGS *flags, CK_ULONG *min, CK_ULONG *max);

/* What the file "fault" orders for this C_Sign. */
typedef struct {
	char name[16];
	unsigned ms;
} fault;
/* An empty name if nothing is ordered. */
void fault_read(const slot *s, fault *f);
/* Acts before the signature is made: does not return, or sleeps, or gives the
 * error to return. */
CK_RV fault_act(const slot *s, const fault *f);

/* $SOFTTOKEN_DIR, set by C_Initialize. */
extern char token_dir[MAX_PATH_BYTES];

#endif
