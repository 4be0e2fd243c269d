/* MAKE: the files of new generations, and what a death left of them.
 *
 *   <media>/generations/NAME.part   is being written
 *   <media>/generations/NAME        whole; with a second name where the catalogue will say that it
 *                                   is; until the catalogue has decided */
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
#include "node/keeper/generations_internal.h"

#define BYTES_A_SECOND (64LL << 20) /* that are made anew, on the average */

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

void generations_sweep(struct generations *g, const struct et_state_view *v)
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

/* ---- The catalogue ---- */

/* Was it decided, or is it not known whether it still will be? What was refused before it was in
 * any log (a full disk, an older schema) is decided, too. */
static bool is_decided(int code, const Et__Result *result)
{
	return result != NULL || (code != ET_EUNKNOWN && code != ET_ENOQUORUM);
}

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
	generations_task_end(g, code);
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
	if (g->has_object_hash) {
		s.object_hash = (ProtobufCBinaryData){ 32, g->object_hash };
	} else {
		s.seal_hash = (ProtobufCBinaryData){ 32, g->seal.seal_hash };
	}
	s.block_bytes = g->seal.block_bytes;
	s.keys = g->old->keys;
	s.link = (ProtobufCBinaryData){ g->link.size, g->link.data };
	body.segment = &s;
	body.old_root = g->old->root;
	body.redaction = g->task.redaction;
	body.made_of = g->task.generation;
	body.store_uuid = g->store_uuid;
	command.body_case = ET__COMMAND__BODY_GENERATION_PUT;
	command.generation_put = &body;
	generations_task_propose(g, &command, on_put);
}

/* ---- The tape ---- */

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
		.seal_hash = g->old->seal_hash.len == 32 ? g->old->seal_hash.data : NULL,
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
	g->has_object_hash = et_state_schema(g->k->state) < ET_SCHEMA_SEAL_HASH;
	return rc < 0 || !g->has_object_hash ? rc : et_tape_file_hash(part, g->object_hash, reterr);
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
		generations_task_end(g, code);
	} else if (g->k->stopping) {
		unlink_both(g->k, g->file, g->name);
		generations_task_end(g, 0);
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

void generations_task_make(struct generations *g)
{
	g->seal = (struct et_tape_seal){ 0 };
	int rc = task_prepare(g);
	if (rc == 0 && uv_queue_work(g->k->loop, &g->work, on_make_work, on_made) < 0) {
		rc = -ENOMEM;
	}
	if (rc < 0) {
		generations_task_end(g, rc);
	}
}
