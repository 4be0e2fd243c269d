#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "ops/cli/chain.h"
#include "raft/state/state.h"

/* An event as the catalogue keeps it, chained to `head`, as one line of JSON. */
static void add_event(struct et_buffer *out, uint64_t number, uint8_t head[32], const char *action)
{
	Et__AuditEvent e = ET__AUDIT_EVENT__INIT;
	uint8_t prev[32];
	char prev_text[65] = "";
	char hash_text[65];
	memcpy(prev, head, 32);
	e.number = number;
	e.index = number * 3;
	e.time_us = 1790000000000000 + (int64_t)number;
	e.node = 2;
	e.principal = (char *)(uintptr_t) "local:uid=0";
	e.action = (char *)(uintptr_t)action;
	e.target = (char *)(uintptr_t) "t";
	e.outcome = (char *)(uintptr_t) "ok";
	e.prev_hash = (ProtobufCBinaryData){ .len = 32, .data = prev };
	et_hex(prev, 32, prev_text);
	et_state_audit_hash(&e, head); /* as the catalogue computes it */
	et_hex(head, 32, hash_text);
	et_buffer_printf(
		out,
		"{\"number\":%llu,\"index\":%llu,\"time_us\":%lld,\"proposed_us\":0,"
		"\"node\":2,\"principal\":\"local:uid=0\",\"action\":\"%s\",\"target\":\"t\","
		"\"reason\":\"\",\"outcome\":\"ok\",\"detail\":\"\",\"prev_hash\":\"%s\","
		"\"hash\":\"%s\"}\n",
		(unsigned long long)number, (unsigned long long)e.index, (long long)e.time_us,
		action, prev_text, hash_text);
}

static char *chain_of(unsigned count)
{
	struct et_buffer out = { 0 };
	uint8_t head[32] = { 0 };
	for (unsigned i = 1; i <= count; i++) {
		add_event(&out, i, head, "recording.play");
	}
	et_buffer_add8(&out, '\0');
	assert_false(out.failed);
	return (char *)out.data;
}

static void a_whole_chain_verifies(void **state)
{
	(void)state;
	char *text = chain_of(5);
	struct et_chain chain;
	struct et_error e = { 0 };
	assert_int_equal(et_chain_verify("f", text, strlen(text), &chain, &e), 0);
	assert_int_equal(chain.events, 5);
	assert_int_equal(chain.first, 1);
	assert_int_equal(chain.last, 5);
	/* From the middle on, too; it says where it begins. */
	const char *third = strchr(strchr(text, '\n') + 1, '\n') + 1;
	assert_int_equal(et_chain_verify("f", third, strlen(third), &chain, &e), 0);
	assert_int_equal(chain.first, 3);
	free(text);
}

/* Any changed value, and any event that is taken out, is found and named. */
static void every_change_is_found(void **state)
{
	(void)state;
	static const struct {
		const char *old;
		const char *new;
		const char *sentence;
	} changes[] = {
		{ "\"number\":2,\"index\":6", "\"number\":2,\"index\":7",
		  "event 2 does not have the hash of its content: the audit log was changed, or "
		  "parts of it are missing" },
		{ "recording.play\",\"target\":\"t\"", "recording.plaz\",\"target\":\"t\"",
		  "event 1 does not have the hash of its content: the audit log was changed, or "
		  "parts of it are missing" },
		{ "\"number\":3", "\"number\":4",
		  "event 4 does not follow the one before: the audit log was changed, or parts of "
		  "it "
		  "are missing" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(changes); i++) {
		char *text = chain_of(4);
		char *at = strstr(text, changes[i].old);
		assert_non_null(at);
		memcpy(at, changes[i].new, strlen(changes[i].new));
		struct et_chain chain;
		struct et_error e = { 0 };
		assert_int_equal(et_chain_verify("f", text, strlen(text), &chain, &e),
				 ET_EINTEGRITY);
		assert_string_equal(e.text, changes[i].sentence);
		free(text);
	}
	char *text = chain_of(4);
	char *second = strchr(text, '\n') + 1;
	char *third = strchr(second, '\n') + 1;
	memmove(second, third, strlen(third) + 1);
	struct et_chain chain;
	assert_int_equal(et_chain_verify("f", text, strlen(text), &chain, NULL), ET_EINTEGRITY);
	free(text);
}

static void what_is_no_export_is_malformed(void **state)
{
	(void)state;
	static const char *const bad[] = { "",
					   "\n",
					   "{}",
					   "[]",
					   "{\"events\":[]}",
					   "text",
					   "{\"number\":1}",
					   "{\"events\":[1]}" };
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		struct et_chain chain;
		assert_int_equal(et_chain_verify("f", bad[i], strlen(bad[i]), &chain, NULL),
				 ET_EMALFORMED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_chain_verifies),
		cmocka_unit_test(every_change_is_found),
		cmocka_unit_test(what_is_no_export_is_malformed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
