/* Rewrap: the DEKs that are wrapped to an old KEK version are wrapped to the active one. Media is
 * not touched.
 *
 *   segments of the catalogue, in order ─▶ worker thread: open with the old version, seal to the
 *   new one, open that again and compare ─▶ KekRewrap of a batch ─▶ pause as the rate says ─▶ ...
 *
 * There is nothing to remember: what is left to do is what is still on the old version, by the
 * catalogue's own count. Whoever goes on after a crash begins at the first segment; two at once
 * disturb nobody, for apply compares before it sets.
 *
 * Possible failure modes are
 *   - no majority, another leader: the batch is made again;
 *   - an erasure, or another rewrap, came first: apply refuses that item;
 *   - a wrap does not open: counted (health), logged, and the version cannot be destroyed. When
 *     nothing else is left on it, it is put off for a while: others are not to wait for it. */
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/io/clock.h"
#include "node/keeper/keeper_internal.h"
#include "node/tape/wrap.h"

#define BATCH 256	  /* wraps a command: about 48 KiB */
#define LOOKS_MAX 20000	  /* segments that one batch looks at */
#define ROUNDS_A_SECOND 8 /* a low rate makes smaller batches, not long pauses */
#define PASS_PAUSE_US (1LL * 1000000)
#define FAILED_PAUSE_US (60LL * 1000000) /* what does not open now will hardly do so soon */

struct item {
	Et__Rewrap rewrap;
	Et__Wrap wrap;
	uint8_t recording[16];
	uint8_t old_hash[32];
	uint8_t enc[ET_HPKE_ENC_SIZE];
	uint8_t ciphertext[ET_DEK_WRAPPED_SIZE];
};

struct rewrap {
	struct et_keeper *k;
	bool busy;
	uint32_t from;
	uint32_t to;
	struct et_state_place at;
	bool pass_moved;  /* since the first segment: something was there to move, */
	bool pass_failed; /* and something did not open */
	int64_t next_us;  /* monotonic: not before */
	uint32_t rate;
	unsigned size; /* of a batch, at most */
	struct {
		uint32_t version;
		int64_t until_us;
	} put_off[KEYS_MAX]; /* what is over is free */

	/* Of the batch. */
	uv_work_t work;
	struct et_secret *old_secret; /* owned */
	struct et_secret *new_secret; /* owned: to check what was sealed */
	uint8_t new_public[32];
	int64_t begun_us;
	bool more;
	int code;
	unsigned failed;
	struct et_error error; /* of the last failure */
	size_t count;
	struct item items[BATCH];
};

struct rewrap *rewrap_new(struct et_keeper *k)
{
	struct rewrap *r = calloc(1, sizeof(*r));

	if (r != NULL) {
		r->k = k;
	}
	return r;
}

static void secrets_free(struct rewrap *r)
{
	r->old_secret = et_secret_free(r->old_secret);
	r->new_secret = et_secret_free(r->new_secret);
}

void rewrap_free(struct rewrap *r)
{
	if (r != NULL) {
		secrets_free(r);
		free(r);
	}
}

/* ---- The worker ---- */

static int item_seal(struct rewrap *r, struct item *i, const Et__Segment *g)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *again = NULL;
	const Et__Wrap *old = g->wrap;

	if (old->enc.len != ET_HPKE_ENC_SIZE) {
		return et_fail(&r->error, ET_EINTEGRITY, "the wrapped key");
	}
	int rc = et_dek_unwrap(r->old_secret, r->from, g->recording.data, old->dek, old->enc.data,
			       (struct et_view){ old->ciphertext.data, old->ciphertext.len }, &dek,
			       &r->error);
	if (rc == 0 && et_secret_size(dek) != ET_DEK_SIZE) {
		rc = et_fail(&r->error, ET_EINTEGRITY, "the wrapped key");
	}
	rc = rc < 0 ? rc
		    : et_dek_wrap(r->new_public, r->to, g->recording.data, old->dek, dek, i->enc,
				  i->ciphertext, &r->error);
	/* The old wrap goes for good: the new one must open. */
	rc = rc < 0 ? rc
		    : et_dek_unwrap(r->new_secret, r->to, g->recording.data, old->dek, i->enc,
				    (struct et_view){ i->ciphertext, sizeof(i->ciphertext) },
				    &again, &r->error);
	if (rc == 0 && !et_secret_equal(dek, again)) {
		rc = et_fail(&r->error, ET_EINTEGRITY, "the new wrap");
	}
	return rc;
}

#define BATCH_FULL 2

static int item_add(void *arg, const Et__Segment *g)
{
	struct rewrap *r = arg;

	if (r->count == r->size) {
		return BATCH_FULL;
	}
	struct item *i = &r->items[r->count];
	if (item_seal(r, i, g) < 0) {
		r->failed++;
		return 0; /* the others go on */
	}
	memcpy(i->recording, g->recording.data, 16);
	et_state_wrap_hash(g->wrap, i->old_hash);
	et__rewrap__init(&i->rewrap);
	et__wrap__init(&i->wrap);
	i->wrap.dek = g->wrap->dek;
	i->wrap.kek_version = r->to;
	i->wrap.enc = (ProtobufCBinaryData){ sizeof(i->enc), i->enc };
	i->wrap.ciphertext = (ProtobufCBinaryData){ sizeof(i->ciphertext), i->ciphertext };
	i->rewrap.recording = (ProtobufCBinaryData){ 16, i->recording };
	i->rewrap.generation = g->generation;
	i->rewrap.segment = g->segment;
	i->rewrap.old_hash = (ProtobufCBinaryData){ 32, i->old_hash };
	i->rewrap.wrap = &i->wrap;
	r->count++;
	return 0;
}

static void batch_work(uv_work_t *work)
{
	struct rewrap *r = work->data;
	struct et_state_view *v = et_state_view_open(r->k->state);

	r->count = 0;
	r->failed = 0;
	r->code = v == NULL ? -ENOMEM
			    : et_state_each_wrapped(v, r->from, &r->at, LOOKS_MAX, item_add, r,
						    &r->more);
	if (r->code == BATCH_FULL) {
		r->code = 0;
		r->more = true;
	}
	(void)et_state_view_close(v);
}

/* ---- The loop ---- */

static void pass_begin(struct rewrap *r)
{
	r->at = (struct et_state_place){ 0 };
	r->pass_moved = r->pass_failed = false;
}

static void put_off(struct rewrap *r, uint32_t version)
{
	int64_t now_us = et_clock_mono_us();

	for (size_t i = 0; i < ET_ARRAY_SIZE(r->put_off); i++) {
		if (r->put_off[i].until_us <= now_us) {
			r->put_off[i].version = version;
			r->put_off[i].until_us = now_us + FAILED_PAUSE_US;
			return;
		}
	}
}

bool rewrap_is_put_off(const struct rewrap *r, uint32_t version)
{
	int64_t now_us = et_clock_mono_us();

	for (size_t i = 0; i < ET_ARRAY_SIZE(r->put_off); i++) {
		if (r->put_off[i].version == version && r->put_off[i].until_us > now_us) {
			return true;
		}
	}
	return false;
}

static void batch_end(struct rewrap *r)
{
	struct et_keeper *k = r->k;

	r->next_us = r->begun_us + (int64_t)r->count * 1000000 / r->rate;
	if (!r->more) { /* what is still there is looked at again, from the first one on */
		if (!r->pass_moved && r->pass_failed) {
			put_off(r, r->from);
		} else if (!r->pass_moved) {
			r->next_us = et_clock_mono_us() + PASS_PAUSE_US;
		}
		pass_begin(r);
	}
	r->busy = false;
	int64_t wait_us = r->next_us - et_clock_mono_us();
	if (wait_us <= 0) {
		rotate_look(k);
	} else if (!k->stopping && wait_us < 1000000) { /* sooner than the next look */
		(void)uv_timer_start(&k->rotate_timer, k->rotate_timer.timer_cb,
				     (uint64_t)(wait_us + 999) / 1000, 1000);
	}
}

static void on_rewrapped(struct et_keeper *k, int code, const Et__Result *result)
{
	struct rewrap *r = k->rewrap;

	if (code == 0 || code == ET_EDEGRADED) {
		(void)atomic_fetch_add(&k->health.rewrapped, result != NULL ? result->number : 0);
	} else {
		pass_begin(r); /* all that was in it is still to do */
	}
	batch_end(r);
}

static void batch_done(uv_work_t *work, int status)
{
	struct rewrap *r = work->data;
	struct et_keeper *k = r->k;
	Et__KekRewrap body = ET__KEK_REWRAP__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__Rewrap *list[BATCH];

	secrets_free(r);
	if (status < 0 || r->code < 0) {
		et_warn("keeper.rewrap", "kek=%u code=%s", r->from,
			et_errname(status < 0 ? status : r->code));
		r->count = 0;
		r->more = false;
	}
	r->pass_moved |= r->count > 0;
	r->pass_failed |= r->failed > 0;
	if (r->failed > 0) {
		(void)atomic_fetch_add(&k->health.rewrap_failed, r->failed);
		et_err("keeper.rewrap", "kek=%u failed=%u why=\"%s\"", r->from, r->failed,
		       r->error.text);
	}
	if (r->count == 0 || k->stopping || k->rotation.proposing) {
		batch_end(r);
		keeper_end(k);
		return;
	}
	for (size_t i = 0; i < r->count; i++) {
		list[i] = &r->items[i].rewrap;
	}
	body.from = r->from;
	body.to = r->to;
	body.items = list;
	body.n_items = r->count;
	command.body_case = ET__COMMAND__BODY_KEK_REWRAP;
	command.kek_rewrap = &body;
	rotate_propose(k, &command, "rewrap", on_rewrapped);
	keeper_end(k);
}

void rewrap_step(struct et_keeper *k, const struct et_state_view *v, uint32_t from, uint32_t active,
		 const uint8_t active_public[32], uint32_t rate)
{
	struct rewrap *r = k->rewrap;
	char name[SECRET_NAME_BYTES];
	struct et_error e = { 0 };

	if (r->busy || et_clock_mono_us() < r->next_us) {
		return;
	}
	if (r->from != from || r->to != active) {
		r->from = from;
		r->to = active;
		pass_begin(r);
		et_info("keeper.rewrap", "from=%u to=%u rate=%u", from, active, rate);
	}
	kek_secret_name(from, name);
	int rc = secret_open(v, name, k->identity.node, &k->keys, &r->old_secret, &e);
	kek_secret_name(active, name);
	rc = rc < 0 ? rc : secret_open(v, name, k->identity.node, &k->keys, &r->new_secret, &e);
	if (rc < 0) {
		secrets_free(r);
		et_warn("keeper.rewrap", "kek=%u why=\"%s\"", from, e.text);
		r->next_us = et_clock_mono_us() + PASS_PAUSE_US;
		return;
	}
	memcpy(r->new_public, active_public, 32);
	r->rate = rate;
	r->size = rate / ROUNDS_A_SECOND;
	r->size = r->size < 1 ? 1 : r->size > BATCH ? BATCH : r->size;
	r->begun_us = et_clock_mono_us();
	r->busy = true;
	r->work.data = r;
	keeper_begin(k);
	if (uv_queue_work(k->loop, &r->work, batch_work, batch_done) < 0) {
		r->code = -ENOMEM;
		batch_done(&r->work, 0);
	}
}
