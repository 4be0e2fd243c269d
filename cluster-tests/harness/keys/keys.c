/* What is sealed under a node root is a box or the identity; what is sealed to the KEK is a DEK. */
#include <stdio.h>
#include <string.h>

#include "cluster-tests/harness/keys/keys_internal.h"
#include "node/crypto/box.h"
#include "node/io/file.h"
#include "node/keeper/keeper.h"
#include "node/root/root.h"
#include "node/tape/wrap.h"
#include "node/tls/identity.h"
#include "raft/state/state.h"

#define PATH_BYTES 1024
#define SHARE_BYTES 512

void labkeys_print(FILE *out, const char *name, const struct et_secret *secret)
{
	(void)fprintf(out, "%s ", name);
	for (size_t i = 0; i < et_secret_size(secret); i++) {
		(void)fprintf(out, "%02x", et_secret_bytes(secret)[i]);
	}
	(void)fprintf(out, "\n");
}

/* The key as it is stored (PKCS#8) and its bare number: it may lie about in either form. */
static int print_p256(FILE *out, const char *name, const struct et_secret *key,
		      struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *number = NULL;
	char text[64];
	int rc = et_ca_key_number(key, &number, reterr);

	if (rc == 0) {
		labkeys_print(out, name, key);
		(void)snprintf(text, sizeof(text), "%s-number", name);
		labkeys_print(out, text, number);
	}
	return rc;
}

int labkeys_identity(FILE *out, const char *state, const struct et_secret *root,
		     struct et_error *reterr)
{
	struct et_identity id = { 0 };
	char path[PATH_BYTES];

	(void)snprintf(path, sizeof(path), "%s/identity", state);
	int rc = et_identity_load(path, root, &id, reterr);
	if (rc == 0) {
		rc = print_p256(out, "tls", id.tls_key, reterr);
		labkeys_print(out, "ed25519", id.sign_key);
	}
	et_identity_release(&id);
	return rc;
}

int labkeys_each_seal_key(const char *state, const struct et_secret *root,
			  int (*fn)(void *arg, struct et_secret *key), void *arg,
			  struct et_error *reterr)
{
	char path[PATH_BYTES];
	char label[32];
	int rc = 0;
	int count = 0;

	for (unsigned version = 1; version <= 64 && rc == 0; version++) {
		ET_CLEANUP(et_buffer_release) struct et_buffer box = { 0 };
		struct et_secret *secret = NULL;
		(void)snprintf(path, sizeof(path), "%s/keys/seal-%u.key", state, version);
		if (et_file_read(path, 4096, &box, NULL) == -ENOENT) {
			continue;
		}
		(void)snprintf(label, sizeof(label), "keys/seal-%u", version);
		rc = et_box_open(root, label, (struct et_view){ box.data, box.size }, &secret,
				 reterr);
		rc = rc < 0 ? rc : fn(arg, secret);
		count++;
	}
	return rc == 0 && count == 0 ? et_fail(reterr, ET_ENOTFOUND, "keys in '%s'", state) : rc;
}

static int print_seal_key(void *arg, struct et_secret *key)
{
	labkeys_print(arg, "x25519", key);
	(void)et_secret_free(key);
	return 0;
}

int labkeys_root(const char *file, const char *state, struct et_secret **ret,
		 struct et_error *reterr)
{
	char spec[PATH_BYTES];
	(void)snprintf(spec, sizeof(spec), "file:%s", file);
	const struct et_root_place place = { .spec = spec, .state = state };

	return et_root_load(&place, ret, reterr);
}

struct deks {
	FILE *out;
	const struct et_secret *kek;
	uint32_t version;
	struct et_error *reterr;
	size_t count;
};

static int print_dek(void *arg, const Et__Segment *segment)
{
	struct deks *d = arg;
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	const Et__Wrap *wrap = segment->wrap;

	if (wrap == NULL || wrap->enc.len != ET_HPKE_ENC_SIZE || segment->recording.len != 16) {
		return et_fail(d->reterr, ET_EMALFORMED, "a segment's wrap");
	}
	int rc = et_dek_unwrap(
		d->kek, d->version, segment->recording.data, wrap->dek, wrap->enc.data,
		(struct et_view){ wrap->ciphertext.data, wrap->ciphertext.len }, &dek, d->reterr);
	if (rc == 0) {
		labkeys_print(d->out, "dek", dek);
		d->count++;
	}
	return rc;
}

static int print_deks(FILE *out, const char *database, const struct et_secret *kek,
		      uint32_t version, struct et_error *reterr)
{
	struct et_state *state = NULL;
	struct deks d = { .out = out, .kek = kek, .version = version, .reterr = reterr };
	int rc = et_state_open(database, &state, reterr);

	if (rc < 0) {
		return rc;
	}
	struct et_state_view *view = et_state_view_open(state);
	rc = view == NULL ? et_fail(reterr, -ENOMEM, "view")
			  : et_state_each_segment(view, print_dek, &d);
	if (rc == 0 && d.count == 0) {
		rc = et_fail(reterr, ET_ENOTFOUND, "segments in '%s'", database);
	}
	(void)et_state_view_close(view);
	(void)et_state_close(state);
	return rc;
}

/* What the escrow holds, and what that opens. No shares: nothing. */
static int print_escrow(FILE *out, FILE *in, const char *database, struct et_error *reterr)
{
	static char text[ET_ESCROW_SHARES_MAX][SHARE_BYTES];
	const char *shares[ET_ESCROW_SHARES_MAX];
	ET_CLEANUP(et_secret_freep) struct et_secret *kek = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *ca = NULL;
	uint32_t version = 0;
	size_t count = 0;

	while (count < ET_ESCROW_SHARES_MAX && fgets(text[count], SHARE_BYTES, in) != NULL) {
		text[count][strcspn(text[count], "\n")] = '\0';
		shares[count] = text[count];
		count++;
	}
	if (count == 0) {
		return 0;
	}
	int rc = et_keeper_escrow_join(shares, count, &version, &kek, &ca, reterr);
	if (rc < 0) {
		return rc;
	}
	labkeys_print(out, "kek", kek);
	rc = print_p256(out, "ca", ca, reterr);
	return rc == 0 && database != NULL ? print_deks(out, database, kek, version, reterr) : rc;
}

int et_labkeys_print(const struct et_labkeys *k, FILE *out, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;

	int rc = labkeys_root(k->root, k->state, &root, reterr);
	if (rc == 0) {
		labkeys_print(out, "root", root);
		rc = labkeys_identity(out, k->state, root, reterr);
	}
	rc = rc == 0 ? labkeys_each_seal_key(k->state, root, print_seal_key, out, reterr) : rc;
	return rc == 0 ? print_escrow(out, k->shares, k->database, reterr) : rc;
}
