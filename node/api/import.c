/* Files become recordings: POST /v1/imports.
 *
 * Happy path: the query says which file (SHA-256, name) ─▶ is it known? ─▶ the body: metadata, then
 * the file, read as it comes ─▶ the daemon seals, verifies, journals ─▶ answer: its recordings.
 *
 * What is known already is answered as such, and its body is not read: the client asks first
 * (GET /v1/imports/SHA256). A file that was imported and erased is refused: what was erased does
 * not come back by itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/io/clock.h"
#include "node/medium/told.h"
#include "node/tape/file.h"

enum {
	FIRST_PARTS = 64, /* of a capture file, the number of its first call that is recorded */
	PARTS_MAX = 65535,
};

/* ---- Which recordings a file has ---- */

struct known {
	json_t *list; /* owned: [{id, part, state}] */
	uint32_t count;
	uint32_t parts; /* that it has, as the first one says; 0: none is known */
	bool erased;
	uint64_t left_out; /* packets of a capture file */
};

static void known_release(struct known *k)
{
	json_decref(k->list);
}

/* 0: it is there or not; negative. */
static int known_look(struct api_call *call, const uint8_t sha256[32], uint32_t part,
		      struct known *k, struct et_error *reterr)
{
	uint8_t id[16];
	char text[ET_UUID_TEXT_SIZE];
	Et__Recording *r = NULL;
	struct et_error e = { 0 };
	bool pending = false;

	et_file_recording_id(sha256, part, id);
	int rc = api_recording_find(call, id, &r, &pending, &e);
	if (rc == ET_ENOTFOUND) {
		return 0;
	}
	if (rc < 0) {
		*reterr = e;
		return rc;
	}
	const bool erased = r->state == ET__RECORDING_STATE__ERASED;
	json_t *o = json_object();
	et_uuid_format(id, text);
	et_json_set(o, "id", json_string(text));
	et_json_set(o, "part", json_integer(part));
	et_json_set(o, "state", json_string(erased ? "erased" : pending ? "pending" : "known"));
	et_json_add(k->list, o);
	k->count++;
	k->erased = k->erased || erased;
	if (k->parts == 0) {
		const bool told = r->imported != NULL && r->imported->parts > 0;
		k->parts = told ? r->imported->parts : 1;
		k->left_out = told ? r->imported->left_out : 0;
	}
	et__recording__free_unpacked(r, NULL);
	return 0;
}

static int known_find(struct api_call *call, const uint8_t sha256[32], struct known *k,
		      struct et_error *reterr)
{
	int rc = 0;

	*k = (struct known){ .list = json_array() };
	for (uint32_t part = 1; part <= (k->parts == 0 ? FIRST_PARTS : PARTS_MAX) && rc == 0 &&
				(k->parts == 0 || k->count < k->parts);
	     part++) {
		rc = known_look(call, sha256, part, k, reterr);
	}
	return rc;
}

static bool known_is_whole(const struct known *k)
{
	return k->parts > 0 && k->count == k->parts;
}

static int hash_param(const char *text, uint8_t ret[32], struct et_error *reterr)
{
	return text != NULL && et_unhex(text, strlen(text), ret, 32)
		       ? 0
		       : et_fail_plain(reterr, ET_EUSAGE,
				       "sha256 is that of the file, 64 hexadecimal digits");
}

int api_import_find(struct api_call *call, struct et_error *reterr)
{
	ET_CLEANUP(known_release) struct known k = { .list = NULL };
	char text[80] = "";
	uint8_t sha256[32];

	(void)api_path_star(call->route->path, call->request.path, text, sizeof(text));
	int rc = hash_param(text, sha256, reterr);
	rc = rc < 0 ? rc : known_find(call, sha256, &k, reterr);
	if (rc < 0) {
		return rc;
	}
	json_t *o = json_object();
	et_json_set(o, "sha256", et_json_hex(sha256, 32));
	et_json_set(o, "known", json_boolean(known_is_whole(&k)));
	et_json_set(o, "recordings", json_incref(k.list));
	et_json_set(o, "packets_left_out", et_json_u64(k.left_out));
	return api_json(call, 200, o);
}

/* ---- What is told of it ---- */

struct facts {
	Et__Fact facts[ET_TOLD_FACTS_MAX + 1];
	Et__Fact *fact_list[ET_TOLD_FACTS_MAX + 1];
	size_t fact_count;
	Et__Tag tags[ET_TOLD_TAGS_MAX];
	Et__Tag *tag_list[ET_TOLD_TAGS_MAX];
	size_t tag_count;
};

static char *text_of(const char *s)
{
	return (char *)(uintptr_t)s;
}

static Et__Fact *fact_next(struct facts *f, const char *key)
{
	Et__Fact *to = &f->facts[f->fact_count];

	et__fact__init(to);
	to->key = text_of(key);
	to->source = text_of("import");
	f->fact_list[f->fact_count++] = to;
	return to;
}

static void facts_fill(const struct et_told *t, struct facts *f)
{
	f->fact_count = f->tag_count = 0;
	if (t->agent[0] != '\0') {
		Et__Fact *agent = fact_next(f, "agent");
		agent->set = ET__FACT_SET__FACT_AGENT;
		agent->text = text_of(t->agent);
	}
	for (size_t i = 0; i < t->fact_count; i++) {
		Et__Fact *to = fact_next(f, t->facts[i].key);
		to->type = t->facts[i].type == ET_TOLD_INTEGER ? ET__FACT_TYPE__FACT_INTEGER
			   : t->facts[i].type == ET_TOLD_BOOL  ? ET__FACT_TYPE__FACT_BOOL
							       : ET__FACT_TYPE__FACT_TEXT;
		to->text = text_of(t->facts[i].text);
		to->number = t->facts[i].number;
	}
	for (size_t i = 0; i < t->tag_count; i++) {
		Et__Tag *to = &f->tags[f->tag_count];
		et__tag__init(to);
		to->name = text_of(t->tags[i]);
		f->tag_list[f->tag_count++] = to;
	}
}

/* As the catalogue will: before the file is read, not after it. */
static int facts_check(struct facts *f, struct et_error *reterr)
{
	uint8_t zeros[16] = { 0 };
	Et__Subject about = ET__SUBJECT__INIT;
	Et__FactAdd add = ET__FACT_ADD__INIT;
	Et__TagSet set = ET__TAG_SET__INIT;
	Et__OpId op = ET__OP_ID__INIT;
	Et__Command command = ET__COMMAND__INIT;

	about.recording = (ProtobufCBinaryData){ sizeof(zeros), zeros };
	op.incarnation = about.recording;
	op.seq = 1;
	op.node = 1;
	command.op = &op;
	command.schema = ET_COMMAND_SCHEMA;
	add.about = set.about = &about;
	add.facts = f->fact_list;
	add.n_facts = f->fact_count;
	set.tags = f->tag_list;
	set.n_tags = f->tag_count;
	command.body_case = ET__COMMAND__BODY_FACT_ADD;
	command.fact_add = &add;
	int rc = f->fact_count > 0 ? et_command_check(&command, reterr) : 0;
	command.body_case = ET__COMMAND__BODY_TAG_SET;
	command.tag_set = &set;
	return rc < 0 || f->tag_count == 0 ? rc : et_command_check(&command, reterr);
}

/* A cluster of an older schema takes no import: better said before the file is sent. */
static int schema_check(struct api_call *call, struct et_error *reterr)
{
	Et__Command command = ET__COMMAND__INIT;
	struct et_state_view *v;
	Et__Cluster *c = NULL;

	command.body_case = ET__COMMAND__BODY_RECORDING_IMPORT;
	const uint32_t needed = et_schema_needed(&command);
	int rc = api_view(call, &v, reterr);
	rc = rc < 0 ? rc : et_state_get_cluster(v, &c);
	if (rc == 0 && c->schema < needed) {
		rc = et_fail_plain(reterr, ET_EVERSION, "it needs schema %u, the cluster's is %u",
				   needed, c->schema);
		(void)et_fail_next(reterr, "evertape cluster upgrade");
	}
	et__cluster__free_unpacked(c, NULL);
	return rc;
}

static int site_is(void *arg, const Et__Site *site)
{
	return strcmp(arg, site->name) == 0;
}

static int site_check(struct api_call *call, const char *name, struct et_error *reterr)
{
	struct et_state_view *v;

	int rc = name[0] == '\0' ? 1 : api_view(call, &v, reterr);
	rc = rc == 0 ? et_state_each_site(v, site_is, text_of(name)) : rc;
	return rc == 0	? et_fail_plain(reterr, ET_ENOTFOUND, "there is no site %s", name)
	       : rc < 0 ? rc
			: 0;
}

/* ---- The file ---- */

struct import {
	struct api_call *call;
	struct et_api_import request;
	struct et_told told;
	struct facts facts;
	char name[ET_API_PARAM_MAX];
	uint64_t size_bytes; /* of the body that is the file's */
};

static ssize_t body_read(void *arg, void *data, size_t size, struct et_error *reterr)
{
	struct import *m = arg;
	ssize_t n = api_read(m->call, data, size);

	return n >= 0 ? n : et_fail(reterr, (int)n, "the file was not sent to its end");
}

/* Exactly so many bytes of the body. */
static int metadata_read(struct import *m, size_t size, struct et_error *reterr)
{
	struct et_buffer text = { .secret = true };
	uint8_t *room = et_buffer_reserve(&text, size + 1);

	if (room == NULL) {
		return et_fail(reterr, -ENOMEM, "metadata");
	}
	while (text.size < size) {
		ssize_t n = body_read(m, room + text.size, size - text.size, reterr);
		if (n <= 0) {
			et_buffer_release(&text);
			return n < 0 ? (int)n
				     : et_fail_plain(reterr, ET_ETRUNCATED,
						     "the body ends inside its metadata");
		}
		text.size += (size_t)n;
	}
	int rc = et_told_read("metadata", (struct et_view){ text.data, size }, &m->told, reterr);
	et_buffer_release(&text);
	return rc;
}

static int params_read(struct import *m, uint64_t *ret_metadata, struct et_error *reterr)
{
	static const char *const known[] = { "sha256", "name", "metadata_bytes", "start",
					     "reason" };
	const struct api_request *r = &m->call->request;
	const char *name = api_param(r, "name");
	const char *reason = api_param(r, "reason");

	int rc = api_params_check(r, known, ET_ARRAY_SIZE(known), reterr);
	rc = rc < 0 ? rc : hash_param(api_param(r, "sha256"), m->request.sha256, reterr);
	rc = rc < 0 ? rc
		    : api_param_uint(r, "metadata_bytes", 0, ET_TOLD_BYTES_MAX, 0, ret_metadata,
				     reterr);
	rc = rc < 0 ? rc : api_param_time(r, "start", &m->request.start_us, reterr);
	if (rc == 0 && (name == NULL || *name == '\0' || strchr(name, '/') != NULL)) {
		rc = et_fail_plain(reterr, ET_EUSAGE, "name is the file's, without its folder");
	}
	if (rc == 0 && api_stream_left(m->call) == 0) {
		rc = et_fail_plain(reterr, ET_EUSAGE, "the body is the file: there is none");
	}
	if (rc == 0) {
		(void)snprintf(m->name, sizeof(m->name), "%s", name);
		m->request.reason = reason != NULL ? reason : "";
		m->request.start_us =
			m->request.start_us > 0 ? m->request.start_us : et_clock_now_us();
	}
	return rc;
}

static json_t *answer_of(const struct import *m, json_t *recordings, bool known)
{
	json_t *o = json_object();

	et_json_set(o, "sha256", et_json_hex(m->request.sha256, 32));
	et_json_set(o, "name", et_json_text(m->name));
	et_json_set(o, "known", json_boolean(known));
	et_json_set(o, "recordings", recordings);
	return o;
}

static int import_run(struct import *m, struct et_error *reterr)
{
	const struct et_api_backend *b = &m->call->api->config.backend;
	struct et_api_imported done = { 0 };

	m->request.size_bytes = api_stream_left(m->call);
	m->request.name = m->name;
	m->request.told = &m->told;
	m->request.facts = m->facts.fact_list;
	m->request.fact_count = m->facts.fact_count;
	m->request.tags = m->facts.tag_list;
	m->request.tag_count = m->facts.tag_count;
	m->request.principal = m->call->principal;
	m->request.read = body_read;
	m->request.read_arg = m;
	api_view_release(m->call); /* it takes its time */
	int rc = b->import(b->arg, &m->request, &done, reterr);
	if (rc < 0) {
		json_decref(done.recordings);
		return rc;
	}
	json_t *o = answer_of(m, done.recordings, false);
	et_json_set(o, "format", et_json_text(done.format));
	et_json_set(o, "problem", et_json_text(done.problem));
	et_json_set(o, "packets", done.is_capture ? et_json_u64(done.packets) : json_null());
	et_json_set(o, "packets_left_out", et_json_u64(done.packets_left));
	return api_json(m->call, 201, o);
}

static int import_begin(struct import *m, struct et_error *reterr)
{
	ET_CLEANUP(known_release) struct known k = { .list = NULL };
	uint64_t metadata = 0;

	int rc = params_read(m, &metadata, reterr);
	rc = rc < 0 ? rc : known_find(m->call, m->request.sha256, &k, reterr);
	if (rc < 0) {
		return rc;
	}
	if (k.erased) {
		return et_fail_plain(
			reterr, ET_EREFUSED,
			"it was imported before, and erased: what was erased does not come "
			"back (recording %s)",
			et_json_get_text(json_array_get(k.list, 0), "id", ""));
	}
	if (known_is_whole(&k)) {
		json_t *o = answer_of(m, json_incref(k.list), true);
		et_json_set(o, "packets_left_out", et_json_u64(k.left_out));
		return api_json(m->call, 200, o);
	}
	rc = metadata_read(m, (size_t)metadata, reterr);
	if (rc < 0) {
		return rc;
	}
	facts_fill(&m->told, &m->facts);
	rc = facts_check(&m->facts, reterr);
	rc = rc < 0 ? rc : schema_check(m->call, reterr);
	rc = rc < 0 ? rc : site_check(m->call, m->told.site, reterr);
	rc = rc < 0 ? rc : import_run(m, reterr);
	et_told_release(&m->told);
	return rc;
}

int api_import(struct api_call *call, struct et_error *reterr)
{
	struct et_api *api = call->api;

	if (api->config.backend.import == NULL) {
		return et_fail_plain(reterr, ET_EUNSUPPORTED, "this node imports nothing");
	}
	struct import *m = calloc(1, sizeof(*m));
	if (m == NULL) {
		return et_fail(reterr, -ENOMEM, "import");
	}
	m->call = call;
	int rc;
	if (atomic_fetch_add(&api->imports, 1) >= ET_API_IMPORTS_MAX) {
		rc = et_fail_plain(reterr, ET_EBUSY, "%d files are being imported: try again",
				   ET_API_IMPORTS_MAX);
	} else {
		rc = import_begin(m, reterr);
	}
	(void)atomic_fetch_sub(&api->imports, 1);
	free(m);
	return rc;
}
