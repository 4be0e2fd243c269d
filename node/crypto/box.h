/* A sealed box: one secret at rest under another (the node root), bound to a label.
 *
 *   box := "EVSB" | version 1 | suite 1 | zero 2 | salt 16 | nonce 12 | AES-256-GCM ciphertext |
 * tag 16 key = HKDF-SHA256(root, salt, "evertape box/1 " label); AAD = the 36 bytes before
 *
 * Threads: pure functions. */
#ifndef ET_NODE_CRYPTO_BOX_H
#define ET_NODE_CRYPTO_BOX_H

#include "node/base/bytes.h"
#include "node/base/err.h"
#include "node/base/secret.h"

#define ET_BOX_OVERHEAD_SIZE 52 /* bytes that a box is longer than its secret */

/* Add the box to `ret`. `label` says what the secret is ("identity/tls"): a box opens under the
 * same label only, so that files cannot be swapped. */
int et_box_seal(const struct et_secret *root, const char *label, const struct et_secret *plain,
		struct et_buffer *ret, struct et_error *reterr) ET_MUST_CHECK;

/* The caller owns *ret. ET_ECORRUPT: not a box, damaged, or sealed under another root or label;
 * ET_EVERSION: a newer format. */
int et_box_open(const struct et_secret *root, const char *label, struct et_view box,
		struct et_secret **ret, struct et_error *reterr) ET_MUST_CHECK;

#endif
