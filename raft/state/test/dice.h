/* Dice, and parts of random commands (random.h): records over few ids, so that they meet. */
#ifndef ET_RAFT_STATE_TEST_DICE_H
#define ET_RAFT_STATE_TEST_DICE_H

#include "raft/state/test/kit.h"

struct dice {
	uint64_t state;
};

/* xorshift64* (Vigna, 2016). */
static inline uint64_t dice_roll(struct dice *d)
{
	d->state ^= d->state >> 12;
	d->state ^= d->state << 25;
	d->state ^= d->state >> 27;
	return d->state * UINT64_C(2685821657736338717);
}

static inline uint64_t dice_below(struct dice *d, uint64_t n)
{
	return (dice_roll(d) >> 11) % n;
}

static inline bool dice_one_in(struct dice *d, uint64_t n)
{
	return dice_below(d, n) == 0;
}

/* Lives until the next 256 texts are made. */
static inline char *dice_text(struct dice *d)
{
	static char texts[256][64];
	static size_t used;
	static const char *const words[] = { "",       "a",	"+420777123456",
					     "prg",    "brn",	"target:cold",
					     "node:1", "voter", "\xc5\xbe\xe2\x82\xac",
					     "capture" };
	char *t = texts[used++ % ET_ARRAY_SIZE(texts)];

	(void)snprintf(t, sizeof(texts[0]), "%s", words[dice_below(d, ET_ARRAY_SIZE(words))]);
	return t;
}

static inline char *dice_word(struct dice *d, const char *const *words, size_t count)
{
	static char texts[256][32];
	static size_t used;
	char *t = texts[used++ % ET_ARRAY_SIZE(texts)];

	(void)snprintf(t, sizeof(texts[0]), "%s", words[dice_below(d, count)]);
	return t;
}
#define DICE_WORD(d, ...)                                                                          \
	dice_word(d, (const char *const[]){ __VA_ARGS__ },                                         \
		  sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

static inline ProtobufCBinaryData dice_id(struct dice *d, uint64_t kind)
{
	return kit_id(kind * 1000 + dice_below(d, 12));
}

static inline int64_t dice_time(struct dice *d)
{
	return 1700000000000000 + (int64_t)dice_below(d, 3600) * 1000000;
}

#define DICE_RECORDING 10
#define DICE_HOLD 11
#define DICE_TOKEN 12
#define DICE_PLAN 13
#define DICE_JOB 14
#define DICE_CALL 15
#define DICE_NOTE 16
#define DICE_FILE 17

/* Room for all that a random command points to. */
struct dice_room {
	Et__Command c;
	Et__OpId op;
	Et__Recording recording;
	Et__Stream streams[4];
	Et__Stream *stream_list[4];
	Et__Gap gaps[3];
	Et__Gap *gap_list[3];
	Et__Segment segment;
	Et__Wrap wrap;
	Et__Copy copies[4];
	Et__Copy *copy_list[4];
	Et__Node node;
	Et__Token token;
	Et__Kek kek;
	Et__Grant grants[2];
	Et__Grant *grant_list[2];
	Et__Certificate certificate;
	Et__Policy policy;
	Et__Hold hold;
	Et__HoldScope hold_scope;
	Et__RetentionRule retention;
	Et__RetentionRule *retention_list[1];
	Et__Plan plan;
	Et__PlanItem items[4];
	Et__PlanItem *item_list[4];
	Et__Job job;
	Et__Job *job_list[1];
	Et__Site site;
	char *roles[2];
	uint8_t plan_hash[32];
	/* Bodies. */
	Et__Noop noop;
	Et__RecordingOpen recording_open;
	Et__RecordingUpdate recording_update;
	Et__RecordingClose recording_close;
	Et__SegmentOpen segment_open;
	Et__SegmentSeal segment_seal;
	Et__CopyAdd copy_add;
	Et__CopyBad copy_bad;
	Et__CopyEvict copy_evict;
	Et__TokenAdd token_add;
	Et__TokenRevoke token_revoke;
	Et__NodeJoin node_join;
	Et__NodeUpdate node_update;
	Et__NodeRemove node_remove;
	Et__CertificateAdd certificate_add;
	Et__GrantAdd grant_add;
	Et__KekAdd kek_add;
	Et__PolicySet policy_set;
	Et__HoldAdd hold_add;
	Et__HoldRelease hold_release;
	Et__PlanPut plan_put;
	Et__PlanApply plan_apply;
	Et__JobUpdate job_update;
	Et__AuditAdd audit_add;
	Et__Tick tick;
	Et__SiteSet site_set;
	Et__SiteRemove site_remove;
	Et__RecordingsJoin recordings_join;
	ProtobufCBinaryData joined[3];
	Et__RecordingSplit recording_split;
	Et__RecordingImport recording_import;
	Et__Imported imported;
	Et__Segment imported_segments[2];
	Et__Segment *imported_list[2];
	Et__NodeRoles node_roles;
	Et__NodeDrain node_drain;
	char *more_roles[2];
	Et__Subject subject;
	Et__Fact facts[3];
	Et__Fact *fact_list[3];
	Et__Tag tags[2];
	Et__Tag *tag_list[2];
	Et__Note note;
	Et__Agent agent;
	char *numbers[2];
	Et__FactAdd fact_add;
	Et__TagSet tag_set;
	Et__NoteAdd note_add;
	Et__AgentSet agent_set;
	Et__DigestCheck digest_check;
	Et__ClusterUpgrade cluster_upgrade;
	Et__RecordingErase recording_erase;
	Et__RecordingRedact recording_redact;
	Et__GenerationPut generation_put;
	Et__GenerationFinish generation_finish;
	Et__RestoreStep restore_step;
	Et__Erasure erasure;
	Et__Erasure *erasure_list[1];
	Et__SchemaProbe schema_probe;
	Et__KekRotate kek_rotate;
	Et__KekSet kek_set;
	Et__KekReport kek_report;
	Et__KekRewrap kek_rewrap;
	Et__KeySchedule key_schedule;
	Et__KekEscrow kek_escrow;
	Et__Rewrap rewrap;
	Et__Rewrap *rewrap_list[1];
	Et__Wrap new_wrap;
	Et__SealKey seal_key;
	Et__SealKey *seal_key_list[1];
	uint8_t old_hash[32];
};

static inline Et__Recording *dice_recording(struct dice *d, struct dice_room *m)
{
	Et__Recording *r = &m->recording;

	et__recording__init(r);
	r->id = dice_id(d, DICE_RECORDING);
	if (dice_one_in(d, 2)) {
		r->call = dice_id(d, DICE_CALL);
	}
	r->node = dice_one_in(d, 4) ? dice_below(d, 5) : 0;
	r->site = dice_one_in(d, 3) ? dice_text(d) : r->site;
	r->state = (Et__RecordingState)dice_below(d, 4);
	r->start_us = dice_one_in(d, 4) ? 0 : dice_time(d);
	r->answer_us = dice_one_in(d, 2) ? 0 : dice_time(d);
	r->end_us = dice_one_in(d, 2) ? 0 : dice_time(d);
	r->from = dice_text(d);
	r->to = dice_text(d);
	r->sip_call_id = dice_text(d);
	r->joined = dice_one_in(d, 3) ? DICE_WORD(d, "numbers", "header X-Call") : r->joined;
	r->tones = (uint32_t)dice_below(d, 5);
	r->kept = dice_one_in(d, 4) ? DICE_WORD(d, "keys of caller", "user:a") : r->kept;
	r->problem = dice_one_in(d, 5) ? dice_text(d) : r->problem;
	r->n_streams = dice_below(d, 5);
	r->streams = m->stream_list;
	for (size_t i = 0; i < r->n_streams; i++) {
		m->stream_list[i] = &m->streams[i];
		et__stream__init(&m->streams[i]);
		m->streams[i].ssrc = (uint32_t)dice_below(d, 6);
		m->streams[i].stream = m->streams[i].ssrc;
		m->streams[i].packets = dice_below(d, 1000);
		m->streams[i].lost = dice_below(d, 10);
		m->streams[i].silenced = dice_one_in(d, 20) ? dice_below(d, 3) : 0;
	}
	r->n_gaps = dice_below(d, 4);
	r->gaps = m->gap_list;
	for (size_t i = 0; i < r->n_gaps; i++) {
		m->gap_list[i] = &m->gaps[i];
		et__gap__init(&m->gaps[i]);
		m->gaps[i].from_us = (int64_t)dice_below(d, 5);
		m->gaps[i].to_us = (int64_t)dice_below(d, 9);
		m->gaps[i].cause = DICE_WORD(d, "paused", "recorder-restart");
	}
	return r;
}

static inline char *dice_place(struct dice *d, uint64_t node)
{
	static char texts[64][32];
	static size_t used;
	char *t = texts[used++ % ET_ARRAY_SIZE(texts)];

	if (dice_one_in(d, 3)) {
		return DICE_WORD(d, "target:cold", "target:", "node:0", "node:01", "node:x",
				 "node:99999999999999999999", "elsewhere", "target:warm");
	}
	(void)snprintf(t, sizeof(texts[0]), "node:%llu",
		       (unsigned long long)(dice_one_in(d, 5) ? dice_below(d, 6) : node));
	return t;
}

static inline size_t dice_copies(struct dice *d, struct dice_room *m, uint64_t node)
{
	size_t count = dice_below(d, 4);

	for (size_t i = 0; i < count; i++) {
		Et__Copy *c = &m->copies[i];
		m->copy_list[i] = c;
		et__copy__init(c);
		c->recording = dice_id(d, DICE_RECORDING);
		c->generation = 1;
		c->segment = 1 + (uint32_t)dice_below(d, 2);
		c->place = dice_place(d, node);
		c->size_bytes = dice_one_in(d, 10) ? 7 : 0;
		c->object = dice_text(d);
		c->state = (Et__Copy__State)dice_below(d, 4);
	}
	return count;
}

static inline size_t dice_grants(struct dice *d, struct dice_room *m)
{
	size_t count = dice_below(d, 3);

	for (size_t i = 0; i < count; i++) {
		Et__Grant *g = &m->grants[i];
		m->grant_list[i] = g;
		et__grant__init(g);
		g->secret = DICE_WORD(d, "kek:1", "kek:2", "kek:3", "ca", "kek:", "kek:01", "x");
		g->node = 1 + dice_below(d, 5);
		g->enc = kit_hash(dice_roll(d));
		g->ciphertext = kit_bytes(48, dice_roll(d));
	}
	return count;
}

static inline Et__Node *dice_node(struct dice *d, struct dice_room *m)
{
	Et__Node *n = &m->node;

	et__node__init(n);
	n->id = 1 + dice_below(d, 7);
	n->name = DICE_WORD(d, "", "n2", "n3", "n4", "n5", "n6");
	n->site = DICE_WORD(d, "", "prg", "brn");
	n->state = (Et__NodeState)dice_below(d, 5);
	n->spki_hash = kit_hash(dice_below(d, 4));
	n->address = dice_text(d);
	n->n_roles = dice_below(d, 3);
	n->roles = m->roles;
	m->roles[0] = DICE_WORD(d, "voter", "vault", "capture");
	m->roles[1] = DICE_WORD(d, "voter", "vault", "root");
	if (dice_one_in(d, 3)) {
		n->seal_public = kit_hash(dice_roll(d));
	}
	return n;
}

static inline size_t dice_items(struct dice *d, struct dice_room *m)
{
	size_t count = dice_below(d, 5);

	for (size_t i = 0; i < count; i++) {
		Et__PlanItem *p = &m->items[i];
		m->item_list[i] = p;
		et__plan_item__init(p);
		p->action = DICE_WORD(d, "upload", "evict", "keep", "skip");
		p->recording = dice_id(d, DICE_RECORDING);
		p->generation = 1;
		p->segment = 1 + (uint32_t)dice_below(d, 2);
		p->target = DICE_WORD(d, "cold", "warm");
		p->node = 1 + dice_below(d, 4);
	}
	return count;
}

#endif
