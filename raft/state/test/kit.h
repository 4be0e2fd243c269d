/* What the tests of the state share: a database in a folder of its own, commands, and the log of
 * what was applied, to be applied again elsewhere. */
#ifndef ET_RAFT_STATE_TEST_KIT_H
#define ET_RAFT_STATE_TEST_KIT_H

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/crypto/hash.h"
#include "raft/state/state.h"

struct kit_entry {
	uint8_t *data; /* owned */
	size_t size;
};

struct kit {
	char folder[64];
	char db[96];
	struct et_state *s;
	uint64_t index;	 /* of the last entry */
	uint64_t seq[8]; /* last sequence of each node */
	uint8_t incarnation[16];
	struct kit_entry *log; /* owned; log[i] is index i + 1 */
	size_t log_count;
	size_t log_capacity;
	Et__Result *result; /* owned: of the last command */
	uint64_t results;   /* how many there were */
};

static int kit_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void kit_remove(const char *folder)
{
	(void)nftw(folder, kit_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline struct et_state *kit_open(const char *path)
{
	struct et_state *s = NULL;
	struct et_error error;

	int rc = et_state_open(path, &s, &error);
	if (rc < 0) {
		fail_msg("%s", error.text);
	}
	return s;
}

static inline int kit_set_up(void **state)
{
	struct kit *k = calloc(1, sizeof(*k));
	const char *tmp = getenv("TMPDIR");

	assert_non_null(k);
	(void)snprintf(k->folder, sizeof(k->folder), "%.40s/state.XXXXXX",
		       tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(k->folder));
	(void)snprintf(k->db, sizeof(k->db), "%s/db", k->folder);
	memset(k->incarnation, 0x11, sizeof(k->incarnation));
	k->s = kit_open(k->db);
	*state = k;
	return 0;
}

static inline void kit_log_clear(struct kit *k)
{
	for (size_t i = 0; i < k->log_count; i++) {
		free(k->log[i].data);
	}
	k->log_count = 0;
}

static inline int kit_tear_down(void **state)
{
	struct kit *k = *state;

	k->s = et_state_close(k->s);
	kit_log_clear(k);
	free(k->log);
	if (k->result != NULL) {
		et__result__free_unpacked(k->result, NULL);
	}
	kit_remove(k->folder);
	assert_int_equal(access(k->folder, F_OK), -1);
	free(k);
	return 0;
}

static inline Et__Result *kit_result_copy(const Et__Result *r)
{
	size_t size = et__result__get_packed_size(r);
	uint8_t *packed = malloc(size + 1);

	assert_non_null(packed);
	(void)et__result__pack(r, packed);
	Et__Result *copy = et__result__unpack(NULL, size, packed);
	free(packed);
	assert_non_null(copy);
	return copy;
}

static inline void kit_on_result(void *arg, uint64_t index, uint32_t position,
				 const Et__Command *command, const Et__Result *result)
{
	struct kit *k = arg;

	(void)position;
	(void)command;
	assert_true(index <= k->index);
	if (k->result != NULL) {
		et__result__free_unpacked(k->result, NULL);
	}
	k->result = kit_result_copy(result);
	k->results++;
}

static inline void kit_log(struct kit *k, const void *data, size_t size)
{
	if (k->log_count == k->log_capacity) {
		k->log_capacity = k->log_capacity * 2 + 64;
		k->log = realloc(k->log, k->log_capacity * sizeof(*k->log));
		assert_non_null(k->log);
	}
	uint8_t *copy = malloc(size + 1);
	assert_non_null(copy);
	if (size > 0) {
		memcpy(copy, data, size);
	}
	k->log[k->log_count++] = (struct kit_entry){ copy, size };
}

/* Apply bytes as the next entry. */
static inline void kit_apply_bytes(struct kit *k, const void *data, size_t size)
{
	struct et_error error;

	kit_log(k, data, size);
	k->index++;
	et_state_begin(k->s);
	if (et_state_apply(k->s, k->index, (struct et_view){ data, size }, &error) < 0 ||
	    et_state_commit(k->s, kit_on_result, k, &error) < 0) {
		fail_msg("%s", error.text);
	}
}

/* Apply the command, with the op id that it has; returns the result's code. */
static inline int kit_apply_as_is(struct kit *k, const Et__Command *c)
{
	struct et_buffer packed = { 0 };
	struct et_buffer entry = { 0 };

	assert_int_equal(et_command_pack(c, &packed), 0);
	et_entry_begin(&entry);
	et_entry_add(&entry, packed.data, packed.size);
	et_entry_end(&entry);
	assert_false(entry.failed);
	uint64_t before = k->results;
	kit_apply_bytes(k, entry.data, entry.size);
	assert_int_equal(k->results, before + 1);
	et_buffer_release(&packed);
	et_buffer_release(&entry);
	return k->result->code;
}

/* Apply the command as the next one of `node`. */
static inline int kit_apply_from(struct kit *k, uint64_t node, Et__Command *c)
{
	Et__OpId op = ET__OP_ID__INIT;
	static char principal[] = "local:uid=0";

	assert_true(node < ET_ARRAY_SIZE(k->seq));
	op.node = node;
	op.incarnation = (ProtobufCBinaryData){ 16, k->incarnation };
	op.seq = ++k->seq[node];
	c->op = &op;
	if (c->principal == NULL || c->principal[0] == '\0') {
		c->principal = principal;
	}
	int code = kit_apply_as_is(k, c);
	c->op = NULL;
	return code;
}

static inline int kit_apply(struct kit *k, Et__Command *c)
{
	return kit_apply_from(k, 1, c);
}

/* ---- Ids and bytes that last as long as the program ---- */

static inline ProtobufCBinaryData kit_bytes(size_t size, uint64_t seed)
{
	static uint8_t pool[1 << 20];
	static size_t used;

	assert_true(size >= 8 && size <= 4096);
	if (used + size > sizeof(pool)) {
		used = 0;
	}
	uint8_t *p = pool + used;
	used += size;
	for (size_t i = 0; i < size; i++) {
		p[i] = (uint8_t)(seed >> (8 * (i % 8)) ^ (i * 7));
	}
	return (ProtobufCBinaryData){ size, p };
}

static inline ProtobufCBinaryData kit_id(uint64_t seed)
{
	return kit_bytes(16, seed);
}

static inline ProtobufCBinaryData kit_hash(uint64_t seed)
{
	return kit_bytes(32, seed + 1000);
}

/* ---- Commands ---- */

static inline int kit_cluster_init(struct kit *k)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__ClusterInit init = ET__CLUSTER_INIT__INIT;
	Et__Cluster cluster = ET__CLUSTER__INIT;
	Et__Node node = ET__NODE__INIT;
	Et__Kek kek = ET__KEK__INIT;
	Et__Grant grant = ET__GRANT__INIT;
	Et__Grant *grants[] = { &grant };
	ProtobufCBinaryData ca = kit_bytes(100, 1);
	static char names[8][16] = { "acme-voice", "prg-1",   "prg",  "voter",
				     "vault",	   "capture", "kek:1" };
	char *roles[] = { names[3], names[4], names[5] };

	cluster.name = names[0];
	cluster.id = kit_id(1);
	cluster.created_us = 1700000000000000;
	cluster.n_ca_certs = 1;
	cluster.ca_certs = &ca;
	node.id = 1;
	node.name = names[1];
	node.site = names[2];
	node.roles = roles;
	node.n_roles = 3;
	node.spki_hash = kit_hash(1);
	kek.version = 1;
	kek.public_key = kit_hash(2);
	grant.secret = names[6];
	grant.node = 1;
	grant.enc = kit_hash(3);
	grant.ciphertext = kit_bytes(48, 4);
	init.cluster = &cluster;
	init.node = &node;
	init.kek = &kek;
	init.grants = grants;
	init.n_grants = 1;
	c.body_case = ET__COMMAND__BODY_CLUSTER_INIT;
	c.cluster_init = &init;
	return kit_apply(k, &c);
}

static inline int kit_token_add(struct kit *k, uint64_t id, uint32_t uses, int64_t expires_us)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__TokenAdd add = ET__TOKEN_ADD__INIT;
	Et__Token t = ET__TOKEN__INIT;
	static char words[4][16] = { "join", "voter", "capture", "vault" };
	char *roles[] = { words[1], words[2], words[3] };

	t.id = kit_id(id);
	t.kind = words[0];
	t.public_key = kit_hash(id);
	t.roles = roles;
	t.n_roles = 3;
	t.expires_us = expires_us;
	t.uses_left = uses;
	add.token = &t;
	c.body_case = ET__COMMAND__BODY_TOKEN_ADD;
	c.token_add = &add;
	return kit_apply(k, &c);
}

static inline int kit_node_join(struct kit *k, uint64_t token, uint64_t node, uint64_t request)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__NodeJoin join = ET__NODE_JOIN__INIT;
	Et__Node n = ET__NODE__INIT;
	char name[32];
	char site[32];

	(void)snprintf(name, sizeof(name), "node-%llu", (unsigned long long)node);
	(void)snprintf(site, sizeof(site), "site-%llu", (unsigned long long)node % 2);
	n.id = node;
	n.name = name;
	n.site = site;
	n.spki_hash = kit_hash(node);
	n.state = ET__NODE_STATE__ACTIVE;
	join.node = &n;
	join.token = kit_id(token);
	join.request_hash = kit_hash(request);
	c.body_case = ET__COMMAND__BODY_NODE_JOIN;
	c.node_join = &join;
	return kit_apply(k, &c);
}

/* A cluster of nodes 1, 2 and 3. */
static inline void kit_cluster(struct kit *k)
{
	assert_int_equal(kit_cluster_init(k), 0);
	assert_int_equal(kit_token_add(k, 900, 10, INT64_C(1800000000000000)), 0);
	assert_int_equal(kit_node_join(k, 900, 2, 2), 0);
	assert_int_equal(kit_node_join(k, 900, 3, 3), 0);
}

struct kit_call {
	uint64_t id;
	int64_t start_us;
	const char *from, *to, *sip_call_id;
	uint64_t call; /* 0: none */
};

enum kit_tell { KIT_OPEN, KIT_UPDATE, KIT_CLOSE };

static inline int kit_tell_recording(struct kit *k, uint64_t node, enum kit_tell how,
				     Et__Recording *r)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__RecordingOpen open = ET__RECORDING_OPEN__INIT;
	Et__RecordingUpdate update = ET__RECORDING_UPDATE__INIT;
	Et__RecordingClose close = ET__RECORDING_CLOSE__INIT;

	open.recording = update.recording = close.recording = r;
	switch (how) {
	case KIT_OPEN:
		c.body_case = ET__COMMAND__BODY_RECORDING_OPEN;
		c.recording_open = &open;
		break;
	case KIT_UPDATE:
		c.body_case = ET__COMMAND__BODY_RECORDING_UPDATE;
		c.recording_update = &update;
		break;
	case KIT_CLOSE:
		c.body_case = ET__COMMAND__BODY_RECORDING_CLOSE;
		c.recording_close = &close;
		break;
	}
	return kit_apply_from(k, node, &c);
}

static inline int kit_open_call(struct kit *k, uint64_t node, const struct kit_call *call)
{
	Et__Recording r = ET__RECORDING__INIT;
	char text[3][128];

	r.id = kit_id(call->id);
	r.start_us = call->start_us;
	(void)snprintf(text[0], sizeof(text[0]), "%s", call->from != NULL ? call->from : "");
	(void)snprintf(text[1], sizeof(text[1]), "%s", call->to != NULL ? call->to : "");
	(void)snprintf(text[2], sizeof(text[2]), "%s",
		       call->sip_call_id != NULL ? call->sip_call_id : "");
	r.from = text[0];
	r.to = text[1];
	r.sip_call_id = text[2];
	if (call->call != 0) {
		r.call = kit_id(call->call);
	}
	return kit_tell_recording(k, node, KIT_OPEN, &r);
}

static inline int kit_segment_open_at(struct kit *k, uint64_t node, uint64_t recording,
				      uint32_t segment, int64_t t0_us)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__SegmentOpen open = ET__SEGMENT_OPEN__INIT;
	Et__Segment g = ET__SEGMENT__INIT;
	Et__Wrap w = ET__WRAP__INIT;
	char file[64];

	(void)snprintf(file, sizeof(file), "2026/11/22/%llu-g1-s%u.evtm",
		       (unsigned long long)recording, segment);
	w.dek = recording * 100 + segment;
	w.kek_version = 1;
	w.enc = kit_hash(recording);
	w.ciphertext = kit_bytes(48, recording);
	g.recording = kit_id(recording);
	g.generation = 1;
	g.segment = segment;
	g.wrap = &w;
	g.header_hash = kit_hash(recording + 7);
	g.t0_us = t0_us;
	g.file = file;
	open.segment = &g;
	c.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	c.segment_open = &open;
	return kit_apply_from(k, node, &c);
}

static inline int kit_segment_open(struct kit *k, uint64_t node, uint64_t recording,
				   uint32_t segment)
{
	return kit_segment_open_at(k, node, recording, segment, 1700000000000000);
}

static inline int kit_segment_seal(struct kit *k, uint64_t node, uint64_t recording,
				   uint32_t segment, Et__SegmentState state, uint64_t root,
				   uint64_t records)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__SegmentSeal seal = ET__SEGMENT_SEAL__INIT;

	seal.recording = kit_id(recording);
	seal.generation = 1;
	seal.segment = segment;
	seal.state = state;
	seal.root = kit_hash(root);
	seal.records = records;
	seal.size_bytes = records * 1000 + 1;
	seal.sealed_us = 1700000001000000;
	seal.object_hash = kit_hash(root + 1);
	c.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	c.segment_seal = &seal;
	return kit_apply_from(k, node, &c);
}

/* One copy, as an element of CopyAdd or CopyEvict. */
static inline void kit_copy(Et__Copy *c, uint64_t recording, uint32_t segment, const char *place)
{
	static char texts[64][64];
	static size_t used;
	static char object[] = "packs/1.evtp";

	et__copy__init(c);
	char *text = texts[used++ % ET_ARRAY_SIZE(texts)];
	(void)snprintf(text, sizeof(texts[0]), "%s", place);
	c->recording = kit_id(recording);
	c->generation = 1;
	c->segment = segment;
	c->place = text;
	c->verified_us = 1700000002000000;
	if (strncmp(place, "target:", 7) == 0) {
		c->object = object;
	}
}

static inline int kit_copies(struct kit *k, uint64_t node, bool evict, Et__Copy *copies,
			     size_t count)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__CopyAdd add = ET__COPY_ADD__INIT;
	Et__CopyEvict remove = ET__COPY_EVICT__INIT;
	Et__Copy *list[64];

	assert_true(count <= ET_ARRAY_SIZE(list));
	for (size_t i = 0; i < count; i++) {
		list[i] = &copies[i];
	}
	if (evict) {
		remove.copies = list;
		remove.n_copies = count;
		c.body_case = ET__COMMAND__BODY_COPY_EVICT;
		c.copy_evict = &remove;
	} else {
		add.copies = list;
		add.n_copies = count;
		c.body_case = ET__COMMAND__BODY_COPY_ADD;
		c.copy_add = &add;
	}
	return kit_apply_from(k, node, &c);
}

static inline int kit_copy_add(struct kit *k, uint64_t node, uint64_t recording, uint32_t segment,
			       const char *place)
{
	Et__Copy c;

	kit_copy(&c, recording, segment, place);
	return kit_copies(k, node, false, &c, 1);
}

static inline int kit_copy_evict(struct kit *k, uint64_t node, uint64_t recording, uint32_t segment,
				 const char *place)
{
	Et__Copy c;

	kit_copy(&c, recording, segment, place);
	return kit_copies(k, node, true, &c, 1);
}

static inline int kit_tick(struct kit *k, int64_t us)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__Tick tick = ET__TICK__INIT;

	tick.time_us = us;
	c.body_case = ET__COMMAND__BODY_TICK;
	c.tick = &tick;
	return kit_apply(k, &c);
}

/* ---- What the database says ---- */

struct kit_sums {
	uint64_t index;
	uint8_t digest[32];
	uint8_t content[32];
};

/* A view whose index lacks nothing. */
static inline struct et_state_view *kit_indexed(struct et_state *s)
{
	return et_state_view_open_indexed(s, 60000);
}

static inline void kit_index_digest(struct et_state *s, uint8_t ret[32])
{
	struct et_state_view *v = kit_indexed(s);

	assert_non_null(v);
	assert_int_equal(et_state_index_digest(v, ret), 0);
	(void)et_state_view_close(v);
}

static inline void kit_assert_same_index(struct et_state *a, struct et_state *b)
{
	uint8_t of_a[32];
	uint8_t of_b[32];

	kit_index_digest(a, of_a);
	kit_index_digest(b, of_b);
	assert_memory_equal(of_a, of_b, 32);
}

static inline void kit_sum(struct et_state *s, struct kit_sums *ret)
{
	struct et_state_view *v = et_state_view_open(s);

	assert_non_null(v);
	assert_int_equal(et_state_digest(v, &ret->index, ret->digest), 0);
	assert_int_equal(et_state_content_digest(v, ret->content), 0);
	(void)et_state_view_close(v);
}

static inline void kit_assert_equal(const struct kit_sums *a, const struct kit_sums *b)
{
	assert_int_equal(a->index, b->index);
	assert_memory_equal(a->digest, b->digest, 32);
	assert_memory_equal(a->content, b->content, 32);
}

/* Every field of the chain fits. */
static inline uint64_t kit_audit_verify(struct et_state *s)
{
	struct et_state_view *v = et_state_view_open(s);
	struct et_error error;
	uint64_t events = 0;
	uint8_t head[32];

	assert_non_null(v);
	int rc = et_state_audit_verify(v, &events, head, &error);
	if (rc < 0) {
		fail_msg("%s", error.text);
	}
	(void)et_state_view_close(v);
	return events;
}

/* ---- More of them ---- */

static inline struct et_state_counts kit_counts(struct kit *k)
{
	struct et_state_view *v = et_state_view_open(k->s);
	struct et_state_counts c;

	assert_non_null(v);
	assert_int_equal(et_state_counts(v, &c), 0);
	(void)et_state_view_close(v);
	return c;
}

/* A sealed segment 1 of recording `id`, captured by node 2. */
static inline void kit_sealed_segment(struct kit *k, uint64_t id)
{
	const struct kit_call call = { .id = id, .start_us = 1700000000000000 };

	assert_int_equal(kit_open_call(k, 2, &call), 0);
	assert_int_equal(kit_segment_open(k, 2, id, 1), 0);
	assert_int_equal(kit_segment_seal(k, 2, id, 1, ET__SEGMENT_STATE__SEGMENT_SEALED, 7, 3), 0);
}

static inline int kit_erase(struct kit *k, uint64_t id)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__RecordingErase e = ET__RECORDING_ERASE__INIT;

	e.recording = kit_id(id);
	c.body_case = ET__COMMAND__BODY_RECORDING_ERASE;
	c.recording_erase = &e;
	return kit_apply(k, &c);
}

/* ---- Holds ---- */

static inline int kit_hold_put(struct kit *k, Et__Hold *h)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__HoldAdd add = ET__HOLD_ADD__INIT;

	add.hold = h;
	c.body_case = ET__COMMAND__BODY_HOLD_ADD;
	c.hold_add = &add;
	return kit_apply(k, &c);
}

/* Of one recording. */
static inline int kit_hold_add(struct kit *k, uint64_t id, uint64_t recording)
{
	Et__Hold h = ET__HOLD__INIT;

	h.id = kit_id(id);
	h.recording = kit_id(recording);
	return kit_hold_put(k, &h);
}

static inline int kit_hold_scope(struct kit *k, uint64_t id, Et__HoldScope *scope)
{
	Et__Hold h = ET__HOLD__INIT;
	char matter[] = "case 118";

	h.id = kit_id(id);
	h.matter = matter;
	h.scope = scope;
	return kit_hold_put(k, &h);
}

static inline int kit_hold_release(struct kit *k, uint64_t id)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__HoldRelease release = ET__HOLD_RELEASE__INIT;

	release.id = kit_id(id);
	c.body_case = ET__COMMAND__BODY_HOLD_RELEASE;
	c.hold_release = &release;
	return kit_apply(k, &c);
}

static inline int kit_policy_set(struct kit *k, const char *text, uint32_t expect)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__PolicySet set = ET__POLICY_SET__INIT;
	Et__Policy p = ET__POLICY__INIT;
	char name[] = "archive";
	char copy[64];

	(void)snprintf(copy, sizeof(copy), "%s", text);
	p.name = name;
	p.text = copy;
	set.policy = &p;
	set.expect_revision = expect;
	c.body_case = ET__COMMAND__BODY_POLICY_SET;
	c.policy_set = &set;
	return kit_apply(k, &c);
}

/* Every member says that its build knows the schema. */
static inline void kit_know_schema(struct kit *k, uint32_t schema)
{
	for (uint64_t id = 1; id <= 3; id++) {
		Et__Command said = ET__COMMAND__INIT;
		Et__NodeUpdate update = ET__NODE_UPDATE__INIT;
		Et__Node n = ET__NODE__INIT;
		n.id = id;
		n.schema = schema;
		update.node = &n;
		said.body_case = ET__COMMAND__BODY_NODE_UPDATE;
		said.node_update = &update;
		assert_int_equal(kit_apply_from(k, id, &said), 0);
	}
}

/* The cluster follows it. */
static inline int kit_raise_schema(struct kit *k, uint32_t from, uint32_t to)
{
	Et__Command c = ET__COMMAND__INIT;
	Et__ClusterUpgrade u = ET__CLUSTER_UPGRADE__INIT;

	u.to = to;
	u.expect_from = from;
	c.body_case = ET__COMMAND__BODY_CLUSTER_UPGRADE;
	c.cluster_upgrade = &u;
	return kit_apply(k, &c);
}

static inline void kit_upgrade(struct kit *k, uint32_t from, uint32_t to)
{
	kit_know_schema(k, to);
	assert_int_equal(kit_raise_schema(k, from, to), 0);
}

#endif
