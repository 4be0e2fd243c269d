#ifndef ET_NODE_ROOT_ROOT_INTERNAL_H
#define ET_NODE_ROOT_ROOT_INTERNAL_H

#include "node/base/bytes.h"
#include "node/crypto/box.h"
#include "node/root/root.h"

#define ROOT_BOX_SIZE (ET_ROOT_SIZE + ET_BOX_OVERHEAD_SIZE)
#define WRAPPED_MAX 64
#define SALT_SIZE 32
#define MEMORY_KIB_MIN 8192U
#define MEMORY_KIB_MAX 1048576U
#define PASSES_MAX 16U

/* ---- slots.c: <state>/root.slots, see ops/doc/formats/root.md ---- */

enum { MECHANISM_GCM = 1, MECHANISM_CBC_PAD = 2 };

struct root_slot {
	uint8_t kind; /* ET_ROOT_PASSPHRASE or ET_ROOT_PKCS11 */
	/* Passphrase */
	struct et_root_cost cost;
	uint8_t salt[SALT_SIZE];
	/* PKCS#11 */
	uint8_t mechanism;
	char serial[17];
	uint8_t iv[16];
	uint8_t wrapped[WRAPPED_MAX];
	uint8_t wrapped_size;
	/* The root, sealed under what the provider yields. */
	uint8_t box[ROOT_BOX_SIZE];
};

struct root_slots {
	struct root_slot slots[ET_ROOT_SLOTS_MAX]; /* the newest first */
	size_t count;
};

/* Foreign bytes. ET_ECORRUPT, ET_EVERSION. */
int root_slots_parse(struct et_view bytes, struct root_slots *ret,
		     struct et_error *reterr) ET_MUST_CHECK;
int root_slots_pack(const struct root_slots *s, struct et_buffer *ret) ET_MUST_CHECK;
/* -ENOENT: there is no such file. */
int root_slots_load(const char *state, struct root_slots *ret,
		    struct et_error *reterr) ET_MUST_CHECK;
int root_slots_save(const char *state, const struct root_slots *s,
		    struct et_error *reterr) ET_MUST_CHECK;

/* ---- secret.c ---- */

/* One line from there, without its end; `what` ("passphrase") is for prompt and errors. `twice`: a
 * terminal is asked twice. The caller owns *ret. */
int root_secret_read(const struct et_root_source *source, const char *what, bool twice,
		     struct et_secret **ret, struct et_error *reterr) ET_MUST_CHECK;
/* $CREDENTIALS_DIRECTORY/NAME. ET_ENOTFOUND: this process was given no credentials. */
int root_credential_path(const char *name, char ret[ET_ROOT_PATH_MAX + 1],
			 struct et_error *reterr) ET_MUST_CHECK;
/* Argon2id: 32 bytes. */
int root_stretch(const struct et_secret *passphrase, const struct et_root_cost *cost,
		 const uint8_t salt[SALT_SIZE], struct et_secret **ret,
		 struct et_error *reterr) ET_MUST_CHECK;

/* ---- token.c: in a child process ---- */

/* The token that `spec` names makes `wrapped` of `secret` (32 bytes), with a key of its own, which
 * is made if there is none. Fills mechanism, serial, iv, wrapped. */
int root_token_wrap(const struct et_root_spec *spec, const struct et_secret *pin,
		    const struct et_secret *secret, struct root_slot *ret,
		    struct et_error *reterr) ET_MUST_CHECK;
/* ... and back. */
int root_token_unwrap(const struct et_root_spec *spec, const struct et_secret *pin,
		      const struct root_slot *slot, struct et_secret **ret,
		      struct et_error *reterr) ET_MUST_CHECK;

/* ---- cryptoki.c: what the child does; in this process ---- */

struct token_job {
	const struct et_root_spec *spec;
	const struct et_secret *pin;
	bool wraps;
	uint8_t secret[ET_ROOT_SIZE]; /* in for wrapping, out for unwrapping */
	struct root_slot slot;	      /* the other way round */
};
int cryptoki_run(struct token_job *job, struct et_error *reterr) ET_MUST_CHECK;

#endif
