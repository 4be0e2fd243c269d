#include "ops/cli/certificate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/crypto/sign.h"
#include "node/io/clock.h"
#include "ops/cli/chain.h"

#define FORMAT "evertape-erasure/1"
#define CONTEXT "evertape erasure/1" /* with its NUL, before the body */
#define LOG_MAX ((size_t)1 << 30)

static int bad(struct et_error *reterr, const char *what)
{
	return et_fail_plain(reterr, ET_EINTEGRITY, "the certificate was changed: %s", what);
}

/* ---- The signature ---- */

static int signature_check(const json_t *certificate, const uint8_t *signer,
			   struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer bytes = { 0 };
	const json_t *s = json_object_get(certificate, "signed");
	const char *key_text = et_json_get_text(s, "key", "");
	const char *text = et_json_get_text(s, "signature", "");
	uint8_t key[32];
	uint8_t signature[ET_SIGNATURE_SIZE];

	if (!et_unhex(key_text, strlen(key_text), key, sizeof(key)) ||
	    !et_unhex(text, strlen(text), signature, sizeof(signature))) {
		return bad(reterr, "it has no signature");
	}
	if (signer != NULL && memcmp(signer, key, sizeof(key)) != 0) {
		return et_fail_plain(reterr, ET_EINTEGRITY,
				     "the certificate is signed by another key: %s", key_text);
	}
	char *body =
		json_dumps(json_object_get(certificate, "body"), JSON_COMPACT | JSON_SORT_KEYS);
	if (body == NULL) {
		return bad(reterr, "it has no body");
	}
	et_buffer_add(&bytes, CONTEXT, sizeof(CONTEXT));
	et_buffer_add(&bytes, body, strlen(body));
	free(body);
	if (bytes.failed) {
		return et_fail(reterr, -ENOMEM, "certificate");
	}
	int rc = et_ed25519_verify(key, (struct et_view){ bytes.data, bytes.size }, signature,
				   reterr);
	return rc == ET_EINTEGRITY ? bad(reterr, "its signature does not fit") : rc;
}

/* ---- What it says ---- */

static const json_t *event_of(const json_t *events, int64_t number)
{
	size_t i;
	json_t *e;

	json_array_foreach(events, i, e)
	{
		if (et_json_get_int(e, "number", 0) == number) {
			return e;
		}
	}
	return NULL;
}

static int erasure_check(const json_t *events, const json_t *erasure, struct et_error *reterr)
{
	const char *text = et_json_get_text(erasure, "recording", "");
	const json_t *e = event_of(events, et_json_get_int(erasure, "audit", 0));
	uint8_t id[16];
	char hex[33];
	size_t i;
	json_t *g;

	if (!et_uuid_parse(text, id) || e == NULL) {
		return bad(reterr, "an erasure has no audit event");
	}
	et_hex(id, sizeof(id), hex);
	if (strcmp(et_json_get_text(e, "action", ""), "recording.erase") != 0 ||
	    strcmp(et_json_get_text(e, "outcome", ""), "ok") != 0 ||
	    strcmp(et_json_get_text(e, "target", ""), hex) != 0 ||
	    et_json_get_int(e, "index", 0) != et_json_get_int(erasure, "index", -1)) {
		return bad(reterr, "an audit event is of something else");
	}
	json_array_foreach(json_object_get(erasure, "segments"), i, g)
	{
		if (strcmp(et_json_get_text(g, "key", "destroyed"), "destroyed") != 0) {
			return bad(reterr, "a key is not destroyed");
		}
	}
	return 0;
}

int et_certificate_check(const json_t *certificate, const uint8_t *signer, struct et_error *reterr)
{
	const json_t *body = json_object_get(certificate, "body");
	const json_t *events = json_object_get(body, "events");
	const json_t *erasures = json_object_get(body, "erasures");
	struct et_chain chain = { 0 };
	size_t i;
	json_t *one;

	if (strcmp(et_json_get_text(certificate, "format", ""), FORMAT) != 0) {
		return et_fail_plain(reterr, ET_EINTEGRITY, "this is no certificate of erasure");
	}
	int rc = signature_check(certificate, signer, reterr);
	if (rc < 0) {
		return rc;
	}
	if (json_array_size(erasures) == 0 ||
	    json_array_size(erasures) != json_array_size(events)) {
		return bad(reterr, "it has more events than erasures, or fewer");
	}
	json_array_foreach(events, i, one)
	{
		rc = et_chain_add(&chain, one, reterr);
		if (rc < 0) {
			return rc == ET_EMALFORMED ? bad(reterr, "it holds no audit event") : rc;
		}
	}
	json_array_foreach(erasures, i, one)
	{
		rc = erasure_check(events, one, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

/* ---- In the log ---- */

struct search {
	const json_t *events; /* of the certificate */
	size_t found;
};

static void search_event(struct search *s, const json_t *logged)
{
	const json_t *e = event_of(s->events, et_json_get_int(logged, "number", -1));

	if (e != NULL &&
	    strcmp(et_json_get_text(e, "hash", "a"), et_json_get_text(logged, "hash", "b")) == 0) {
		s->found++;
	}
}

static void search_lines(struct search *s, const char *text, size_t size)
{
	const char *end = text + size;

	while (text < end) {
		ET_CLEANUP(et_json_freep) json_t *event = NULL;
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *line_end = newline != NULL ? newline : end;
		if (et_json_parse("line", text, (size_t)(line_end - text), LOG_MAX, &event, NULL) ==
		    0) {
			search_event(s, event);
		}
		text = line_end + 1;
	}
}

int et_certificate_in_log(const json_t *certificate, const char *name, const char *text,
			  size_t size, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *whole = NULL;
	struct et_chain chain;
	struct search s = { .events = json_object_get(json_object_get(certificate, "body"),
						      "events") };
	size_t i;
	json_t *event;

	int rc = et_chain_verify(name, text, size, &chain, reterr);
	if (rc < 0) {
		return rc;
	}
	if (et_json_parse(name, text, size, LOG_MAX, &whole, NULL) == 0 &&
	    json_is_array(json_object_get(whole, "events"))) {
		json_array_foreach(json_object_get(whole, "events"), i, event)
		{
			search_event(&s, event);
		}
	} else {
		search_lines(&s, text, size);
	}
	if (s.found != json_array_size(s.events)) {
		return et_fail_plain(reterr, ET_EINTEGRITY,
				     "%zu of %zu audit events of the certificate stand in %s",
				     s.found, json_array_size(s.events), name);
	}
	return 0;
}
