#include <string.h>

#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "node/keeper/keeper_internal.h"

#define ESCROW_THRESHOLD 3
#define ESCROW_SHARES 5
#define FIRST_NODE 1

/* What lives only while the cluster is made. */
struct making {
	const struct et_keeper_init_config *config;
	struct et_keeper_init *out;
	struct et_secret *ca_key; /* owned */
	struct et_secret *kek;	  /* owned */
	struct et_buffer ca_cert; /* owned */
	uint8_t kek_public[32];
	uint8_t spki_hash[32];
};

static void making_release(struct making *m)
{
	m->ca_key = et_secret_free(m->ca_key);
	m->kek = et_secret_free(m->kek);
	et_buffer_release(&m->ca_cert);
}

int certificate_record(struct et_view der, uint64_t node, uint32_t ca, Et__Certificate **ret,
		       struct et_error *reterr)
{
	struct et_cert_info info;

	int rc = et_cert_parse(der, &info, reterr);
	if (rc < 0) {
		return rc;
	}
	Et__Certificate *c = calloc(1, sizeof(*c));
	et_assert(c != NULL);
	et__certificate__init(c);
	c->node = node;
	c->ca = ca;
	pb_bytes(&c->serial, info.serial, info.serial_size);
	pb_bytes(&c->spki_hash, info.spki_hash, sizeof(info.spki_hash));
	c->not_before_us = info.not_before_us;
	c->not_after_us = info.not_after_us;
	pb_bytes(&c->der, der.data, der.size);
	*ret = c;
	return 0;
}

static int make_identity(struct making *m, struct et_error *reterr)
{
	const struct et_keeper_init_config *c = m->config;
	struct et_identity *id = &m->out->identity;
	ET_CLEANUP(et_buffer_releasep) struct et_buffer request = { 0 };
	const struct et_cert_subject subject = { c->cluster, c->site, FIRST_NODE };

	int rc = et_identity_make(c->cluster, c->name, c->site, id, reterr);
	rc = rc < 0 ? rc : et_ca_make(c->cluster, &m->ca_key, &m->ca_cert, reterr);
	rc = rc < 0 ? rc : et_identity_request(id, &request, reterr);
	if (rc < 0) {
		return rc;
	}
	id->node = FIRST_NODE;
	et_uuid7(id->cluster_id);
	et_buffer_add(&id->ca, m->ca_cert.data, m->ca_cert.size);
	if (id->ca.failed) {
		return et_fail(reterr, -ENOMEM, "make the cluster");
	}
	return et_ca_issue(m->ca_key, view_of(&m->ca_cert), view_of(&request), &subject, c->now_us,
			   c->cert_life_us > 0 ? c->cert_life_us : CERT_LIFE_US, &id->cert,
			   m->spki_hash, reterr);
}

static void fill_cluster(const struct making *m, Et__ClusterInit *init)
{
	Et__Cluster *cluster = calloc(1, sizeof(*cluster));
	et_assert(cluster != NULL);
	et__cluster__init(cluster);
	pb_text(&cluster->name, m->config->cluster);
	pb_bytes(&cluster->id, m->out->identity.cluster_id, 16);
	cluster->ca_certs = calloc(1, sizeof(*cluster->ca_certs));
	et_assert(cluster->ca_certs != NULL);
	cluster->n_ca_certs = 1;
	pb_bytes(&cluster->ca_certs[0], m->ca_cert.data, m->ca_cert.size);
	cluster->created_us = m->config->now_us;
	cluster->schema = ET_COMMAND_SCHEMA;
	cluster->next_node_id = FIRST_NODE + 1;
	cluster->cluster_time_us = m->config->now_us;
	et_random(&cluster->kek_id, sizeof(cluster->kek_id));
	init->cluster = cluster;
}

static void fill_node(const struct making *m, Et__ClusterInit *init)
{
	const struct et_keeper_init_config *c = m->config;
	Et__Node *node = calloc(1, sizeof(*node));

	et_assert(node != NULL);
	et__node__init(node);
	node->id = FIRST_NODE;
	pb_text(&node->name, c->name);
	pb_text(&node->site, c->site);
	pb_roles(&node->n_roles, &node->roles, c->roles);
	pb_text(&node->address, c->address);
	pb_text(&node->api_address, c->api_address != NULL ? c->api_address : "");
	node->state = ET__NODE_STATE__ACTIVE;
	pb_bytes(&node->spki_hash, m->spki_hash, 32);
	pb_bytes(&node->sign_public, m->out->identity.sign_public, 32);
	pb_bytes(&node->seal_public, c->seal_public, 32);
	pb_text(&node->version, c->version != NULL ? c->version : "");
	pb_text(&node->store_uuid, c->store_uuid != NULL ? c->store_uuid : "");
	node->joined_us = c->now_us;
	node->schema = ET_COMMAND_SCHEMA;
	init->node = node;
}

static int fill_kek(struct making *m, unsigned threshold, unsigned shares, Et__ClusterInit *init,
		    struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_releasep) struct et_buffer signature = { 0 };
	uint8_t bytes[KEK_SIGNED_BYTES];
	Et__Kek *kek = calloc(1, sizeof(*kek));

	et_assert(kek != NULL);
	et__kek__init(kek);
	init->kek = kek;
	kek->version = INIT_KEK;
	kek->state = ET__KEK_STATE__KEK_ACTIVE;
	kek->made_us = m->config->now_us;
	kek->escrow_threshold = threshold;
	kek->escrow_shares = shares;
	pb_bytes(&kek->public_key, m->kek_public, 32);
	kek_signed_bytes(INIT_KEK, m->kek_public, bytes);
	int rc = et_ca_sign(m->ca_key, (struct et_view){ bytes, sizeof(bytes) }, &signature);
	if (rc < 0) {
		return et_fail(reterr, rc, "sign the KEK");
	}
	pb_bytes(&kek->signature, signature.data, signature.size);
	return 0;
}

static int fill_grants(struct making *m, Et__ClusterInit *init, struct et_error *reterr)
{
	char name[SECRET_NAME_BYTES];

	kek_secret_name(INIT_KEK, name);
	init->grants = calloc(2, sizeof(void *));
	et_assert(init->grants != NULL);
	int rc = grant_make(name, m->kek, FIRST_NODE, m->config->seal_public, &init->grants[0],
			    reterr);
	if (rc < 0) {
		return rc;
	}
	init->n_grants = 1;
	rc = grant_make("ca", m->ca_key, FIRST_NODE, m->config->seal_public, &init->grants[1],
			reterr);
	init->n_grants += rc == 0;
	return rc;
}

static int make_command(struct making *m, unsigned threshold, unsigned shares,
			struct et_error *reterr)
{
	Et__Command *command = calloc(1, sizeof(*command));
	Et__ClusterInit *init = calloc(1, sizeof(*init));

	et_assert(command != NULL && init != NULL);
	et__command__init(command);
	et__cluster_init__init(init);
	m->out->command = command;
	command->body_case = ET__COMMAND__BODY_CLUSTER_INIT;
	command->cluster_init = init;
	command->schema = ET_COMMAND_SCHEMA;
	command->proposed_us = m->config->now_us;
	pb_text(&command->principal, "node:1");
	pb_text(&command->reason, "cluster init");
	fill_cluster(m, init);
	fill_node(m, init);
	int rc = fill_kek(m, threshold, shares, init, reterr);
	rc = rc < 0 ? rc : fill_grants(m, init, reterr);
	return rc < 0 ? rc
		      : certificate_record(view_of(&m->out->identity.cert), FIRST_NODE, 1,
					   &init->certificate, reterr);
}

static int make_members(struct making *m, struct et_error *reterr)
{
	struct et_member member = { .node = FIRST_NODE, .roles = m->config->roles };
	const struct et_member_list list = { .made_us = m->config->now_us,
					     .members = &member,
					     .count = 1 };

	memcpy(member.name, m->out->identity.name, sizeof(member.name));
	memcpy(member.site, m->out->identity.site, sizeof(member.site));
	memcpy(member.address, m->config->address, strlen(m->config->address) + 1);
	memcpy(member.spki_hash, m->spki_hash, 32);
	memcpy(member.sign_public, m->out->identity.sign_public, 32);
	int rc = et_member_list_sign(&list, m->ca_key, &m->out->members);
	return rc < 0 ? et_fail(reterr, rc, "sign the list of members") : 0;
}

int et_keeper_make_init(const struct et_keeper_init_config *config, struct et_keeper_init *ret,
			struct et_error *reterr)
{
	struct et_keeper_init out = { 0 };
	struct making m = { .config = config, .out = &out };
	unsigned threshold =
		config->escrow_threshold != 0 ? config->escrow_threshold : ESCROW_THRESHOLD;
	unsigned shares = config->escrow_shares != 0 ? config->escrow_shares : ESCROW_SHARES;

	if (threshold < 2 || threshold > shares || shares > ET_ESCROW_SHARES_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "an escrow of %u of %u shares: use 2 to %d shares, and at "
				     "least 2 of them to open it",
				     threshold, shares, ET_ESCROW_SHARES_MAX);
	}
	if ((config->roles & ET_ROLE_VAULT) == 0 || (config->roles & ET_ROLE_VOTER) == 0 ||
	    strlen(config->address) >= ET_ADDRESS_MAX) {
		return et_fail_plain(reterr, ET_EUSAGE,
				     "the first node must be voter and vault, with an address");
	}
	int rc = make_identity(&m, reterr);
	rc = rc < 0 ? rc : et_x25519_generate(&m.kek, m.kek_public, reterr);
	rc = rc < 0 ? rc : make_command(&m, threshold, shares, reterr);
	rc = rc < 0 ? rc
		    : escrow_split(INIT_KEK, m.kek, m.ca_key, threshold, shares, out.shares,
				   reterr);
	if (rc == 0) {
		out.share_count = shares;
		rc = make_members(&m, reterr);
	}
	making_release(&m);
	if (rc < 0) {
		et_keeper_init_release(&out);
		return rc;
	}
	*ret = out;
	return 0;
}

void et_keeper_init_release(struct et_keeper_init *init)
{
	et_identity_release(&init->identity);
	et__command__free_unpacked(init->command, NULL);
	for (unsigned i = 0; i < ET_ESCROW_SHARES_MAX; i++) {
		(void)et_secret_free(init->shares[i]);
	}
	et_buffer_release(&init->members);
	*init = (struct et_keeper_init){ 0 };
}
