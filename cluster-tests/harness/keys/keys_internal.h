/* What both programs of this folder do: opening what a node root seals. */
#ifndef ET_CLUSTER_TESTS_HARNESS_KEYS_KEYS_INTERNAL_H
#define ET_CLUSTER_TESTS_HARNESS_KEYS_KEYS_INTERNAL_H

#include "cluster-tests/harness/keys/keys.h"
#include "node/base/secret.h"

void labkeys_print(FILE *out, const char *name, const struct et_secret *secret);

int labkeys_root(const char *file, const char *state, struct et_secret **ret,
		 struct et_error *reterr) ET_MUST_CHECK;

/* The lines tls, tls-number, ed25519. */
int labkeys_identity(FILE *out, const char *state, const struct et_secret *root,
		     struct et_error *reterr) ET_MUST_CHECK;

/* Each of <state>/keys/seal-VERSION.key, which `fn` owns then. ET_ENOTFOUND: there is none. */
int labkeys_each_seal_key(const char *state, const struct et_secret *root,
			  int (*fn)(void *arg, struct et_secret *key), void *arg,
			  struct et_error *reterr) ET_MUST_CHECK;

#endif
