#include "ops/cli/chain.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/crypto/hash.h"
#include "node/io/clock.h"
#include "raft/command/command.h"

#define FILE_MAX ((size_t)1 << 30)
#define EVENT_MAX 65536 /* bytes of one event */

/* A u64 that is a number, or a string of digits above 2^53. */
static bool get_u64(const json_t *event, const char *key, uint64_t *ret)
{
	const json_t *v = json_object_get(event, key);
	if (json_is_integer(v) && json_integer_value(v) >= 0) {
		*ret = (uint64_t)json_integer_value(v);
		return true;
	}
	const char *text = json_string_value(v);
	if (text == NULL || *text < '0' || *text > '9') {
		return false;
	}
	char *end;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}

static bool get_hash(const json_t *event, const char *key, uint8_t ret[32], size_t *ret_size)
{
	const char *text = et_json_get_text(event, key, "");
	*ret_size = *text == '\0' ? 0 : 32;
	return *text == '\0' || (strlen(text) == 64 && et_unhex(text, 64, ret, 32));
}

/* Texts of `event`, as the record points to them: views. */
static char *get_text(const json_t *event, const char *key)
{
	return (char *)(uintptr_t)et_json_get_text(event, key, "");
}

static int event_hash(Et__AuditEvent *record, uint8_t ret[32])
{
	size_t before = 1 + record->prev_hash.len;
	size_t size = et__audit_event__get_packed_size(record);
	uint8_t *bytes = malloc(before + size);
	if (bytes == NULL) {
		return -ENOMEM;
	}
	bytes[0] = 0x02;
	memcpy(bytes + 1, record->prev_hash.data, record->prev_hash.len);
	(void)et__audit_event__pack(record, bytes + before);
	et_sha256(bytes, before + size, ret);
	free(bytes);
	return 0;
}

int et_chain_add(struct et_chain *chain, const json_t *event, struct et_error *reterr)
{
	Et__AuditEvent record = ET__AUDIT_EVENT__INIT;
	uint8_t prev[32] = { 0 };
	uint8_t want[32] = { 0 };
	uint8_t hash[32];
	size_t prev_size, want_size;
	uint64_t time_us, proposed_us;
	bool good = get_u64(event, "number", &record.number) &&
		    get_u64(event, "index", &record.index) && get_u64(event, "time_us", &time_us) &&
		    get_u64(event, "proposed_us", &proposed_us) &&
		    get_u64(event, "node", &record.node) &&
		    get_hash(event, "prev_hash", prev, &prev_size) &&
		    get_hash(event, "hash", want, &want_size) && want_size == 32;
	if (!good) {
		return et_fail_plain(reterr, ET_EMALFORMED,
				     "after event %" PRIu64 ": this is not an audit event",
				     chain->last);
	}
	record.time_us = (int64_t)time_us;
	record.proposed_us = (int64_t)proposed_us;
	record.principal = get_text(event, "principal");
	record.action = get_text(event, "action");
	record.target = get_text(event, "target");
	record.reason = get_text(event, "reason");
	record.outcome = get_text(event, "outcome");
	record.detail = get_text(event, "detail");
	record.prev_hash = (ProtobufCBinaryData){ .len = prev_size, .data = prev };
	bool follows = chain->events == 0 ||
		       (record.number == chain->last + 1 && memcmp(prev, chain->head, 32) == 0);
	if (event_hash(&record, hash) < 0) {
		return et_fail(reterr, -ENOMEM, "audit event");
	}
	if (!follows || memcmp(hash, want, 32) != 0) {
		return et_fail_plain(reterr, ET_EINTEGRITY,
				     "event %" PRIu64
				     " %s: the audit log was changed, or parts of it "
				     "are missing",
				     record.number,
				     follows ? "does not have the hash of its content"
					     : "does not follow the one before");
	}
	chain->first = chain->events == 0 ? record.number : chain->first;
	chain->last = record.number;
	chain->events++;
	memcpy(chain->head, hash, 32);
	return 0;
}

static int verify_lines(const char *name, const char *text, size_t size, struct et_chain *ret,
			struct et_error *reterr)
{
	const char *end = text + size;
	while (text < end) {
		const char *line_end = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((line_end != NULL ? line_end : end) - text);
		if (n > 0) {
			ET_CLEANUP(et_json_freep) json_t *event = NULL;
			int rc = et_json_parse(name, text, n, EVENT_MAX, &event, reterr);
			if (rc == 0) {
				rc = et_chain_add(ret, event, reterr);
			}
			if (rc < 0) {
				return rc;
			}
		}
		text += n + 1;
	}
	return 0;
}

int et_chain_verify(const char *name, const char *text, size_t size, struct et_chain *ret,
		    struct et_error *reterr)
{
	*ret = (struct et_chain){ 0 };
	/* One document, or one event a line: a document of events has no "number" at its top. */
	ET_CLEANUP(et_json_freep) json_t *whole = NULL;
	bool one = et_json_parse(name, text, size, FILE_MAX, &whole, NULL) == 0 &&
		   json_is_array(json_object_get(whole, "events"));
	if (!one) {
		int rc = verify_lines(name, text, size, ret, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	size_t i;
	json_t *event;
	json_array_foreach(json_object_get(whole, "events"), i, event)
	{
		int rc = one ? et_chain_add(ret, event, reterr) : 0;
		if (rc < 0) {
			return rc;
		}
	}
	if (ret->events == 0) {
		return et_fail_plain(reterr, ET_EMALFORMED, "%s holds no audit event", name);
	}
	return 0;
}
