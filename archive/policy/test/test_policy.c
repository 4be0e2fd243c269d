#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/policy/diff.h"
#include "archive/policy/retention.h"
#include "archive/policy/target.h"

#define S 1000000LL
#define DAY (86400 * S)
#define NOW 1795356302000000LL /* 2026-11-22 */

static const char whole[] = "targets:\n"
			    "  cold: {type: dir, path: /srv/archive}\n"
			    "  worm:\n"
			    "    type: s3\n"
			    "    endpoint: \"https://s3.example:443\"\n"
			    "    region: eu-central-1\n"
			    "    bucket: rec\n"
			    "    style: vhost\n"
			    "    ca-file: /etc/evertape/s3-ca.pem\n"
			    "    credentials: \"file:/etc/evertape/s3.cred\"\n"
			    "rules:\n"
			    "  - name: mifid\n"
			    "    select: {site: [prg, fra], number: \"+420*\", min-duration: 2s}\n"
			    "    after: 1d\n"
			    "    to: worm\n"
			    "    pack: {target-size: 32MiB}\n"
			    "    local: {keep: 14d}\n"
			    "    lock: {mode: compliance, until: 7y}\n"
			    "  - name: rest\n"
			    "    to: cold\n"
			    "    local: {keep: 0s}\n";

static struct et_archive_policy *parse(const char *text)
{
	struct et_archive_policy *p = NULL;
	struct et_error e = { 0 };
	if (et_archive_policy_parse(text, strlen(text), "a.yaml", &p, &e) < 0) {
		fail_msg("%s", e.text);
	}
	return p;
}

static void reads_a_whole_policy(void **state)
{
	(void)state;
	struct et_archive_policy *p = parse(whole);
	assert_int_equal(p->target_count, 2);
	assert_string_equal(p->targets[0].path, "/srv/archive");
	assert_int_equal(p->targets[1].type, ET_ARCHIVE_S3);
	assert_true(p->targets[1].virtual_host);
	assert_string_equal(p->targets[1].credentials, "/etc/evertape/s3.cred");
	assert_int_equal(p->targets[1].line, 3);
	assert_int_equal(p->rule_count, 2);
	const struct et_archive_rule *r = &p->rules[0];
	assert_string_equal(r->name, "mifid");
	assert_int_equal(r->sites.count, 2);
	assert_string_equal(r->sites.items[1], "fra");
	assert_int_equal(r->numbers.count, 1);
	assert_int_equal(r->min_duration_us, 2 * S);
	assert_int_equal(r->after_us, DAY);
	assert_int_equal(r->target, 1);
	assert_int_equal(r->pack_bytes, 32 * 1024 * 1024);
	assert_true(r->local_goes);
	assert_int_equal(r->local_keep_us, 14 * DAY);
	assert_int_equal(r->lock, ET_ARCHIVE_LOCK_COMPLIANCE);
	assert_int_equal(r->lock_for_us, 7 * 366 * DAY);
	assert_int_equal(p->rules[1].pack_bytes, ET_ARCHIVE_PACK_DEFAULT);
	p = et_archive_policy_free(p);
}

#define HEAD "targets: {cold: {type: dir, path: /a}}\nrules:\n"

static void says_where_and_what_is_wrong(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *where;
		const char *what;
	} cases[] = {
		{ HEAD "  - {name: a, to: cold, pacck: {target-size: 1MiB}}\n",
		  "a.yaml:3:", "pack" },
		{ HEAD "  - {name: a, to: cold, name: b}\n", "a.yaml:3:", "name" },
		{ HEAD "  - {name: a, to: clod}\n", "a.yaml:3:", "cold" },
		{ HEAD "  - {name: a, to: cold, after: 5}\n", "a.yaml:3:", "duration" },
		{ HEAD "  - {name: a, to: cold, pack: {target-size: 1KiB}}\n", "a.yaml:3:", "MiB" },
		{ HEAD "  - {name: a, to: cold, local: {}}\n", "a.yaml:3:", "keep" },
		{ HEAD "  - {name: a, to: cold, lock: {mode: compliance, until: 7y}}\n",
		  "a.yaml:3:", "type s3" },
		{ HEAD "  - {name: a, to: cold}\n  - {name: a, to: cold}\n",
		  "a.yaml:4:", "already" },
		{ HEAD "  - {name: a, to: cold}\n  - {name: b, to: cold}\n",
		  "a.yaml:4:", "never reached" },
		{ HEAD "  - {name: a, to: cold, select: {site: []}}\n", "a.yaml:3:", "1 to" },
		{ "targets: {}\nrules: []\n", "a.yaml:1:", "targets" },
		{ "rules: []\n", "a.yaml:1:", "targets" },
		{ "targets: {Cold: {type: dir, path: /a}}\nrules: [{name: a, to: Cold}]\n",
		  "a.yaml:1:", "name" },
		{ "targets: {c: {type: disk, path: /a}}\nrules: [{name: a, to: c}]\n",
		  "a.yaml:1:", "dir" },
		{ "targets: {c: {type: dir, bucket: b}}\nrules: [{name: a, to: c}]\n",
		  "a.yaml:1:", "bucket" },
		{ "targets: {c: {type: s3, endpoint: e, bucket: b, credentials: /x}}\n"
		  "rules: [{name: a, to: c}]\n",
		  "a.yaml:1:", "file:" },
		{ "targets: {c: {type: s3, endpoint: e, bucket: b, credentials: 'file:/x'}}\n"
		  "rules: [{name: a, to: c, after: 8d, lock: {mode: governance, until: 1w}}]\n",
		  "a.yaml:2:", "before" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		struct et_archive_policy *p = NULL;
		struct et_error e = { 0 };
		int rc = et_archive_policy_parse(cases[i].text, strlen(cases[i].text), "a.yaml", &p,
						 &e);
		if (rc != ET_EMALFORMED || strstr(e.text, cases[i].where) != e.text ||
		    strstr(e.text, cases[i].what) == NULL) {
			fail_msg("case %zu: %d '%s'", i, rc, e.text);
		}
		assert_null(p);
	}
}

/* ---- Decisions ---- */

static const uint8_t recording[16] = { 1 };
static const struct et_archive_local both[] = { { 3, true }, { 5, true } };

static struct et_archive_facts facts_of(void)
{
	return (struct et_archive_facts){ .recording = recording,
					  .generation = 1,
					  .segment = 1,
					  .size_bytes = 1000,
					  .sealed = true,
					  .call_over = true,
					  .start_us = NOW - 2 * DAY,
					  .end_us = NOW - 2 * DAY + 60 * S,
					  .node = 5,
					  .site = "prg",
					  .direction = "in",
					  .from = "+420123",
					  .to = "100",
					  .rule = "all",
					  .local = both,
					  .local_count = 2 };
}

static struct et_archive_decision decide(const struct et_archive_policy *p,
					 const struct et_archive_facts *f)
{
	struct et_archive_decision d;
	et_archive_decide(p, f, NOW, &d);
	assert_non_null(d.why);
	return d;
}

static void first_rule_that_selects_wins(void **state)
{
	(void)state;
	struct et_archive_policy *p = parse(whole);
	struct et_archive_facts f = facts_of();
	assert_string_equal(decide(p, &f).rule->name, "mifid");
	f.from = "100"; /* the other party counts too */
	f.to = "+420123";
	assert_string_equal(decide(p, &f).rule->name, "mifid");
	f.to = "+421123";
	assert_string_equal(decide(p, &f).rule->name, "rest");
	f = facts_of();
	f.site = "lon";
	assert_string_equal(decide(p, &f).rule->name, "rest");
	f = facts_of();
	f.end_us = f.start_us + 2 * S - 1;
	assert_string_equal(decide(p, &f).rule->name, "rest");
	p->rule_count = 1;
	assert_null(decide(p, &f).rule);
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_SKIP);
	p->rule_count = 2;
	p = et_archive_policy_free(p);
}

static void uploads_by_the_node_that_captured(void **state)
{
	(void)state;
	struct et_archive_policy *p = parse(whole);
	struct et_archive_facts f = facts_of();
	struct et_archive_decision d = decide(p, &f);
	assert_int_equal(d.action, ET_ARCHIVE_UPLOAD);
	assert_int_equal(d.node, 5);
	assert_string_equal(d.target->name, "worm");
	assert_int_equal(d.lock_until_us, f.end_us + 7 * 366 * DAY);
	const struct et_archive_local gone[] = { { 2, false }, { 3, true }, { 5, false } };
	f.local = gone;
	f.local_count = 3;
	assert_int_equal(decide(p, &f).node, 3);
	f.local_count = 1;
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_SKIP);
	p = et_archive_policy_free(p);
}

static void waits_for_seal_end_and_age(void **state)
{
	(void)state;
	struct et_archive_policy *p = parse(whole);
	struct et_archive_facts f = facts_of();
	f.sealed = false;
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_SKIP);
	f = facts_of();
	f.call_over = false;
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_SKIP);
	f = facts_of();
	f.busy = true;
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_SKIP);
	f = facts_of();
	f.erased = true;
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_SKIP);
	f = facts_of();
	f.end_us = NOW - DAY + 1;
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_SKIP);
	f.end_us = NOW - DAY;
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_UPLOAD);
	p = et_archive_policy_free(p);
}

static void lets_local_copies_go_only_when_it_may(void **state)
{
	(void)state;
	struct et_archive_policy *p = parse(whole);
	struct et_archive_facts f = facts_of();
	struct et_archive_stored stored = { "worm", NOW - 14 * DAY };
	f.stored = &stored;
	f.stored_count = 1;
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_EVICT);
	stored.verified_us++;
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_KEEP);
	stored.verified_us--;
	f.held = true;
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_KEEP);
	f.held = false;
	p->rules[0].local_goes = false;
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_KEEP);
	p->rules[0].local_goes = true;
	stored.target = "cold"; /* Archived elsewhere is not archived where the rule wants it. */
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_UPLOAD);
	p = et_archive_policy_free(p);
}

static void does_not_wait_where_no_span_is_given(void **state)
{
	(void)state;
	struct et_archive_policy *p = parse(whole);
	struct et_archive_facts f = facts_of();
	struct et_archive_stored stored = { "cold", NOW + S };
	f.site = "lon";	    /* rule "rest": no `after`, keep 0s */
	f.end_us = NOW + S; /* cluster time lies behind */
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_UPLOAD);
	f.stored = &stored;
	f.stored_count = 1;
	assert_int_equal(decide(p, &f).action, ET_ARCHIVE_EVICT);
	p = et_archive_policy_free(p);
}

/* ---- Packs ---- */

static struct et_archive_upload upload_of(const struct et_archive_rule *rule, uint64_t node,
					  uint32_t number, uint64_t size, int64_t lock_us)
{
	struct et_archive_upload u = { .node = node,
				       .rule = rule,
				       .size_bytes = size,
				       .lock_until_us = lock_us,
				       .end_us = NOW + number,
				       .generation = 1,
				       .segment = 1 };
	u.recording[15] = (uint8_t)number;
	return u;
}

static void packs_what_belongs_together(void **state)
{
	(void)state;
	struct et_archive_policy *p = parse(whole);
	const struct et_archive_rule *a = &p->rules[0];
	const struct et_archive_rule *b = &p->rules[1];
	struct et_archive_upload u[] = {
		upload_of(b, 3, 8, 1, 0),
		upload_of(a, 5, 7, 1, NOW),
		upload_of(a, 3, 6, 1, NOW + 31 * DAY),
		upload_of(a, 3, 5, 40 << 20, NOW),
		upload_of(a, 3, 4, 16 << 20, NOW),
		upload_of(a, 3, 3, 1, NOW),
		upload_of(a, 3, 2, 16 << 20, NOW),
		upload_of(a, 3, 1, 16 << 20, NOW + DAY),
	};
	const uint8_t order[] = { 1, 2, 3, 4, 5, 6, 8, 7 };
	const uint32_t packs[] = { 1, 1, 2, 2, 3, 4, 5, 6 };
	assert_int_equal(et_archive_pack(u, 8), 6);
	for (size_t i = 0; i < 8; i++) {
		assert_int_equal(u[i].recording[15], order[i]);
		assert_int_equal(u[i].pack, packs[i]);
	}
	p = et_archive_policy_free(p);
}

static void packs_the_same_whatever_the_order(void **state)
{
	(void)state;
	struct et_archive_policy *p = parse(whole);
	struct et_archive_upload a[64];
	struct et_archive_upload b[64];
	for (uint32_t i = 0; i < 64; i++) {
		a[i] = upload_of(&p->rules[i % 2], 1 + i % 3, i, (i * 7919) % (20 << 20),
				 i % 2 == 0 ? NOW + i * DAY : 0);
		b[63 - i] = a[i];
	}
	assert_int_equal(et_archive_pack(a, 64), et_archive_pack(b, 64));
	for (size_t i = 0; i < 64; i++) {
		assert_memory_equal(a[i].recording, b[i].recording, 16);
		assert_int_equal(a[i].pack, b[i].pack);
	}
	p = et_archive_policy_free(p);
}

static void limits_the_members_of_a_pack(void **state)
{
	(void)state;
	struct et_archive_policy *p = parse(whole);
	size_t count = 2 * ET_ARCHIVE_PACK_MEMBERS_MAX + 1;
	struct et_archive_upload *u = calloc(count, sizeof(*u));
	for (size_t i = 0; i < count; i++) {
		u[i] = upload_of(&p->rules[1], 1, (uint32_t)i, 1, 0);
	}
	assert_int_equal(et_archive_pack(u, count), 3);
	free(u);
	p = et_archive_policy_free(p);
}

/* ---- Retention ---- */

static void reads_a_retention_policy(void **state)
{
	(void)state;
	static const char text[] = "rules:\n"
				   "  - name: mifid\n"
				   "    select: {site: [prg, brq], number: \"+49*\"}\n"
				   "    keep: 5d\n"
				   "  - {name: all, erase-after: 30d, keep: 1d}\n";
	struct et_retention_policy *p = NULL;
	struct et_error e = { 0 };
	assert_int_equal(et_retention_policy_parse(text, strlen(text), "r.yaml", &p, &e), 0);
	assert_int_equal(p->rule_count, 2);
	assert_string_equal(p->rules[0].name, "mifid");
	assert_int_equal(p->rules[0].sites.count, 2);
	assert_string_equal(p->rules[0].numbers.items[0], "+49*");
	assert_int_equal(p->rules[0].keep_us, 5 * DAY);
	assert_int_equal(p->rules[0].erase_after_us, 0);
	assert_int_equal(p->rules[1].erase_after_us, 30 * DAY);
	p = et_retention_policy_free(p);
	assert_int_equal(et_retention_policy_parse("rules: []", 9, "r.yaml", &p, &e), 0);
	assert_int_equal(p->rule_count, 0);
	p = et_retention_policy_free(p);
}

static void says_what_is_wrong_with_a_retention_policy(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *says;
	} bad[] = {
		{ "rules:\n  - {name: a}\n", "neither keep nor erase-after" },
		{ "rules:\n  - {name: a, keep: 1d}\n  - {name: a, keep: 2d}\n", "r.yaml:3:12" },
		{ "rules:\n  - {name: a, keeep: 1d}\n", "did you mean" },
		{ "rules:\n  - {name: a, erase-after: 0s}\n", "r.yaml:2" },
		{ "rules:\n  - {name: a, keep: -1d}\n", "r.yaml:2" },
		{ "rules:\n  - {name: a, keep: 1d, select: {tag: x}}\n", "tag" },
		{ "targets: {}\n", "targets" },
		{ "", "" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(bad); i++) {
		struct et_retention_policy *p = NULL;
		struct et_error e = { 0 };
		assert_int_equal(et_retention_policy_parse(bad[i].text, strlen(bad[i].text),
							   "r.yaml", &p, &e),
				 ET_EMALFORMED);
		assert_null(p);
		if (strstr(e.text, bad[i].says) == NULL) {
			fail_msg("'%s' does not say '%s'", e.text, bad[i].says);
		}
	}
}

/* ---- Differences ---- */

/* The rows as "kind name change key: before -> after" lines. */
static char *diff_text(const char *before, const char *after)
{
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *a = parse(before);
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *b = parse(after);
	ET_CLEANUP(et_json_freep) json_t *rows = et_archive_policy_diff(a, b);
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	assert_non_null(f);
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *o = json_array_get(rows, i);
		(void)fprintf(f, "%s %s %s %s: %s -> %s\n", et_json_get_text(o, "kind", "?"),
			      et_json_get_text(o, "name", "?"), et_json_get_text(o, "change", "?"),
			      et_json_get_text(o, "key", "?"), et_json_get_text(o, "before", "?"),
			      et_json_get_text(o, "after", "?"));
	}
	(void)fclose(f);
	return text;
}

static void says_what_changes_between_two_policies(void **state)
{
	(void)state;
#define TARGETS "targets:\n  cold: {type: dir, path: /a}\n"
#define RULE(name, more) "  - {name: " name ", to: cold" more "}\n"
	static const struct {
		const char *before, *after, *says;
	} cases[] = {
		{ TARGETS "rules:\n" RULE("a", ""), TARGETS "rules:\n" RULE("a", ", after: 0s"),
		  "" },
		{ TARGETS "rules:\n" RULE("a", ", after: 90m"),
		  TARGETS "rules:\n" RULE("a", ", after: 48h"),
		  "rule a changed after: 90m -> 2d\n" },
		{ TARGETS "rules:\n" RULE("a", ""),
		  TARGETS "rules:\n" RULE("a", ", local: {keep: 0s}"),
		  "rule a changed local.keep: for ever -> 0s\n" },
		{ TARGETS "rules:\n" RULE("a", ", select: {site: prg}") RULE("b", ""),
		  TARGETS "rules:\n" RULE("a", ", select: {site: [prg, brq]}") RULE("b", ""),
		  "rule a changed select.site: prg -> prg, brq\n" },
		{ TARGETS "rules:\n" RULE("a", ", select: {site: prg}")
			  RULE("b", ", select: {site: brq}"),
		  TARGETS "rules:\n" RULE("b", ", select: {site: brq}")
			  RULE("a", ", select: {site: prg}"),
		  "rule b moved place: 2 -> 1\nrule a moved place: 1 -> 2\n" },
		{ "targets:\n  cold: {type: dir, path: /a}\nrules:\n" RULE("a", ""),
		  "targets:\n  cold: {type: dir, path: /b}\nrules:\n" RULE("a", ""),
		  "target cold changed path: /a -> /b\n" },
	};
	for (size_t i = 0; i < ET_ARRAY_SIZE(cases); i++) {
		char *text = diff_text(cases[i].before, cases[i].after);
		assert_string_equal(text, cases[i].says);
		free(text);
	}
	char *text = diff_text(TARGETS "rules:\n" RULE("a", ""), whole);
	assert_non_null(strstr(text, "target worm added bucket:  -> rec\n"));
	assert_non_null(strstr(text, "target worm added credentials:  -> /etc/evertape/s3.cred\n"));
	assert_non_null(strstr(text, "rule mifid added lock.until:  -> 7y\n"));
	assert_non_null(strstr(text, "rule a removed to: cold -> \n"));
	free(text);
#undef TARGETS
#undef RULE
}

static void knows_the_strictest_lock_of_a_target(void **state)
{
	(void)state;
	char where[ET_ARCHIVE_WHERE_SIZE];
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *p = parse(whole);
	assert_int_equal(et_archive_target_lock(p, 0), ET_LOCK_NONE);
	assert_int_equal(et_archive_target_lock(p, 1), ET_LOCK_COMPLIANCE);
	et_archive_target_where(&p->targets[0], where);
	assert_string_equal(where, "/srv/archive");
	et_archive_target_where(&p->targets[1], where);
	assert_string_equal(where, "https://s3.example:443/rec");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_whole_policy),
		cmocka_unit_test(says_where_and_what_is_wrong),
		cmocka_unit_test(first_rule_that_selects_wins),
		cmocka_unit_test(uploads_by_the_node_that_captured),
		cmocka_unit_test(waits_for_seal_end_and_age),
		cmocka_unit_test(lets_local_copies_go_only_when_it_may),
		cmocka_unit_test(does_not_wait_where_no_span_is_given),
		cmocka_unit_test(packs_what_belongs_together),
		cmocka_unit_test(packs_the_same_whatever_the_order),
		cmocka_unit_test(limits_the_members_of_a_pack),
		cmocka_unit_test(says_what_changes_between_two_policies),
		cmocka_unit_test(knows_the_strictest_lock_of_a_target),
		cmocka_unit_test(reads_a_retention_policy),
		cmocka_unit_test(says_what_is_wrong_with_a_retention_policy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
