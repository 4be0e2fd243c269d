#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/keeper/keeper_internal.h"

struct et_members {
	struct et_member_list list; /* owned; empty when there is none */
	uint64_t next_node;	    /* behind the largest number of the list */
	struct et_state *state;	    /* borrowed, or NULL */
	uint64_t self;
};

int et_members_open(const char *folder, const struct et_identity *identity, struct et_members **ret,
		    struct et_error *reterr)
{
	struct et_members *m = calloc(1, sizeof(*m));

	if (m == NULL) {
		return et_fail(reterr, -ENOMEM, "open the list of members");
	}
	m->self = identity->node;
	m->next_node = identity->node + 1;
	int rc = et_member_list_load(folder, view_of(&identity->ca), &m->list, reterr);
	if (rc == ET_EUNTRUSTED) { /* of a CA that was rotated out: the catalogue is newer */
		et_warn("members.list", "detail=\"%s\"",
			"signed by no CA that is trusted: not used");
	} else if (rc < 0 && rc != ET_ENOTFOUND) {
		free(m);
		return rc;
	}
	for (size_t i = 0; i < m->list.count; i++) {
		if (m->list.members[i].node >= m->next_node) {
			m->next_node = m->list.members[i].node + 1;
		}
	}
	*ret = m;
	return 0;
}

struct et_members *et_members_close(struct et_members *m)
{
	if (m != NULL) {
		et_member_list_release(&m->list);
		free(m);
	}
	return NULL;
}

void et_members_set_state(struct et_members *m, struct et_state *state)
{
	m->state = state;
}

static const struct et_member *list_find(const struct et_members *m, uint64_t node)
{
	for (size_t i = 0; i < m->list.count; i++) {
		if (m->list.members[i].node == node) {
			return &m->list.members[i];
		}
	}
	return NULL;
}

static int compare(const struct et_tls_peer *peer, const char *site, const uint8_t spki_hash[32],
		   struct et_error *reterr)
{
	if (memcmp(peer->spki_hash, spki_hash, 32) != 0) {
		return et_fail_plain(reterr, ET_EUNTRUSTED,
				     "the key is not the recorded one of node %llu",
				     (unsigned long long)peer->node);
	}
	if (strcmp(peer->site, site) != 0) {
		return et_fail_plain(reterr, ET_EUNTRUSTED,
				     "node %llu is of site '%s', its certificate says '%s'",
				     (unsigned long long)peer->node, site, peer->site);
	}
	return 0;
}

/* Was the key of the CA stolen, and is there no other CA yet? */
static bool ca_is_stolen(const struct et_members *m)
{
	struct et_state_view *v = m->state != NULL ? et_state_view_open(m->state) : NULL;
	Et__CaRing *ring = NULL;
	bool stolen = false;

	if (v != NULL && et_state_get_ca_ring(v, &ring) == 0) {
		stolen = ring->forced && ring->phase == ET__CA_PHASE__CA_WANTED;
		et__ca_ring__free_unpacked(ring, NULL);
	}
	(void)et_state_view_close(v);
	return stolen;
}

/* Nobody here knows it yet; a CA of the bundle does. It may bring this node up to date. But while a
 * thief has the key of the only CA, anybody may be a newcomer. */
static int check_newcomer(const struct et_members *m, uint64_t next_node,
			  const struct et_tls_peer *peer, const char *alpn, struct et_error *reterr)
{
	bool may = strcmp(alpn, ET_ALPN_RAFT) == 0 || strcmp(alpn, ET_ALPN_RPC) == 0;

	if (ca_is_stolen(m)) {
		return et_fail_plain(reterr, ET_EUNTRUSTED,
				     "node %llu is not known here, and the CA's key was stolen",
				     (unsigned long long)peer->node);
	}
	if (peer->node >= next_node && !peer->expired && !peer->unchained && may) {
		return 0;
	}
	return et_fail_plain(reterr, ET_EUNTRUSTED, "node %llu is no member%s",
			     (unsigned long long)peer->node,
			     peer->expired ? ", and its certificate has expired" : "");
}

static int check_record(const Et__Node *node, const struct et_tls_peer *peer,
			struct et_error *reterr)
{
	if (node->state == ET__NODE_STATE__REMOVED || node->state == ET__NODE_STATE__REVOKED) {
		return et_fail_plain(
			reterr, ET_EUNTRUSTED, "node %llu was %s", (unsigned long long)node->id,
			node->state == ET__NODE_STATE__REVOKED ? "revoked" : "removed");
	}
	if (node->spki_hash.len != 32) {
		return et_fail_plain(reterr, ET_EUNTRUSTED, "node %llu has no recorded key",
				     (unsigned long long)node->id);
	}
	return compare(peer, node->site, node->spki_hash.data, reterr);
}

/* Does the catalogue decide? Then *ret_next and *ret are set (NULL: no such node). A list that is
 * newer than the catalogue names members that it does not know yet. */
static bool catalogue_decides(const struct et_members *m, uint64_t id, uint64_t *ret_next,
			      Et__Node **ret)
{
	Et__Cluster *cluster = NULL;
	bool decides = false;

	*ret = NULL;
	if (m->state == NULL) {
		return false;
	}
	struct et_state_view *v = et_state_view_open(m->state);
	if (et_state_get_cluster(v, &cluster) == 0) {
		*ret_next = cluster->next_node_id;
		et__cluster__free_unpacked(cluster, NULL);
		decides = et_state_get_node(v, id, ret) == 0 ||
			  et_state_view_index(v) >= m->list.index;
	}
	(void)et_state_view_close(v);
	return decides;
}

int et_members_check(void *arg, const struct et_tls_peer *peer, const char *alpn,
		     struct et_error *reterr)
{
	const struct et_members *m = arg;
	Et__Node *node = NULL;
	uint64_t next_node = m->next_node;

	if (catalogue_decides(m, peer->node, &next_node, &node)) {
		if (node == NULL) {
			return check_newcomer(m, next_node, peer, alpn, reterr);
		}
		int rc = check_record(node, peer, reterr);
		et__node__free_unpacked(node, NULL);
		return rc;
	}
	const struct et_member *member = list_find(m, peer->node);
	if (member != NULL) {
		return compare(peer, member->site, member->spki_hash, reterr);
	}
	return check_newcomer(m, m->next_node, peer, alpn, reterr);
}

bool et_members_recorded(void *arg, uint64_t id, const uint8_t spki_hash[32])
{
	const struct et_members *m = arg;
	uint64_t next_node = 0;
	Et__Node *node = NULL;
	bool is = false;

	if (!catalogue_decides(m, id, &next_node, &node)) {
		const struct et_member *member = list_find(m, id);
		return member != NULL && memcmp(member->spki_hash, spki_hash, 32) == 0;
	}
	if (node != NULL) {
		is = node->state != ET__NODE_STATE__REMOVED &&
		     node->state != ET__NODE_STATE__REVOKED && node->spki_hash.len == 32 &&
		     memcmp(node->spki_hash.data, spki_hash, 32) == 0;
		et__node__free_unpacked(node, NULL);
	}
	return is;
}

bool et_members_address(struct et_members *m, uint64_t node, char ret[ET_ADDRESS_MAX])
{
	Et__Node *record = NULL;
	uint64_t next_node = 0;
	bool known = false;

	if (catalogue_decides(m, node, &next_node, &record)) {
		known = record != NULL && strlen(record->address) < ET_ADDRESS_MAX &&
			record->address[0] != '\0';
		if (known) {
			memcpy(ret, record->address, strlen(record->address) + 1);
		}
		if (record != NULL) {
			et__node__free_unpacked(record, NULL);
		}
		return known;
	}
	const struct et_member *member = list_find(m, node);
	if (member != NULL) {
		memcpy(ret, member->address, sizeof(member->address));
	}
	return member != NULL;
}

/* ---- The list that a node keeps on its disk ---- */

static int pack_node(void *arg, const Et__Node *node)
{
	struct et_member_list *l = arg;

	if (node->state == ET__NODE_STATE__REMOVED || node->state == ET__NODE_STATE__REVOKED ||
	    l->count >= ET_MEMBERS_MAX || node->spki_hash.len != 32 ||
	    strlen(node->address) >= ET_ADDRESS_MAX) {
		return 0;
	}
	struct et_member *m = &l->members[l->count++];
	m->node = node->id;
	m->roles = roles_of(node->n_roles, node->roles);
	(void)snprintf(m->name, sizeof(m->name), "%.63s", node->name);
	(void)snprintf(m->site, sizeof(m->site), "%.63s", node->site);
	memcpy(m->address, node->address, strlen(node->address) + 1);
	memcpy(m->spki_hash, node->spki_hash.data, 32);
	if (node->sign_public.len == 32) {
		memcpy(m->sign_public, node->sign_public.data, 32);
	}
	return 0;
}

int members_pack(const struct et_state_view *v, const struct et_secret *ca_key,
		 struct et_buffer *ret, struct et_error *reterr)
{
	struct et_member_list l = { .index = et_state_view_index(v),
				    .made_us = et_clock_now_us(),
				    .members = calloc(ET_MEMBERS_MAX, sizeof(*l.members)) };

	int rc = l.members != NULL ? et_state_each_node(v, pack_node, &l) : -ENOMEM;
	rc = rc < 0 ? rc : et_member_list_sign(&l, ca_key, ret);
	et_member_list_release(&l);
	return rc < 0 ? et_fail(reterr, rc, "sign the list of members") : 0;
}
