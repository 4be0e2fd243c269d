/* A PKCS#11 module that does not keep to the rules. What it does is said by the file "hostile" in
 * the working folder: one word. Otherwise it is a token "hostile" whose key is a XOR with its PIN.
 */
#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list) __attribute__((visibility("default")));

static bool does(const char *what)
{
	char word[32] = "";
	FILE *f = fopen("hostile", "re");

	if (f != NULL) {
		if (fgets(word, sizeof(word), f) == NULL) {
			word[0] = '\0';
		}
		(void)fclose(f);
	}
	return strcmp(word, what) == 0;
}

static CK_RV initialize(void *reserved)
{
	(void)reserved;
	if (does("crash")) {
		abort();
	}
	if (does("exit")) {
		exit(0);
	}
	if (does("flood")) { /* It finds the pipe and says that all is well. */
		static const char zeros[4096];
		for (int fd = 3; fd < 64; fd++) {
			(void)!write(fd, zeros, sizeof(zeros));
		}
	}
	return does("no-init") ? CKR_GENERAL_ERROR : CKR_OK;
}

static CK_RV slot_list(unsigned char present, CK_SLOT_ID *slots, CK_ULONG *count)
{
	(void)present;
	if (does("many-slots")) {
		*count = 1UL << 40;
		return CKR_OK;
	}
	*count = does("no-slot") ? 0 : 1;
	slots[0] = 7;
	return CKR_OK;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	(void)slot;
	memset(info, does("no-spaces") ? 0xff : ' ', sizeof(*info));
	if (!does("no-spaces")) {
		memcpy(info->label, "hostile", 7);
	}
	memcpy(info->serialNumber, does("other-token") ? "2" : "1", 1);
	info->flags = CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED | CKF_LOGIN_REQUIRED;
	info->flags |= does("locked") ? CKF_USER_PIN_LOCKED : 0;
	info->flags |= does("final-try") ? CKF_USER_PIN_FINAL_TRY : 0;
	return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *arg, CK_NOTIFY notify,
			  CK_SESSION_HANDLE *session)
{
	(void)slot;
	(void)flags;
	(void)arg;
	(void)notify;
	*session = 1;
	return CKR_OK;
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin, CK_ULONG size)
{
	(void)session;
	(void)user;
	FILE *f = fopen("tries", "ae"); /* Who asks twice is found out. */
	if (f != NULL) {
		(void)fputs("x", f);
		(void)fclose(f);
	}
	if (does("pin-locked")) {
		return CKR_PIN_LOCKED;
	}
	return size == 4 && memcmp(pin, "1234", 4) == 0 ? CKR_OK : CKR_PIN_INCORRECT;
}

static CK_RV find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *wanted, CK_ULONG count)
{
	(void)session;
	(void)wanted;
	(void)count;
	return CKR_OK;
}

static CK_RV find(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *keys, CK_ULONG room, CK_ULONG *count)
{
	(void)session;
	(void)room;
	*count = does("many-keys") ? 1UL << 33 : does("no-key") ? 0 : does("two-keys") ? 2 : 1;
	keys[0] = 1;
	return CKR_OK;
}

static CK_RV find_final(CK_SESSION_HANDLE session)
{
	(void)session;
	return CKR_OK;
}

static CK_RV attributes(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_ATTRIBUTE *a,
			CK_ULONG count)
{
	(void)session;
	(void)key;
	if (count == 2) {
		*(unsigned char *)a[0].pValue = 1;
		*(unsigned char *)a[1].pValue = does("extractable") ? 1 : 0;
	}
	return CKR_OK;
}

static CK_RV mechanism_info(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
	(void)slot;
	if (does("no-aes") || (type == CKM_AES_GCM && does("cbc"))) {
		return CKR_MECHANISM_INVALID;
	}
	info->flags = CKF_ENCRYPT | CKF_DECRYPT;
	return CKR_OK;
}

static CK_RV generate(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *a,
		      CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	(void)session;
	(void)mechanism;
	(void)a;
	(void)count;
	(void)key;
	return CKR_FUNCTION_FAILED;
}

static CK_RV crypt_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	(void)session;
	(void)mechanism;
	(void)key;
	return CKR_OK;
}

static CK_RV encrypt(CK_SESSION_HANDLE session, unsigned char *in, CK_ULONG in_size,
		     unsigned char *out, CK_ULONG *size)
{
	(void)session;
	if (does("overlong")) {
		*size = 1UL << 40;
		return CKR_OK;
	}
	memset(out, 0, in_size + 16);
	for (CK_ULONG i = 0; i < in_size; i++) {
		out[i] = in[i] ^ 0x5a;
	}
	*size = in_size + 16;
	return CKR_OK;
}

static CK_RV decrypt(CK_SESSION_HANDLE session, unsigned char *in, CK_ULONG in_size,
		     unsigned char *out, CK_ULONG *size)
{
	(void)session;
	for (CK_ULONG i = 0; i < in_size - 16; i++) {
		out[i] = in[i] ^ (does("lies") ? 0x5b : 0x5a);
	}
	*size = does("short") ? 5 : in_size - 16;
	return CKR_OK;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	static CK_FUNCTION_LIST f;

	if (does("null-list")) {
		*list = NULL;
		return CKR_OK;
	}
	f.version.major = does("version-3") ? 3 : 2;
	f.C_Initialize = initialize;
	f.C_GetSlotList = slot_list;
	f.C_GetTokenInfo = token_info;
	f.C_OpenSession = open_session;
	f.C_Login = login;
	f.C_FindObjectsInit = find_init;
	f.C_FindObjects = find;
	f.C_FindObjectsFinal = find_final;
	f.C_GetAttributeValue = attributes;
	f.C_GetMechanismInfo = mechanism_info;
	f.C_GenerateKey = generate;
	f.C_EncryptInit = crypt_init;
	f.C_Encrypt = encrypt;
	f.C_DecryptInit = crypt_init;
	f.C_Decrypt = does("no-decrypt") ? NULL : decrypt;
	*list = &f;
	return CKR_OK;
}
