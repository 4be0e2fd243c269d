/* Keys of backups: who can open one, and the identity of the node that restores it. */
#include <stdio.h>
#include <string.h>

#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/keeper/keeper_internal.h"

#define MEMBERS_MAX (1024UL * 1024)

/* ---- Making ---- */

struct making {
	struct et_backup_head *head;
	struct et_buffer grants[ET_BACKUP_GRANTS_MAX]; /* owned: packed */
};

static bool is_ca(const char *secret)
{
	return strcmp(secret, "ca") == 0 || strncmp(secret, "ca:", 3) == 0;
}

/* What opens the backup is not in the clear: a grant is sealed to its node's key. */
static int take_grant(void *arg, const Et__Grant *grant)
{
	struct making *m = arg;
	struct et_backup_head *h = m->head;
	char name[SECRET_NAME_BYTES];

	kek_secret_name(h->kek_version, name);
	if (!is_ca(grant->secret) && strcmp(grant->secret, name) != 0) {
		return 0; /* the catalogue in it has the others */
	}
	size_t size = et__grant__get_packed_size(grant);

	if (h->grant_count == ET_BACKUP_GRANTS_MAX || size > UINT16_MAX) {
		return 0; /* the escrow opens it all the same */
	}
	struct et_buffer *b = &m->grants[h->grant_count];
	uint8_t *p = et_buffer_reserve(b, size);
	if (p == NULL) {
		return -ENOMEM;
	}
	b->size = et__grant__pack(grant, p);
	h->grants[h->grant_count++] = view_of(b);
	return 0;
}

static int head_fill(const struct et_state_view *v, const struct et_identity *id, struct making *m,
		     struct et_error *reterr)
{
	Et__Cluster *cluster = NULL;
	struct et_backup_head *h = m->head;
	struct et_keeper_sealing kek;

	int rc = et_state_get_cluster(v, &cluster);
	if (rc < 0) {
		return et_fail(reterr, rc, "the cluster's record");
	}
	(void)snprintf(h->cluster, sizeof(h->cluster), "%s", cluster->name);
	memcpy(h->cluster_id, id->cluster_id, 16);
	h->node = id->node;
	h->made_us = et_clock_now_us();
	h->schema = cluster->schema;
	h->epoch = cluster->epoch;
	memcpy(h->sign_public, id->sign_public, 32);
	h->ca = view_of(&id->ca);
	bool of_now = h->kind != ET_BACKUP_BASE || bundle_is_of(h->ca, cluster);
	et__cluster__free_unpacked(cluster, NULL);
	if (!of_now) { /* its own catalogue would call another CA the one that issues */
		(void)et_fail_plain(reterr, ET_ESTALE, "the cluster's CA is just changing");
		return et_fail_next(reterr, "the same again in some seconds"), ET_ESTALE;
	}
	rc = et_keeper_sealing_find(v, view_of(&id->ca), NULL, &kek, NULL, reterr);
	if (rc < 0) {
		return rc;
	}
	h->kek_version = kek.version;
	memcpy(h->kek_public, kek.public_key, 32);
	rc = et_state_each_grant(v, take_grant, m);
	return rc < 0 ? et_fail(reterr, rc, "the keys of a backup") : 0;
}

/* Whoever restores asks the CA who made the base. After a theft the list on this disk is signed by
 * the CA that nobody trusts any more, until this node's certificate is renewed. */
static int list_is_trusted(struct et_view members, const struct et_identity *id,
			   struct et_error *reterr)
{
	struct et_member_list list = { 0 };

	int rc = et_member_list_parse(members, view_of(&id->ca), &list, NULL);
	et_member_list_release(&list);
	if (rc < 0) {
		(void)et_fail_plain(reterr, ET_ESTALE,
				    "the list of members on this disk is not signed by the CA of "
				    "now yet: it is renewed with the certificate");
		return et_fail_next(reterr, "the same again in some seconds"), ET_ESTALE;
	}
	return 0;
}

int et_keeper_backup_begin(const struct et_state_view *v, const struct et_identity *id,
			   const char *identity_folder, enum et_backup_kind kind, uint64_t index,
			   const uint8_t digest[32], et_backup_sink sink, void *arg,
			   struct et_backup_writer **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer members = { 0 };
	struct et_backup_head head = { .kind = kind, .index = index };
	struct making m = { .head = &head };
	char path[PATH_BYTES];

	memcpy(head.digest, digest, 32);
	(void)snprintf(path, sizeof(path), "%s/members", identity_folder);
	int rc = et_file_read(path, MEMBERS_MAX, &members, reterr);
	if (rc == 0) {
		head.members = view_of(&members);
		rc = kind == ET_BACKUP_BASE ? list_is_trusted(head.members, id, reterr) : 0;
	}
	rc = rc < 0 ? rc : head_fill(v, id, &m, reterr);
	if (rc == 0) {
		rc = et_backup_writer_new(&head, id->sign_key, sink, arg, ret, reterr);
	}
	for (size_t i = 0; i < head.grant_count; i++) {
		et_buffer_release(&m.grants[i]);
	}
	return rc;
}

/* ---- Opening ---- */

void et_keeper_restore_release(struct et_keeper_restore *r)
{
	r->kek = et_secret_free(r->kek);
	r->ca_key = et_secret_free(r->ca_key);
	et_identity_release(&r->identity);
	et_buffer_release(&r->members);
	et__command__free_unpacked(r->command, NULL);
	*r = (struct et_keeper_restore){ 0 };
}

static int open_grants(const struct et_backup_head *head, const char *state_folder,
		       const struct et_secret *root, struct et_keeper_restore *ret,
		       struct et_error *reterr)
{
	struct node_keys keys;
	char name[SECRET_NAME_BYTES];

	kek_secret_name(head->kek_version, name);
	int rc = node_keys_load(state_folder, root, &keys, reterr);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < head->grant_count; i++) {
		Et__Grant *g = et__grant__unpack(NULL, head->grants[i].size, head->grants[i].data);
		if (g == NULL) {
			continue;
		}
		struct et_secret **to = strcmp(g->secret, name) == 0 ? &ret->kek
					: is_ca(g->secret)	     ? &ret->ca_key
								     : NULL;
		if (to != NULL && *to == NULL && g->enc.len == 32 &&
		    grant_open(g, &keys, to, NULL) < 0) {
			*to = NULL; /* another node's */
		}
		if (ret->ca_key != NULL && !et_ca_key_is_of(ret->ca_key, head->ca)) {
			ret->ca_key = et_secret_free(ret->ca_key); /* the one that leaves */
		}
		et__grant__free_unpacked(g, NULL);
	}
	node_keys_release(&keys);
	if (ret->kek == NULL || ret->ca_key == NULL) {
		(void)et_fail_plain(reterr, ET_ENOKEY,
				    "this machine holds no key of a vault node that could open the "
				    "backup");
		return et_fail_next(reterr, "evertape cluster restore ... --shares FILE, with the "
					    "escrow shares, one a line");
	}
	return 0;
}

static int open_shares(const struct et_backup_head *head, const char *const *shares, size_t count,
		       struct et_keeper_restore *ret, struct et_error *reterr)
{
	uint32_t version = 0;

	int rc = et_keeper_escrow_join(shares, count, &version, &ret->kek, &ret->ca_key, reterr);
	if (rc == 0 && version != head->kek_version) {
		rc = et_fail_plain(reterr, ET_ENOKEY,
				   "the shares are of KEK version %u, the backup of version %u",
				   version, head->kek_version);
	}
	return rc;
}

/* The maker is one whom the CA has named; and the CA is the one whose key we hold. */
int et_keeper_backup_trust(const struct et_secret *ca_key, struct et_view ca,
			   struct et_view members, uint64_t node, const uint8_t sign_public[32],
			   struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer signature = { 0 };
	struct et_member_list list = { 0 };
	struct et_view probe = et_view_of("evertape restore: is this the CA?");
	bool named = false;

	int rc = et_ca_sign(ca_key, probe, &signature);
	rc = rc < 0 ? rc : et_ca_verify(ca, probe, view_of(&signature));
	if (rc < 0) {
		return et_fail_plain(
			reterr, ET_EUNTRUSTED,
			"it is signed under another CA than the one whose key opens it");
	}
	rc = et_member_list_parse(members, ca, &list, reterr);
	for (size_t i = 0; rc == 0 && i < list.count; i++) {
		named |= list.members[i].node == node &&
			 memcmp(list.members[i].sign_public, sign_public, 32) == 0;
	}
	et_member_list_release(&list);
	if (rc == 0 && !named) {
		rc = et_fail_plain(reterr, ET_EUNTRUSTED,
				   "node %llu signed it with a key that the CA does not know",
				   (unsigned long long)node);
	}
	return rc;
}

int et_keeper_restore_keys(const struct et_backup_head *head, const char *state_folder,
			   const struct et_secret *root, const char *const *shares, size_t count,
			   struct et_keeper_restore *ret, struct et_error *reterr)
{
	int rc = count > 0 ? open_shares(head, shares, count, ret, reterr)
			   : open_grants(head, state_folder, root, ret, reterr);
	return rc < 0 ? rc
		      : et_keeper_backup_trust(ret->ca_key, head->ca, head->members, head->node,
					       head->sign_public, reterr);
}

/* ---- The node that restores ---- */

static int restore_certificate(struct et_keeper_restore *r,
			       const struct et_keeper_init_config *config, uint64_t node,
			       uint8_t ret_spki[32], struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer request = { 0 };
	const struct et_cert_subject subject = { .cluster = config->cluster,
						 .site = config->site,
						 .node = node };

	int rc = et_identity_request(&r->identity, &request, reterr);
	return rc < 0 ? rc
		      : et_ca_issue(r->ca_key, view_of(&r->identity.ca), view_of(&request),
				    &subject, config->now_us,
				    config->cert_life_us > 0 ? config->cert_life_us : CERT_LIFE_US,
				    &r->identity.cert, ret_spki, reterr);
}

static int restore_grants(struct et_keeper_restore *r, const struct et_keeper_init_config *config,
			  uint32_t kek_version, uint32_t ca, uint64_t node, Et__RestoreStep *step,
			  struct et_error *reterr)
{
	char name[SECRET_NAME_BYTES];

	kek_secret_name(kek_version, name);
	step->grants = calloc(2, sizeof(void *));
	et_assert(step->grants != NULL);
	int rc = grant_make(name, r->kek, node, config->seal_public, &step->grants[0], reterr);
	if (rc < 0) {
		return rc;
	}
	step->n_grants = 1;
	et_state_ca_secret(ca, name);
	rc = grant_make(name, r->ca_key, node, config->seal_public, &step->grants[1], reterr);
	step->n_grants += rc == 0;
	return rc;
}

static void restore_node(const struct et_keeper_restore *r,
			 const struct et_keeper_init_config *config, uint64_t node,
			 const uint8_t spki[32], Et__RestoreStep *step)
{
	Et__Node *n = calloc(1, sizeof(*n));

	et_assert(n != NULL);
	et__node__init(n);
	step->node = n;
	n->id = node;
	pb_text(&n->name, config->name);
	pb_text(&n->site, config->site);
	pb_roles(&n->n_roles, &n->roles, config->roles);
	pb_text(&n->address, config->address);
	pb_text(&n->api_address, config->api_address);
	pb_text(&n->version, config->version);
	pb_text(&n->store_uuid, config->store_uuid);
	pb_bytes(&n->spki_hash, spki, 32);
	pb_bytes(&n->sign_public, r->identity.sign_public, 32);
	pb_bytes(&n->seal_public, config->seal_public, 32);
	n->schema = ET_COMMAND_SCHEMA;
}

static int restore_members(struct et_keeper_restore *r, const struct et_keeper_init_config *config,
			   uint64_t node, const uint8_t spki[32], struct et_error *reterr)
{
	struct et_member member = { .node = node, .roles = config->roles };
	const struct et_member_list list = { .made_us = config->now_us,
					     .members = &member,
					     .count = 1 };

	(void)snprintf(member.name, sizeof(member.name), "%s", config->name);
	(void)snprintf(member.site, sizeof(member.site), "%s", config->site);
	(void)snprintf(member.address, sizeof(member.address), "%s", config->address);
	memcpy(member.spki_hash, spki, 32);
	memcpy(member.sign_public, r->identity.sign_public, 32);
	int rc = et_member_list_sign(&list, r->ca_key, &r->members);
	return rc < 0 ? et_fail(reterr, rc, "sign the list of members") : 0;
}

int et_keeper_restore_begin(struct et_keeper_restore *r, const struct et_backup_head *head,
			    const Et__Cluster *cluster, const struct et_keeper_init_config *config,
			    uint64_t node, struct et_error *reterr)
{
	uint8_t spki[32];
	Et__Command *command = calloc(1, sizeof(*command));
	Et__RestoreStep *step = calloc(1, sizeof(*step));

	et_assert(command != NULL && step != NULL);
	et__command__init(command);
	et__restore_step__init(step);
	command->body_case = ET__COMMAND__BODY_RESTORE_STEP;
	command->restore_step = step;
	r->command = command;
	int rc =
		et_identity_make(config->cluster, config->name, config->site, &r->identity, reterr);
	if (rc < 0) {
		return rc;
	}
	r->identity.node = node;
	memcpy(r->identity.cluster_id, head->cluster_id, 16);
	if (cluster->n_ca_certs == 0) {
		return et_fail(reterr, ET_ECORRUPT, "the CA of the restored catalogue");
	}
	et_buffer_add(&r->identity.ca, cluster->ca_certs[0].data, cluster->ca_certs[0].len);
	rc = r->identity.ca.failed ? et_fail(reterr, -ENOMEM, "restore") : 0;
	rc = rc < 0 ? rc : restore_certificate(r, config, node, spki, reterr);
	rc = rc < 0 ? rc
		    : restore_grants(r, config, head->kek_version, et_state_ca_number(cluster, 0),
				     node, step, reterr);
	rc = rc < 0 ? rc : restore_members(r, config, node, spki, reterr);
	if (rc < 0) {
		return rc;
	}
	restore_node(r, config, node, spki, step);
	return certificate_record(view_of(&r->identity.cert), node, et_state_ca_number(cluster, 0),
				  &step->certificate, reterr);
}

/* ---- Keys beside the backup's own ---- */

struct regrant {
	const struct et_state_view *v;
	const struct node_keys *keys;
	struct et_keeper_restore *r;
	uint32_t known; /* the version that is granted already */
	uint64_t node;
	const uint8_t *seal_public;
	const char *secret; /* that is looked for */
	struct et_secret *found;
	unsigned missing;
	struct et_error *reterr;
};

static int regrant_open(void *arg, const Et__Grant *g)
{
	struct regrant *w = arg;

	if (w->found == NULL && strcmp(g->secret, w->secret) == 0 &&
	    node_keys_find(w->keys, g->seal_public) != NULL &&
	    grant_open(g, w->keys, &w->found, NULL) < 0) {
		w->found = NULL; /* damaged: another one may do */
	}
	return 0;
}

static int regrant_kek(void *arg, const Et__Kek *kek)
{
	struct regrant *w = arg;
	Et__RestoreStep *step = w->r->command->restore_step;
	char name[SECRET_NAME_BYTES];

	if (kek->version == w->known || kek->state == ET__KEK_STATE__KEK_DESTROYED ||
	    kek->state == ET__KEK_STATE__KEK_DESTROY_SCHEDULED) {
		return 0;
	}
	kek_secret_name(kek->version, name);
	w->secret = name;
	w->found = NULL;
	int rc = et_state_each_grant(w->v, regrant_open, w);
	if (rc < 0 || w->found == NULL) {
		w->missing++;
		return rc;
	}
	Et__Grant **more = realloc(step->grants, (step->n_grants + 1) * sizeof(*more));
	et_assert(more != NULL);
	step->grants = more;
	rc = grant_make(name, w->found, w->node, w->seal_public, &more[step->n_grants], w->reterr);
	step->n_grants += rc == 0;
	w->found = et_secret_free(w->found);
	return rc;
}

int et_keeper_restore_grants(struct et_keeper_restore *r, const struct et_state_view *v,
			     const char *state_folder, const struct et_secret *root, uint32_t known,
			     unsigned *ret_missing, struct et_error *reterr)
{
	const Et__Node *node = r->command->restore_step->node;
	struct node_keys keys;
	struct regrant w = { .v = v,
			     .keys = &keys,
			     .r = r,
			     .known = known,
			     .node = node->id,
			     .seal_public = node->seal_public.data,
			     .reterr = reterr };

	int rc = node_keys_load(state_folder, root, &keys, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_state_each_kek(v, regrant_kek, &w);
	node_keys_release(&keys);
	*ret_missing = w.missing;
	return rc < 0 ? et_fail(reterr, rc, "grants of the restored catalogue") : 0;
}
