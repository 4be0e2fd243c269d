/* A rotation at this node: the keys of its folder, what it says of them, and its own grants. */
#include <string.h>

#include "node/base/log.h"
#include "node/keeper/rotate_internal.h"

/* ---- What the key folder is to hold ---- */

struct own {
	struct keys_order *order;
	uint64_t node;
};

static int own_grant(void *arg, const Et__Grant *g)
{
	struct own *o = arg;

	if (g->node == o->node && g->seal_public.len == 32 &&
	    o->order->keep_count < ET_ARRAY_SIZE(o->order->keep)) {
		memcpy(o->order->keep[o->order->keep_count++], g->seal_public.data, 32);
	}
	return 0;
}

/* What the key folder is to hold; false: it cannot be said. */
static bool order_make(const struct look *l, struct keys_order *ret)
{
	struct own own = { ret, l->k->identity.node };

	*ret = (struct keys_order){ 0 };
	for (size_t i = 0; i < l->count && l->vault; i++) {
		ret->wanted[ret->wanted_count++] = l->rows[i].version;
	}
	if (l->vault && l->ring->wanted > l->rows[l->count - 1].version &&
	    ret->wanted_count < KEYS_MAX) {
		ret->wanted[ret->wanted_count++] = l->ring->wanted;
	}
	if (l->self->seal_public.len == 32) {
		memcpy(ret->keep[ret->keep_count++], l->self->seal_public.data, 32);
	}
	return et_state_each_grant(l->v, own_grant, &own) == 0 &&
	       ret->keep_count < ET_ARRAY_SIZE(ret->keep);
}

static const struct node_key *key_of_version(const struct node_keys *keys, uint32_t version)
{
	for (size_t i = 0; i < keys->count; i++) {
		if (keys->keys[i].version == version) {
			return &keys->keys[i];
		}
	}
	return NULL;
}

static bool in_order(const struct node_keys *keys, const struct keys_order *order)
{
	for (size_t i = 0; i < order->wanted_count; i++) {
		if (key_of_version(keys, order->wanted[i]) == NULL) {
			return false;
		}
	}
	for (size_t i = 0; i < keys->count; i++) {
		if (!keys_order_keeps(order, &keys->keys[i])) {
			return false;
		}
	}
	return true;
}

struct ordering {
	uv_work_t work;
	struct et_keeper *k;
	struct keys_order order;
	struct node_keys keys; /* owned */
	unsigned wiped;
	int code;
	struct et_error error;
};

static void ordering_work(uv_work_t *work)
{
	struct ordering *o = work->data;

	o->code = node_keys_order(o->k->state_folder, o->k->root, &o->order, &o->keys, &o->wiped,
				  &o->error);
}

static void ordering_done(uv_work_t *work, int status)
{
	struct ordering *o = work->data;
	struct et_keeper *k = o->k;

	k->rotation.ordering = false;
	if (status < 0 || o->code < 0) {
		et_err("keeper.keys", "step=folder error=\"%s\"",
		       status < 0 ? et_strerror(status) : o->error.text);
	} else {
		node_keys_release(&k->keys);
		k->keys = o->keys;
		o->keys = (struct node_keys){ 0 };
		if (o->wiped > 0) {
			(void)atomic_fetch_add(&k->health.keys_wiped, o->wiped);
			et_info("keeper.wiped", "keys=%u", o->wiped);
		}
		rotate_look(k);
	}
	node_keys_release(&o->keys);
	free(o);
	keeper_end(k);
}

bool rotate_keys_order(struct look *l)
{
	struct et_keeper *k = l->k;
	struct ordering *o = calloc(1, sizeof(*o));

	et_assert(o != NULL);
	bool good = !order_make(l, &o->order) || in_order(&k->keys, &o->order);
	if (!good && !rotate_is_current(k)) {
		o->order.keep_all = true;
		good = in_order(&k->keys, &o->order);
	}
	if (good) {
		free(o);
		return false;
	}
	o->k = k;
	o->work.data = o;
	k->rotation.ordering = true;
	keeper_begin(k);
	if (uv_queue_work(k->loop, &o->work, ordering_work, ordering_done) < 0) {
		ordering_done(&o->work, -ENOMEM);
	}
	return true;
}

/* ---- What this node says of itself ---- */

static bool keys_published(const struct look *l, const struct keys_order *order)
{
	if (l->self->n_seal_keys != order->wanted_count) {
		return false;
	}
	for (size_t i = 0; i < order->wanted_count; i++) {
		const struct node_key *key = key_of_version(&l->k->keys, order->wanted[i]);
		const Et__SealKey *told = l->self->seal_keys[i];
		if (key == NULL || told->version != order->wanted[i] ||
		    told->public_key.len != 32 ||
		    memcmp(told->public_key.data, key->public_key, 32) != 0) {
			return false;
		}
	}
	return true;
}

bool rotate_report(struct look *l)
{
	struct et_keeper *k = l->k;
	Et__KekReport body = ET__KEK_REPORT__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__SealKey keys[KEYS_MAX];
	Et__SealKey *list[KEYS_MAX];
	struct keys_order order;
	bool due = k->rotation.drained > l->self->kek_drained;

	body.drained = due ? k->rotation.drained : 0;
	if (l->vault && order_make(l, &order) && in_order(&k->keys, &order)) {
		struct node_key *now = NULL;
		body.has_seal_keys = true;
		body.n_seal_keys = order.wanted_count;
		body.seal_keys = list;
		for (size_t i = 0; i < order.wanted_count; i++) {
			struct node_key *key = (struct node_key *)(uintptr_t)key_of_version(
				&k->keys, order.wanted[i]);
			et__seal_key__init(&keys[i]);
			keys[i].version = key->version;
			keys[i].public_key = (ProtobufCBinaryData){ 32, key->public_key };
			list[i] = &keys[i];
			now = key->version == l->active->version ? key : now;
		}
		due |= !keys_published(l, &order);
		if (now != NULL && (l->self->seal_public.len != 32 ||
				    memcmp(l->self->seal_public.data, now->public_key, 32) != 0)) {
			body.seal_public = (ProtobufCBinaryData){ 32, now->public_key };
			due = true;
		}
	}
	if (!due) {
		return false;
	}
	command.body_case = ET__COMMAND__BODY_KEK_REPORT;
	command.kek_report = &body;
	rotate_propose(k, &command, "keys of this node", NULL);
	return true;
}

/* A grant of this node that is sealed to another key than that of its version is sealed anew, so
 * that each key can be wiped with its version. */
static void reseal_one(struct look *l, const char *name, uint32_t version, struct grant_list *list)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *secret = NULL;
	struct et_keeper *k = l->k;
	const struct node_key *key = key_of_version(&k->keys, version);
	Et__Grant *grant = NULL;
	struct et_error e = { 0 };

	if (key == NULL || list->count == SECRETS_MAX ||
	    et_state_get_grant(l->v, name, k->identity.node, &grant) < 0) {
		return;
	}
	bool good = grant->seal_public.len == 32 &&
		    memcmp(grant->seal_public.data, key->public_key, 32) == 0;
	if (!good) {
		int rc = grant_open(grant, &k->keys, &secret, &e);
		rc = rc < 0 ? rc
			    : grant_make(name, secret, k->identity.node, key->public_key,
					 &list->grants[list->count], &e);
		list->count += rc == 0;
		if (rc < 0) {
			et_warn("keeper.keys", "step=reseal secret=%s why=\"%s\"", name, e.text);
		}
	}
	et__grant__free_unpacked(grant, NULL);
}

bool rotate_reseal(struct look *l)
{
	Et__GrantAdd add = ET__GRANT_ADD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	struct grant_list list = { 0 };
	char name[SECRET_NAME_BYTES];

	for (size_t i = 0; i < l->count && l->vault; i++) {
		if (l->rows[i].state != ET__KEK_STATE__KEK_DESTROY_SCHEDULED) {
			kek_secret_name(l->rows[i].version, name);
			reseal_one(l, name, l->rows[i].version, &list);
		}
	}
	for (size_t i = 0; i < 2 && l->vault; i++) {
		uint32_t number = et_state_ca_number(l->cluster, i);
		et_state_ca_secret(number, name);
		if (number != 0) {
			reseal_one(l, name, l->active->version, &list);
		}
	}
	if (list.count == 0) {
		return false;
	}
	add.n_grants = list.count;
	add.grants = list.grants;
	command.body_case = ET__COMMAND__BODY_GRANT_ADD;
	command.grant_add = &add;
	rotate_propose(l->k, &command, "each grant under the key of its version", NULL);
	grant_list_release(&list);
	return true;
}
