/* The decisions. Pure. */
#include "archive/policy/policy.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const action_names[] = { "skip", "keep", "upload", "evict" };

const char *et_archive_action_name(enum et_archive_action action)
{
	return action_names[action];
}

const struct et_archive_target *et_archive_target_find(const struct et_archive_policy *p,
						       const char *name)
{
	for (size_t i = 0; i < p->target_count; i++) {
		if (strcmp(p->targets[i].name, name) == 0) {
			return &p->targets[i];
		}
	}
	return NULL;
}

/* ---- Selection ---- */

static bool text_is(const char *pattern, const char *text)
{
	size_t size = strlen(pattern);
	if (text == NULL) {
		return false;
	}
	if (size > 0 && pattern[size - 1] == '*') {
		return strncmp(pattern, text, size - 1) == 0;
	}
	return strcmp(pattern, text) == 0;
}

static bool values_have(const struct et_archive_values *values, const char *a, const char *b)
{
	for (size_t i = 0; i < values->count; i++) {
		if (text_is(values->items[i], a) || text_is(values->items[i], b)) {
			return true;
		}
	}
	return values->count == 0;
}

static bool rule_selects(const struct et_archive_rule *r, const struct et_archive_facts *f)
{
	return values_have(&r->sites, f->site, NULL) &&
	       values_have(&r->directions, f->direction, NULL) &&
	       values_have(&r->numbers, f->from, f->to) &&
	       values_have(&r->recorded_by, f->rule, NULL) &&
	       f->end_us - f->start_us >= r->min_duration_us;
}

static const struct et_archive_rule *rule_of(const struct et_archive_policy *p,
					     const struct et_archive_facts *f)
{
	for (size_t i = 0; i < p->rule_count; i++) {
		if (rule_selects(&p->rules[i], f)) {
			return &p->rules[i];
		}
	}
	return NULL;
}

/* ---- Decision ---- */

/* Has `span_us` passed since `since_us`? No span is over at once, also while cluster time, which
 * moves in ticks, lies a little behind the clock of who recorded. */
static bool has_passed(int64_t since_us, int64_t span_us, int64_t now_us)
{
	return span_us == 0 || now_us - since_us >= span_us;
}

static void decide(struct et_archive_decision *d, enum et_archive_action action, const char *why)
{
	d->action = action;
	d->why = why;
}

/* Who uploads: the node that captured it, else the first that holds it. 0: nobody can. */
static uint64_t uploader(const struct et_archive_facts *f)
{
	uint64_t node = 0;
	for (size_t i = 0; i < f->local_count; i++) {
		if (!f->local[i].active) {
			continue;
		}
		if (f->local[i].node == f->node) {
			return f->node;
		}
		node = node == 0 || f->local[i].node < node ? f->local[i].node : node;
	}
	return node;
}

static const struct et_archive_stored *stored_at(const struct et_archive_facts *f,
						 const char *target)
{
	for (size_t i = 0; i < f->stored_count; i++) {
		if (strcmp(f->stored[i].target, target) == 0) {
			return &f->stored[i];
		}
	}
	return NULL;
}

/* It is archived where the rule wants it: may what lies on nodes go? */
static void decide_local(const struct et_archive_rule *r, const struct et_archive_facts *f,
			 const struct et_archive_stored *stored, int64_t now_us,
			 struct et_archive_decision *d)
{
	if (f->local_count == 0) {
		decide(d, ET_ARCHIVE_KEEP, "archived, and no local copies left");
	} else if (!r->local_goes) {
		decide(d, ET_ARCHIVE_KEEP, "archived; the rule keeps local copies");
	} else if (f->held) {
		decide(d, ET_ARCHIVE_KEEP, "archived; a legal hold keeps local copies");
	} else if (!has_passed(stored->verified_us, r->local_keep_us, now_us)) {
		decide(d, ET_ARCHIVE_KEEP, "archived; local copies are kept for a while yet");
	} else {
		decide(d, ET_ARCHIVE_EVICT, "archived and verified; local copies may go");
	}
}

static void decide_upload(const struct et_archive_rule *r, const struct et_archive_facts *f,
			  int64_t now_us, struct et_archive_decision *d)
{
	uint64_t node = uploader(f);
	if (!has_passed(f->end_us, r->after_us, now_us)) {
		decide(d, ET_ARCHIVE_SKIP, "the call ended too short a time ago");
		return;
	}
	if (node == 0) {
		decide(d, ET_ARCHIVE_SKIP, "no active node holds a verified copy");
		return;
	}
	decide(d, ET_ARCHIVE_UPLOAD, "due, and not archived yet");
	d->node = node;
	if (r->lock != ET_ARCHIVE_LOCK_NONE) {
		d->lock_until_us = f->end_us + r->lock_for_us;
	}
}

void et_archive_decide(const struct et_archive_policy *policy, const struct et_archive_facts *f,
		       int64_t now_us, struct et_archive_decision *ret)
{
	struct et_archive_decision d = { 0 };
	if (f->erased) {
		decide(&d, ET_ARCHIVE_SKIP, "erased");
	} else if (f->unverified) {
		decide(&d, ET_ARCHIVE_SKIP, "recovered, and not verified by a vault node yet");
	} else if (!f->sealed) {
		decide(&d, ET_ARCHIVE_SKIP, "the segment is not sealed yet");
	} else if (!f->call_over) {
		decide(&d, ET_ARCHIVE_SKIP, "the call goes on");
	} else if (f->busy) {
		decide(&d, ET_ARCHIVE_SKIP, "a job is about it already");
	} else {
		d.rule = rule_of(policy, f);
		if (d.rule == NULL) {
			decide(&d, ET_ARCHIVE_SKIP, "no rule selects it");
		} else {
			d.target = &policy->targets[d.rule->target];
			const struct et_archive_stored *stored = stored_at(f, d.target->name);
			if (stored != NULL) {
				decide_local(d.rule, f, stored, now_us, &d);
			} else {
				decide_upload(d.rule, f, now_us, &d);
			}
		}
	}
	*ret = d;
}

/* ---- Packs ---- */

/* Months since 1970 in which a lock ends; -1 without a lock. */
static int lock_month(int64_t us)
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;
	if (us == 0 || gmtime_r(&seconds, &tm) == NULL) {
		return -1;
	}
	return (tm.tm_year - 70) * 12 + tm.tm_mon;
}

static int order(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b ? 1 : 0;
}

/* Do they belong into one pack? 0, or which comes first. Rules lie in one array, in order. */
static int group_order(const struct et_archive_upload *a, const struct et_archive_upload *b)
{
	if (a->node != b->node) {
		return a->node < b->node ? -1 : 1;
	}
	if (a->rule != b->rule) {
		return a->rule < b->rule ? -1 : 1;
	}
	return order(lock_month(a->lock_until_us), lock_month(b->lock_until_us));
}

static int upload_order(const void *left, const void *right)
{
	const struct et_archive_upload *a = left;
	const struct et_archive_upload *b = right;
	int by = group_order(a, b);
	by = by != 0 ? by : order(a->end_us, b->end_us);
	by = by != 0 ? by : memcmp(a->recording, b->recording, sizeof(a->recording));
	by = by != 0 ? by : order(a->generation, b->generation);
	return by != 0 ? by : order(a->segment, b->segment);
}

uint32_t et_archive_pack(struct et_archive_upload *uploads, size_t count)
{
	uint32_t pack = 0;
	uint64_t bytes = 0;
	size_t members = 0;
	if (count > 0) {
		qsort(uploads, count, sizeof(*uploads), upload_order);
	}
	for (size_t i = 0; i < count; i++) {
		struct et_archive_upload *u = &uploads[i];
		bool fits = i > 0 && group_order(&uploads[i - 1], u) == 0 &&
			    members < ET_ARCHIVE_PACK_MEMBERS_MAX && bytes <= u->rule->pack_bytes &&
			    u->size_bytes <= u->rule->pack_bytes - bytes;
		if (!fits) {
			pack++;
			bytes = 0;
			members = 0;
		}
		u->pack = pack;
		bytes += u->size_bytes;
		members++;
	}
	return pack;
}
