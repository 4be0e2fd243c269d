/* Every secret of a test node, for tests that look for them where they must not be.
 *
 * It opens nothing that its caller does not hold the root and the escrow shares of. For tests
 * alone: what it prints is secret.
 *
 * Threads: one. */
#ifndef ET_CLUSTER_TESTS_HARNESS_KEYS_KEYS_H
#define ET_CLUSTER_TESTS_HARNESS_KEYS_KEYS_H

#include <stdio.h>

#include "node/base/err.h"

struct et_labkeys {
	const char *root;     /* the node's root file */
	const char *state;    /* its state folder */
	FILE *shares;	      /* escrow shares, one a line; none: nothing that they open */
	const char *database; /* a copy of the one in use under <state>/db; NULL: no DEKs */
};

/* One line a secret on `out`: its name, a space, its bytes in hexadecimal. Names: root, tls and ca
 * (PKCS#8) with tls-number and ca-number (the bare numbers), ed25519, x25519, kek, dek. */
int et_labkeys_print(const struct et_labkeys *k, FILE *out, struct et_error *reterr) ET_MUST_CHECK;

/* What a thief has of a vault node's disk, and what is tried with it. */
struct et_labimage {
	const char *root;     /* the node's root file */
	const char *state;    /* its state folder */
	const char *database; /* the image's own, <state>/db/N; it is opened for writing */
	const char *target;   /* a database that the keys are tried at; NULL: none */
};

/* Lines on `out`: tls, tls-number, ed25519; of each grant in the image that opens, its name ("ca",
 * "ca:2", "kek:1") and the secret. Of the target: "grant NAME" for each grant that opens, then, of
 * each segment whose wrapped DEK is not erased, "open RECORDING" behind its dek, or "shut
 * RECORDING". Every key is tried at everything. */
int et_labkeys_image(const struct et_labimage *i, FILE *out, struct et_error *reterr) ET_MUST_CHECK;

#endif
