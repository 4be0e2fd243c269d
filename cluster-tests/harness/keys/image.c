/* A thief's copy of a vault node's disk: its root opens its seal keys, these open its grants, and
 * these open wrapped DEKs. Nothing is known here but what lies on the disk. */
#include <stdio.h>
#include <string.h>

#include "cluster-tests/harness/keys/keys_internal.h"
#include "node/crypto/hpke.h"
#include "node/tape/wrap.h"
#include "raft/state/state.h"

enum { SECRETS_MAX = 64, NAME_BYTES = 16 };

static const char grant_info[] = "evertape grant/1";

struct secrets {
	struct et_secret *list[SECRETS_MAX]; /* owned */
	size_t count;
};

struct thief {
	FILE *out;
	struct secrets seal;   /* of the key folder */
	struct secrets opened; /* what grants of the image held: "ca", "kek:1" */
	bool is_target;	       /* the database that is looked at is not the image's */
	struct et_error *reterr;
};

static void secrets_release(struct secrets *s)
{
	for (size_t i = 0; i < s->count; i++) {
		(void)et_secret_free(s->list[i]);
	}
	s->count = 0;
}

static int seal_key_add(void *arg, struct et_secret *key)
{
	struct thief *t = arg;

	if (t->seal.count == SECRETS_MAX) {
		(void)et_secret_free(key);
		return et_fail(t->reterr, ET_ELIMIT, "seal keys");
	}
	t->seal.list[t->seal.count++] = key;
	return 0;
}

/* Each key at each grant, whomever it is for. */
static int grant_try(void *arg, const Et__Grant *grant)
{
	struct thief *t = arg;
	uint8_t aad[8 + NAME_BYTES];
	size_t length = strnlen(grant->secret, NAME_BYTES);
	const struct et_view info = { (const uint8_t *)grant_info, sizeof(grant_info) - 1 };

	if (grant->enc.len != ET_HPKE_ENC_SIZE || length == NAME_BYTES) {
		return et_fail(t->reterr, ET_EMALFORMED, "a grant");
	}
	et_put64(aad, grant->node);
	memcpy(aad + 8, grant->secret, length);
	for (size_t i = 0; i < t->seal.count; i++) {
		struct et_secret *secret = NULL;
		int rc = et_hpke_open(
			t->seal.list[i], grant->enc.data, info, (struct et_view){ aad, 8 + length },
			(struct et_view){ grant->ciphertext.data, grant->ciphertext.len }, &secret,
			NULL);
		if (rc < 0) {
			continue;
		}
		if (t->is_target) {
			(void)fprintf(t->out, "grant %s\n", grant->secret);
		} else {
			labkeys_print(t->out, grant->secret, secret);
		}
		if (t->opened.count == SECRETS_MAX) {
			(void)et_secret_free(secret);
			return et_fail(t->reterr, ET_ELIMIT, "secrets of grants");
		}
		t->opened.list[t->opened.count++] = secret;
	}
	return 0;
}

/* Each secret at each wrap, whatever version it names. */
static int wrap_try(void *arg, const Et__Segment *segment)
{
	struct thief *t = arg;
	const Et__Wrap *wrap = segment->wrap;
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;

	if (wrap == NULL || wrap->erased || wrap->enc.len != ET_HPKE_ENC_SIZE ||
	    segment->recording.len != 16) {
		return 0; /* There is nothing left to open. */
	}
	for (size_t i = 0; i < t->opened.count && dek == NULL; i++) {
		int rc = et_dek_unwrap(
			t->opened.list[i], wrap->kek_version, segment->recording.data, wrap->dek,
			wrap->enc.data,
			(struct et_view){ wrap->ciphertext.data, wrap->ciphertext.len }, &dek,
			NULL);
		if (rc == 0) {
			labkeys_print(t->out, "dek", dek);
		}
	}
	(void)fprintf(t->out, "%s ", dek != NULL ? "open" : "shut");
	for (size_t i = 0; i < 16; i++) {
		(void)fprintf(t->out, "%02x", segment->recording.data[i]);
	}
	(void)fprintf(t->out, "\n");
	return 0;
}

static int database_try(struct thief *t, const char *path, bool is_target)
{
	struct et_state *state = NULL;
	int rc = et_state_open(path, &state, t->reterr);

	if (rc < 0) {
		return rc;
	}
	struct et_state_view *view = et_state_view_open(state);
	t->is_target = is_target;
	rc = view == NULL ? et_fail(t->reterr, -ENOMEM, "view")
			  : et_state_each_grant(view, grant_try, t);
	rc = rc == 0 && is_target ? et_state_each_segment(view, wrap_try, t) : rc;
	(void)et_state_view_close(view);
	(void)et_state_close(state);
	return rc;
}

int et_labkeys_image(const struct et_labimage *i, FILE *out, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *root = NULL;
	struct thief t = { .out = out, .reterr = reterr };

	int rc = labkeys_root(i->root, i->state, &root, reterr);
	rc = rc < 0 ? rc : labkeys_identity(out, i->state, root, reterr);
	rc = rc < 0 ? rc : labkeys_each_seal_key(i->state, root, seal_key_add, &t, reterr);
	rc = rc < 0 ? rc : database_try(&t, i->database, false);
	rc = rc < 0 || i->target == NULL ? rc : database_try(&t, i->target, true);
	secrets_release(&t.seal);
	secrets_release(&t.opened);
	return rc;
}
