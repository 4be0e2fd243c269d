/* Escrow shares of the active KEK version, and of the CA that issues. */
#include <stdio.h>

#include "node/keeper/rotate_internal.h"

struct issuing {
	struct et_post post;
	struct et_keeper *k;
	struct et_keeper_shares shares;
	et_keeper_shares_fn cb;
	void *arg;
};

static void issuing_finish(struct issuing *i, int code, const struct et_error *why)
{
	struct et_keeper *k = i->k;

	i->cb(i->arg, code, code == 0 ? &i->shares : NULL, why);
	for (unsigned s = 0; s < ET_ESCROW_SHARES_MAX; s++) {
		(void)et_secret_free(i->shares.shares[s]);
	}
	free(i);
	keeper_end(k);
}

static void on_issued(void *arg, int code, const Et__Result *result)
{
	struct et_error why = { 0 };

	if (code < 0) {
		(void)et_fail(&why, code, "record the escrow: %s",
			      result != NULL ? result->text : "");
	}
	issuing_finish(arg, code, &why);
}

/* The shares exist before the catalogue says so, and are told only after it does. */
static void issuing_run(struct et_post *post)
{
	struct issuing *i = ET_CONTAINER_OF(post, struct issuing, post);
	ET_CLEANUP(et_secret_freep) struct et_secret *kek = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *ca_key = NULL;
	struct et_keeper *k = i->k;
	struct et_error why = { 0 };
	char name[SECRET_NAME_BYTES];
	char principal[32];
	char reason[] = "escrow shares issued";
	Et__KekEscrow body = ET__KEK_ESCROW__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct look l;

	keeper_begin(k);
	int rc = k->stopping ? ET_ECLOSED : rotate_look_open(k, &l);
	if (rc < 0) {
		issuing_finish(i, rc, &why);
		return;
	}
	body.version = l.active->version;
	kek_secret_name(body.version, name);
	if (!l.active->is_signed) {
		rc = et_fail_plain(&why, ET_EUNTRUSTED,
				   "KEK version %u is not signed by the cluster's CA: shares of it "
				   "would open nothing",
				   body.version);
	}
	rc = rc < 0 ? rc : secret_open(l.v, name, k->identity.node, &k->keys, &kek, &why);
	et_state_ca_secret(et_state_ca_number(l.cluster, 0), name);
	rc = rc < 0 ? rc : secret_open(l.v, name, k->identity.node, &k->keys, &ca_key, &why);
	rotate_look_close(&l);
	rc = rc < 0 ? rc
		    : escrow_split(body.version, kek, ca_key, i->shares.threshold, i->shares.count,
				   i->shares.shares, &why);
	if (rc < 0) {
		issuing_finish(i, rc, &why);
		return;
	}
	i->shares.kek_version = body.version;
	body.threshold = i->shares.threshold;
	body.shares = i->shares.count;
	(void)snprintf(principal, sizeof(principal), "node:%llu",
		       (unsigned long long)k->identity.node);
	command.principal = principal;
	command.reason = reason;
	command.body_case = ET__COMMAND__BODY_KEK_ESCROW;
	command.kek_escrow = &body;
	command.schema = et_schema_needed(&command);
	et_catalog_propose(k->catalog, &command, PROPOSE_TIMEOUT_MS, on_issued, i);
}

int et_keeper_escrow_issue_from(struct et_keeper *k, unsigned threshold, unsigned shares,
				et_keeper_shares_fn cb, void *arg)
{
	struct issuing *i = calloc(1, sizeof(*i));

	et_assert(i != NULL && threshold >= 2 && threshold <= shares &&
		  shares <= ET_ESCROW_SHARES_MAX);
	*i = (struct issuing){ .post = { .fn = issuing_run }, .k = k, .cb = cb, .arg = arg };
	i->shares.threshold = threshold;
	i->shares.count = shares;
	int rc = et_post(k->postbox, &i->post);
	if (rc < 0) {
		free(i);
	}
	return rc;
}
