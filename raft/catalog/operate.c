#include <stdio.h>

#include "node/io/clock.h"
#include "raft/catalog/catalog_internal.h"

/* What an operator asks of Raft at any node, and where members are.
 *
 * Transfer: the leader does it; another node asks the leader (ET_RPC_TRANSFER, body: node64).
 *
 * Addresses. Raft's configuration keeps the address that a member had when it was added. libraft
 * can change it only by removing and adding the member again, which costs a vote meanwhile; so that
 * address is only the last resort here. A member that has moved connects to the others by itself:
 * its greeting says where it is now, and its certificate that it is really the one. What was
 * greeted is tried first, then what the catalogue says (NodeUpdate), then Raft's; after a failure
 * the next. Who answers must show that member's key, whatever the address.
 *
 *   dial ─▶ greeted ─fails─▶ catalogue ─fails─▶ configuration ─fails─▶ greeted ... */

enum { TRANSFER_TIMEOUT_MS = 30000 };

/* ---- Where members are ---- */

struct cat_seat *et_cat_seat(struct et_catalog *c, uint64_t node)
{
	struct cat_seat *oldest = &c->seats[0];

	for (size_t i = 0; i < ET_ARRAY_SIZE(c->seats); i++) {
		struct cat_seat *s = &c->seats[i];
		if (s->node == node) {
			return s;
		}
		if (s->node == 0 || (oldest->node != 0 && s->contact_us < oldest->contact_us)) {
			oldest = s;
		}
	}
	*oldest = (struct cat_seat){ .node = node };
	return oldest;
}

static size_t candidate_add(char list[3][CAT_ADDRESS_SIZE], size_t count, const char *address)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(list[i], address) == 0) {
			return count;
		}
	}
	if (address[0] == '\0') {
		return count;
	}
	(void)snprintf(list[count], CAT_ADDRESS_SIZE, "%s", address);
	return count + 1;
}

void et_cat_address(struct et_catalog *c, uint64_t node, const char *otherwise,
		    char ret[CAT_ADDRESS_SIZE])
{
	const struct cat_seat *seat = et_cat_seat(c, node);
	char list[3][CAT_ADDRESS_SIZE];
	char known[CAT_ADDRESS_SIZE] = "";
	size_t count = candidate_add(list, 0, seat->greeted);

	if (c->address_of != NULL && c->address_of(c->arg, node, known)) {
		count = candidate_add(list, count, known);
	}
	count = candidate_add(list, count, otherwise != NULL ? otherwise : "");
	(void)snprintf(ret, CAT_ADDRESS_SIZE, "%s", count > 0 ? list[seat->turn % count] : "");
}

void et_cat_address_failed(struct et_catalog *c, uint64_t node)
{
	et_cat_seat(c, node)->turn++;
}

void et_cat_address_greeted(struct et_catalog *c, uint64_t node, const char *address)
{
	struct cat_seat *seat = et_cat_seat(c, node);

	if (strcmp(seat->greeted, address) != 0) {
		(void)snprintf(seat->greeted, sizeof(seat->greeted), "%s", address);
		seat->turn = 0;
	}
}

/* ---- Transfer of leadership, asked for anywhere ---- */

struct wish {
	struct et_post post;
	struct et_catalog *c;
	uint64_t node;
	et_catalog_cb cb;
	void *arg;
};

static void wish_end(struct wish *w, int code)
{
	et_catalog_cb cb = w->cb;
	void *arg = w->arg;

	free(w);
	if (cb != NULL) {
		cb(arg, code, NULL);
	}
}

static void wish_on_done(void *arg, int code, const Et__Result *result)
{
	(void)result;
	wish_end(arg, code);
}

/* A call that outlives the catalogue is not told of; so its wish is kept by RPC itself. */
static void wish_on_answer(void *arg, int code, struct et_view body)
{
	(void)body;
	wish_end(arg, code);
}

static void wish_run(struct wish *w)
{
	struct et_catalog *c = w->c;
	raft_id leader = 0;
	const char *address = NULL;
	char to[CAT_ADDRESS_SIZE];
	uint8_t body[8];

	if (c->stopping) {
		wish_end(w, ET_ECLOSED);
		return;
	}
	if (et_cat_is_leader(c)) {
		et_catalog_transfer(c, w->node, wish_on_done, w);
		return;
	}
	raft_leader(&c->raft, &leader, &address);
	if (leader == 0) {
		wish_end(w, ET_ENOQUORUM);
	} else if (leader == w->node) {
		wish_end(w, 0);
	} else {
		et_cat_address(c, leader, address, to);
		et_put64(body, w->node);
		et_rpc_call(c->tls, leader, to, ET_RPC_TRANSFER, body, sizeof(body),
			    TRANSFER_TIMEOUT_MS, wish_on_answer, w);
	}
}

static void wish_on_loop(struct et_post *post)
{
	struct wish *w = ET_CONTAINER_OF(post, struct wish, post);
	struct et_catalog *c = w->c;

	wish_run(w);
	et_cat_post_ended(c);
}

int et_catalog_transfer_from(struct et_catalog *c, uint64_t node, et_catalog_cb cb, void *arg)
{
	struct wish *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		return -ENOMEM;
	}
	*w = (struct wish){
		.post = { .fn = wish_on_loop }, .c = c, .node = node, .cb = cb, .arg = arg
	};
	int rc = et_cat_post(c, &w->post);
	if (rc < 0) {
		free(w);
	}
	return rc;
}

static void transfer_on_done(void *arg, int code, const Et__Result *result)
{
	(void)result;
	et_rpc_reply(arg, code, NULL, 0);
}

void et_cat_serve_transfer(void *arg, const struct et_tls_peer *peer, struct et_view body,
			   struct et_rpc_reply *reply)
{
	struct et_catalog *c = arg;

	if (body.size != 8) {
		et_rpc_reply(reply, ET_EMALFORMED, NULL, 0);
		return;
	}
	et_info("catalog.transfer", "asked-by=%llu to=%llu", (unsigned long long)peer->node,
		(unsigned long long)et_get64(body.data));
	et_catalog_transfer(c, et_get64(body.data), transfer_on_done, reply);
}

/* ---- A snapshot, now, asked for by another thread ---- */

struct snapshot_wish {
	struct et_post post;
	struct et_catalog *c;
	void (*cb)(void *arg, int code, uint64_t index);
	void *arg;
};

static void snapshot_on_loop(struct et_post *post)
{
	struct snapshot_wish *w = ET_CONTAINER_OF(post, struct snapshot_wish, post);
	struct et_catalog *c = w->c;

	et_catalog_snapshot(c, w->cb, w->arg);
	free(w);
	et_cat_post_ended(c);
}

int et_catalog_snapshot_from(struct et_catalog *c, void (*cb)(void *arg, int code, uint64_t index),
			     void *arg)
{
	struct snapshot_wish *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		return -ENOMEM;
	}
	*w = (struct snapshot_wish){
		.post = { .fn = snapshot_on_loop }, .c = c, .cb = cb, .arg = arg
	};
	int rc = et_cat_post(c, &w->post);
	if (rc < 0) {
		free(w);
	}
	return rc;
}
