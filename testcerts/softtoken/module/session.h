/* The module's state: slots, sessions, and whether it is initialized. All of it
 * is read and changed under os_lock. */
#ifndef SESSION_H
#define SESSION_H

#include "token.h"

enum { MAX_SESSIONS = 256 };

typedef struct {
	CK_SESSION_HANDLE handle; /* 0: the entry is free */
	slot *slot;
	CK_FLAGS flags;
	int dead;                 /* the token was out since it was opened */
	int finding;
	CK_ULONG found, next;
	CK_OBJECT_HANDLE results[MAX_OBJECTS];
	int signing;
	CK_OBJECT_HANDLE key;
	CK_MECHANISM_TYPE mechanism;
	size_t pss_hash, pss_mgf, pss_salt; /* bytes */
	int pin_given;            /* C_Login(CKU_CONTEXT_SPECIFIC) for this operation */
} session;

extern int initialized;
extern slot slots[MAX_SLOTS];
extern int nslots;

/* Looks at the slot; a token that is out, or was, takes login and sessions with it. */
void slot_refresh(slot *s);
/* Every slot, and readers that are new since. */
void slots_refresh(void);
slot *slot_by_id(CK_SLOT_ID id);
/* CKR_CRYPTOKI_NOT_INITIALIZED, CKR_SESSION_HANDLE_INVALID (also for a session
 * whose token was removed), or CKR_OK with the session. */
CK_RV session_get(CK_SESSION_HANDLE h, session **out);
/* Marks the sessions of a slot dead. */
void sessions_die(const slot *s);
CK_ULONG sessions_count(const slot *s, int rw_only);
void sessions_forget(const slot *s); /* of every slot if s is NULL */
void sessions_stop(const slot *s);   /* ends searches and signatures */

#endif
