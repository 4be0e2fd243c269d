/* Newer generations: segments that a redaction touches, or whose KEK version is compromised, are
 * made anew; the old key goes when the new tape has the copies that the old one had.
 *
 *   look (thread): what is due, and can be done here ─▶ is it this node's turn? ─▶
 *     MAKE    new DEK, wrapped; tape written anew and synced (thread) ─▶ GenerationPut ─▶ settle
 *     FINISH  GenerationFinish
 *
 * The catalogue is the job: nothing is remembered here that a restart would miss. A node makes
 * anew what it has a verified copy of, so that nothing is fetched for it. Of the connected vault
 * nodes that have one the lowest number begins; each next one steps in when the same thing was due
 * for ten seconds. Two at once disturb nobody: apply takes one.
 *
 *   <media>/generations/NAME.part   is being written
 *   <media>/generations/NAME        whole; with a second name where the catalogue will say that it
 *                                   is; until the catalogue has decided
 *
 * Possible failure modes are
 *   - killed while writing: the .part goes at the next start, and it is begun again;
 *   - killed, or no answer, between the file and the catalogue: the sweep looks what was decided,
 *     and removes the second name, or both;
 *   - a copy here that does not verify, or a key that does not open: logged, put off; another vault
 *     node steps in;
 *   - no majority, a full disk: nothing is made meanwhile;
 *   - a hold: nothing is proposed until it is released; one that comes between look and apply is
 *     refused there, once. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/base/log.h"
#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/keeper/keeper_internal.h"
#include "node/tape/rewrite.h"
#include "node/tape/wrap.h"

#define TASKS_MAX 32	  /* that one look finds */
#define RECORDINGS_MAX 64 /* that one look goes through */
#define WRAPPED_MAX 5000  /* segments that one look goes through for a compromised version */
#define STEP_IN_US (10LL * 1000000)
#define PUT_OFF_US (10LL * 1000000) /* after a failure */
#define SWEEP_US (60LL * 1000000)
#define BYTES_A_SECOND (64LL << 20) /* that are made anew, on the average */
#define NAME_BYTES 96

/* Something that could be done here. */
struct task {
	uint8_t recording[16];
	uint32_t generation; /* the one that is there */
	uint32_t segment;
	enum et_state_due due;
	uint64_t redaction; /* Redaction.asked_index; 0: its KEK version */
	int64_t from_us;
	int64_t to_us;
	uint64_t ahead[VAULTS_MAX]; /* vault nodes of lower numbers that could do it, too */
	size_t ahead_count;
	int64_t since_us; /* monotonic: seen first */
	int64_t again_us; /* not before */
};

struct generations {
	struct et_keeper *k;
	bool busy;
	int64_t next_us; /* monotonic: not before */
	int64_t sweep_us;
	bool swept; /* since the start */

	/* The look. */
	uv_work_t work;
	bool did_any; /* of what was found: something else may be due now */
	struct task found[TASKS_MAX];
	size_t found_count;
	size_t at;		      /* found[at] is next */
	struct task known[TASKS_MAX]; /* of the look before, with their times */
	size_t known_count;
	uint8_t after[16]; /* recordings up to this one were looked at */
	bool goes_on;
	struct et_state_place wrapped_at;

	/* The task under way. */
	struct task task;
	Et__Segment *old;		       /* owned */
	uint32_t next;			       /* the generation that is made */
	struct et_secret *old_dek, *dek, *kek; /* owned */
	uint32_t kek_version;
	uint64_t dek_id;
	uint8_t enc[ET_HPKE_ENC_SIZE];
	uint8_t ciphertext[ET_DEK_WRAPPED_SIZE];
	char reason[256];
	char name[NAME_BYTES];
	char file[PATH_BYTES]; /* relative to the media folder */
	char store_uuid[64];
	struct et_tape_header header;
	struct et_tape_seal seal;
	struct et_buffer link;
	int code;
	struct et_error why;
	int64_t begun_us;
};

struct generations *generations_new(struct et_keeper *k)
{
	struct generations *g = calloc(1, sizeof(*g));

	if (g != NULL) {
		g->k = k;
	}
	return g;
}

static void task_release(struct generations *g)
{
	et__segment__free_unpacked(g->old, NULL);
	g->old = NULL;
	g->old_dek = et_secret_free(g->old_dek);
	g->dek = et_secret_free(g->dek);
	g->kek = et_secret_free(g->kek);
	et_buffer_release(&g->link);
	g->link = (struct et_buffer){ 0 };
}

void generations_free(struct generations *g)
{
	if (g != NULL) {
		task_release(g);
		free(g);
	}
}

/* ---- Files ---- */

/* false: it is longer than any path here. */
static bool path_of(const struct et_keeper *k, const char *folder, const char *name,
		    char ret[2 * PATH_BYTES])
{
	int n = snprintf(ret, 2 * PATH_BYTES, "%s/%s%s%s", k->media_folder, folder,
			 name[0] != '\0' ? "/" : "", name);
	return n > 0 && n < 2 * PATH_BYTES && strstr(ret, "/../") == NULL;
}

/* The folder of a tape's file, with its slash. */
static int folder_length(const char *file)
{
	const char *slash = strrchr(file, '/');
	return slash != NULL ? (int)(slash - file) + 1 : 0;
}

/* "UUID-gN-sN-XXXXXXXX.evtm" */
static bool name_parse(const char *name, uint8_t recording[16], uint32_t *generation,
		       uint32_t *segment)
{
	char id[ET_UUID_TEXT_SIZE];
	unsigned dek = 0;
	int end = 0;

	if (strlen(name) < sizeof(id)) {
		return false;
	}
	memcpy(id, name, sizeof(id) - 1);
	id[sizeof(id) - 1] = '\0';
	return et_uuid_parse(id, recording) &&
	       sscanf(name + sizeof(id) - 1, "-g%u-s%u-%8x.evtm%n", generation, segment, &dek,
		      &end) == 3 &&
	       name[sizeof(id) - 1 + (size_t)end] == '\0' && *generation > 1;
}

static void unlink_both(const struct et_keeper *k, const char *file, const char *name)
{
	char path[2 * PATH_BYTES];

	if (file != NULL && path_of(k, file, "", path)) {
		(void)unlink(path);
	}
	if (path_of(k, "generations", name, path)) {
		(void)unlink(path);
	}
}

/* What was decided of a file that is whole. */
static void sweep_whole(struct generations *g, const struct et_state_view *v, const char *name)
{
	Et__Segment *now = NULL;
	Et__Segment *before = NULL;
	char file[2 * PATH_BYTES];
	uint8_t recording[16];
	uint32_t generation = 0;
	uint32_t segment = 0;

	if (!name_parse(name, recording, &generation, &segment) ||
	    et_state_get_segment(v, recording, generation, segment, &now) < 0 ||
	    et_state_get_segment(v, recording, generation - 1, segment, &before) < 0) {
		et__segment__free_unpacked(now, NULL);
		return; /* Undecided. */
	}
	int n = snprintf(file, sizeof(file), "%.*s%s", folder_length(before->file), before->file,
			 name);
	bool mine = strcmp(file, now->file) == 0;
	if (n > 0 && n < (int)sizeof(file)) {
		unlink_both(g->k, mine ? NULL : file, name);
		et_info("generation.settled", "file=%s taken=%d", name, mine);
	}
	et__segment__free_unpacked(now, NULL);
	et__segment__free_unpacked(before, NULL);
}

/* Nothing is under way here: what lies there was left by a death, or by no answer. */
static void sweep(struct generations *g, const struct et_state_view *v)
{
	char path[2 * PATH_BYTES];
	DIR *dir = path_of(g->k, "generations", "", path) ? opendir(path) : NULL;

	for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
		size_t size = strlen(e->d_name);
		if (size > 5 && strcmp(e->d_name + size - 5, ".part") == 0) {
			(void)unlinkat(dirfd(dir), e->d_name, 0);
		} else if (e->d_name[0] != '.') {
			sweep_whole(g, v, e->d_name);
		}
	}
	if (dir != NULL) {
		(void)closedir(dir);
	}
}

/* ---- The look (thread) ---- */

struct look {
	struct generations *g;
	const struct et_state_view *v;
	uint64_t self;
	uint64_t vaults[VAULTS_MAX]; /* members with that role, this one too */
	size_t vault_count;
	uint8_t last[16];
	size_t recordings;
	uint32_t compromised;	  /* a KEK version; 0: none */
	uint8_t last_wrapped[16]; /* recording */
	bool wrapped_any;
	int code;
};

static int look_vault(void *arg, const Et__Node *node)
{
	struct look *l = arg;

	if (node_is_vault(node) && l->vault_count < VAULTS_MAX) {
		l->vaults[l->vault_count++] = node->id;
	}
	return 0;
}

/* Which vault nodes have a verified copy of the segment. */
struct holders {
	const struct look *l;
	const Et__Segment *segment;
	struct task *task;
	bool here;
};

static int holder_look(void *arg, const Et__Copy *c)
{
	struct holders *h = arg;
	unsigned long long node = 0;

	if (c->generation != h->segment->generation || c->segment != h->segment->segment ||
	    c->state != ET__COPY__STATE__VERIFIED || sscanf(c->place, "node:%llu", &node) != 1) {
		return 0;
	}
	h->here = h->here || node == h->l->self;
	for (size_t i = 0; i < h->l->vault_count; i++) {
		if (h->l->vaults[i] == node && node < h->l->self &&
		    h->task->ahead_count < VAULTS_MAX) {
			h->task->ahead[h->task->ahead_count++] = node;
		}
	}
	return 0;
}

static bool task_is(const struct task *a, const struct task *b)
{
	return memcmp(a->recording, b->recording, 16) == 0 && a->generation == b->generation &&
	       a->segment == b->segment && a->due == b->due;
}

/* Can it be done here? */
static bool task_is_possible(struct look *l, const Et__Segment *s, struct task *t)
{
	struct holders h = { .l = l, .segment = s, .task = t };
	char lacks[ET_STATE_LACKS_SIZE];

	if (t->due == ET_DUE_MAKE) {
		return et_state_each_copy_of(l->v, t->recording, holder_look, &h) >= 0 && h.here;
	}
	for (size_t i = 0; i < l->vault_count; i++) {
		if (l->vaults[i] < l->self) {
			t->ahead[t->ahead_count++] = l->vaults[i];
		}
	}
	return et_state_generation_lacks(l->v, s, lacks) == 0 && lacks[0] == '\0';
}

static int look_due(void *arg, enum et_state_due due, const Et__Segment *s, const Et__Redaction *r)
{
	struct look *l = arg;
	struct generations *g = l->g;

	if (g->found_count == TASKS_MAX) {
		return 1;
	}
	struct task *t = &g->found[g->found_count];
	*t = (struct task){ .generation = s->generation, .segment = s->segment, .due = due };
	memcpy(t->recording, s->recording.data, 16);
	if (r != NULL) {
		t->redaction = r->asked_index;
		t->from_us = r->from_us;
		t->to_us = r->to_us;
	}
	for (size_t i = 0; i < g->found_count; i++) {
		if (task_is(&g->found[i], t)) {
			return 0; /* it is due for two reasons */
		}
	}
	g->found_count += task_is_possible(l, s, t);
	return 0;
}

static int hold_stands(void *arg, const Et__Hold *hold)
{
	(void)arg;
	(void)hold;
	return 1;
}

/* What is due of the recording. Not while a hold stands over it: apply would refuse that, and each
 * refusal is an event of the audit log. */
static int look_at(struct look *l, const uint8_t recording[16])
{
	Et__Recording *r = NULL;

	int rc = et_state_get_recording(l->v, recording, &r);
	rc = rc < 0 ? rc : et_state_each_hold_over(l->v, r, hold_stands, NULL);
	et__recording__free_unpacked(r, NULL);
	if (rc != 0) {
		return rc == ET_ENOTFOUND || rc > 0 ? 0 : rc;
	}
	return et_state_each_generation_due_of(l->v, recording, look_due, l);
}

static int look_recording(void *arg, const uint8_t recording[16])
{
	struct look *l = arg;

	if (l->recordings == RECORDINGS_MAX || l->g->found_count == TASKS_MAX) {
		l->g->goes_on = true;
		return 1;
	}
	l->recordings++;
	memcpy(l->last, recording, 16);
	int rc = look_at(l, recording);
	return rc < 0 ? rc : 0;
}

/* ---- What is on a compromised version ---- */

static int look_wrapped(void *arg, const Et__Segment *s)
{
	struct look *l = arg;

	if (l->g->found_count == TASKS_MAX) {
		return 1;
	}
	/* All that is due of it: a redaction goes first, and an older generation may stand in. */
	if (l->wrapped_any && memcmp(l->last_wrapped, s->recording.data, 16) == 0) {
		return 0;
	}
	l->wrapped_any = true;
	memcpy(l->last_wrapped, s->recording.data, 16);
	int rc = look_at(l, s->recording.data);
	return rc < 0 ? rc : 0;
}

static int look_kek(void *arg, const Et__Kek *kek)
{
	struct look *l = arg;

	if (kek->compromised && kek->state != ET__KEK_STATE__KEK_ACTIVE &&
	    kek->state != ET__KEK_STATE__KEK_DESTROYED && l->compromised == 0) {
		uint64_t wraps = 0;
		int rc = et_state_wraps(l->v, kek->version, &wraps);
		l->compromised = rc == 0 && wraps > 0 ? kek->version : 0;
		return rc;
	}
	return 0;
}

/* Some of the segments, behind those of the look before. */
static int look_compromised(struct look *l)
{
	struct generations *g = l->g;
	bool more = false;

	int rc = et_state_each_kek(l->v, look_kek, l);
	if (rc < 0 || l->compromised == 0 || g->found_count == TASKS_MAX) {
		return rc;
	}
	rc = et_state_each_wrapped(l->v, l->compromised, &g->wrapped_at, WRAPPED_MAX, look_wrapped,
				   l, &more);
	if (rc == 0 && !more) {
		g->wrapped_at = (struct et_state_place){ 0 };
	}
	return rc < 0 ? rc : 0;
}

static void look_run(struct look *l)
{
	struct generations *g = l->g;
	bool from_begin = !g->goes_on;

	g->goes_on = false;
	l->code = et_state_each_node(l->v, look_vault, l);
	l->code = l->code < 0 ? l->code
			      : et_state_each_generation_due(l->v, from_begin ? NULL : g->after,
							     look_recording, l);
	memcpy(g->after, l->last, sizeof(g->after));
	l->code = l->code < 0 ? l->code : look_compromised(l);
}

static void on_look_work(uv_work_t *work)
{
	struct generations *g = work->data;
	struct look l = { .g = g, .self = g->k->identity.node };
	struct et_state_view *v = et_state_view_open(g->k->state);

	g->found_count = 0;
	if (v == NULL) {
		return;
	}
	l.v = v;
	if (!g->swept || et_clock_mono_us() >= g->sweep_us) {
		sweep(g, v);
		g->swept = true;
		g->sweep_us = et_clock_mono_us() + SWEEP_US;
	}
	look_run(&l);
	(void)et_state_view_close(v);
}

/* ---- Whose turn it is ---- */

/* What was seen before keeps its times. */
static void tasks_age(struct generations *g, int64_t now_us)
{
	for (size_t i = 0; i < g->found_count; i++) {
		struct task *t = &g->found[i];
		t->since_us = now_us;
		for (size_t j = 0; j < g->known_count; j++) {
			if (task_is(t, &g->known[j])) {
				t->since_us = g->known[j].since_us;
				t->again_us = g->known[j].again_us;
			}
		}
	}
	memcpy(g->known, g->found, sizeof(g->known));
	g->known_count = g->found_count;
}

static bool task_is_mine(struct et_keeper *k, const struct task *t, int64_t now_us)
{
	int64_t ahead = 0;

	for (size_t i = 0; i < t->ahead_count; i++) {
		ahead += et_rpc_is_connected(k->tls, t->ahead[i]);
	}
	return now_us >= t->again_us && now_us - t->since_us >= ahead * STEP_IN_US;
}

static void put_off(struct generations *g)
{
	for (size_t i = 0; i < g->known_count; i++) {
		if (task_is(&g->task, &g->known[i])) {
			g->known[i].again_us = et_clock_mono_us() + PUT_OFF_US;
		}
	}
}

/* Go on with what the look found, or end the round. A last statement. */
static void tasks_next(struct generations *g);

static void task_end(struct generations *g, int code)
{
	char id[ET_UUID_TEXT_SIZE];
	char quoted[512];

	if (code < 0) {
		et_uuid_format(g->task.recording, id);
		et_warn("generation.failed",
			"recording=%s generation=%u segment=%u code=%s error=%s", id,
			g->task.generation, g->task.segment, et_errname(code),
			et_log_quote(g->why.text, quoted, sizeof(quoted)));
		put_off(g);
	}
	g->did_any = g->did_any || code == 0;
	task_release(g);
	tasks_next(g);
}

static void propose(struct generations *g, Et__Command *command, et_catalog_cb cb)
{
	struct et_keeper *k = g->k;
	static char empty[] = "";
	char principal[32];

	(void)snprintf(principal, sizeof(principal), "node:%llu",
		       (unsigned long long)k->identity.node);
	command->principal = principal;
	command->reason = g->reason[0] != '\0' ? g->reason : empty;
	command->schema = et_schema_needed(command);
	et_catalog_propose(k->catalog, command, PROPOSE_TIMEOUT_MS, cb, g);
}

/* Was it decided, or is it not known whether it still will be? What was refused before it was in
 * any log (a full disk, an older schema) is decided, too. */
static bool is_decided(int code, const Et__Result *result)
{
	return result != NULL || (code != ET_EUNKNOWN && code != ET_ENOQUORUM);
}

/* ---- FINISH ---- */

static void on_finished(void *arg, int code, const Et__Result *result)
{
	struct generations *g = arg;
	char id[ET_UUID_TEXT_SIZE];

	g->why.text[0] = '\0';
	if (code < 0 && result != NULL) {
		(void)et_fail_plain(&g->why, code, "%s", result->text);
	}
	if (code == 0) {
		et_uuid_format(g->task.recording, id);
		et_info("generation.finished", "recording=%s generation=%u segment=%u", id,
			g->task.generation, g->task.segment);
	}
	task_end(g, code);
}

static void task_finish(struct generations *g)
{
	Et__GenerationFinish body = ET__GENERATION_FINISH__INIT;
	Et__Command command = ET__COMMAND__INIT;

	body.recording = (ProtobufCBinaryData){ 16, g->task.recording };
	body.generation = g->task.generation;
	body.segment = g->task.segment;
	command.body_case = ET__COMMAND__BODY_GENERATION_FINISH;
	command.generation_finish = &body;
	(void)snprintf(g->reason, sizeof(g->reason), "its successor has the copies that it had");
	propose(g, &command, on_finished);
}

/* ---- MAKE ---- */

static void on_put(void *arg, int code, const Et__Result *result)
{
	struct generations *g = arg;
	char id[ET_UUID_TEXT_SIZE];

	g->why.text[0] = '\0';
	if (code == 0) {
		et_uuid_format(g->task.recording, id);
		et_info("generation.made", "recording=%s generation=%u segment=%u bytes=%llu", id,
			g->next, g->task.segment, (unsigned long long)g->seal.size_bytes);
		unlink_both(g->k, NULL, g->name);
		g->swept = false; /* others that were made of it are decided now */
	} else if (is_decided(code, result)) {
		(void)et_fail_plain(&g->why, code, "%s", result != NULL ? result->text : "");
		unlink_both(g->k, g->file, g->name);
	} else {
		g->sweep_us = et_clock_mono_us() + PUT_OFF_US; /* it may be taken yet */
	}
	task_end(g, code);
}

static void task_put(struct generations *g)
{
	Et__GenerationPut body = ET__GENERATION_PUT__INIT;
	Et__Segment s = ET__SEGMENT__INIT;
	Et__Wrap wrap = ET__WRAP__INIT;
	Et__Command command = ET__COMMAND__INIT;

	wrap.dek = g->dek_id;
	wrap.kek_version = g->kek_version;
	wrap.enc = (ProtobufCBinaryData){ sizeof(g->enc), g->enc };
	wrap.ciphertext = (ProtobufCBinaryData){ sizeof(g->ciphertext), g->ciphertext };
	s.recording = (ProtobufCBinaryData){ 16, g->task.recording };
	s.generation = g->next;
	s.segment = g->task.segment;
	s.node = g->k->identity.node;
	s.wrap = &wrap;
	s.header_hash = (ProtobufCBinaryData){ 32, g->header.hash };
	s.t0_us = g->old->t0_us;
	s.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	s.root = (ProtobufCBinaryData){ 32, g->seal.root };
	s.records = g->seal.records;
	s.size_bytes = g->seal.size_bytes;
	s.sealed_us = g->seal.signed_us;
	s.file = g->file;
	s.object_hash = (ProtobufCBinaryData){ 32, g->seal.object_hash };
	s.keys = g->old->keys;
	s.link = (ProtobufCBinaryData){ g->link.size, g->link.data };
	body.segment = &s;
	body.old_root = g->old->root;
	body.redaction = g->task.redaction;
	body.made_of = g->task.generation;
	body.store_uuid = g->store_uuid;
	command.body_case = ET__COMMAND__BODY_GENERATION_PUT;
	command.generation_put = &body;
	propose(g, &command, on_put);
}

static int file_sync(const char *path, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fsync(fd) < 0) {
		return et_fail(reterr, -errno, "sync '%s'", path);
	}
	return 0;
}

/* Whole and durable under both names. */
static int file_publish(struct generations *g, const char *part, struct et_error *reterr)
{
	char whole[2 * PATH_BYTES];
	char path[2 * PATH_BYTES];
	char folder[2 * PATH_BYTES];

	(void)snprintf(folder, sizeof(folder), "%.*s", folder_length(g->file), g->file);
	if (!path_of(g->k, "generations", g->name, whole) || !path_of(g->k, g->file, "", path)) {
		return et_fail(reterr, -ENAMETOOLONG, "file '%s'", g->file);
	}
	int rc = file_sync(part, reterr);
	if (rc == 0 && rename(part, whole) < 0) {
		rc = et_fail(reterr, -errno, "rename '%s'", part);
	}
	rc = rc < 0 ? rc : et_file_sync_parent(whole, reterr);
	if (rc == 0 && link(whole, path) < 0) {
		rc = et_fail(reterr, -errno, "link '%s'", path);
	}
	rc = rc < 0 ? rc : et_file_sync_parent(path, reterr);
	if (rc < 0) {
		unlink_both(g->k, g->file, g->name);
	}
	return rc;
}

/* The new wrap opens, and to that key: the old one goes for good. */
static int wrap_check(const struct generations *g, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *again = NULL;

	int rc = et_dek_unwrap(g->kek, g->kek_version, g->task.recording, g->dek_id, g->enc,
			       (struct et_view){ g->ciphertext, sizeof(g->ciphertext) }, &again,
			       reterr);
	return rc == 0 && !et_secret_equal(g->dek, again)
		       ? et_fail(reterr, ET_EINTEGRITY, "the new wrap")
		       : rc;
}

static int make(struct generations *g, const char *part, struct et_error *reterr)
{
	const struct et_tape_expect expect = {
		.recording = g->task.recording,
		.generation = g->task.generation,
		.segment = g->task.segment,
		.root = g->old->root.data,
		.object_hash = g->old->object_hash.len == 32 ? g->old->object_hash.data : NULL,
	};
	const struct et_tape_signer signer = {
		.node = g->k->identity.node,
		.seed = g->k->identity.sign_key,
		.now_us = et_clock_now_us(),
	};
	static const char cause[] = "redacted";
	struct et_tape_source source;
	char path[2 * PATH_BYTES];

	if (!path_of(g->k, g->old->file, "", path)) {
		return et_fail(reterr, -ENAMETOOLONG, "file '%s'", g->old->file);
	}
	int rc = et_tape_source_open(path, &source, reterr);
	if (rc < 0) {
		return rc;
	}
	const struct et_tape_rewrite order = {
		.old = &source,
		.expect = &expect,
		.old_dek = g->old_dek,
		.path = part,
		.generation = g->next,
		.kek_version = g->kek_version,
		.dek_id = g->dek_id,
		.dek = g->dek,
		.from_us = g->task.from_us,
		.to_us = g->task.to_us,
		.cause = { (const uint8_t *)cause, sizeof(cause) - 1 },
		.signer = &signer,
	};
	rc = et_tape_rewrite(&order, &g->header, &g->seal, &g->link, reterr);
	et_tape_source_close(&source);
	return rc;
}

static void on_make_work(uv_work_t *work)
{
	struct generations *g = work->data;
	char folder[2 * PATH_BYTES];
	char part[2 * PATH_BYTES];
	char name[NAME_BYTES + 8];

	(void)snprintf(name, sizeof(name), "%s.part", g->name);
	if (!path_of(g->k, "generations", "", folder) ||
	    !path_of(g->k, "generations", name, part)) {
		g->code = et_fail(&g->why, -ENAMETOOLONG, "file '%s'", g->name);
		return;
	}
	g->code = wrap_check(g, &g->why);
	g->code = g->code < 0 ? g->code : et_file_mkdirs(folder, &g->why);
	g->code = g->code < 0 ? g->code : make(g, part, &g->why);
	g->code = g->code < 0 ? g->code : file_publish(g, part, &g->why);
	(void)unlink(part); /* of what failed */
}

static void on_made(uv_work_t *work, int status)
{
	struct generations *g = work->data;
	int code = status < 0 ? status : g->code;

	g->next_us = g->begun_us + (int64_t)g->seal.size_bytes * 1000000 / BYTES_A_SECOND;
	if (code < 0) {
		task_end(g, code);
	} else if (g->k->stopping) {
		unlink_both(g->k, g->file, g->name);
		task_end(g, 0);
	} else {
		task_put(g);
	}
}

static int find_active(void *arg, const Et__Kek *kek)
{
	uint32_t *version = arg;

	*version = kek->state == ET__KEK_STATE__KEK_ACTIVE ? kek->version : *version;
	return 0;
}

/* Both keys, and the wrap of the new one. */
static int task_keys(struct generations *g, const struct et_state_view *v)
{
	struct et_keeper *k = g->k;
	char name[SECRET_NAME_BYTES];
	Et__Kek *kek = NULL;

	int rc = wrap_open(k, v, g->old, &g->old_dek, &g->why);
	rc = rc < 0 ? rc : et_state_each_kek(v, find_active, &g->kek_version);
	rc = rc < 0 ? rc : et_state_get_kek(v, g->kek_version, &kek);
	if (rc == 0) {
		kek_secret_name(g->kek_version, name);
		rc = secret_open(v, name, k->identity.node, &k->keys, &g->kek, &g->why);
		rc = rc < 0 ? rc : et_keeper_kek_verify(kek, view_of(&k->identity.ca), &g->why);
		rc = rc < 0 ? rc : et_secret_random(ET_DEK_SIZE, &g->dek, &g->why);
		et_random(&g->dek_id, sizeof(g->dek_id));
		rc = rc < 0 ? rc
			    : et_dek_wrap(kek->public_key.data, g->kek_version, g->task.recording,
					  g->dek_id, g->dek, g->enc, g->ciphertext, &g->why);
	}
	et__kek__free_unpacked(kek, NULL);
	return rc;
}

static void task_words(struct generations *g, const struct et_state_view *v)
{
	Et__Recording *r = NULL;
	Et__Node *self = NULL;

	(void)snprintf(g->reason, sizeof(g->reason), "its KEK version is compromised");
	if (et_state_get_recording(v, g->task.recording, &r) == 0) {
		for (size_t i = 0; i < r->n_redactions; i++) {
			if (r->redactions[i]->asked_index == g->task.redaction) {
				(void)snprintf(g->reason, sizeof(g->reason), "%.255s",
					       r->redactions[i]->reason);
			}
		}
		et__recording__free_unpacked(r, NULL);
	}
	g->store_uuid[0] = '\0';
	if (et_state_get_node(v, g->k->identity.node, &self) == 0) {
		(void)snprintf(g->store_uuid, sizeof(g->store_uuid), "%.63s", self->store_uuid);
		et__node__free_unpacked(self, NULL);
	}
}

/* Behind the newest one, be it lost. */
static int find_next(struct generations *g, const struct et_state_view *v)
{
	uint32_t newest = g->old->generation;
	uint32_t by = g->old->replaced_by;
	int rc = 0;

	while (rc == 0 && by != 0) {
		Et__Segment *s = NULL;
		newest = by;
		rc = et_state_get_segment(v, g->task.recording, by, g->task.segment, &s);
		by = rc == 0 ? s->replaced_by : 0;
		et__segment__free_unpacked(s, NULL);
	}
	g->next = newest + 1;
	return rc;
}

static int task_prepare(struct generations *g)
{
	struct et_state_view *v = et_state_view_open(g->k->state);
	char id[ET_UUID_TEXT_SIZE];

	if (v == NULL) {
		return -ENOMEM;
	}
	int rc = et_state_get_segment(v, g->task.recording, g->task.generation, g->task.segment,
				      &g->old);
	rc = rc < 0 ? rc : find_next(g, v);
	rc = rc < 0 ? rc : task_keys(g, v);
	if (rc == 0) {
		task_words(g, v);
		et_uuid_format(g->task.recording, id);
		(void)snprintf(g->name, sizeof(g->name), "%s-g%u-s%u-%08x.evtm", id, g->next,
			       g->task.segment, (unsigned)g->dek_id);
		int n = snprintf(g->file, sizeof(g->file), "%.*s%s", folder_length(g->old->file),
				 g->old->file, g->name);
		rc = n > 0 && n < (int)sizeof(g->file) ? 0 : -ENAMETOOLONG;
	}
	(void)et_state_view_close(v);
	return rc;
}

static void task_make(struct generations *g)
{
	g->seal = (struct et_tape_seal){ 0 };
	int rc = task_prepare(g);
	if (rc == 0 && uv_queue_work(g->k->loop, &g->work, on_make_work, on_made) < 0) {
		rc = -ENOMEM;
	}
	if (rc < 0) {
		task_end(g, rc);
	}
}

/* ---- The round ---- */

static void tasks_next(struct generations *g)
{
	struct et_keeper *k = g->k;

	while (g->at < g->found_count && !k->stopping) {
		const struct task *t = &g->found[g->at++];
		int64_t now_us = et_clock_mono_us();
		if (now_us < g->next_us) {
			break; /* as fast as it may be: the next round goes on */
		}
		if (task_is_mine(k, t, now_us)) {
			g->task = *t;
			g->why = (struct et_error){ 0 };
			g->begun_us = now_us;
			if (t->due == ET_DUE_MAKE) {
				task_make(g);
			} else {
				task_finish(g);
			}
			return; /* it comes back here */
		}
	}
	g->busy = false;
	if (g->did_any) {
		generations_round(k);
	}
	keeper_end(k);
}

static void on_looked(uv_work_t *work, int status)
{
	struct generations *g = work->data;

	if (status < 0) {
		g->found_count = 0;
	}
	tasks_age(g, et_clock_mono_us());
	g->at = 0;
	g->did_any = false;
	tasks_next(g);
}

/* Without a majority nobody takes what is made: each try would leave a whole tape of which nobody
 * knows whether it will be taken. */
static bool is_heard(struct et_keeper *k)
{
	struct et_catalog_status status;

	et_catalog_status(k->catalog, &status);
	return status.has_quorum && !status.disk_full;
}

void generations_round(struct et_keeper *k)
{
	struct generations *g = k->generations;

	if (g->busy || k->stopping || !atomic_load(&k->health.is_vault) ||
	    et_clock_mono_us() < g->next_us || !is_heard(k)) {
		return;
	}
	g->work.data = g;
	if (uv_queue_work(k->loop, &g->work, on_look_work, on_looked) == 0) {
		g->busy = true;
		keeper_begin(k);
	}
}
