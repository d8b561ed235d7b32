/* The part of PKCS #11 v2.40 (OASIS) that the soft token needs: types,
 * constants and the order of the function list, as the standard gives them.
 * On Windows every structure is packed to one byte (v2.40 base, section 2.1);
 * CK_ULONG is an unsigned long: 4 bytes there, 8 on 64-bit Linux and macOS. */
#ifndef CRYPTOKI_H
#define CRYPTOKI_H

#ifdef _WIN32
#pragma pack(push, 1)
#define CK_EXPORT __declspec(dllexport)
#else
#define CK_EXPORT __attribute__((visibility("default")))
#endif

typedef unsigned char CK_BYTE, CK_CHAR, CK_UTF8CHAR, CK_BBOOL;
typedef unsigned long CK_ULONG, CK_FLAGS, CK_RV, CK_SLOT_ID, CK_SESSION_HANDLE, CK_OBJECT_HANDLE, CK_NOTIFICATION,
	CK_USER_TYPE, CK_STATE, CK_ATTRIBUTE_TYPE, CK_MECHANISM_TYPE, CK_OBJECT_CLASS, CK_KEY_TYPE, CK_CERTIFICATE_TYPE;
typedef void *CK_VOID_PTR;
typedef CK_BYTE *CK_BYTE_PTR;
typedef CK_UTF8CHAR *CK_UTF8CHAR_PTR;
typedef CK_ULONG *CK_ULONG_PTR;

#define CK_UNAVAILABLE_INFORMATION (~0UL)

typedef struct {
	CK_BYTE major, minor;
} CK_VERSION;

typedef struct {
	CK_VERSION cryptokiVersion;
	CK_UTF8CHAR manufacturerID[32];
	CK_FLAGS flags;
	CK_UTF8CHAR libraryDescription[32];
	CK_VERSION libraryVersion;
} CK_INFO;

typedef struct {
	CK_UTF8CHAR slotDescription[64];
	CK_UTF8CHAR manufacturerID[32];
	CK_FLAGS flags;
	CK_VERSION hardwareVersion, firmwareVersion;
} CK_SLOT_INFO;

typedef struct {
	CK_UTF8CHAR label[32];
	CK_UTF8CHAR manufacturerID[32];
	CK_UTF8CHAR model[16];
	CK_CHAR serialNumber[16];
	CK_FLAGS flags;
	CK_ULONG ulMaxSessionCount, ulSessionCount, ulMaxRwSessionCount, ulRwSessionCount;
	CK_ULONG ulMaxPinLen, ulMinPinLen;
	CK_ULONG ulTotalPublicMemory, ulFreePublicMemory, ulTotalPrivateMemory, ulFreePrivateMemory;
	CK_VERSION hardwareVersion, firmwareVersion;
	CK_CHAR utcTime[16];
} CK_TOKEN_INFO;

typedef struct {
	CK_SLOT_ID slotID;
	CK_STATE state;
	CK_FLAGS flags;
	CK_ULONG ulDeviceError;
} CK_SESSION_INFO;

typedef struct {
	CK_ATTRIBUTE_TYPE type;
	CK_VOID_PTR pValue;
	CK_ULONG ulValueLen;
} CK_ATTRIBUTE;

typedef struct {
	CK_MECHANISM_TYPE mechanism;
	CK_VOID_PTR pParameter;
	CK_ULONG ulParameterLen;
} CK_MECHANISM;

typedef struct {
	CK_ULONG ulMinKeySize, ulMaxKeySize;
	CK_FLAGS flags;
} CK_MECHANISM_INFO;

typedef struct {
	CK_MECHANISM_TYPE hashAlg;
	CK_ULONG mgf;
	CK_ULONG sLen;
} CK_RSA_PKCS_PSS_PARAMS;

typedef struct {
	CK_VOID_PTR CreateMutex, DestroyMutex, LockMutex, UnlockMutex;
	CK_FLAGS flags;
	CK_VOID_PTR pReserved;
} CK_C_INITIALIZE_ARGS;

typedef CK_RV (*CK_NOTIFY)(CK_SESSION_HANDLE, CK_NOTIFICATION, CK_VOID_PTR);
typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST;

/* Every function of the standard, in the order of the list: X(name, (types)). */
#define CK_S CK_SESSION_HANDLE
#define CK_O CK_OBJECT_HANDLE
#define CK_B CK_BYTE_PTR
#define CK_L CK_ULONG
#define CK_P CK_ULONG_PTR
#define CK_FUNCTIONS(X) \
	X(C_Initialize, (CK_VOID_PTR)) \
	X(C_Finalize, (CK_VOID_PTR)) \
	X(C_GetInfo, (CK_INFO *)) \
	X(C_GetFunctionList, (CK_FUNCTION_LIST **)) \
	X(C_GetSlotList, (CK_BBOOL, CK_SLOT_ID *, CK_P)) \
	X(C_GetSlotInfo, (CK_SLOT_ID, CK_SLOT_INFO *)) \
	X(C_GetTokenInfo, (CK_SLOT_ID, CK_TOKEN_INFO *)) \
	X(C_GetMechanismList, (CK_SLOT_ID, CK_MECHANISM_TYPE *, CK_P)) \
	X(C_GetMechanismInfo, (CK_SLOT_ID, CK_MECHANISM_TYPE, CK_MECHANISM_INFO *)) \
	X(C_InitToken, (CK_SLOT_ID, CK_UTF8CHAR_PTR, CK_L, CK_UTF8CHAR_PTR)) \
	X(C_InitPIN, (CK_S, CK_UTF8CHAR_PTR, CK_L)) \
	X(C_SetPIN, (CK_S, CK_UTF8CHAR_PTR, CK_L, CK_UTF8CHAR_PTR, CK_L)) \
	X(C_OpenSession, (CK_SLOT_ID, CK_FLAGS, CK_VOID_PTR, CK_NOTIFY, CK_SESSION_HANDLE *)) \
	X(C_CloseSession, (CK_S)) \
	X(C_CloseAllSessions, (CK_SLOT_ID)) \
	X(C_GetSessionInfo, (CK_S, CK_SESSION_INFO *)) \
	X(C_GetOperationState, (CK_S, CK_B, CK_P)) \
	X(C_SetOperationState, (CK_S, CK_B, CK_L, CK_O, CK_O)) \
	X(C_Login, (CK_S, CK_USER_TYPE, CK_UTF8CHAR_PTR, CK_L)) \
	X(C_Logout, (CK_S)) \
	X(C_CreateObject, (CK_S, CK_ATTRIBUTE *, CK_L, CK_OBJECT_HANDLE *)) \
	X(C_CopyObject, (CK_S, CK_O, CK_ATTRIBUTE *, CK_L, CK_OBJECT_HANDLE *)) \
	X(C_DestroyObject, (CK_S, CK_O)) \
	X(C_GetObjectSize, (CK_S, CK_O, CK_P)) \
	X(C_GetAttributeValue, (CK_S, CK_O, CK_ATTRIBUTE *, CK_L)) \
	X(C_SetAttributeValue, (CK_S, CK_O, CK_ATTRIBUTE *, CK_L)) \
	X(C_FindObjectsInit, (CK_S, CK_ATTRIBUTE *, CK_L)) \
	X(C_FindObjects, (CK_S, CK_OBJECT_HANDLE *, CK_L, CK_P)) \
	X(C_FindObjectsFinal, (CK_S)) \
	X(C_EncryptInit, (CK_S, CK_MECHANISM *, CK_O)) \
	X(C_Encrypt, (CK_S, CK_B, CK_L, CK_B, CK_P)) \
	X(C_EncryptUpdate, (CK_S, CK_B, CK_L, CK_B, CK_P)) \
	X(C_EncryptFinal, (CK_S, CK_B, CK_P)) \
	X(C_DecryptInit, (CK_S, CK_MECHANISM *, CK_O)) \
	X(C_Decrypt, (CK_S, CK_B, CK_L, CK_B, CK_P)) \
	X(C_DecryptUpdate, (CK_S, CK_B, CK_L, CK_B, CK_P)) \
	X(C_DecryptFinal, (CK_S, CK_B, CK_P)) \
	X(C_DigestInit, (CK_S, CK_MECHANISM *)) \
	X(C_Digest, (CK_S, CK_B, CK_L, CK_B, CK_P)) \
	X(C_DigestUpdate, (CK_S, CK_B, CK_L)) \
	X(C_DigestKey, (CK_S, CK_O)) \
	X(C_DigestFinal, (CK_S, CK_B, CK_P)) \
	X(C_SignInit, (CK_S, CK_MECHANISM *, CK_O)) \
	X(C_Sign, (CK_S, CK_B, CK_L, CK_B, CK_P)) \
	X(C_SignUpdate, (CK_S, CK_B, CK_L)) \
	X(C_SignFinal, (CK_S, CK_B, CK_P)) \
	X(C_SignRecoverInit, (CK_S, CK_MECHANISM *, CK_O)) \
	X(C_SignRecover, (CK_S, CK_B, CK_L, CK_B, CK_P)) \
	X(C_VerifyInit, (CK_S, CK_MECHANISM *, CK_O)) \
	X(C_Verify, (CK_S, CK_B, CK_L, CK_B, CK_L)) \
	X(C_VerifyUpdate, (CK_S, CK_B, CK_L)) \
	X(C_VerifyFinal, (CK_S, CK_B, CK_L)) \
	X(C_VerifyRecoverInit, (CK_S, CK_MECHANISM *, CK_O)) \
	X(C_VerifyRecover, (CK_S, CK_B, CK_L, CK_B, CK_P)) \
	X(C_DigestEncryptUpdate, (CK_S, CK_B, CK_L, CK_B, CK_P)) \
	X(C_DecryptDigestUpdate, (CK_S, CK_B, CK_L, CK_B, CK_P)) \
	X(C_SignEncryptUpdate, (CK_S, CK_B, CK_L, CK_B, CK_P)) \
	X(C_DecryptVerifyUpdate, (CK_S, CK_B, CK_L, CK_B, CK_P)) \
	X(C_GenerateKey, (CK_S, CK_MECHANISM *, CK_ATTRIBUTE *, CK_L, CK_OBJECT_HANDLE *)) \
	X(C_GenerateKeyPair, (CK_S, CK_MECHANISM *, CK_ATTRIBUTE *, CK_L, CK_ATTRIBUTE *, CK_L, CK_OBJECT_HANDLE *, CK_OBJECT_HANDLE *)) \
	X(C_WrapKey, (CK_S, CK_MECHANISM *, CK_O, CK_O, CK_B, CK_P)) \
	X(C_UnwrapKey, (CK_S, CK_MECHANISM *, CK_O, CK_B, CK_L, CK_ATTRIBUTE *, CK_L, CK_OBJECT_HANDLE *)) \
	X(C_DeriveKey, (CK_S, CK_MECHANISM *, CK_O, CK_ATTRIBUTE *, CK_L, CK_OBJECT_HANDLE *)) \
	X(C_SeedRandom, (CK_S, CK_B, CK_L)) \
	X(C_GenerateRandom, (CK_S, CK_B, CK_L)) \
	X(C_GetFunctionStatus, (CK_S)) \
	X(C_CancelFunction, (CK_S)) \
	X(C_WaitForSlotEvent, (CK_FLAGS, CK_SLOT_ID *, CK_VOID_PTR))

#define CK_MEMBER(name, args) CK_RV (*name) args;
struct CK_FUNCTION_LIST {
	CK_VERSION version;
	CK_FUNCTIONS(CK_MEMBER)
};
#define CK_PROTOTYPE(name, args) CK_RV name args;
CK_FUNCTIONS(CK_PROTOTYPE)
CK_EXPORT CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);

/* CKF_ of the info structures, sessions, C_Initialize and C_WaitForSlotEvent. */
enum {
	CKF_TOKEN_PRESENT = 1, CKF_REMOVABLE_DEVICE = 2,
	CKF_RNG = 1, CKF_LOGIN_REQUIRED = 4, CKF_USER_PIN_INITIALIZED = 8, CKF_PROTECTED_AUTHENTICATION_PATH = 0x100, CKF_TOKEN_INITIALIZED = 0x400,
	CKF_USER_PIN_COUNT_LOW = 0x10000, CKF_USER_PIN_FINAL_TRY = 0x20000, CKF_USER_PIN_LOCKED = 0x40000, CKF_USER_PIN_TO_BE_CHANGED = 0x80000,
	CKF_SO_PIN_COUNT_LOW = 0x100000, CKF_SO_PIN_FINAL_TRY = 0x200000, CKF_SO_PIN_LOCKED = 0x400000,
	CKF_SIGN = 0x800, CKF_EC_F_P = 0x100000, CKF_EC_NAMEDCURVE = 0x800000, CKF_EC_UNCOMPRESS = 0x1000000,
	CKF_RW_SESSION = 2, CKF_SERIAL_SESSION = 4, CKF_OS_LOCKING_OK = 2, CKF_DONT_BLOCK = 1
};
enum { CKS_RO_PUBLIC_SESSION, CKS_RO_USER_FUNCTIONS, CKS_RW_PUBLIC_SESSION, CKS_RW_USER_FUNCTIONS, CKS_RW_SO_FUNCTIONS };
enum { CKU_SO, CKU_USER, CKU_CONTEXT_SPECIFIC };
enum { CKO_CERTIFICATE = 1, CKO_PUBLIC_KEY = 2, CKO_PRIVATE_KEY = 3 };
enum { CKK_RSA = 0, CKK_EC = 3 };
enum { CKM_RSA_PKCS = 1, CKM_RSA_PKCS_PSS = 0xd, CKM_SHA256 = 0x250, CKM_SHA384 = 0x260, CKM_SHA512 = 0x270, CKM_ECDSA = 0x1041 };
enum { CKG_MGF1_SHA256 = 2, CKG_MGF1_SHA384 = 3, CKG_MGF1_SHA512 = 4 };
enum {
	CKA_CLASS = 0, CKA_TOKEN = 1, CKA_PRIVATE = 2, CKA_LABEL = 3, CKA_VALUE = 0x11, CKA_CERTIFICATE_TYPE = 0x80, CKA_ISSUER = 0x81,
	CKA_SERIAL_NUMBER = 0x82, CKA_TRUSTED = 0x86, CKA_CERTIFICATE_CATEGORY = 0x87, CKA_KEY_TYPE = 0x100, CKA_SUBJECT = 0x101,
	CKA_ID = 0x102, CKA_SENSITIVE = 0x103, CKA_ENCRYPT = 0x104, CKA_DECRYPT = 0x105, CKA_WRAP = 0x106, CKA_UNWRAP = 0x107,
	CKA_SIGN = 0x108, CKA_SIGN_RECOVER = 0x109, CKA_VERIFY = 0x10a, CKA_VERIFY_RECOVER = 0x10b, CKA_DERIVE = 0x10c,
	CKA_MODULUS = 0x120, CKA_MODULUS_BITS = 0x121, CKA_PUBLIC_EXPONENT = 0x122, CKA_PRIVATE_EXPONENT = 0x123, CKA_COEFFICIENT = 0x128,
	CKA_EXTRACTABLE = 0x162, CKA_LOCAL = 0x163, CKA_NEVER_EXTRACTABLE = 0x164, CKA_ALWAYS_SENSITIVE = 0x165, CKA_MODIFIABLE = 0x170,
	CKA_EC_PARAMS = 0x180, CKA_EC_POINT = 0x181, CKA_ALWAYS_AUTHENTICATE = 0x202
};
enum {
	CKR_OK = 0, CKR_HOST_MEMORY = 2, CKR_SLOT_ID_INVALID = 3, CKR_GENERAL_ERROR = 5, CKR_ARGUMENTS_BAD = 7, CKR_NO_EVENT = 8,
	CKR_CANT_LOCK = 0xa, CKR_ATTRIBUTE_SENSITIVE = 0x11, CKR_ATTRIBUTE_TYPE_INVALID = 0x12, CKR_DATA_LEN_RANGE = 0x21,
	CKR_DEVICE_ERROR = 0x30, CKR_DEVICE_REMOVED = 0x32, CKR_FUNCTION_CANCELED = 0x50, CKR_FUNCTION_NOT_PARALLEL = 0x51, CKR_FUNCTION_NOT_SUPPORTED = 0x54,
	CKR_KEY_HANDLE_INVALID = 0x60, CKR_KEY_TYPE_INCONSISTENT = 0x63, CKR_MECHANISM_INVALID = 0x70, CKR_MECHANISM_PARAM_INVALID = 0x71,
	CKR_OBJECT_HANDLE_INVALID = 0x82, CKR_OPERATION_ACTIVE = 0x90, CKR_OPERATION_NOT_INITIALIZED = 0x91, CKR_PIN_INCORRECT = 0xa0,
	CKR_PIN_INVALID = 0xa1, CKR_PIN_LEN_RANGE = 0xa2, CKR_PIN_LOCKED = 0xa4, CKR_SESSION_COUNT = 0xb1, CKR_SESSION_HANDLE_INVALID = 0xb3,
	CKR_SESSION_PARALLEL_NOT_SUPPORTED = 0xb4, CKR_SESSION_READ_ONLY = 0xb5, CKR_SESSION_READ_ONLY_EXISTS = 0xb7, CKR_SESSION_READ_WRITE_SO_EXISTS = 0xb8,
	 CKR_TOKEN_NOT_PRESENT = 0xe0, CKR_USER_ALREADY_LOGGED_IN = 0x100,
	CKR_USER_NOT_LOGGED_IN = 0x101, CKR_USER_PIN_NOT_INITIALIZED = 0x102, CKR_USER_TYPE_INVALID = 0x103, CKR_USER_ANOTHER_ALREADY_LOGGED_IN = 0x104, CKR_RANDOM_SEED_NOT_SUPPORTED = 0x120, CKR_BUFFER_TOO_SMALL = 0x150,
	CKR_CRYPTOKI_NOT_INITIALIZED = 0x190, CKR_CRYPTOKI_ALREADY_INITIALIZED = 0x191
};

#ifdef _WIN32
#pragma pack(pop)
#endif
#endif
