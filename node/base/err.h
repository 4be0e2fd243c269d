/* Errors.
 *
 * A function that can fail returns int: 0 (or a count) on success, a negative code on failure.
 * Codes are one space: -errno as the kernel and libuv give it, and ET_E* below for what only we
 * can mean. Codes of other libraries (libraft, OpenSSL, RocksDB, libs3) are translated in the one
 * module that calls the library, and never travel further. */
#ifndef ET_NODE_BASE_ERR_H
#define ET_NODE_BASE_ERR_H

#include <errno.h>

#include "node/base/defs.h"

/* libuv owns [-4095, -3000] and errno lies above it; our block starts below both.
 * Names are stable: they are also the "code" of an error in JSON. */
#define ET_ERROR_MAP(X)                                                                            \
	X(ET_ENOTLEADER, -5001, "this node does not lead the cluster")                             \
	X(ET_ECORRUPT, -5002, "stored data fails its checksum")                                    \
	X(ET_EKEYPERM, -5003, "key file is readable by other users")                               \
	X(ET_ELIMIT, -5004, "a configured limit is reached")                                       \
	X(ET_EUSAGE, -5005, "the command is not used as it should be")                             \
	X(ET_ENOQUORUM, -5006, "no quorum: a majority of the voters cannot be reached")            \
	X(ET_EUNREACHABLE, -5007, "cannot be reached")                                             \
	X(ET_EDENIED, -5008, "not allowed")                                                        \
	X(ET_ENOTFOUND, -5009, "not found")                                                        \
	X(ET_EDEGRADED, -5010, "degraded or incomplete")                                           \
	X(ET_EPOLICY, -5011, "refused by policy")                                                  \
	X(ET_EINTEGRITY, -5012, "integrity failure: this is not what was recorded")                \
	X(ET_ENOKEY, -5013, "the key that opens this is not here")                                 \
	X(ET_EUNKNOWN, -5014,                                                                      \
	  "outcome unknown: leadership was lost while waiting; retry with the same id")            \
	X(ET_EVERSION, -5015, "made by a newer version of evertape")                               \
	X(ET_ESTALE, -5016, "the world has changed since the plan was made")                       \
	X(ET_EUNTRUSTED, -5017, "the peer cannot prove who it is")                                 \
	X(ET_EMALFORMED, -5018, "malformed input")                                                 \
	X(ET_EEXISTS, -5019, "exists already")                                                     \
	X(ET_ECLOSED, -5020, "closed")                                                             \
	X(ET_EUNINITIALISED, -5021, "this node belongs to no cluster yet")                         \
	X(ET_ETRUNCATED, -5022, "the input ends too early")                                        \
	X(ET_EREFUSED, -5023, "refused by the cluster's state")                                    \
	X(ET_EBUSY, -5024, "busy: try again later")                                                \
	X(ET_EUNSUPPORTED, -5025, "not supported")                                                 \
	X(ET_EROOTSECRET, -5026, "the passphrase or PIN of the node root is wrong")                \
	X(ET_ETOKENABSENT, -5027, "the token of the node root is not there")                       \
	X(ET_ETOKENLOCKED, -5028, "the PIN of the node root's token is locked")                    \
	X(ET_ETOKENWRONG, -5029, "this is not the token, or key, of the node root")                \
	X(ET_EMODULE, -5030, "the PKCS#11 module fails")

enum {
#define ET_ERROR_ENUM(name, value, text) name = (value),
	ET_ERROR_MAP(ET_ERROR_ENUM)
#undef ET_ERROR_ENUM
};

/* The sentence for a code; static, never NULL. */
const char *et_strerror(int code);

/* The stable name for a code, "ET_ECORRUPT" or "EACCES"; static, never NULL. */
const char *et_errname(int code);

/* What a caller may print or log about a failure. Written on failure only. */
struct et_error {
	int code;
	char text[512]; /* "open '/x': permission denied"; truncated if longer */
	char next[192]; /* the next command to type, or "" */
};

/* Fill `e` (may be NULL) with "<message>: <et_strerror(code)>" and return `code`; next = "". */
int et_fail(struct et_error *e, int code, const char *fmt, ...) ET_PRINTF(3, 4);

/* As et_fail(), without the sentence of the code: `fmt` says all that is to be said. */
int et_fail_plain(struct et_error *e, int code, const char *fmt, ...) ET_PRINTF(3, 4);

/* Say what to type next; call after et_fail(). `e` may be NULL. Returns e->code (or 0). */
int et_fail_next(struct et_error *e, const char *fmt, ...) ET_PRINTF(2, 3);

/* Exit code of the programs for an error code (DESIGN 11): 1 failed, 2 usage, 3 unreachable or no
 * quorum, 4 denied, 5 not found, 6 degraded, 8 refused by policy, 9 integrity. 0 for 0. */
int et_exit_code(int code);

#endif
