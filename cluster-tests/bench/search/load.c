/* Calls as commands, through et_state_apply(), as a node applies its log. */
#include <stdio.h>
#include <string.h>

#include "cluster-tests/bench/search/load.h"
#include "node/base/bytes.h"
#include "node/io/clock.h"
#include "raft/command/sample.h"

#define ENTRIES_PER_GROUP 16

struct loader {
	struct et_state *s; /* borrowed */
	uint64_t index, seq, commands;
	struct et_buffer entry, packed; /* owned */
	uint8_t incarnation[16];
	unsigned entries;
	uint64_t refused;
	struct et_error error; /* of the first thing that went wrong */
};

/* None should be; the first one is told. */
static void on_result(void *arg, uint64_t index, uint32_t position, const Et__Command *c,
		      const Et__Result *r)
{
	struct loader *x = arg;

	(void)index;
	(void)position;
	if (r->code < 0 && x->refused++ == 0) {
		(void)fprintf(stderr, "load: a command (%d) was refused: %s\n",
			      c != NULL ? (int)c->body_case : 0, r->text);
	}
}

/* ---- Commands ---- */

static int entry_apply(struct loader *x)
{
	et_entry_end(&x->entry);
	et_assert(!x->entry.failed);
	if (x->entries == 0) {
		et_state_begin(x->s);
	}
	int rc = et_state_apply(x->s, ++x->index, (struct et_view){ x->entry.data, x->entry.size },
				&x->error);
	if (rc == 0 && ++x->entries == ENTRIES_PER_GROUP) {
		rc = et_state_commit(x->s, on_result, x, &x->error);
		x->entries = 0;
	}
	x->entry.size = 0;
	et_entry_begin(&x->entry);
	return rc;
}

static int command_add(struct loader *x, Et__Command *c)
{
	static char by[] = "token:bench";
	Et__OpId op = ET__OP_ID__INIT;

	op.node = 1;
	op.incarnation = (ProtobufCBinaryData){ 16, x->incarnation };
	op.seq = ++x->seq;
	c->op = &op;
	c->principal = by;
	c->schema = 1;
	x->packed.size = 0;
	int rc = et_command_pack(c, &x->packed);
	et_assert(rc == 0);
	et_entry_add(&x->entry, x->packed.data, x->packed.size);
	x->commands++;
	return x->entry.size >= ET_ENTRY_SIZE_SOFT ? entry_apply(x) : 0;
}

static int cluster_add(struct loader *x)
{
	struct et_sample_cluster sample;
	Et__Command c = ET__COMMAND__INIT;

	et_sample_cluster_init(&sample, BENCH_T0, &c);
	return command_add(x, &c);
}

static int agents_add(struct loader *x)
{
	int rc = 0;

	for (unsigned i = 0; i < 2 * BENCH_AGENTS && rc == 0; i++) {
		Et__Command c = ET__COMMAND__INIT;
		Et__AgentSet set = ET__AGENT_SET__INIT;
		Et__Agent a = ET__AGENT__INIT;
		char id[16];
		char team[16];
		char number[24];
		char *numbers[] = { number };
		unsigned extension = i % BENCH_AGENTS;
		int64_t from = BENCH_T0 + (i < BENCH_AGENTS ? 0 : BENCH_YEAR / 2);
		(void)snprintf(id, sizeof(id), "agent-%u", bench_agent_of(extension, from));
		(void)snprintf(team, sizeof(team), "team-%u", i % 50);
		bench_extension(extension, number);
		a.id = a.name = id;
		a.team = team;
		a.numbers = numbers;
		a.n_numbers = 1;
		a.valid_from_us = from;
		set.agent = &a;
		c.body_case = ET__COMMAND__BODY_AGENT_SET;
		c.agent_set = &set;
		rc = command_add(x, &c);
	}
	return rc;
}

/* The final telling of a call: what a close says. */
static int recording_add(struct loader *x, struct bench_call *b)
{
	static char direction[] = "inbound", answered[] = "answered", rule[] = "record-everything";
	static char src[] = "10.1.2.3:20000", dst[] = "10.1.2.4:20002", codec[] = "PCMA/8000";
	static char association[] = "sdp";
	Et__Command c = ET__COMMAND__INIT;
	Et__RecordingClose close = ET__RECORDING_CLOSE__INIT;
	Et__Recording r = ET__RECORDING__INIT;
	Et__Stream streams[2];
	Et__Stream *list[] = { &streams[0], &streams[1] };
	char site[16];

	for (size_t i = 0; i < 2; i++) {
		et__stream__init(&streams[i]);
		streams[i].ssrc = (uint32_t)bench_mix((uint64_t)b->start_us + i);
		streams[i].src = i == 0 ? src : dst;
		streams[i].dst = i == 0 ? dst : src;
		streams[i].codec = codec;
		streams[i].association = association;
		streams[i].packets = (uint64_t)(b->end_us - b->start_us) / 20000;
		streams[i].first_us = b->start_us;
		streams[i].last_us = b->end_us;
		streams[i].party = streams[i].stream = (uint32_t)i;
	}
	(void)snprintf(site, sizeof(site), "%s", b->site);
	r.id = (ProtobufCBinaryData){ 16, b->id };
	r.call = r.id;
	r.site = site;
	r.start_us = r.answer_us = b->start_us;
	r.end_us = b->end_us;
	r.from = b->from;
	r.to = b->to;
	r.sip_call_id = b->sip_call_id;
	r.direction = direction;
	r.call_state = answered;
	r.rule = rule;
	r.streams = list;
	r.n_streams = 2;
	close.recording = &r;
	c.body_case = ET__COMMAND__BODY_RECORDING_CLOSE;
	c.recording_close = &close;
	return command_add(x, &c);
}

static int facts_add(struct loader *x, struct bench_call *b, Et__Subject *about)
{
	static char queue[] = "queue", order[] = "order", crm[] = "crm";
	Et__Command c = ET__COMMAND__INIT;
	Et__FactAdd add = ET__FACT_ADD__INIT;
	Et__Fact facts[2];
	Et__Fact *list[] = { &facts[0], &facts[1] };
	char name[16];

	(void)snprintf(name, sizeof(name), "%s", b->queue);
	for (size_t i = 0; i < 2; i++) {
		et__fact__init(&facts[i]);
		facts[i].source = crm;
	}
	facts[0].key = queue;
	facts[0].text = name;
	facts[1].key = order;
	facts[1].type = ET__FACT_TYPE__FACT_INTEGER;
	facts[1].number = b->order;
	add.about = about;
	add.facts = list;
	add.n_facts = 2;
	c.body_case = ET__COMMAND__BODY_FACT_ADD;
	c.fact_add = &add;
	return command_add(x, &c);
}

static int told_add(struct loader *x, struct bench_call *b)
{
	Et__Subject about = ET__SUBJECT__INIT;
	int rc = 0;

	about.recording = (ProtobufCBinaryData){ 16, b->id };
	if (b->queue != NULL) {
		rc = facts_add(x, b, &about);
	}
	if (b->tag != NULL && rc == 0) {
		Et__Command c = ET__COMMAND__INIT;
		Et__TagSet set = ET__TAG_SET__INIT;
		Et__Tag tag = ET__TAG__INIT;
		Et__Tag *list[] = { &tag };
		char name[16];
		(void)snprintf(name, sizeof(name), "%s", b->tag);
		tag.name = name;
		set.about = &about;
		set.tags = list;
		set.n_tags = 1;
		c.body_case = ET__COMMAND__BODY_TAG_SET;
		c.tag_set = &set;
		rc = command_add(x, &c);
	}
	if (b->note[0] != '\0' && rc == 0) {
		Et__Command c = ET__COMMAND__INIT;
		Et__NoteAdd add = ET__NOTE_ADD__INIT;
		Et__Note note = ET__NOTE__INIT;
		note.id = (ProtobufCBinaryData){ 16, b->id };
		note.text = b->note;
		add.about = &about;
		add.note = &note;
		c.body_case = ET__COMMAND__BODY_NOTE_ADD;
		c.note_add = &add;
		rc = command_add(x, &c);
	}
	return rc;
}

/* Its segment, sealed: with the node's own copy. No tape lies behind it. */
static int segment_add(struct loader *x, struct bench_call *b)
{
	uint8_t bytes[64];
	char file[64];
	char id[33];
	Et__Command c = ET__COMMAND__INIT;
	Et__SegmentOpen open = ET__SEGMENT_OPEN__INIT;
	Et__Segment g = ET__SEGMENT__INIT;
	Et__Wrap wrap = ET__WRAP__INIT;

	for (size_t i = 0; i < sizeof(bytes);
	     i += 8) { /* as little compressible as keys and hashes */
		et_put64(bytes + i, bench_mix(et_get64(b->id + 8) + i));
	}
	et_hex(b->id, 16, id);
	(void)snprintf(file, sizeof(file), "tapes/%.4s/%s-0-0.evt", id, id);
	wrap.dek = et_get64(bytes);
	wrap.kek_version = 1;
	wrap.enc = (ProtobufCBinaryData){ 32, bytes };
	wrap.ciphertext = (ProtobufCBinaryData){ 48, bytes + 8 };
	g.recording = (ProtobufCBinaryData){ 16, b->id };
	g.generation = g.segment = 1;
	g.node = 1;
	g.wrap = &wrap;
	g.header_hash = (ProtobufCBinaryData){ 32, bytes + 16 };
	g.t0_us = b->start_us;
	g.file = file;
	open.segment = &g;
	c.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	c.segment_open = &open;
	int rc = command_add(x, &c);
	Et__SegmentSeal seal = ET__SEGMENT_SEAL__INIT;
	seal.recording = g.recording;
	seal.generation = seal.segment = 1;
	seal.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	seal.root = (ProtobufCBinaryData){ 32, bytes + 24 };
	seal.object_hash = (ProtobufCBinaryData){ 32, bytes + 32 };
	seal.records = (uint64_t)(b->end_us - b->start_us) / 10000 + 1;
	seal.size_bytes = seal.records * 180;
	seal.sealed_us = b->end_us;
	c = (Et__Command)ET__COMMAND__INIT;
	c.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	c.segment_seal = &seal;
	return rc < 0 ? rc : command_add(x, &c);
}

int bench_load_settle(struct et_state *s)
{
	struct et_state_view *v = et_state_view_open(s);

	if (v == NULL) {
		return -EIO;
	}
	(void)et_state_view_close(v);
	bench_settle();
	return 0;
}

int bench_load_calls(struct et_state *s, uint64_t calls, uint32_t flags, unsigned every,
		     uint64_t *ret_commands)
{
	struct loader x = { .s = s, .index = et_state_applied(s) };
	double begun = bench_now_s();
	int rc = 0;

	et_random(x.incarnation, sizeof(x.incarnation));
	et_entry_begin(&x.entry);
	if ((flags & BENCH_LOAD_CLUSTER) != 0) {
		bool more = true; /* an empty database begins to make its index: that is nothing */
		while (more && rc == 0) {
			rc = et_state_index_step(s, 1000, &more, &x.error);
		}
		rc = rc < 0 ? rc : cluster_add(&x);
	}
	if ((flags & BENCH_LOAD_CALLS) != 0 && rc == 0) {
		rc = agents_add(&x);
	}
	for (uint64_t i = 0; i < calls && rc == 0; i++) {
		struct bench_call b;
		if ((flags & BENCH_LOAD_CALLS) == 0 && i % every != 0) {
			continue;
		}
		bench_call_make(i, calls, &b);
		if ((flags & BENCH_LOAD_CALLS) != 0) {
			rc = recording_add(&x, &b);
			rc = rc < 0 ? rc : told_add(&x, &b);
		}
		if ((flags & BENCH_LOAD_SEGMENTS) != 0 && i % every == 0 && rc == 0) {
			rc = segment_add(&x, &b);
		}
		if (i % 500000 == 499999) {
			(void)fprintf(stderr, "load: %llu calls, %.0f s\n",
				      (unsigned long long)(i + 1), bench_now_s() - begun);
		}
	}
	rc = rc < 0 ? rc : entry_apply(&x);
	if (rc == 0 && x.entries > 0) {
		rc = et_state_commit(s, on_result, &x, &x.error);
	}
	rc = rc < 0 ? rc : et_state_flush(s, &x.error);
	if (rc < 0) {
		(void)fprintf(stderr, "load: %s\n", x.error.text);
	}
	et_buffer_release(&x.entry);
	et_buffer_release(&x.packed);
	*ret_commands = x.commands;
	return rc;
}
