/* Keys that come when a recording is over: a small tape of their own, beside the others.
 *
 *   new DEK, wrapped ─▶ tape written, sealed and synced ─▶ SegmentOpen, SegmentSeal in the journal
 *   ─▶ the catalogue; from there it is replicated, archived, made anew and erased as all others
 *
 * Possible failure modes are
 *   - killed before the journal has it: a file of some hundred bytes that nothing opens is left;
 *   - killed after that: the journal goes on with it;
 *   - refused (erased meanwhile, another KEK version by now): the file goes, and the error says it.
 *
 * Threads: API workers. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/base/log.h"
#include "node/crypto/sign.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"
#include "node/io/file.h"
#include "node/tape/keys.h"
#include "node/tape/tape.h"
#include "node/tape/wrap.h"

#define FILE_BYTES 256
#define AFTER_US (INT64_C(2) * 1000000) /* behind the end: no span of the call reaches it */

struct late {
	struct et_daemon *d;
	const struct et_api_late_keys *request;
	struct daemon_sealer by; /* owned */

	uint32_t segment;
	char file[FILE_BYTES]; /* relative to the media folder */
	char path[ET_CONFIG_PATH_MAX + FILE_BYTES];
	struct et_tape_header header;
	struct et_tape_seal seal;
	uint8_t enc[ET_HPKE_ENC_SIZE];
	uint8_t ciphertext[ET_DEK_WRAPPED_SIZE];
};

/* ---- Its number and its file ---- */

static int file_name(struct late *l)
{
	const char *slash = strrchr(l->request->beside, '/');
	char id[ET_UUID_TEXT_SIZE];

	et_uuid_format(l->request->recording, id);
	int folder = slash != NULL ? (int)(slash - l->request->beside) + 1 : 0;
	int n = snprintf(l->file, sizeof(l->file), "%.*s%s-g1-s%u.evtm", folder, l->request->beside,
			 id, l->segment);
	if (n <= 0 || n >= (int)sizeof(l->file) || strstr(l->file, "..") != NULL) {
		return -ENAMETOOLONG;
	}
	n = snprintf(l->path, sizeof(l->path), "%s/%s", l->d->config.media, l->file);
	return n > 0 && n < (int)sizeof(l->path) ? 0 : -ENAMETOOLONG;
}

/* The first number of this node that neither the catalogue nor the disk has. */
static int number_find(struct late *l, struct et_error *reterr)
{
	const uint32_t first = et_keys_segment_base(l->by.identity.node);
	struct et_state_view *v = et_state_view_open(l->d->state);
	int rc = v == NULL ? -ENOMEM : 0;
	bool taken = true;

	for (uint32_t i = 0; i < ET_KEYS_SEGMENTS_MAX && rc == 0 && taken; i++) {
		Et__Segment *s = NULL;
		l->segment = first + i;
		rc = file_name(l);
		int known =
			rc < 0 ? rc
			       : et_state_get_segment(v, l->request->recording, 1, l->segment, &s);
		et__segment__free_unpacked(s, NULL);
		taken = known != ET_ENOTFOUND || access(l->path, F_OK) == 0;
		rc = known < 0 && known != ET_ENOTFOUND ? known : rc;
	}
	(void)et_state_view_close(v);
	if (rc == 0 && taken) {
		return et_fail_plain(reterr, ET_ELIMIT,
				     "this node has added keys to the recording %d times",
				     ET_KEYS_SEGMENTS_MAX);
	}
	return rc < 0 ? et_fail(reterr, rc, "segment for keys") : 0;
}

/* ---- The tape ---- */

static int tape_write(struct late *l, struct et_tape *t, struct et_error *reterr)
{
	const struct et_tape_signer signer = {
		.node = l->by.identity.node,
		.seed = l->by.identity.sign_key,
		.now_us = et_clock_now_us(),
	};
	const struct et_view *plain = &l->request->plain;

	int rc = et_tape_append(t, ET_TAPE_KEYS, 0, plain->data, plain->size, reterr);
	rc = rc < 0 ? rc : et_tape_finish(t, &signer, &l->seal, reterr);
	if (rc == 0 && fsync(et_tape_fd(t)) < 0) {
		rc = et_fail(reterr, -errno, "sync '%s'", l->path);
	}
	return rc < 0 ? rc : et_file_sync_parent(l->path, reterr);
}

static int tape_make(struct late *l, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;
	ET_CLEANUP(et_tape_closep) struct et_tape *t = NULL;
	const int64_t now_us = et_clock_now_us();
	const int64_t after_us = l->request->after_us + AFTER_US;

	l->header = (struct et_tape_header){
		.generation = 1,
		.segment = l->segment,
		.kek_id = l->by.kek_id,
		.kek_version = l->by.kek.version,
		.node = l->by.identity.node,
		.t0_us = now_us > after_us ? now_us : after_us,
	};
	memcpy(l->header.recording, l->request->recording, 16);
	et_random(&l->header.dek_id, sizeof(l->header.dek_id));
	int rc = et_secret_random(ET_DEK_SIZE, &dek, reterr);
	rc = rc < 0 ? rc
		    : et_dek_wrap(l->by.kek.public_key, l->by.kek.version, l->request->recording,
				  l->header.dek_id, dek, l->enc, l->ciphertext, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = et_file_mkdirs_of(l->path, reterr);
	rc = rc < 0 ? rc : et_tape_create(l->path, &l->header, dek, &t, reterr);
	if (rc < 0) {
		return rc;
	}
	rc = tape_write(l, t, reterr);
	if (rc < 0) {
		(void)unlink(l->path);
	}
	return rc;
}

/* The file is the claim on its number: who comes second at the same time takes the next one. */
static int tape_place(struct late *l, struct et_error *reterr)
{
	int rc = -EEXIST;

	for (uint32_t i = 0; i < ET_KEYS_SEGMENTS_MAX && rc == -EEXIST; i++) {
		rc = number_find(l, reterr);
		rc = rc < 0 ? rc : tape_make(l, reterr);
	}
	return rc;
}

/* ---- The catalogue ---- */

static int command_tell(struct late *l, Et__Command *command, bool *ret_committed,
			struct et_error *reterr)
{
	static char no_reason[] = "";
	struct et_api_told told = { 0 };

	command->principal = (char *)(uintptr_t)l->request->principal;
	command->reason = no_reason;
	command->schema = et_schema_needed(command);
	int rc = daemon_tell(l->d, command, &told, reterr);
	*ret_committed = told.committed;
	return rc;
}

static int tell_open(struct late *l, bool *ret_committed, struct et_error *reterr)
{
	Et__Command command = ET__COMMAND__INIT;
	Et__SegmentOpen body = ET__SEGMENT_OPEN__INIT;
	Et__Segment s = ET__SEGMENT__INIT;
	Et__Wrap wrap = ET__WRAP__INIT;

	wrap.dek = l->header.dek_id;
	wrap.kek_version = l->by.kek.version;
	wrap.enc = daemon_bytes(l->enc, sizeof(l->enc));
	wrap.ciphertext = daemon_bytes(l->ciphertext, sizeof(l->ciphertext));
	s.recording = daemon_bytes(l->request->recording, 16);
	s.generation = 1;
	s.segment = l->segment;
	s.node = l->by.identity.node;
	s.wrap = &wrap;
	s.header_hash = daemon_bytes(l->header.hash, 32);
	s.t0_us = l->header.t0_us;
	s.file = l->file;
	s.keys = l->request->state;
	body.segment = &s;
	command.body_case = ET__COMMAND__BODY_SEGMENT_OPEN;
	command.segment_open = &body;
	return command_tell(l, &command, ret_committed, reterr);
}

static int tell_seal(struct late *l, bool *ret_committed, struct et_error *reterr)
{
	Et__Command command = ET__COMMAND__INIT;
	Et__SegmentSeal body = ET__SEGMENT_SEAL__INIT;
	struct daemon_hash hash;

	int rc = daemon_hash_of(et_state_schema(l->d->state), l->path, l->seal.seal_hash, &hash,
				reterr);
	if (rc < 0) {
		return rc;
	}
	body.recording = daemon_bytes(l->request->recording, 16);
	body.generation = 1;
	body.segment = l->segment;
	body.state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	body.root = daemon_bytes(l->seal.root, 32);
	body.records = l->seal.records;
	body.size_bytes = l->seal.size_bytes;
	body.sealed_us = l->seal.signed_us;
	body.seal_hash = hash.seal;
	body.object_hash = hash.object;
	body.store_uuid = l->d->store_uuid;
	command.body_case = ET__COMMAND__BODY_SEGMENT_SEAL;
	command.segment_seal = &body;
	return command_tell(l, &command, ret_committed, reterr);
}

static int late_run(struct late *l, struct et_api_late_keys_kept *ret, struct et_error *reterr)
{
	int rc = daemon_sealer_ask(l->d, &l->by);

	if (rc < 0) {
		return et_fail(reterr, rc, "keep keys");
	}
	rc = tape_place(l, reterr);
	if (rc < 0) {
		return rc;
	}
	bool opened = false;
	rc = tell_open(l, &opened, reterr);
	if (daemon_is_refusal(rc)) {
		(void)unlink(l->path);
	}
	rc = rc < 0 ? rc : tell_seal(l, &ret->committed, reterr);
	ret->segment = l->segment;
	ret->committed = ret->committed && opened;
	return rc;
}

int daemon_late_keys(void *arg, const struct et_api_late_keys *request,
		     struct et_api_late_keys_kept *ret, struct et_error *reterr)
{
	struct late l = { .d = arg, .request = request };
	char id[ET_UUID_TEXT_SIZE];

	*ret = (struct et_api_late_keys_kept){ 0 };
	int rc = late_run(&l, ret, reterr);
	if (rc == 0) {
		et_uuid_format(request->recording, id);
		et_info("keys.late", "recording=%s segment=%u state=%u committed=%d", id,
			ret->segment, request->state, ret->committed);
	}
	et_identity_release(&l.by.identity);
	return rc;
}
