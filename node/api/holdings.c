/* What a node holds, and what is lost with it. One walk over the copies, in the order of their
 * keys: those of one segment stand together. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/members_internal.h"

#define HOLDERS_MAX 256

struct holder {
	uint64_t id;
	char place[32];
	bool keeps;	/* is to stay: a copy there counts */
	bool neighbour; /* of the node's site, and not the node itself */
};

struct walk {
	struct api_holdings *out;
	struct holder holders[HOLDERS_MAX];
	size_t holder_count;
	char place[32];
	const char *site;
	uint64_t node;
	bool has_neighbour; /* its site has another node to keep copies */
	int code;

	/* The segment that is being looked at. */
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
	uint64_t bytes;
	bool own;
	bool elsewhere;
	bool at_site;
	uint8_t last_alone[16]; /* the recording that was counted last */
};

bool api_node_is_gone(const Et__Node *node)
{
	return node->state == ET__NODE_STATE__REMOVED || node->state == ET__NODE_STATE__REVOKED;
}

bool api_node_has_role(const Et__Node *node, const char *role)
{
	for (size_t i = 0; i < node->n_roles; i++) {
		if (strcmp(node->roles[i], role) == 0) {
			return true;
		}
	}
	return false;
}

bool api_node_stores(const Et__Node *node)
{
	return !api_node_has_role(node, "witness") && !api_node_has_role(node, "spare") &&
	       (api_node_has_role(node, "capture") || api_node_has_role(node, "vault") ||
		api_node_has_role(node, "store"));
}

bool api_node_moves_media(const Et__Node *node)
{
	return !api_node_is_gone(node) && api_node_stores(node);
}

static int add_holder(void *arg, const Et__Node *node)
{
	struct walk *w = arg;

	if (w->holder_count == HOLDERS_MAX) {
		return 0;
	}
	struct holder *h = &w->holders[w->holder_count++];
	*h = (struct holder){
		.id = node->id,
		.keeps = !api_node_is_gone(node) && node->state != ET__NODE_STATE__DRAINING &&
			 api_node_stores(node),
		.neighbour = node->id != w->node && strcmp(node->site, w->site) == 0,
	};
	(void)snprintf(h->place, sizeof(h->place), "node:%" PRIu64, node->id);
	w->has_neighbour |= h->keeps && h->neighbour && api_node_stores(node) &&
			    node->state == ET__NODE_STATE__ACTIVE;
	return 0;
}

/* The segment is complete: count it. */
static void segment_end(struct walk *w)
{
	struct api_holdings *h = w->out;

	if (!w->own) {
		return;
	}
	h->segments++;
	h->bytes += w->bytes;
	if (!w->elsewhere || (w->has_neighbour && !w->at_site)) {
		h->left_segments++;
		h->left_bytes += w->bytes;
	}
	if (w->elsewhere) {
		return;
	}
	h->alone_segments++;
	h->alone_bytes += w->bytes;
	if (h->alone_recordings == 0 || memcmp(w->last_alone, w->recording, 16) != 0) {
		memcpy(w->last_alone, w->recording, 16);
		if (h->alone_recordings++ < API_ALONE_MAX) {
			const ProtobufCBinaryData id = { 16, w->recording };
			et_json_add(h->alone, api_uuid(&id));
		}
	}
}

static const struct holder *holder_of(const struct walk *w, const char *place)
{
	for (size_t i = 0; i < w->holder_count; i++) {
		if (strcmp(w->holders[i].place, place) == 0) {
			return &w->holders[i];
		}
	}
	return NULL;
}

static int add_copy(void *arg, const Et__Copy *copy)
{
	struct walk *w = arg;

	if (copy->recording.len != 16) {
		return 0;
	}
	if (memcmp(w->recording, copy->recording.data, 16) != 0 ||
	    w->generation != copy->generation || w->segment != copy->segment) {
		segment_end(w);
		memcpy(w->recording, copy->recording.data, 16);
		w->generation = copy->generation;
		w->segment = copy->segment;
		w->own = w->elsewhere = w->at_site = false;
	}
	bool verified = copy->state == ET__COPY__STATE__VERIFIED;
	if (strcmp(copy->place, w->place) == 0) {
		w->own = verified;
		w->bytes = copy->size_bytes;
		return 0;
	}
	if (strncmp(copy->place, "target:", 7) == 0) {
		w->elsewhere |= verified;
		return 0;
	}
	const struct holder *h = holder_of(w, copy->place);
	if (h != NULL && h->keeps) {
		w->elsewhere |= verified;
		/* What policy released there is not to come back. */
		w->at_site |= h->neighbour && (verified || copy->state == ET__COPY__STATE__EVICTED);
	}
	return 0;
}

static int count_recording(void *arg, const Et__Recording *r)
{
	(void)r;
	(*(uint64_t *)arg)++;
	return 0;
}

static int count_capturing(const struct et_state_view *v, uint64_t node, uint64_t *ret)
{
	char cursor[ET_STATE_CURSOR_SIZE] = "";
	struct et_state_found found;
	int rc;

	*ret = 0;
	do {
		const struct et_state_query query = { .node = node,
						      .state = ET__RECORDING_STATE__CAPTURING,
						      .cursor = cursor,
						      .limit = 1000 };
		rc = et_state_search(v, &query, count_recording, ret, &found);
		memcpy(cursor, found.cursor, sizeof(cursor));
		rc = rc >= 0 && !found.complete ? ET_EBUSY : rc; /* the index is being made */
	} while (rc >= 0 && cursor[0] != '\0');
	return rc < 0 ? rc : 0;
}

int api_holdings_read(const struct et_state_view *v, const Et__Node *node, struct api_holdings *ret,
		      struct et_error *reterr)
{
	struct walk *w = calloc(1, sizeof(*w));

	*ret = (struct api_holdings){ .index = et_state_view_index(v), .alone = json_array() };
	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "what %s holds", node->name);
	}
	w->out = ret;
	w->node = node->id;
	w->site = node->site;
	(void)snprintf(w->place, sizeof(w->place), "node:%" PRIu64, node->id);
	int rc = et_state_each_node(v, add_holder, w);
	rc = rc < 0 ? rc : et_state_each_copy(v, add_copy, w);
	if (rc == 0) {
		segment_end(w);
		rc = count_capturing(v, node->id, &ret->capturing);
	}
	free(w);
	return rc < 0 ? et_fail(reterr, rc, "what %s holds", node->name) : 0;
}

void api_holdings_release(struct api_holdings *h)
{
	json_decref(h->alone);
	h->alone = NULL;
}
