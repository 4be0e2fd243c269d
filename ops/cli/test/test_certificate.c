/* Certificates of erasure: a good one verifies, and whatever is changed in it is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "node/crypto/sign.h"
#include "ops/cli/certificate.h"
#include "raft/state/state.h"

#define CONTEXT "evertape erasure/1"
#define EVENTS 3

static const uint8_t seed[32] = { 7 };

static void uuid_of(unsigned i, char uuid[37], char hex[33])
{
	(void)snprintf(uuid, 37, "01a201f2-afb3-7c1e-8000-00000000000%u", i % 10);
	(void)snprintf(hex, 33, "01a201f2afb37c1e800000000000000%u", i % 10);
}

/* An event as the catalogue keeps it, chained to `head`. */
static json_t *event(uint64_t number, uint8_t head[32])
{
	Et__AuditEvent e = ET__AUDIT_EVENT__INIT;
	uint8_t prev[32];
	char uuid[37];
	char target[33];
	memcpy(prev, head, 32);
	uuid_of((unsigned)number, uuid, target);
	e.number = number;
	e.index = 500;
	e.node = 2;
	e.time_us = 1790000000000000;
	e.principal = (char *)(uintptr_t) "local:uid=0";
	e.action = (char *)(uintptr_t) "recording.erase";
	e.target = target;
	e.reason = (char *)(uintptr_t) "GDPR \xc5\x99";
	e.outcome = (char *)(uintptr_t) "ok";
	e.prev_hash = (ProtobufCBinaryData){ .len = 32, .data = prev };
	et_state_audit_hash(&e, head);
	json_t *o = json_object();
	et_json_set(o, "number", et_json_u64(number));
	et_json_set(o, "index", et_json_u64(e.index));
	et_json_set(o, "time_us", json_integer(e.time_us));
	et_json_set(o, "proposed_us", json_integer(0));
	et_json_set(o, "node", json_integer(2));
	et_json_set(o, "principal", et_json_text(e.principal));
	et_json_set(o, "action", et_json_text(e.action));
	et_json_set(o, "target", et_json_text(e.target));
	et_json_set(o, "reason", et_json_text(e.reason));
	et_json_set(o, "outcome", et_json_text(e.outcome));
	et_json_set(o, "detail", json_string(""));
	et_json_set(o, "prev_hash", et_json_hex(prev, 32));
	et_json_set(o, "hash", et_json_hex(head, 32));
	return o;
}

static void sign(json_t *certificate)
{
	struct et_buffer bytes = { 0 };
	struct et_secret *key = et_secret_copy(seed, sizeof(seed));
	uint8_t key_public[32];
	uint8_t signature[ET_SIGNATURE_SIZE];
	struct et_error error;
	char *text =
		json_dumps(json_object_get(certificate, "body"), JSON_COMPACT | JSON_SORT_KEYS);
	et_buffer_add(&bytes, CONTEXT, sizeof(CONTEXT));
	et_buffer_add(&bytes, text, strlen(text));
	assert_int_equal(et_ed25519_public(key, key_public, &error), 0);
	assert_int_equal(
		et_ed25519_sign(key, (struct et_view){ bytes.data, bytes.size }, signature, &error),
		0);
	json_t *s = json_object();
	et_json_set(s, "key", et_json_hex(key_public, 32));
	et_json_set(s, "signature", et_json_hex(signature, sizeof(signature)));
	et_json_set(certificate, "signed", s);
	free(text);
	et_buffer_release(&bytes);
	(void)et_secret_free(key);
}

static json_t *certificate_make(void)
{
	uint8_t head[32] = { 9 };
	json_t *c = json_object();
	json_t *body = json_object();
	json_t *events = json_array();
	json_t *erasures = json_array();
	for (unsigned i = 1; i <= EVENTS; i++) {
		char uuid[37];
		char hex[33];
		json_t *e = json_object();
		json_t *g = json_object();
		json_t *segments = json_array();
		uuid_of(i, uuid, hex);
		et_json_set(g, "key", json_string("destroyed"));
		et_json_add(segments, g);
		et_json_set(e, "recording", json_string(uuid));
		et_json_set(e, "audit", json_integer(i));
		et_json_set(e, "index", json_integer(500));
		et_json_set(e, "segments", segments);
		et_json_add(erasures, e);
		et_json_add(events, event(i, head));
	}
	et_json_set(body, "cluster", json_string("acme"));
	et_json_set(body, "erasures", erasures);
	et_json_set(body, "events", events);
	et_json_set(c, "format", json_string("evertape-erasure/1"));
	et_json_set(c, "body", body);
	sign(c);
	return c;
}

static json_t *at(json_t *c, const char *list, size_t i)
{
	return json_array_get(json_object_get(json_object_get(c, "body"), list), i);
}

static void a_good_one_verifies_by_whoever_signed_it(void **state)
{
	(void)state;
	ET_CLEANUP(et_json_freep) json_t *c = certificate_make();
	struct et_error error;
	uint8_t other[32] = { 0 };
	assert_int_equal(et_certificate_check(c, NULL, &error), 0);
	assert_int_equal(et_certificate_check(c, other, &error), ET_EINTEGRITY);
	/* As it is after a way through a file with spaces and another order of keys. */
	char *text = json_dumps(c, JSON_INDENT(3));
	ET_CLEANUP(et_json_freep) json_t *again = NULL;
	assert_int_equal(et_json_parse("f", text, strlen(text), 1 << 20, &again, &error), 0);
	assert_int_equal(et_certificate_check(again, NULL, &error), 0);
	free(text);
}

static void any_changed_byte_of_the_file_is_found(void **state)
{
	(void)state;
	ET_CLEANUP(et_json_freep) json_t *c = certificate_make();
	char *text = json_dumps(c, JSON_COMPACT | JSON_SORT_KEYS);
	size_t size = strlen(text);
	for (size_t i = 0; i < size; i++) {
		struct et_error error;
		json_t *changed = NULL;
		char was = text[i];
		text[i] = (char)(was == '1' ? '2' : '1');
		if (et_json_parse("f", text, size, 1 << 20, &changed, &error) == 0) {
			assert_int_equal(et_certificate_check(changed, NULL, &error),
					 ET_EINTEGRITY);
			json_decref(changed);
		}
		text[i] = was;
	}
	free(text);
}

/* Who signs what does not fit is found out, too. */
static void what_does_not_fit_is_refused_though_it_is_signed(void **state)
{
	(void)state;
	struct et_error error;
	ET_CLEANUP(et_json_freep) json_t *c = certificate_make();
	et_json_set(at(c, "erasures", 1), "recording",
		    json_string("01a201f2-afb3-7c1e-8000-000000000009"));
	sign(c);
	assert_int_equal(et_certificate_check(c, NULL, &error), ET_EINTEGRITY);

	ET_CLEANUP(et_json_freep) json_t *left_out = certificate_make();
	(void)json_array_remove(json_object_get(json_object_get(left_out, "body"), "events"), 1);
	(void)json_array_remove(json_object_get(json_object_get(left_out, "body"), "erasures"), 1);
	sign(left_out);
	assert_int_equal(et_certificate_check(left_out, NULL, &error), ET_EINTEGRITY);

	ET_CLEANUP(et_json_freep) json_t *key = certificate_make();
	et_json_set(json_array_get(json_object_get(at(key, "erasures", 2), "segments"), 0), "key",
		    json_string("there"));
	sign(key);
	assert_int_equal(et_certificate_check(key, NULL, &error), ET_EINTEGRITY);

	ET_CLEANUP(et_json_freep) json_t *reason = certificate_make();
	et_json_set(at(reason, "events", 0), "reason", json_string("another"));
	sign(reason);
	assert_int_equal(et_certificate_check(reason, NULL, &error), ET_EINTEGRITY);

	ET_CLEANUP(et_json_freep) json_t *none = json_object();
	assert_int_equal(et_certificate_check(none, NULL, &error), ET_EINTEGRITY);
}

static void its_events_are_looked_for_in_the_log(void **state)
{
	(void)state;
	struct et_error error;
	ET_CLEANUP(et_json_freep) json_t *c = certificate_make();
	struct et_buffer log = { 0 };
	for (size_t i = 0; i < EVENTS; i++) {
		char *line = json_dumps(at(c, "events", i), JSON_COMPACT);
		et_buffer_printf(&log, "%s\n", line);
		free(line);
	}
	const char *text = (const char *)log.data;
	assert_int_equal(et_certificate_in_log(c, "log", text, log.size, &error), 0);
	size_t first = (size_t)((const char *)memchr(text, '\n', log.size) + 1 - text);
	assert_int_equal(et_certificate_in_log(c, "log", text + first, log.size - first, &error),
			 ET_EINTEGRITY);
	et_buffer_release(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_one_verifies_by_whoever_signed_it),
		cmocka_unit_test(any_changed_byte_of_the_file_is_found),
		cmocka_unit_test(what_does_not_fit_is_refused_though_it_is_signed),
		cmocka_unit_test(its_events_are_looked_for_in_the_log),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
