/* What a node holds, and what is lost with it: for draining, removal and `status`.
 *
 * Threads: a worker each; over views. */
#ifndef ET_NODE_API_MEMBERS_INTERNAL_H
#define ET_NODE_API_MEMBERS_INTERNAL_H

#include "node/api/picture_internal.h"

#define API_ALONE_MAX 1000 /* recordings that are named */

/* Copies of one node. A segment is `left` while the node still has to keep it: nobody else holds it
 * verified, or another node of its site should (placement: a copy at every site) and does not yet.
 * It is `alone` when nobody else holds it: with the node it would be gone. Members that drain, and
 * removed ones, do not count as holders; the archive does. */
struct api_holdings {
	uint64_t index; /* as of this log index */
	uint64_t segments, bytes;
	uint64_t left_segments, left_bytes;
	uint64_t alone_segments, alone_bytes;
	uint64_t alone_recordings;
	uint64_t capturing; /* recordings of this node that have not ended */
	json_t *alone;	    /* owned: ids of the first API_ALONE_MAX recordings */
};
/* Reads all copies: seconds in a large catalogue. */
int api_holdings_read(const struct et_state_view *v, const Et__Node *node, struct api_holdings *ret,
		      struct et_error *reterr) ET_MUST_CHECK;
void api_holdings_release(struct api_holdings *h);

/* The node of this name (the latest who bears it) or number; the caller's. ET_ENOTFOUND. */
int api_node_find(const struct et_state_view *v, const char *text, Et__Node **ret,
		  struct et_error *reterr) ET_MUST_CHECK;
bool api_node_is_gone(const Et__Node *node);
bool api_node_has_role(const Et__Node *node, const char *role);
/* capture, vault or store, and neither witness nor spare. */
bool api_node_stores(const Et__Node *node);
bool api_node_moves_media(const Et__Node *node); /* a member that stores */

static inline void api_node_freep(Et__Node **node) /* a cleanup */
{
	et__node__free_unpacked(*node, NULL);
}

/* ---- raft.c ---- */

/* Is it a voter in Raft's configuration now? */
bool api_is_voter_now(const struct et_catalog_status *s, uint64_t node);
/* Hand leadership over to `to`; 0: to any voter. ET_EUNREACHABLE: it was not taken over. */
int api_transfer(struct api_call *call, uint64_t to, struct et_error *reterr) ET_MUST_CHECK;
/* Until `want` leads, or, when it is 0, somebody who is not `old`. ET_EUNREACHABLE: 15 s. */
int api_leader_wait(struct api_call *call, uint64_t old, uint64_t want, uint64_t *ret,
		    struct et_error *reterr) ET_MUST_CHECK;

/* ---- status.c ---- */

/* What members said of themselves last, with their ids. A new array. */
json_t *api_live_nodes(struct api_call *call);
const json_t *api_live_of(const json_t *live, uint64_t id); /* NULL: nothing is known */
/* What a site lacks, and since when, into `o`. */
void api_add_lag(json_t *o, const struct et_sync_site *s);
/* Not so long ago that it says nothing of now. */
bool api_live_is_fresh(const json_t *live);
/* One member as the lists show it. A new object. */
json_t *api_node_json(const struct et_state_view *v, const struct api_picture *p,
		      const json_t *live, const Et__Node *node);

#endif
