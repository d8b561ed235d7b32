/* Functions of the standard that a token of this kind does not do: no object
 * is made, changed or decrypted on it. All of them answer alike. */
#include "cryptoki.h"

#define NO1(name, A) CK_RV name(A a) { (void)a; return CKR_FUNCTION_NOT_SUPPORTED; }
#define NO2(name, A, B) CK_RV name(A a, B b) { (void)a, (void)b; return CKR_FUNCTION_NOT_SUPPORTED; }
#define NO3(name, A, B, C) CK_RV name(A a, B b, C c) { (void)a, (void)b, (void)c; return CKR_FUNCTION_NOT_SUPPORTED; }
#define NO4(name, A, B, C, D) CK_RV name(A a, B b, C c, D d) { (void)a, (void)b, (void)c, (void)d; return CKR_FUNCTION_NOT_SUPPORTED; }
#define NO5(name, A, B, C, D, E) CK_RV name(A a, B b, C c, D d, E e) { (void)a, (void)b, (void)c, (void)d, (void)e; return CKR_FUNCTION_NOT_SUPPORTED; }
#define NO6(name, A, B, C, D, E, F) CK_RV name(A a, B b, C c, D d, E e, F f) \
	{ (void)a, (void)b, (void)c, (void)d, (void)e, (void)f; return CKR_FUNCTION_NOT_SUPPORTED; }
#define NO8(name, A, B, C, D, E, F, G, H) CK_RV name(A a, B b, C c, D d, E e, F f, G g, H h) \
	{ (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h; return CKR_FUNCTION_NOT_SUPPORTED; }

NO4(C_InitToken, CK_SLOT_ID, CK_UTF8CHAR_PTR, CK_L, CK_UTF8CHAR_PTR)
NO3(C_GetOperationState, CK_S, CK_B, CK_P)
NO5(C_SetOperationState, CK_S, CK_B, CK_L, CK_O, CK_O)
NO4(C_CreateObject, CK_S, CK_ATTRIBUTE *, CK_L, CK_OBJECT_HANDLE *)
NO5(C_CopyObject, CK_S, CK_O, CK_ATTRIBUTE *, CK_L, CK_OBJECT_HANDLE *)
NO2(C_DestroyObject, CK_S, CK_O)
NO3(C_GetObjectSize, CK_S, CK_O, CK_P)
NO4(C_SetAttributeValue, CK_S, CK_O, CK_ATTRIBUTE *, CK_L)
NO3(C_EncryptInit, CK_S, CK_MECHANISM *, CK_O)
NO5(C_Encrypt, CK_S, CK_B, CK_L, CK_B, CK_P)
NO5(C_EncryptUpdate, CK_S, CK_B, CK_L, CK_B, CK_P)
NO3(C_EncryptFinal, CK_S, CK_B, CK_P)
NO3(C_DecryptInit, CK_S, CK_MECHANISM *, CK_O)
NO5(C_Decrypt, CK_S, CK_B, CK_L, CK_B, CK_P)
NO5(C_DecryptUpdate, CK_S, CK_B, CK_L, CK_B, CK_P)
NO3(C_DecryptFinal, CK_S, CK_B, CK_P)
NO2(C_DigestInit, CK_S, CK_MECHANISM *)
NO5(C_Digest, CK_S, CK_B, CK_L, CK_B, CK_P)
NO3(C_DigestUpdate, CK_S, CK_B, CK_L)
NO2(C_DigestKey, CK_S, CK_O)
NO3(C_DigestFinal, CK_S, CK_B, CK_P)
NO3(C_SignUpdate, CK_S, CK_B, CK_L)
NO3(C_SignFinal, CK_S, CK_B, CK_P)
NO3(C_SignRecoverInit, CK_S, CK_MECHANISM *, CK_O)
NO5(C_SignRecover, CK_S, CK_B, CK_L, CK_B, CK_P)
NO3(C_VerifyInit, CK_S, CK_MECHANISM *, CK_O)
NO5(C_Verify, CK_S, CK_B, CK_L, CK_B, CK_L)
NO3(C_VerifyUpdate, CK_S, CK_B, CK_L)
NO3(C_VerifyFinal, CK_S, CK_B, CK_L)
NO3(C_VerifyRecoverInit, CK_S, CK_MECHANISM *, CK_O)
NO5(C_VerifyRecover, CK_S, CK_B, CK_L, CK_B, CK_P)
NO5(C_DigestEncryptUpdate, CK_S, CK_B, CK_L, CK_B, CK_P)
NO5(C_DecryptDigestUpdate, CK_S, CK_B, CK_L, CK_B, CK_P)
NO5(C_SignEncryptUpdate, CK_S, CK_B, CK_L, CK_B, CK_P)
NO5(C_DecryptVerifyUpdate, CK_S, CK_B, CK_L, CK_B, CK_P)
NO5(C_GenerateKey, CK_S, CK_MECHANISM *, CK_ATTRIBUTE *, CK_L, CK_OBJECT_HANDLE *)
NO8(C_GenerateKeyPair, CK_S, CK_MECHANISM *, CK_ATTRIBUTE *, CK_L, CK_ATTRIBUTE *, CK_L, CK_OBJECT_HANDLE *, CK_OBJECT_HANDLE *)
NO6(C_WrapKey, CK_S, CK_MECHANISM *, CK_O, CK_O, CK_B, CK_P)
NO8(C_UnwrapKey, CK_S, CK_MECHANISM *, CK_O, CK_B, CK_L, CK_ATTRIBUTE *, CK_L, CK_OBJECT_HANDLE *)
NO6(C_DeriveKey, CK_S, CK_MECHANISM *, CK_O, CK_ATTRIBUTE *, CK_L, CK_OBJECT_HANDLE *)

CK_RV C_SeedRandom(CK_SESSION_HANDLE h, CK_BYTE_PTR seed, CK_ULONG len)
{
	(void)h, (void)seed, (void)len;
	return CKR_RANDOM_SEED_NOT_SUPPORTED;
}

CK_RV C_GetFunctionStatus(CK_SESSION_HANDLE h)
{
	(void)h;
	return CKR_FUNCTION_NOT_PARALLEL;
}

CK_RV C_CancelFunction(CK_SESSION_HANDLE h)
{
	(void)h;
	return CKR_FUNCTION_NOT_PARALLEL;
}
