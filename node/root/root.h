/* The node root: 32 bytes that open a node's identity and its key folder, and where they are kept.
 *
 *   file:/PATH             the root itself: 32 bytes, mode 0400 or 0600, of this user or root
 *   credential:NAME        the root itself, as systemd hands it over ($CREDENTIALS_DIRECTORY/NAME)
 *   passphrase:SOURCE      sealed in <state>/root.slots under a passphrase (Argon2id, RFC 9106)
 *   pkcs11:token=LABEL;object=LABEL?module-path=/PATH&pin-source=SOURCE
 *                          (RFC 7512; also serial=, id=) sealed in <state>/root.slots under a
 * secret that only an AES key on that token decrypts; that key never leaves it
 *
 *   SOURCE                 file:/PATH (private, first line), credential:NAME, fd:N (handed to this
 *                          process), terminal (/dev/tty, without echo). Never an argument or a
 *                          variable of the environment.
 *
 * <state>/root.slots holds the same root sealed in up to ET_ROOT_SLOTS_MAX ways: a change of the
 * provider adds a way, then the configuration names it, then the old one goes. Each step replaces a
 * file as a whole, so that what the configuration names opens after a crash between any two.
 *
 * A PKCS#11 module is a stranger's code. It runs in a child process that ends with the call, with a
 * time limit: its crash, its hang and what it leaves in memory are not ours. A PIN is not tried
 * when the token says that one try is left.
 *
 * Failures (each with the next command; nothing is changed by any):
 *   -ENOENT           there is no root yet, nor anything that was one
 *   ET_ENOTFOUND      a key, credential or way that should be there is not
 *   ET_EKEYPERM       others may read, or write, what only this node may
 *   ET_EROOTSECRET    wrong passphrase or PIN
 *   ET_ETOKENABSENT   no such token is plugged in
 *   ET_ETOKENLOCKED   its PIN is locked, or the next failure would lock it
 *   ET_ETOKENWRONG    that name, but not the token that sealed this root, or not its key any more
 *   ET_EMODULE        the PKCS#11 module is missing, crashes, hangs, or does not keep to the rules
 *   ET_ECORRUPT       the slots are damaged
 *   ET_EVERSION       ... of a newer version
 *   ET_EMALFORMED     the text of a specification
 *
 * Threads: any that may wait (seconds, for Argon2id and tokens). */
#ifndef ET_NODE_ROOT_ROOT_H
#define ET_NODE_ROOT_ROOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/base/err.h"
#include "node/base/secret.h"

#define ET_ROOT_SIZE 32	      /* bytes of a node root */
#define ET_ROOT_SPEC_MAX 1024 /* bytes of a specification */
#define ET_ROOT_PATH_MAX 512
#define ET_ROOT_SLOTS_MAX 4

enum et_root_kind { ET_ROOT_FILE, ET_ROOT_CREDENTIAL, ET_ROOT_PASSPHRASE, ET_ROOT_PKCS11 };
enum et_root_source_kind {
	ET_ROOT_FROM_FILE,
	ET_ROOT_FROM_CREDENTIAL,
	ET_ROOT_FROM_FD,
	ET_ROOT_FROM_TERMINAL
};

/* Where a secret is read. */
struct et_root_source {
	enum et_root_source_kind kind;
	char name[ET_ROOT_PATH_MAX + 1]; /* path or name */
	int fd;
};

/* Plain values. */
struct et_root_spec {
	enum et_root_kind kind;
	struct et_root_source source; /* of the root itself; of the passphrase; of the PIN */
	/* PKCS#11 */
	char module[ET_ROOT_PATH_MAX + 1];
	char token[33];	 /* label */
	char serial[17]; /* or "" */
	char object[65]; /* label of the key, or "" */
	uint8_t id[32];	 /* CKA_ID of the key */
	size_t id_size;	 /* 0: any */
};

/* Foreign text: bounded, checked, ET_EMALFORMED with a sentence. */
int et_root_spec_parse(const char *text, struct et_root_spec *ret,
		       struct et_error *reterr) ET_MUST_CHECK;
int et_root_source_parse(const char *text, struct et_root_source *ret,
			 struct et_error *reterr) ET_MUST_CHECK;

/* What Argon2id costs; zeros: 256 MiB, 3 passes. Stored with what was sealed. */
struct et_root_cost {
	uint32_t memory_kib; /* 8 MiB to 1 GiB */
	uint32_t passes;     /* 1 to 16 */
};

/* One way to a root: `state` is the node's state folder. Borrowed for the call. */
struct et_root_place {
	const char *spec;
	const char *state;
	const struct et_root_source *secret; /* read here instead of where `spec` says; or NULL */
	struct et_root_cost cost;	     /* when sealed */
};

/* The root. The caller owns *ret. */
int et_root_load(const struct et_root_place *place, struct et_secret **ret,
		 struct et_error *reterr) ET_MUST_CHECK;
/* A new root, kept there, for cluster init and join only. ET_EEXISTS: there is one, nothing is
 * changed. A key on the token is made if there is none of that name. */
int et_root_make(const struct et_root_place *place, struct et_secret **ret,
		 struct et_error *reterr) ET_MUST_CHECK;

/* ---- Change of provider ---- */

/* Keep `root` there too, durably; the other ways stay. Read back and compared before it returns 0.
 * `file:`: no other root may be there (ET_EEXISTS). `credential:`: must hold the root already. A
 * way by the same kind that was there stays behind the new one until et_root_drop_others(). */
int et_root_add(const struct et_root_place *place, const struct et_secret *root,
		struct et_error *reterr) ET_MUST_CHECK;
/* After the switch: of the sealed ways only the one that opens by `kept` is left (none, for file
 * and credential). */
int et_root_drop_others(const struct et_root_place *kept, struct et_error *reterr) ET_MUST_CHECK;
/* Overwrite and remove the file of a `file:` specification; nothing for the others. */
int et_root_wipe(const char *spec, struct et_error *reterr) ET_MUST_CHECK;

/* ---- What may be said ---- */

struct et_root_way {
	enum et_root_kind kind;
	struct et_root_cost cost; /* passphrase */
	char serial[17];	  /* PKCS#11: of the token */
	const char *mechanism;	  /* PKCS#11: static */
};
/* The sealed ways in <state>/root.slots, the newest first; 0 when there is no such file. No secret
 * is needed. */
int et_root_ways(const char *state, struct et_root_way ret[ET_ROOT_SLOTS_MAX], size_t *ret_count,
		 struct et_error *reterr) ET_MUST_CHECK;
/* "file", "credential", "passphrase", "pkcs11"; static. */
const char *et_root_kind_name(enum et_root_kind kind);
/* Does whoever has this machine's disks have the root? A file; or a passphrase in a file that is
 * not in memory (tmpfs, ramfs). */
bool et_root_on_disk(const char *spec);

#endif
