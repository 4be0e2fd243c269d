/* Files that become recordings, for the API.
 *
 *   node/import: sealed and verified tapes ─▶ for each recording: its tapes get their place, synced
 *   ─▶ RecordingImport in the journal, synced ─▶ the catalogue; from there it is as all others
 *
 * Possible failure modes are
 *   - killed before the journal has a recording: its tapes are swept, at the next start or before
 * the next import;
 *   - killed after that: the journal goes on with it; the same file, imported again, makes those
 *     recordings that are missing and names the others;
 *   - refused (imported by another node meanwhile, erased, another KEK version by now): its tapes
 *     go, and the answer says it.
 *
 * Threads: API workers; daemon_import_sweep() on the loop, before they are. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"
#include "node/import/import.h"
#include "node/io/clock.h"
#include "node/tape/file.h"

#define READ_MS 10000
#define NAME_BYTES 250 /* of a file, with the NUL, in the catalogue */

struct job {
	struct et_daemon *d;
	const struct et_api_import *request;
	struct daemon_sealer by; /* owned */
	struct et_import made;
	struct et_api_imported *ret;
	struct et_error *reterr;

	/* Of the recording at hand. */
	const struct et_import_recording *recording;
	struct et_api_told told;
};

static char *text_of(const char *s)
{
	return (char *)(uintptr_t)s;
}

static int ask(struct job *j)
{
	int rc = daemon_sealer_ask(j->d, &j->by);

	return rc < 0 ? et_fail(j->reterr, rc, "import") : 0;
}

/* ---- Does this node know a tape? ---- */

struct known {
	const struct et_tape_header *header;
	bool found;
};

static int known_pending(void *arg, const Et__Command *command, struct et_view packed)
{
	struct known *k = arg;

	(void)packed;
	if (command->body_case == ET__COMMAND__BODY_RECORDING_IMPORT) {
		const Et__RecordingImport *m = command->recording_import;
		for (size_t i = 0; i < m->n_segments; i++) {
			const ProtobufCBinaryData *hash = &m->segments[i]->header_hash;
			k->found = k->found || (hash->len == 32 &&
						memcmp(hash->data, k->header->hash, 32) == 0);
		}
	}
	return 0;
}

static bool is_known(void *arg, const struct et_tape_header *header)
{
	struct et_daemon *d = arg;
	struct known k = { .header = header };
	Et__Segment *s = NULL;

	/* In this order: what leaves the journal is in the catalogue before. */
	int rc = et_journal_each_pending(d->journal, known_pending, &k);
	struct et_state_view *v = et_state_view_open(d->state);
	if (v == NULL || rc < 0) {
		k.found = true; /* nothing is removed for want of memory */
	} else if (!k.found && et_state_get_segment(v, header->recording, header->generation,
						    header->segment, &s) == 0) {
		k.found = s->header_hash.len == 32 &&
			  memcmp(s->header_hash.data, header->hash, 32) == 0;
	}
	et__segment__free_unpacked(s, NULL);
	(void)et_state_view_close(v);
	return k.found;
}

/* ---- One recording ---- */

/* A stranger's; and card digits never enter the catalogue. The tape has the name as it is. */
static void name_write(const char *name, char ret[NAME_BYTES])
{
	struct et_buffer text = { 0 };

	et_command_text(name, strlen(name), NAME_BYTES - 1, &text);
	(void)snprintf(ret, NAME_BYTES, "%s", text.failed ? "" : (const char *)text.data);
	et_buffer_release(&text);
	const bool has_card = et_command_has_card(ret);
	for (char *p = ret; has_card && *p != '\0'; p++) {
		*p = *p >= '0' && *p <= '9' ? '#' : *p;
	}
}

static void imported_fill(const struct job *j, char name[NAME_BYTES], Et__Imported *m)
{
	et__imported__init(m);
	name_write(j->request->name, name);
	m->sha256 = daemon_bytes(j->request->sha256, 32);
	m->size_bytes = j->request->size_bytes;
	m->name = name;
	m->format = text_of(j->made.format);
	m->part = j->recording->part;
	m->parts = j->made.recording_count;
	m->untimed = j->made.untimed;
	m->left_out = j->made.left_out;
}

struct segments {
	Et__Segment segments[ET_IMPORT_SEGMENTS_MAX];
	Et__Segment *list[ET_IMPORT_SEGMENTS_MAX];
	Et__Wrap wraps[ET_IMPORT_SEGMENTS_MAX];
	uint8_t enc[ET_IMPORT_SEGMENTS_MAX][ET_HPKE_ENC_SIZE];
	uint8_t ciphertext[ET_IMPORT_SEGMENTS_MAX][ET_DEK_WRAPPED_SIZE];
	struct daemon_hash hashes[ET_IMPORT_SEGMENTS_MAX];
};

static int segment_fill(struct job *j, uint32_t i, struct segments *to)
{
	const struct et_import_segment *from = &j->recording->segments[i];
	Et__Segment *s = &to->segments[i];
	Et__Wrap *wrap = &to->wraps[i];
	char path[ET_CONFIG_PATH_MAX + ET_IMPORT_FILE_MAX + 1];

	et__segment__init(s);
	et__wrap__init(wrap);
	to->list[i] = s;
	wrap->dek = from->header.dek_id;
	wrap->kek_version = j->by.kek.version;
	wrap->enc = daemon_bytes(to->enc[i], ET_HPKE_ENC_SIZE);
	wrap->ciphertext = daemon_bytes(to->ciphertext[i], ET_DEK_WRAPPED_SIZE);
	s->recording = daemon_bytes(from->header.recording, 16);
	s->generation = from->header.generation;
	s->segment = from->header.segment;
	s->node = j->by.identity.node;
	s->wrap = wrap;
	s->header_hash = daemon_bytes(from->header.hash, 32);
	s->t0_us = from->header.t0_us;
	s->state = ET__SEGMENT_STATE__SEGMENT_SEALED;
	s->root = daemon_bytes(from->seal.root, 32);
	s->records = from->seal.records;
	s->size_bytes = from->seal.size_bytes;
	s->sealed_us = from->seal.signed_us;
	s->file = text_of(from->file);
	(void)snprintf(path, sizeof(path), "%s/%s", j->d->config.media, from->file);
	int rc = daemon_hash_of(et_state_schema(j->d->state), path, from->seal.seal_hash,
				&to->hashes[i], j->reterr);
	s->seal_hash = to->hashes[i].seal;
	s->block_bytes = from->seal.block_bytes;
	s->object_hash = to->hashes[i].object;
	return rc < 0 ? rc
		      : et_import_wrap(from, j->by.kek.version, j->by.kek.public_key, to->enc[i],
				       to->ciphertext[i], j->reterr);
}

static int segments_fill(struct job *j, struct segments *to)
{
	int rc = ask(j); /* the KEK version of now */

	for (uint32_t i = 0; i < j->recording->segment_count && rc == 0; i++) {
		rc = segment_fill(j, i, to);
	}
	return rc;
}

/* Called with what capture says of the recording. */
static int recording_tell(void *arg, Et__Recording *r)
{
	struct job *j = arg;
	Et__RecordingImport body = ET__RECORDING_IMPORT__INIT;
	Et__Command command = ET__COMMAND__INIT;
	Et__Imported imported;
	char name[NAME_BYTES];
	struct segments *s = malloc(sizeof(*s));

	if (s == NULL) {
		return et_fail(j->reterr, -ENOMEM, "import");
	}
	imported_fill(j, name, &imported);
	r->imported = &imported;
	if (!j->made.is_capture) {
		r->call_state = text_of("imported");
		r->rule = text_of("import");
	}
	if (j->request->told->site[0] != '\0') {
		r->site = text_of(j->request->told->site);
	}
	int rc = segments_fill(j, s);
	body.recording = r;
	body.segments = s->list;
	body.n_segments = j->recording->segment_count;
	body.store_uuid = j->d->store_uuid;
	body.facts = j->request->facts;
	body.n_facts = j->request->fact_count;
	body.tags = j->request->tags;
	body.n_tags = j->request->tag_count;
	command.body_case = ET__COMMAND__BODY_RECORDING_IMPORT;
	command.recording_import = &body;
	command.principal = text_of(j->request->principal);
	command.reason = text_of(j->request->reason);
	command.schema = et_schema_needed(&command);
	rc = rc < 0 ? rc : daemon_tell(j->d, &command, &j->told, j->reterr);
	free(s);
	return rc;
}

/* What the catalogue of this node says: "known", "erased", or NULL. */
static const char *catalogue_look(const struct job *j)
{
	struct et_state_view *v = et_state_view_open(j->d->state);
	Et__Recording *r = NULL;
	const char *word = NULL;

	if (v != NULL && et_state_get_recording(v, j->recording->captured->id, &r) == 0) {
		word = r->state == ET__RECORDING_STATE__ERASED ? "erased" : "known";
	}
	et__recording__free_unpacked(r, NULL);
	(void)et_state_view_close(v);
	return word;
}

static int recording_make(struct job *j, const char **ret_state)
{
	*ret_state = catalogue_look(j);
	if (*ret_state != NULL) {
		return 0;
	}
	int rc = et_import_publish(&j->made, j->recording, j->reterr);
	if (rc == -EEXIST) { /* it is in the journal, and waits for a majority */
		*ret_state = "known";
		return 0;
	}
	j->told = (struct et_api_told){ .committed = false };
	rc = rc < 0 ? rc : et_events_recording(j->recording->captured, recording_tell, j);
	/* What the journal never got, or was refused, nobody will ask for. */
	if (rc < 0 &&
	    (daemon_is_refusal(rc) || !is_known(j->d, &j->recording->segments[0].header))) {
		et_import_withdraw(&j->made, j->recording);
		*ret_state = catalogue_look(j);
		return *ret_state != NULL ? 0 : rc;
	}
	*ret_state = j->told.committed ? "imported" : "pending";
	return rc;
}

static int recordings_make(struct job *j)
{
	int rc = 0;

	for (uint32_t i = 0; i < j->made.recording_count && rc == 0; i++) {
		const char *state = "";
		char id[ET_UUID_TEXT_SIZE];
		j->recording = &j->made.recordings[i];
		rc = recording_make(j, &state);
		if (rc == 0) {
			json_t *o = json_object();
			et_uuid_format(j->recording->captured->id, id);
			et_json_set(o, "id", json_string(id));
			et_json_set(o, "part", json_integer(j->recording->part));
			et_json_set(o, "state", json_string(state));
			et_json_set(o, "packets", et_json_u64(j->recording->packets));
			et_json_add(j->ret->recordings, o);
		}
	}
	return rc;
}

/* ---- What a killed process left ---- */

void daemon_import_sweep(struct et_daemon *d)
{
	atomic_store(&d->imports_left, et_import_sweep(d->config.media, NULL, NULL) > 0);
}

static void on_index(void *arg, int code, uint64_t index)
{
	(void)index;
	daemon_waiter_wake(arg, code);
}

/* The catalogue of this node has all that is committed now. */
static int catch_up(struct et_daemon *d)
{
	struct daemon_waiter w;

	daemon_waiter_init(&w);
	int rc = et_catalog_read_index_from(d->catalog, READ_MS, on_index, &w);
	rc = rc < 0 ? rc : daemon_waiter_wait(&w);
	daemon_waiter_destroy(&w);
	return rc;
}

/* Tapes that were published, and of which the journal may not have heard: only who knows all that
 * is committed may remove them. */
static int leftovers_sweep(struct et_daemon *d, struct et_error *reterr)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	int rc = 0;

	if (!atomic_load(&d->imports_left)) {
		return 0;
	}
	(void)pthread_mutex_lock(&one);
	if (atomic_load(&d->imports_left)) {
		rc = catch_up(d);
		if (rc == 0) {
			const uint32_t count = et_import_sweep(d->config.media, is_known, d);
			et_info("import.swept", "unfinished=%u", count);
			atomic_store(&d->imports_left, false);
		}
	}
	(void)pthread_mutex_unlock(&one);
	return rc < 0 ? et_fail(reterr, rc,
				"an import was cut off by a crash; what it left is looked at "
				"first, and "
				"that needs a majority")
		      : 0;
}

/* ---- One file ---- */

static int job_run(struct job *j)
{
	const struct et_config *c = &j->d->config;
	const struct et_api_import *q = j->request;
	struct et_import_order order = {
		.size_bytes = q->size_bytes,
		.name = q->name,
		.start_us = q->start_us,
		.told = q->told,
		.read = q->read,
		.arg = q->read_arg,
	};

	memcpy(order.sha256, q->sha256, 32);
	int rc = leftovers_sweep(j->d, j->reterr);
	rc = rc < 0 ? rc : ask(j);
	if (rc < 0) {
		return rc;
	}
	struct et_import_config config = {
		.media = c->media,
		.node = j->by.identity.node,
		.site = j->by.identity.site,
		.sign_key = j->by.identity.sign_key,
		.kek_id = j->by.kek_id,
		.kek_version = j->by.kek.version,
		.reserve_bytes = c->limits.disk_reserve_bytes,
		.rules = &c->rules,
		.padding = { .which = (enum et_padding)c->tapes.padding,
			     .bytes = (uint32_t)c->tapes.rate_bytes },
	};
	if (et_state_schema(j->d->state) < ET_SCHEMA_PADDED) {
		config.padding.which = ET_PADDING_NONE;
	}
	for (uint32_t i = 0; i < c->capture_count; i++) {
		for (uint32_t k = 0; k < c->captures[i].sip_port_count &&
				     config.sip_port_count < ET_CAPTURE_SIP_PORTS_MAX;
		     k++) {
			config.sip_ports[config.sip_port_count++] = c->captures[i].sip_ports[k];
		}
	}
	rc = et_import(&config, &order, &j->made, j->reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(j->ret->format, sizeof(j->ret->format), "%s", j->made.format);
	(void)snprintf(j->ret->problem, sizeof(j->ret->problem), "%s", j->made.problem);
	j->ret->is_capture = j->made.is_capture;
	j->ret->packets = j->made.packets.total;
	j->ret->packets_left = j->made.left_out;
	rc = recordings_make(j);
	et_import_remove(&j->made);
	return rc;
}

int daemon_import(void *arg, const struct et_api_import *request, struct et_api_imported *ret,
		  struct et_error *reterr)
{
	struct job *j = calloc(1, sizeof(*j));
	char hex[2 * 32 + 1];

	*ret = (struct et_api_imported){ .recordings = json_array() };
	if (j == NULL) {
		return et_fail(reterr, -ENOMEM, "import");
	}
	j->d = arg;
	j->request = request;
	j->ret = ret;
	j->reterr = reterr;
	int rc = job_run(j);
	et_hex(request->sha256, 32, hex);
	if (rc == 0) {
		et_info("import.done", "sha256=%s bytes=%llu format=\"%s\" recordings=%zu", hex,
			(unsigned long long)request->size_bytes, ret->format,
			json_array_size(ret->recordings));
	} else {
		et_warn("import.refused", "sha256=%s bytes=%llu code=%s", hex,
			(unsigned long long)request->size_bytes, et_errname(rc));
	}
	et_identity_release(&j->by.identity);
	free(j);
	return rc;
}
