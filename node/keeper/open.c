/* Opening a DEK.
 *
 *   request := version 1 | recording 16 | generation 4 | segment 4 | audit 8
 *   answer  := enc 32 | DEK sealed to the asker's recorded key: 48
 *              (info "evertape dek answer/1", aad := asker's node 8 | request)
 *
 * Whoever opens checks the audit event first. A vault node that is asked may be behind the asker's
 * catalogue: when it does not know the event yet, it makes sure by a linearizable read, and then
 * refuses. */
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/crypto/hpke.h"
#include "node/io/clock.h"
#include "node/keeper/keeper_internal.h"
#include "node/tape/wrap.h"

#define REQUEST_VERSION 1
#define REQUEST_BYTES 33
#define ANSWER_BYTES (ET_HPKE_ENC_SIZE + ET_DEK_SIZE + ET_HPKE_OVERHEAD_SIZE)
#define ANSWER_INFO "evertape dek answer/1"
#define AUDIT_LIFE_US (3600LL * 1000000)

static const char *const opening_actions[] = { "recording.play",   "recording.export",
					       "recording.verify", "recording.waveform",
					       "recording.listen", "recording.peaks",
					       "recording.keys",   "recording.unmask",
					       "segment.verify" };

struct place {
	uint8_t recording[16];
	uint32_t generation;
	uint32_t segment;
	uint64_t audit;
};

static void place_pack(const struct place *p, uint8_t ret[REQUEST_BYTES])
{
	ret[0] = REQUEST_VERSION;
	memcpy(ret + 1, p->recording, 16);
	et_put32(ret + 17, p->generation);
	et_put32(ret + 21, p->segment);
	et_put64(ret + 25, p->audit);
}

/* ---- The trace ---- */

struct audit_check {
	const struct place *place;
	uint64_t node;	/* who must have made it */
	int64_t now_us; /* cluster time */
	bool found;
	int code;
	struct et_error *reterr;
};

static int audit_look(void *arg, const Et__AuditEvent *e)
{
	struct audit_check *c = arg;
	char text[ET_UUID_TEXT_SIZE];
	bool action = false;

	c->found = true;
	et_uuid_format(c->place->recording, text);
	for (size_t i = 0; i < ET_ARRAY_SIZE(opening_actions); i++) {
		action = action || strcmp(e->action, opening_actions[i]) == 0;
	}
	bool target = strncmp(e->target, text, sizeof(text) - 1) == 0 &&
		      (e->target[sizeof(text) - 1] == '\0' || e->target[sizeof(text) - 1] == ' ');
	if (!action || !target || strcmp(e->outcome, "ok") != 0) {
		c->code = et_fail_plain(c->reterr, ET_EDENIED,
					"audit event %llu does not allow to open recording %s",
					(unsigned long long)e->number, text);
	} else if (e->node != c->node) {
		c->code = et_fail_plain(c->reterr, ET_EDENIED,
					"audit event %llu was made by node %llu, not by node %llu",
					(unsigned long long)e->number, (unsigned long long)e->node,
					(unsigned long long)c->node);
	} else if (c->now_us - e->time_us > AUDIT_LIFE_US) {
		c->code = et_fail_plain(c->reterr, ET_EDENIED,
					"audit event %llu is older than an hour: make a new one",
					(unsigned long long)e->number);
	} else {
		c->code = 0;
	}
	return 1;
}

/* 0; ET_EDENIED; ET_ENOTFOUND: this catalogue does not know the event (yet). */
static int audit_is_good(const struct et_state_view *v, const struct place *place, uint64_t node,
			 struct et_error *reterr)
{
	struct audit_check c = { .place = place, .node = node, .reterr = reterr };
	Et__Cluster *cluster = NULL;

	int rc = et_state_get_cluster(v, &cluster);
	if (rc < 0) {
		return et_fail(reterr, rc, "no cluster");
	}
	c.now_us = cluster->cluster_time_us;
	et__cluster__free_unpacked(cluster, NULL);
	if (place->audit != 0) {
		(void)et_state_each_audit(v, place->audit, place->audit, audit_look, &c);
	}
	if (!c.found) {
		return et_fail_plain(reterr, ET_ENOTFOUND, "there is no committed audit event %llu",
				     (unsigned long long)place->audit);
	}
	return c.code;
}

/* ---- Opening with a grant of this node ---- */

int wrap_open(struct et_keeper *k, const struct et_state_view *v, const Et__Segment *segment,
	      struct et_secret **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *kek = NULL;
	const Et__Wrap *wrap = segment->wrap;
	char name[SECRET_NAME_BYTES];

	if (wrap == NULL) {
		return et_fail_plain(reterr, ET_ENOKEY, "the segment has no wrapped key");
	}
	if (wrap->erased) {
		return et_fail_plain(reterr, ET_EPOLICY, "the recording was erased");
	}
	if (wrap->enc.len != ET_HPKE_ENC_SIZE) {
		return et_fail(reterr, ET_EINTEGRITY, "the wrapped key");
	}
	kek_secret_name(wrap->kek_version, name);
	int rc = secret_open(v, name, k->identity.node, &k->keys, &kek, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_dek_unwrap(
		kek, wrap->kek_version, segment->recording.data, wrap->dek, wrap->enc.data,
		(struct et_view){ wrap->ciphertext.data, wrap->ciphertext.len }, ret, reterr);
	if (rc == 0 && et_secret_size(*ret) != ET_DEK_SIZE) {
		*ret = et_secret_free(*ret);
		return et_fail(reterr, ET_EINTEGRITY, "the wrapped key");
	}
	return rc;
}

int open_local(struct et_keeper *k, const struct et_state_view *v, const uint8_t recording[16],
	       uint32_t generation, uint32_t segment, struct et_secret **ret,
	       struct et_error *reterr)
{
	Et__Segment *record = NULL;

	int rc = et_state_get_segment(v, recording, generation, segment, &record);
	if (rc < 0) {
		return et_fail(reterr, rc, "segment %u.%u of the recording", generation, segment);
	}
	if (et_state_segment_is_newest(record)) {
		rc = wrap_open(k, v, record, ret, reterr);
	} else {
		rc = et_fail_plain(reterr, ET_EPOLICY, "generation %u took its place",
				   record->replaced_by);
	}
	et__segment__free_unpacked(record, NULL);
	return rc;
}

/* ---- For this node's own callers ---- */

struct opening {
	struct et_post post; /* from another thread */
	struct et_keeper *k;
	struct place place;
	et_keeper_dek_fn cb;
	void *arg;
};

static void opening_finish(struct opening *o, int code, const struct et_secret *dek,
			   const struct et_error *why)
{
	struct et_keeper *k = o->k;

	(void)atomic_fetch_add(code == 0 ? &k->health.deks_opened : &k->health.deks_refused, 1);
	o->cb(o->arg, code, dek, why);
	free(o);
	keeper_end(k);
}

static size_t answer_aad(uint64_t node, const struct place *place, uint8_t ret[8 + REQUEST_BYTES])
{
	et_put64(ret, node);
	place_pack(place, ret + 8);
	return 8 + REQUEST_BYTES;
}

static struct et_view answer_info(void)
{
	return (struct et_view){ (const uint8_t *)ANSWER_INFO, sizeof(ANSWER_INFO) - 1 };
}

static int answer_open(struct opening *o, struct et_view body, struct et_secret **ret,
		       struct et_error *reterr)
{
	struct et_keeper *k = o->k;
	uint8_t aad[8 + REQUEST_BYTES];

	if (body.size != ANSWER_BYTES) {
		return et_fail_plain(reterr, ET_EMALFORMED, "a vault node's answer makes no sense");
	}
	/* The recorded key may have changed since the vault node looked: it is one of those here.
	 */
	const struct et_view sealed = { body.data + ET_HPKE_ENC_SIZE,
					body.size - ET_HPKE_ENC_SIZE };
	size_t size = answer_aad(k->identity.node, &o->place, aad);
	for (size_t i = 0; i < k->keys.count; i++) {
		if (et_hpke_open(k->keys.keys[i].secret, body.data, answer_info(),
				 (struct et_view){ aad, size }, sealed, ret, NULL) == 0) {
			return 0;
		}
	}
	return et_fail_plain(reterr, ET_ENOKEY,
			     "this node's recorded seal key is not in its key folder");
}

static void on_vault_answer(void *arg, int code, struct et_view body)
{
	struct opening *o = arg;
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	struct et_error why = { 0 };

	if (code == 0) {
		code = answer_open(o, body, &dek, &why);
	} else if (body.size > 0 && body.size < 400) { /* The vault node's sentence. */
		(void)et_fail_plain(&why, code, "%.*s", (int)body.size, (const char *)body.data);
	} else {
		(void)et_fail(&why, code, "ask a vault node for the recording's key");
	}
	opening_finish(o, code, code == 0 ? dek : NULL, &why);
}

static void opening_run(void *arg)
{
	struct opening *o = arg;
	struct et_keeper *k = o->k;
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	struct et_error why = { 0 };
	uint8_t request[REQUEST_BYTES];
	char name[SECRET_NAME_BYTES] = "";
	Et__Segment *segment = NULL;

	struct et_state_view *v = et_state_view_open(k->state);
	int rc = audit_is_good(v, &o->place, k->identity.node, &why);
	rc = rc == ET_ENOTFOUND ? ET_EDENIED : rc;
	if (rc == 0) {
		rc = et_state_get_segment(v, o->place.recording, o->place.generation,
					  o->place.segment, &segment);
		if (rc < 0) {
			(void)et_fail(&why, rc, "segment %u.%u of the recording",
				      o->place.generation, o->place.segment);
		}
	}
	if (rc == 0) {
		kek_secret_name(segment->wrap != NULL ? segment->wrap->kek_version : 0, name);
		rc = wrap_open(k, v, segment, &dek, &why);
		et__segment__free_unpacked(segment, NULL);
	}
	(void)et_state_view_close(v);
	if (rc == ET_ENOKEY && !k->stopping && name[0] != '\0') {
		place_pack(&o->place, request);
		keeper_ask_vaults(k, name, ET_RPC_OPEN_DEK,
				  (struct et_view){ request, sizeof(request) }, RPC_TIMEOUT_MS * 2,
				  on_vault_answer, o);
		return;
	}
	opening_finish(o, rc, rc == 0 ? dek : NULL, &why);
}

static struct opening *opening_new(struct et_keeper *k, const uint8_t recording[16],
				   uint32_t generation, uint32_t segment, uint64_t audit,
				   et_keeper_dek_fn cb, void *arg)
{
	struct opening *o = calloc(1, sizeof(*o));

	et_assert(o != NULL);
	*o = (struct opening){
		.k = k,
		.place = { .generation = generation, .segment = segment, .audit = audit },
		.cb = cb,
		.arg = arg
	};
	memcpy(o->place.recording, recording, 16);
	return o;
}

void et_keeper_open_dek(struct et_keeper *k, const uint8_t recording[16], uint32_t generation,
			uint32_t segment, uint64_t audit, et_keeper_dek_fn cb, void *arg)
{
	keeper_begin(k);
	keeper_defer(k, opening_run,
		     opening_new(k, recording, generation, segment, audit, cb, arg));
}

static void on_open_post(struct et_post *post)
{
	struct opening *o = ET_CONTAINER_OF(post, struct opening, post);

	keeper_begin(o->k);
	opening_run(o);
}

int et_keeper_open_dek_from(struct et_keeper *k, const uint8_t recording[16], uint32_t generation,
			    uint32_t segment, uint64_t audit, et_keeper_dek_fn cb, void *arg)
{
	struct opening *o = opening_new(k, recording, generation, segment, audit, cb, arg);

	o->post.fn = on_open_post;
	int rc = et_post(k->postbox, &o->post);
	if (rc < 0) {
		free(o);
	}
	return rc;
}

/* ---- For other nodes ---- */

struct serving {
	struct et_keeper *k;
	struct place place;
	uint64_t node;
	struct et_rpc_reply *reply;
};

static int answer_seal(const struct serving *s, const struct et_state_view *v,
		       uint8_t ret[ANSWER_BYTES], struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	uint8_t aad[8 + REQUEST_BYTES];
	Et__Node *asker = NULL;

	int rc = open_local(s->k, v, s->place.recording, s->place.generation, s->place.segment,
			    &dek, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_state_get_node(v, s->node, &asker);
	if (rc < 0 || asker->seal_public.len != 32 || asker->state == ET__NODE_STATE__REMOVED ||
	    asker->state == ET__NODE_STATE__REVOKED) {
		rc = et_fail_plain(reterr, ET_EDENIED, "node %llu is no member with a seal key",
				   (unsigned long long)s->node);
	} else {
		size_t size = answer_aad(s->node, &s->place, aad);
		rc = et_hpke_seal(asker->seal_public.data, answer_info(),
				  (struct et_view){ aad, size }, dek, ret, ret + ET_HPKE_ENC_SIZE,
				  reterr);
	}
	if (asker != NULL) {
		et__node__free_unpacked(asker, NULL);
	}
	return rc;
}

/* true: answered. false: the event is not known here yet. */
static bool serving_try(struct serving *s, bool last)
{
	uint8_t answer[ANSWER_BYTES];
	struct et_error why = { 0 };

	struct et_state_view *v = et_state_view_open(s->k->state);
	int rc = audit_is_good(v, &s->place, s->node, &why);
	if (rc == ET_ENOTFOUND && !last) {
		(void)et_state_view_close(v);
		return false;
	}
	rc = rc == ET_ENOTFOUND ? ET_EDENIED : rc;
	rc = rc < 0 ? rc : answer_seal(s, v, answer, &why);
	(void)et_state_view_close(v);
	if (rc == 0) {
		(void)atomic_fetch_add(&s->k->health.deks_opened, 1);
		et_rpc_reply(s->reply, 0, answer, sizeof(answer));
	} else {
		(void)atomic_fetch_add(&s->k->health.deks_refused, 1);
		et_warn("keeper.refused", "node=%llu audit=%llu detail=\"%s\"",
			(unsigned long long)s->node, (unsigned long long)s->place.audit, why.text);
		et_rpc_reply(s->reply, rc, why.text, strlen(why.text));
	}
	return true;
}

static void on_caught_up(void *arg, int code, uint64_t index)
{
	struct serving *s = arg;
	struct et_keeper *k = s->k;

	(void)code;
	(void)index;
	(void)serving_try(s, true);
	free(s);
	keeper_end(k);
}

static void serve_open(void *arg, const struct et_tls_peer *peer, struct et_view body,
		       struct et_rpc_reply *reply)
{
	struct et_keeper *k = arg;
	struct et_reader r = et_reader_of(body.data, body.size);

	if (body.size != REQUEST_BYTES || et_read8(&r) != REQUEST_VERSION) {
		et_rpc_reply(reply, ET_EMALFORMED, NULL, 0);
		return;
	}
	struct serving *s = calloc(1, sizeof(*s));
	et_assert(s != NULL);
	*s = (struct serving){ .k = k, .node = peer->node, .reply = reply };
	memcpy(s->place.recording, et_read_bytes(&r, 16), 16);
	s->place.generation = et_read32(&r);
	s->place.segment = et_read32(&r);
	s->place.audit = et_read64(&r);
	if (serving_try(s, false)) {
		free(s);
		return;
	}
	keeper_begin(k);
	et_catalog_read_index(k->catalog, READ_TIMEOUT_MS, on_caught_up, s);
}

void open_serve(struct et_keeper *k)
{
	et_rpc_serve(k->tls, ET_RPC_OPEN_DEK, serve_open, k);
}
