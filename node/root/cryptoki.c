/* Cryptoki (PKCS#11 2.40), called directly. Runs in a child process: see token.c.
 *
 * The token does one thing: its AES key encrypts 32 random bytes of ours, and decrypts them again.
 * The root itself is sealed under these (node/crypto/box), so that what a token answers is
 * authenticated whatever its mechanism is: AES-GCM where it has it, else AES-CBC with padding. */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/crypto/sign.h"
#include "node/root/root_internal.h"

#define SLOTS_MAX 64

struct token {
	struct token_job *job;
	const char *module;
	CK_FUNCTION_LIST *f;
	CK_SLOT_ID slot;
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE key;
	CK_MECHANISM_TYPE mechanism;
	char serial[17];
};

static int module_fail(struct et_error *reterr, const char *module, const char *what, CK_RV rv)
{
	(void)et_fail_plain(reterr, ET_EMODULE, "PKCS#11 module '%s': %s (CKR 0x%lx)", module, what,
			    (unsigned long)rv);
	return et_fail_next(reterr, "pkcs11-tool --module %.120s -T", module);
}

/* Only who may write the program of this node may write code that runs in it. */
static int module_check(const char *path, struct et_error *reterr)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		(void)et_fail(reterr, ET_EMODULE, "PKCS#11 module '%s': %s", path, strerror(errno));
		return et_fail_next(reterr, "install the token's module, or correct module-path");
	}
	if (!S_ISREG(st.st_mode) || (st.st_mode & 022) != 0 ||
	    (st.st_uid != 0 && st.st_uid != geteuid())) {
		(void)et_fail_plain(reterr, ET_EKEYPERM,
				    "PKCS#11 module '%s': others can change what it does (mode "
				    "%04o, user %u)",
				    path, (unsigned)st.st_mode & 07777, (unsigned)st.st_uid);
		return et_fail_next(reterr, "chown root '%.80s' && chmod go-w '%.80s'", path, path);
	}
	return 0;
}

static int module_open(struct token *t, struct et_error *reterr)
{
	CK_C_GetFunctionList get = NULL;

	int rc = module_check(t->module, reterr);
	if (rc < 0) {
		return rc;
	}
	void *library = dlopen(t->module, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL) {
		return et_fail_plain(reterr, ET_EMODULE, "PKCS#11 module '%s': %s", t->module,
				     dlerror());
	}
	void *symbol = dlsym(library, "C_GetFunctionList");
	memcpy(&get, &symbol, sizeof(get));
	if (get == NULL) {
		return et_fail_plain(reterr, ET_EMODULE,
				     "'%s' is no PKCS#11 module: it has no C_GetFunctionList",
				     t->module);
	}
	CK_RV rv = get(&t->f);
	const CK_FUNCTION_LIST *f = t->f;
	if (rv != CKR_OK || f == NULL || f->version.major != 2 || f->C_Initialize == NULL ||
	    f->C_GetSlotList == NULL || f->C_GetTokenInfo == NULL || f->C_OpenSession == NULL ||
	    f->C_Login == NULL || f->C_FindObjectsInit == NULL || f->C_FindObjects == NULL ||
	    f->C_FindObjectsFinal == NULL || f->C_GetAttributeValue == NULL ||
	    f->C_GetMechanismInfo == NULL || f->C_GenerateKey == NULL || f->C_EncryptInit == NULL ||
	    f->C_Encrypt == NULL || f->C_DecryptInit == NULL || f->C_Decrypt == NULL) {
		return module_fail(reterr, t->module, "it offers no PKCS#11 of version 2", rv);
	}
	rv = f->C_Initialize(NULL);
	return rv == CKR_OK ? 0 : module_fail(reterr, t->module, "it does not initialize", rv);
}

/* Text of Cryptoki: padded with spaces, no NUL; printable or '?'. */
static void field_text(const CK_UTF8CHAR *field, size_t size, char *ret)
{
	while (size > 0 && (field[size - 1] == ' ' || field[size - 1] == '\0')) {
		size--;
	}
	for (size_t i = 0; i < size; i++) {
		ret[i] = (char)(field[i] >= ' ' && field[i] != 0x7f ? field[i] : '?');
	}
	ret[size] = '\0';
}

static void token_absent(const struct token *t, const char *there, struct et_error *reterr)
{
	const struct et_root_spec *s = t->job->spec;

	(void)et_fail_plain(reterr, ET_ETOKENABSENT, "token '%s'%s%s is not there; %s%s", s->token,
			    s->serial[0] != '\0' ? " with serial " : "", s->serial,
			    there[0] != '\0' ? "there are:" : "there is no token", there);
	(void)et_fail_next(reterr, "plug it in; pkcs11-tool --module %.120s -L", t->module);
}

/* A PIN is tried when a failure locks nothing. */
static int token_may_try(const struct token *t, CK_FLAGS flags, struct et_error *reterr)
{
	const char *label = t->job->spec->token;

	if ((flags & CKF_USER_PIN_LOCKED) != 0) {
		(void)et_fail_plain(reterr, ET_ETOKENLOCKED, "the PIN of token '%s' is locked",
				    label);
		return et_fail_next(reterr,
				    "unlock it as its security officer: pkcs11-tool "
				    "--module %.80s --init-pin --login --login-type so",
				    t->module);
	}
	if ((flags & CKF_USER_PIN_FINAL_TRY) != 0) {
		(void)et_fail_plain(reterr, ET_ETOKENLOCKED,
				    "the PIN of token '%s' was wrong so often that one try is "
				    "left: it is not used up here",
				    label);
		return et_fail_next(reterr,
				    "log in by hand with the right PIN, which resets the "
				    "count: pkcs11-tool --module %.60s --login -O",
				    t->module);
	}
	if ((flags & CKF_TOKEN_INITIALIZED) == 0 || (flags & CKF_USER_PIN_INITIALIZED) == 0) {
		return et_fail_plain(reterr, ET_ETOKENABSENT,
				     "token '%s' is not initialized, or has no user PIN", label);
	}
	return 0;
}

static int token_find(struct token *t, struct et_error *reterr)
{
	const struct et_root_spec *s = t->job->spec;
	CK_SLOT_ID slots[SLOTS_MAX];
	CK_ULONG count = SLOTS_MAX;
	CK_TOKEN_INFO info;
	CK_FLAGS flags = 0;
	char there[200] = "";
	unsigned found = 0;

	CK_RV rv = t->f->C_GetSlotList(CK_TRUE, slots, &count);
	if (rv != CKR_OK || count > SLOTS_MAX) {
		return module_fail(reterr, t->module, "it does not list its slots", rv);
	}
	for (CK_ULONG i = 0; i < count; i++) {
		char label[33];
		char serial[17];
		memset(&info, 0, sizeof(info));
		if (t->f->C_GetTokenInfo(slots[i], &info) != CKR_OK) {
			continue;
		}
		field_text(info.label, sizeof(info.label), label);
		field_text(info.serialNumber, sizeof(info.serialNumber), serial);
		size_t used = strlen(there);
		(void)snprintf(there + used, sizeof(there) - used, " '%s' (%s)", label, serial);
		if (strcmp(label, s->token) != 0 ||
		    (s->serial[0] != '\0' && strcmp(serial, s->serial) != 0)) {
			continue;
		}
		found++;
		t->slot = slots[i];
		flags = info.flags;
		(void)snprintf(t->serial, sizeof(t->serial), "%s", serial);
	}
	if (found == 0) {
		token_absent(t, there, reterr);
		return ET_ETOKENABSENT;
	}
	if (found > 1) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "%u tokens are labelled '%s': name one with serial=; there "
				     "are:%s",
				     found, s->token, there);
	}
	if (!t->job->wraps && strcmp(t->serial, t->job->slot.serial) != 0) {
		(void)et_fail_plain(reterr, ET_ETOKENWRONG,
				    "token '%s' has serial %s, but this root was sealed by the one "
				    "with serial %s",
				    s->token, t->serial, t->job->slot.serial);
		return et_fail_next(reterr, "plug in that token; evertape key root show");
	}
	return token_may_try(t, flags, reterr);
}

static int token_login(struct token *t, struct et_error *reterr)
{
	const struct et_secret *pin = t->job->pin;
	uint8_t text[ET_SECRET_SIZE_MAX];
	size_t size = et_secret_size(pin);

	CK_RV rv = t->f->C_OpenSession(t->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
				       &t->session);
	if (rv != CKR_OK) {
		return module_fail(reterr, t->module, "no session with the token", rv);
	}
	memcpy(text, et_secret_bytes(pin), size);
	rv = t->f->C_Login(t->session, CKU_USER, text, size);
	explicit_bzero(text, sizeof(text));
	if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN) {
		return 0;
	}
	if (rv == CKR_PIN_INCORRECT || rv == CKR_PIN_INVALID || rv == CKR_PIN_LEN_RANGE) {
		(void)et_fail_plain(reterr, ET_EROOTSECRET, "the PIN of token '%s' is wrong",
				    t->job->spec->token);
		return et_fail_next(reterr, "correct it where pin-source names it; it is not "
					    "tried again until evertaped is restarted");
	}
	if (rv == CKR_PIN_LOCKED) {
		return token_may_try(t, CKF_USER_PIN_LOCKED, reterr);
	}
	return module_fail(reterr, t->module, "it does not log in", rv);
}

static CK_RV key_search(struct token *t, CK_OBJECT_HANDLE keys[2], CK_ULONG *count)
{
	const struct et_root_spec *s = t->job->spec;
	CK_OBJECT_CLASS class = CKO_SECRET_KEY;
	CK_KEY_TYPE type = CKK_AES;
	char label[sizeof(s->object)];
	uint8_t id[sizeof(s->id)];
	CK_ATTRIBUTE wanted[4] = { { CKA_CLASS, &class, sizeof(class) },
				   { CKA_KEY_TYPE, &type, sizeof(type) } };
	CK_ULONG n = 2;

	memcpy(label, s->object, sizeof(label));
	memcpy(id, s->id, sizeof(id));
	if (label[0] != '\0') {
		wanted[n++] = (CK_ATTRIBUTE){ CKA_LABEL, label, strlen(label) };
	}
	if (s->id_size > 0) {
		wanted[n++] = (CK_ATTRIBUTE){ CKA_ID, id, s->id_size };
	}
	CK_RV rv = t->f->C_FindObjectsInit(t->session, wanted, n);
	if (rv == CKR_OK) {
		rv = t->f->C_FindObjects(t->session, keys, 2, count);
		(void)t->f->C_FindObjectsFinal(t->session);
	}
	return rv;
}

/* Made on the token, and never to leave it. */
static int key_make(struct token *t, struct et_error *reterr)
{
	const struct et_root_spec *s = t->job->spec;
	CK_BBOOL yes = CK_TRUE;
	CK_BBOOL no = CK_FALSE;
	CK_ULONG size = 32;
	char label[sizeof(s->object)];
	uint8_t id[sizeof(s->id)];
	CK_MECHANISM mechanism = { CKM_AES_KEY_GEN, NULL, 0 };
	CK_ATTRIBUTE attributes[10] = {
		{ CKA_VALUE_LEN, &size, sizeof(size) }, { CKA_TOKEN, &yes, sizeof(yes) },
		{ CKA_PRIVATE, &yes, sizeof(yes) },	{ CKA_SENSITIVE, &yes, sizeof(yes) },
		{ CKA_EXTRACTABLE, &no, sizeof(no) },	{ CKA_ENCRYPT, &yes, sizeof(yes) },
		{ CKA_DECRYPT, &yes, sizeof(yes) },
	};
	CK_ULONG n = 7;

	memcpy(label, s->object, sizeof(label));
	memcpy(id, s->id, sizeof(id));
	if (label[0] != '\0') {
		attributes[n++] = (CK_ATTRIBUTE){ CKA_LABEL, label, strlen(label) };
	}
	if (s->id_size > 0) {
		attributes[n++] = (CK_ATTRIBUTE){ CKA_ID, id, s->id_size };
	}
	CK_RV rv = t->f->C_GenerateKey(t->session, &mechanism, attributes, n, &t->key);
	return rv == CKR_OK ? 0 : module_fail(reterr, t->module, "the token makes no AES key", rv);
}

static int key_fail(const struct token *t, int code, const char *what, struct et_error *reterr)
{
	const struct et_root_spec *s = t->job->spec;
	const char *name = s->object[0] != '\0' ? s->object : "(by its id)";

	(void)et_fail_plain(reterr, code, "AES key '%s' on token '%s' %s", name, s->token, what);
	return et_fail_next(reterr, "pkcs11-tool --module %.60s --login -O", t->module);
}

static int key_stays(const struct token *t, struct et_error *reterr)
{
	CK_BBOOL sensitive = CK_FALSE;
	CK_BBOOL extractable = CK_TRUE;
	CK_ATTRIBUTE asked[2] = { { CKA_SENSITIVE, &sensitive, sizeof(sensitive) },
				  { CKA_EXTRACTABLE, &extractable, sizeof(extractable) } };

	CK_RV rv = t->f->C_GetAttributeValue(t->session, t->key, asked, 2);
	if (rv != CKR_OK || !sensitive || extractable) {
		return key_fail(t, ET_EREFUSED,
				"can leave it (not sensitive, or extractable): use another",
				reterr);
	}
	return 0;
}

static int key_find(struct token *t, struct et_error *reterr)
{
	CK_OBJECT_HANDLE keys[2] = { 0 };
	CK_ULONG count = 0;

	CK_RV rv = key_search(t, keys, &count);
	if (rv != CKR_OK || count > 2) {
		return module_fail(reterr, t->module, "it does not list the token's keys", rv);
	}
	if (count > 1) {
		return key_fail(t, ET_EUSAGE, "is not the only one: name it with id=", reterr);
	}
	t->key = keys[0];
	if (count == 1) {
		return t->job->wraps ? key_stays(t, reterr) : 0;
	}
	return t->job->wraps ? key_make(t, reterr)
			     : key_fail(t, ET_ETOKENWRONG, "is not there any more", reterr);
}

static bool can(const struct token *t, CK_MECHANISM_TYPE mechanism)
{
	CK_MECHANISM_INFO info = { 0 };

	return t->f->C_GetMechanismInfo(t->slot, mechanism, &info) == CKR_OK &&
	       (info.flags & CKF_ENCRYPT) != 0 && (info.flags & CKF_DECRYPT) != 0;
}

/* CK_MECHANISM for what the slot says; `gcm` is its storage. */
static CK_MECHANISM mechanism_of(struct root_slot *slot, CK_GCM_PARAMS *gcm)
{
	if (slot->mechanism == MECHANISM_GCM) {
		memset(gcm, 0, sizeof(*gcm));
		gcm->iv_ptr = slot->iv;
		gcm->iv_len = 12;
		gcm->iv_bits = 96;
		gcm->tag_bits = 128;
		return (CK_MECHANISM){ CKM_AES_GCM, gcm, sizeof(*gcm) };
	}
	return (CK_MECHANISM){ CKM_AES_CBC_PAD, slot->iv, sizeof(slot->iv) };
}

static int token_wrap(struct token *t, struct et_error *reterr)
{
	struct root_slot *slot = &t->job->slot;
	ET_CLEANUP(et_secret_freep) struct et_secret *iv = NULL;
	CK_GCM_PARAMS gcm;

	int rc = et_secret_random(sizeof(slot->iv), &iv, reterr);
	if (rc < 0) {
		return rc;
	}
	if (!can(t, CKM_AES_GCM) && !can(t, CKM_AES_CBC_PAD)) {
		return et_fail_plain(reterr, ET_EUNSUPPORTED,
				     "token '%s' has neither AES-GCM nor AES-CBC-PAD",
				     t->job->spec->token);
	}
	slot->mechanism = can(t, CKM_AES_GCM) ? MECHANISM_GCM : MECHANISM_CBC_PAD;
	memcpy(slot->iv, et_secret_bytes(iv), sizeof(slot->iv));
	memcpy(slot->serial, t->serial, sizeof(slot->serial));
	CK_MECHANISM mechanism = mechanism_of(slot, &gcm);
	CK_ULONG size = sizeof(slot->wrapped);
	CK_RV rv = t->f->C_EncryptInit(t->session, &mechanism, t->key);
	if (rv == CKR_OK) {
		rv = t->f->C_Encrypt(t->session, t->job->secret, sizeof(t->job->secret),
				     slot->wrapped, &size);
	}
	if (rv != CKR_OK || size <= ET_ROOT_SIZE || size > sizeof(slot->wrapped)) {
		return module_fail(reterr, t->module, "the token does not encrypt", rv);
	}
	slot->wrapped_size = (uint8_t)size;
	return 0;
}

static int token_unwrap(struct token *t, struct et_error *reterr)
{
	struct root_slot *slot = &t->job->slot;
	uint8_t plain[WRAPPED_MAX];
	CK_GCM_PARAMS gcm;
	CK_MECHANISM mechanism = mechanism_of(slot, &gcm);
	CK_ULONG size = sizeof(plain);

	CK_RV rv = t->f->C_DecryptInit(t->session, &mechanism, t->key);
	if (rv == CKR_OK) {
		rv = t->f->C_Decrypt(t->session, slot->wrapped, slot->wrapped_size, plain, &size);
	}
	if (rv == CKR_ENCRYPTED_DATA_INVALID || rv == CKR_ENCRYPTED_DATA_LEN_RANGE ||
	    (rv == CKR_OK && size != ET_ROOT_SIZE) || rv == CKR_GENERAL_ERROR) {
		return key_fail(t, ET_ETOKENWRONG, "does not open this root: it is another key",
				reterr);
	}
	if (rv != CKR_OK) {
		return module_fail(reterr, t->module, "the token does not decrypt", rv);
	}
	memcpy(t->job->secret, plain, ET_ROOT_SIZE);
	explicit_bzero(plain, sizeof(plain));
	return 0;
}

int cryptoki_run(struct token_job *job, struct et_error *reterr)
{
	struct token t = { .job = job, .module = job->spec->module };

	int rc = module_open(&t, reterr);
	rc = rc < 0 ? rc : token_find(&t, reterr);
	rc = rc < 0 ? rc : token_login(&t, reterr);
	rc = rc < 0 ? rc : key_find(&t, reterr);
	if (rc < 0) {
		return rc;
	}
	return job->wraps ? token_wrap(&t, reterr) : token_unwrap(&t, reterr);
}
