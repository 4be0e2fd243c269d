#include "archive/policy/diff.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/base/bytes.h"

#define SECOND_US INT64_C(1000000)
#define NONE SIZE_MAX

/* One value of a target or rule as people write it. */
struct field {
	const char *key;
	struct et_buffer text; /* owned; ends with NUL */
};

#define FIELDS_MAX 12
struct fields {
	struct field items[FIELDS_MAX];
	size_t count;
};

static void fields_release(struct fields *f)
{
	for (size_t i = 0; i < f->count; i++) {
		et_buffer_release(&f->items[i].text);
	}
}

static struct et_buffer *field_add(struct fields *f, const char *key)
{
	et_assert(f->count < FIELDS_MAX);
	f->items[f->count].key = key;
	return &f->items[f->count++].text;
}

static void field_text(struct fields *f, const char *key, const char *text)
{
	et_buffer_printf(field_add(f, key), "%s", text != NULL ? text : "");
}

/* The largest unit that says it exactly. */
static void field_duration(struct fields *f, const char *key, int64_t us)
{
	static const struct {
		const char *unit;
		int64_t us;
	} units[] = { { "y", 366 * 86400 * SECOND_US },
		      { "d", 86400 * SECOND_US },
		      { "h", 3600 * SECOND_US },
		      { "m", 60 * SECOND_US },
		      { "s", SECOND_US },
		      { "ms", SECOND_US / 1000 } };
	struct et_buffer *b = field_add(f, key);
	if (us == 0) {
		et_buffer_printf(b, "0s");
		return;
	}
	for (size_t i = 0; i < ET_ARRAY_SIZE(units); i++) {
		if (us % units[i].us == 0) {
			et_buffer_printf(b, "%" PRId64 "%s", us / units[i].us, units[i].unit);
			return;
		}
	}
	et_buffer_printf(b, "%" PRId64 "us", us);
}

static void field_values(struct fields *f, const char *key, const struct et_archive_values *values)
{
	struct et_buffer *b = field_add(f, key);
	for (size_t i = 0; i < values->count; i++) {
		et_buffer_printf(b, "%s%s", i > 0 ? ", " : "", values->items[i]);
	}
}

static void fields_of_target(const struct et_archive_target *t, struct fields *f)
{
	static const char *const types[] = {
		[ET_ARCHIVE_DIR] = "dir", [ET_ARCHIVE_S3] = "s3", [ET_ARCHIVE_S3V2] = "s3v2"
	};
	field_text(f, "type", types[t->type]);
	field_text(f, "path", t->path);
	field_text(f, "endpoint", t->endpoint);
	field_text(f, "region", t->region);
	field_text(f, "bucket", t->bucket);
	field_text(f, "prefix", t->prefix);
	field_text(f, "style", t->virtual_host ? "vhost" : "path");
	field_text(f, "ca-file", t->ca_file);
	field_text(f, "credentials", t->credentials);
	field_text(f, "storage-class", t->storage_class);
	field_text(f, "insecure-tls", t->insecure_tls ? "true" : "");
}

static void fields_of_rule(const struct et_archive_policy *p, const struct et_archive_rule *r,
			   struct fields *f)
{
	static const char *const modes[] = { [ET_ARCHIVE_LOCK_NONE] = "",
					     [ET_ARCHIVE_LOCK_GOVERNANCE] = "governance",
					     [ET_ARCHIVE_LOCK_COMPLIANCE] = "compliance" };
	field_values(f, "select.site", &r->sites);
	field_values(f, "select.direction", &r->directions);
	field_values(f, "select.number", &r->numbers);
	field_values(f, "select.rule", &r->recorded_by);
	field_duration(f, "select.min-duration", r->min_duration_us);
	field_duration(f, "after", r->after_us);
	field_text(f, "to", p->targets[r->target].name);
	et_buffer_printf(field_add(f, "pack.target-size"), "%" PRIu64 "MiB",
			 r->pack_bytes / (1024 * 1024));
	if (r->local_goes) {
		field_duration(f, "local.keep", r->local_keep_us);
	} else {
		field_text(f, "local.keep", "for ever");
	}
	field_text(f, "lock.mode", modes[r->lock]);
	if (r->lock != ET_ARCHIVE_LOCK_NONE) {
		field_duration(f, "lock.until", r->lock_for_us);
	} else {
		field_text(f, "lock.until", "");
	}
}

/* ---- Rows ---- */

static void row_add(json_t *rows, const char *kind, const char *name, const char *change,
		    const char *key, const char *before, const char *after)
{
	json_t *o = json_object();
	et_json_set(o, "kind", json_string(kind));
	et_json_set(o, "name", et_json_text(name));
	et_json_set(o, "change", json_string(change));
	et_json_set(o, "key", json_string(key));
	et_json_set(o, "before", et_json_text(before));
	et_json_set(o, "after", et_json_text(after));
	et_json_add(rows, o);
}

static const char *field_end(struct field *f)
{
	et_buffer_add8(&f->text, 0);
	return f->text.failed ? "" : (const char *)f->text.data;
}

/* Both list the same keys in the same order; one of them may be empty. */
static void rows_compare(json_t *rows, const char *kind, const char *name, const char *change,
			 struct fields *before, struct fields *after)
{
	size_t count = before->count > after->count ? before->count : after->count;
	for (size_t i = 0; i < count; i++) {
		const char *key = (before->count > 0 ? before : after)->items[i].key;
		const char *was = before->count > 0 ? field_end(&before->items[i]) : "";
		const char *is = after->count > 0 ? field_end(&after->items[i]) : "";
		if (strcmp(was, is) != 0) {
			row_add(rows, kind, name, change, key, was, is);
		}
	}
}

static size_t rule_find(const struct et_archive_policy *p, const char *name)
{
	for (size_t i = 0; i < p->rule_count; i++) {
		if (strcmp(p->rules[i].name, name) == 0) {
			return i;
		}
	}
	return NONE;
}

/* How many of the rules before `at` the other policy has, too. */
static size_t rule_place(const struct et_archive_policy *p, size_t at,
			 const struct et_archive_policy *other)
{
	size_t place = 0;
	for (size_t i = 0; i < at; i++) {
		place += rule_find(other, p->rules[i].name) != NONE ? 1 : 0;
	}
	return place;
}

static void target_compare(json_t *rows, const struct et_archive_target *before,
			   const struct et_archive_target *after)
{
	ET_CLEANUP(fields_release) struct fields was = { .count = 0 };
	ET_CLEANUP(fields_release) struct fields is = { .count = 0 };
	if (before != NULL) {
		fields_of_target(before, &was);
	}
	if (after != NULL) {
		fields_of_target(after, &is);
	}
	rows_compare(rows, "target", (after != NULL ? after : before)->name,
		     before == NULL  ? "added"
		     : after == NULL ? "removed"
				     : "changed",
		     &was, &is);
}

static void rule_compare(json_t *rows, const struct et_archive_policy *before, size_t was_at,
			 const struct et_archive_policy *after, size_t is_at)
{
	ET_CLEANUP(fields_release) struct fields was = { .count = 0 };
	ET_CLEANUP(fields_release) struct fields is = { .count = 0 };
	const char *name = is_at != NONE ? after->rules[is_at].name : before->rules[was_at].name;
	if (was_at != NONE) {
		fields_of_rule(before, &before->rules[was_at], &was);
	}
	if (is_at != NONE) {
		fields_of_rule(after, &after->rules[is_at], &is);
	}
	if (was_at != NONE && is_at != NONE) {
		char from[24], to[24];
		size_t a = rule_place(before, was_at, after);
		size_t b = rule_place(after, is_at, before);
		(void)snprintf(from, sizeof(from), "%zu", a + 1);
		(void)snprintf(to, sizeof(to), "%zu", b + 1);
		if (a != b) {
			row_add(rows, "rule", name, "moved", "place", from, to);
		}
	}
	rows_compare(rows, "rule", name,
		     was_at == NONE  ? "added"
		     : is_at == NONE ? "removed"
				     : "changed",
		     &was, &is);
}

json_t *et_archive_policy_diff(const struct et_archive_policy *before,
			       const struct et_archive_policy *after)
{
	json_t *rows = json_array();
	for (size_t i = 0; rows != NULL && i < after->target_count; i++) {
		target_compare(rows, et_archive_target_find(before, after->targets[i].name),
			       &after->targets[i]);
	}
	for (size_t i = 0; rows != NULL && i < before->target_count; i++) {
		if (et_archive_target_find(after, before->targets[i].name) == NULL) {
			target_compare(rows, &before->targets[i], NULL);
		}
	}
	for (size_t i = 0; rows != NULL && i < after->rule_count; i++) {
		rule_compare(rows, before, rule_find(before, after->rules[i].name), after, i);
	}
	for (size_t i = 0; rows != NULL && i < before->rule_count; i++) {
		if (rule_find(after, before->rules[i].name) == NONE) {
			rule_compare(rows, before, i, after, NONE);
		}
	}
	return rows;
}
