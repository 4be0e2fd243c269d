/* From YAML to a policy. Every complaint says where. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/policy/policy.h"
#include "archive/policy/retention.h"
#include "node/text/units.h"
#include "node/text/yaml.h"

#define TEXT_MAX 512 /* bytes of one value */
#define YEAR_US (366LL * 86400 * 1000000)
#define SPAN_MAX_US (100 * YEAR_US)

/* ---- Values ---- */

static int text_dup(const struct et_yaml_node *map, const char *key, char **ret,
		    struct et_error *reterr)
{
	const struct et_yaml_node *node = et_yaml_get(map, key);
	const char *text = NULL;
	if (node == NULL) {
		return 0;
	}
	int rc = et_yaml_text(node, TEXT_MAX, &text, reterr);
	if (rc < 0) {
		return rc;
	}
	*ret = strdup(text);
	return *ret == NULL ? et_fail(reterr, -ENOMEM, "archive policy") : 0;
}

static int text_need(const struct et_yaml_node *map, const char *key, char **ret,
		     struct et_error *reterr)
{
	const struct et_yaml_node *node = NULL;
	int rc = et_yaml_need(map, key, &node, reterr);
	return rc < 0 ? rc : text_dup(map, key, ret, reterr);
}

static int duration_of(const struct et_yaml_node *map, const char *key, int64_t *ret,
		       struct et_error *reterr)
{
	const struct et_yaml_node *node = et_yaml_get(map, key);
	return node == NULL ? 0 : et_yaml_duration(node, 0, SPAN_MAX_US, ret, reterr);
}

static int choice_of(const struct et_yaml_node *map, const char *key, const char *const *words,
		     size_t count, size_t *ret, struct et_error *reterr)
{
	const struct et_yaml_node *node = et_yaml_get(map, key);
	return node == NULL ? 0 : et_yaml_choice(node, words, count, ret, reterr);
}

/* One word, or a list of words. */
static int values_of(const struct et_yaml_node *map, const char *key, struct et_archive_values *ret,
		     struct et_error *reterr)
{
	const struct et_yaml_node *node = et_yaml_get(map, key);
	if (node == NULL) {
		return 0;
	}
	bool one = node->kind == ET_YAML_SCALAR;
	int rc = one ? 0 : et_yaml_is_list(node, reterr);
	if (rc < 0) {
		return rc;
	}
	if (!one && (node->count == 0 || node->count > ET_ARCHIVE_SELECT_MAX)) {
		return et_yaml_fail(node, reterr, ET_EMALFORMED, "expected 1 to %d values",
				    ET_ARCHIVE_SELECT_MAX);
	}
	ret->items = calloc(one ? 1 : node->count, sizeof(*ret->items));
	if (ret->items == NULL) {
		return et_fail(reterr, -ENOMEM, "archive policy");
	}
	for (const struct et_yaml_node *n = one ? node : node->first; n != NULL && rc == 0;
	     n = one ? NULL : n->next) {
		const char *text = NULL;
		rc = et_yaml_text(n, TEXT_MAX, &text, reterr);
		if (rc == 0) {
			ret->items[ret->count] = strdup(text);
			rc = ret->items[ret->count] == NULL
				     ? et_fail(reterr, -ENOMEM, "archive policy")
				     : 0;
			ret->count += rc == 0 ? 1 : 0;
		}
	}
	return rc;
}

/* ---- Targets ---- */

static const char *const dir_keys[] = { "type", "path", "prefix" };
static const char *const s3_keys[] = { "type",	"endpoint", "region",	   "bucket",	   "prefix",
				       "style", "ca-file",  "credentials", "storage-class" };
static const char *const s3v2_keys[] = { "type",  "endpoint",	 "bucket",	"prefix",
					 "style", "credentials", "insecure-tls" };
static const char *const types[] = { "dir", "s3", "s3v2" };
static const char *const styles[] = { "path", "vhost" };

static int target_s3(const struct et_yaml_node *map, struct et_archive_target *t,
		     struct et_error *reterr)
{
	size_t style = 0;
	const struct et_yaml_node *insecure = et_yaml_get(map, "insecure-tls");
	int rc = text_need(map, "endpoint", &t->endpoint, reterr);
	rc = rc < 0 ? rc : text_need(map, "bucket", &t->bucket, reterr);
	rc = rc < 0 ? rc : text_need(map, "credentials", &t->credentials, reterr);
	rc = rc < 0 ? rc : text_dup(map, "region", &t->region, reterr);
	rc = rc < 0 ? rc : text_dup(map, "ca-file", &t->ca_file, reterr);
	rc = rc < 0 ? rc : text_dup(map, "storage-class", &t->storage_class, reterr);
	rc = rc < 0 ? rc : choice_of(map, "style", styles, 2, &style, reterr);
	if (rc == 0 && insecure != NULL) {
		rc = et_yaml_bool(insecure, &t->insecure_tls, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	t->virtual_host = style == 1;
	if (strncmp(t->credentials, "file:/", 6) != 0) {
		return et_yaml_fail(et_yaml_get(map, "credentials"), reterr, ET_EMALFORMED,
				    "expected \"file:\" and an absolute path");
	}
	memmove(t->credentials, t->credentials + 5, strlen(t->credentials + 5) + 1);
	return 0;
}

static int target_parse(const struct et_yaml_node *map, struct et_archive_target *t,
			struct et_error *reterr)
{
	size_t type = 0;
	const struct et_yaml_node *node = NULL;
	if (!et_name_is_valid(map->key)) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"a target's name is 1 to 63 of [a-z0-9-]");
	}
	(void)snprintf(t->name, sizeof(t->name), "%s", map->key);
	t->line = map->key_line;
	t->column = map->key_column;
	int rc = et_yaml_is_map(map, reterr);
	rc = rc < 0 ? rc : et_yaml_need(map, "type", &node, reterr);
	rc = rc < 0 ? rc : et_yaml_choice(node, types, 3, &type, reterr);
	if (rc < 0) {
		return rc;
	}
	t->type = (enum et_archive_store)type;
	const char *const *keys = type == 0 ? dir_keys : type == 1 ? s3_keys : s3v2_keys;
	size_t key_count = type == 0   ? ET_ARRAY_SIZE(dir_keys)
			   : type == 1 ? ET_ARRAY_SIZE(s3_keys)
				       : ET_ARRAY_SIZE(s3v2_keys);
	rc = et_yaml_check_keys(map, keys, key_count, reterr);
	rc = rc < 0 ? rc : text_dup(map, "prefix", &t->prefix, reterr);
	if (rc < 0) {
		return rc;
	}
	return t->type == ET_ARCHIVE_DIR ? text_need(map, "path", &t->path, reterr)
					 : target_s3(map, t, reterr);
}

static int targets_parse(const struct et_yaml_node *map, struct et_archive_policy *p,
			 struct et_error *reterr)
{
	int rc = et_yaml_is_map(map, reterr);
	if (rc < 0) {
		return rc;
	}
	if (map->count == 0 || map->count > ET_ARCHIVE_TARGETS_MAX) {
		return et_yaml_fail(map, reterr, ET_EMALFORMED, "expected 1 to %d targets",
				    ET_ARCHIVE_TARGETS_MAX);
	}
	p->targets = calloc(map->count, sizeof(*p->targets));
	if (p->targets == NULL) {
		return et_fail(reterr, -ENOMEM, "archive policy");
	}
	ET_YAML_EACH(node, map)
	{
		rc = target_parse(node, &p->targets[p->target_count++], reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

/* ---- Rules ---- */

static const char *const rule_keys[] = { "name", "select", "after", "to", "pack", "local", "lock" };
static const char *const select_keys[] = { "site", "direction", "number", "rule", "min-duration" };
static const char *const pack_keys[] = { "target-size" };
static const char *const local_keys[] = { "keep" };
static const char *const lock_keys[] = { "mode", "until" };
static const char *const lock_modes[] = { "governance", "compliance" };

/* What a rule of either policy selects by. */
struct selection {
	struct et_archive_values *sites, *directions, *numbers, *recorded_by;
	int64_t *min_duration_us;
};

#define SELECTION(rule)                                                                            \
	&(const struct selection)                                                                  \
	{                                                                                          \
		&(rule)->sites, &(rule)->directions, &(rule)->numbers, &(rule)->recorded_by,       \
			&(rule)->min_duration_us                                                   \
	}

static int selection_parse(const struct et_yaml_node *map, const struct selection *s,
			   struct et_error *reterr)
{
	if (map == NULL) {
		return 0;
	}
	int rc = et_yaml_check_keys(map, select_keys, ET_ARRAY_SIZE(select_keys), reterr);
	rc = rc < 0 ? rc : values_of(map, "site", s->sites, reterr);
	rc = rc < 0 ? rc : values_of(map, "direction", s->directions, reterr);
	rc = rc < 0 ? rc : values_of(map, "number", s->numbers, reterr);
	rc = rc < 0 ? rc : values_of(map, "rule", s->recorded_by, reterr);
	return rc < 0 ? rc : duration_of(map, "min-duration", s->min_duration_us, reterr);
}

static void selection_release(const struct selection *s)
{
	struct et_archive_values *values[] = { s->sites, s->directions, s->numbers,
					       s->recorded_by };
	for (size_t i = 0; i < ET_ARRAY_SIZE(values); i++) {
		for (size_t k = 0; k < values[i]->count; k++) {
			free(values[i]->items[k]);
		}
		free(values[i]->items);
		*values[i] = (struct et_archive_values){ 0 };
	}
}

static int rule_target(const struct et_yaml_node *map, const struct et_archive_policy *p,
		       struct et_archive_rule *r, struct et_error *reterr)
{
	const char *names[ET_ARCHIVE_TARGETS_MAX];
	const struct et_yaml_node *node = NULL;
	const char *name = NULL;
	int rc = et_yaml_need(map, "to", &node, reterr);
	rc = rc < 0 ? rc : et_yaml_text(node, TEXT_MAX, &name, reterr);
	if (rc < 0) {
		return rc;
	}
	for (size_t i = 0; i < p->target_count; i++) {
		names[i] = p->targets[i].name;
		if (strcmp(names[i], name) == 0) {
			r->target = i;
			return 0;
		}
	}
	const char *near = et_suggest(name, names, p->target_count);
	return et_yaml_fail(node, reterr, ET_EMALFORMED, "no target \"%s\"%s%s%s", name,
			    near == NULL ? "" : " (did you mean \"", near == NULL ? "" : near,
			    near == NULL ? "" : "\"?)");
}

static int rule_pack(const struct et_yaml_node *map, struct et_archive_rule *r,
		     struct et_error *reterr)
{
	r->pack_bytes = ET_ARCHIVE_PACK_DEFAULT;
	if (map == NULL) {
		return 0;
	}
	const struct et_yaml_node *size = NULL;
	int rc = et_yaml_check_keys(map, pack_keys, ET_ARRAY_SIZE(pack_keys), reterr);
	rc = rc < 0 ? rc : et_yaml_need(map, "target-size", &size, reterr);
	return rc < 0 ? rc
		      : et_yaml_bytes(size, ET_ARCHIVE_PACK_MIN, ET_ARCHIVE_PACK_MAX,
				      &r->pack_bytes, reterr);
}

static int rule_local(const struct et_yaml_node *map, struct et_archive_rule *r,
		      struct et_error *reterr)
{
	if (map == NULL) {
		return 0;
	}
	const struct et_yaml_node *keep = NULL;
	int rc = et_yaml_check_keys(map, local_keys, ET_ARRAY_SIZE(local_keys), reterr);
	rc = rc < 0 ? rc : et_yaml_need(map, "keep", &keep, reterr);
	rc = rc < 0 ? rc : et_yaml_duration(keep, 0, SPAN_MAX_US, &r->local_keep_us, reterr);
	r->local_goes = rc == 0;
	return rc;
}

static int rule_lock(const struct et_yaml_node *map, const struct et_archive_policy *p,
		     struct et_archive_rule *r, struct et_error *reterr)
{
	if (map == NULL) {
		return 0;
	}
	const struct et_yaml_node *mode = NULL;
	const struct et_yaml_node *until = NULL;
	size_t number = 0;
	int rc = et_yaml_check_keys(map, lock_keys, ET_ARRAY_SIZE(lock_keys), reterr);
	rc = rc < 0 ? rc : et_yaml_need(map, "mode", &mode, reterr);
	rc = rc < 0 ? rc : et_yaml_need(map, "until", &until, reterr);
	rc = rc < 0 ? rc : et_yaml_choice(mode, lock_modes, 2, &number, reterr);
	rc = rc < 0 ? rc : et_yaml_duration(until, 1, SPAN_MAX_US, &r->lock_for_us, reterr);
	if (rc < 0) {
		return rc;
	}
	r->lock = number == 0 ? ET_ARCHIVE_LOCK_GOVERNANCE : ET_ARCHIVE_LOCK_COMPLIANCE;
	if (p->targets[r->target].type != ET_ARCHIVE_S3) {
		return et_yaml_fail_key(map, reterr, ET_EMALFORMED,
					"target \"%s\" cannot lock: Object Lock needs type s3",
					p->targets[r->target].name);
	}
	if (r->lock_for_us <= r->after_us) {
		return et_yaml_fail(until, reterr, ET_EMALFORMED,
				    "the lock would end before the upload is due (after)");
	}
	return 0;
}

static bool selects_everything(const struct et_archive_rule *r)
{
	return r->sites.count == 0 && r->directions.count == 0 && r->numbers.count == 0 &&
	       r->recorded_by.count == 0 && r->min_duration_us == 0;
}

static int rule_name(const struct et_yaml_node *map, const struct et_archive_policy *p,
		     struct et_archive_rule *r, struct et_error *reterr)
{
	const struct et_yaml_node *node = NULL;
	const char *name = NULL;
	int rc = et_yaml_need(map, "name", &node, reterr);
	rc = rc < 0 ? rc : et_yaml_name(node, &name, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	for (size_t i = 0; i < p->rule_count; i++) {
		if (strcmp(p->rules[i].name, name) == 0) {
			return et_yaml_fail(node, reterr, ET_EMALFORMED,
					    "there is a rule \"%s\" already", name);
		}
		if (selects_everything(&p->rules[i])) {
			return et_yaml_fail(map, reterr, ET_EMALFORMED,
					    "never reached: rule \"%s\" before it selects "
					    "everything",
					    p->rules[i].name);
		}
	}
	return 0;
}

static int rule_parse(const struct et_yaml_node *map, const struct et_archive_policy *p,
		      struct et_archive_rule *r, struct et_error *reterr)
{
	int rc = et_yaml_check_keys(map, rule_keys, ET_ARRAY_SIZE(rule_keys), reterr);
	rc = rc < 0 ? rc : rule_name(map, p, r, reterr);
	rc = rc < 0 ? rc : selection_parse(et_yaml_get(map, "select"), SELECTION(r), reterr);
	rc = rc < 0 ? rc : rule_target(map, p, r, reterr);
	rc = rc < 0 ? rc : duration_of(map, "after", &r->after_us, reterr);
	rc = rc < 0 ? rc : rule_pack(et_yaml_get(map, "pack"), r, reterr);
	rc = rc < 0 ? rc : rule_local(et_yaml_get(map, "local"), r, reterr);
	return rc < 0 ? rc : rule_lock(et_yaml_get(map, "lock"), p, r, reterr);
}

static int rules_parse(const struct et_yaml_node *list, struct et_archive_policy *p,
		       struct et_error *reterr)
{
	int rc = et_yaml_is_list(list, reterr);
	if (rc < 0) {
		return rc;
	}
	if (list->count == 0 || list->count > ET_ARCHIVE_RULES_MAX) {
		return et_yaml_fail(list, reterr, ET_EMALFORMED, "expected 1 to %d rules",
				    ET_ARCHIVE_RULES_MAX);
	}
	p->rules = calloc(list->count, sizeof(*p->rules));
	if (p->rules == NULL) {
		return et_fail(reterr, -ENOMEM, "archive policy");
	}
	ET_YAML_EACH(node, list)
	{
		rc = rule_parse(node, p, &p->rules[p->rule_count], reterr);
		if (rc < 0) {
			selection_release(SELECTION(&p->rules[p->rule_count]));
			return rc;
		}
		p->rule_count++;
	}
	return 0;
}

/* ---- The whole ---- */

int et_archive_policy_parse(const char *text, size_t size, const char *file,
			    struct et_archive_policy **ret, struct et_error *reterr)
{
	static const char *const keys[] = { "targets", "rules" };
	ET_CLEANUP(et_yaml_freep) struct et_yaml *yaml = NULL;
	ET_CLEANUP(et_archive_policy_freep) struct et_archive_policy *p = calloc(1, sizeof(*p));
	const struct et_yaml_node *targets = NULL;
	const struct et_yaml_node *rules = NULL;
	if (p == NULL) {
		return et_fail(reterr, -ENOMEM, "archive policy");
	}
	int rc = et_yaml_parse(file, text, size, &yaml, reterr);
	if (rc < 0) {
		return rc;
	}
	const struct et_yaml_node *root = et_yaml_root(yaml);
	rc = et_yaml_check_keys(root, keys, ET_ARRAY_SIZE(keys), reterr);
	rc = rc < 0 ? rc : et_yaml_need(root, "targets", &targets, reterr);
	rc = rc < 0 ? rc : et_yaml_need(root, "rules", &rules, reterr);
	rc = rc < 0 ? rc : targets_parse(targets, p, reterr);
	rc = rc < 0 ? rc : rules_parse(rules, p, reterr);
	if (rc == 0) {
		*ret = ET_TAKE(p);
	}
	return rc;
}

/* ---- Retention ---- */

static int retention_rule_parse(const struct et_yaml_node *map, const struct et_retention_policy *p,
				struct et_retention_rule *r, struct et_error *reterr)
{
	static const char *const keys[] = { "name", "select", "keep", "erase-after" };
	const struct et_yaml_node *node = NULL;
	const struct et_yaml_node *erase = et_yaml_get(map, "erase-after");
	const char *name = NULL;
	int rc = et_yaml_check_keys(map, keys, ET_ARRAY_SIZE(keys), reterr);
	rc = rc < 0 ? rc : et_yaml_need(map, "name", &node, reterr);
	rc = rc < 0 ? rc : et_yaml_name(node, &name, reterr);
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(r->name, sizeof(r->name), "%s", name);
	for (size_t i = 0; i < p->rule_count; i++) {
		if (strcmp(p->rules[i].name, name) == 0) {
			return et_yaml_fail(node, reterr, ET_EMALFORMED,
					    "there is a rule \"%s\" already", name);
		}
	}
	if (erase == NULL && et_yaml_get(map, "keep") == NULL) {
		return et_yaml_fail(map, reterr, ET_EMALFORMED,
				    "rule \"%s\" says neither keep nor erase-after", name);
	}
	rc = selection_parse(et_yaml_get(map, "select"), SELECTION(r), reterr);
	rc = rc < 0 ? rc : duration_of(map, "keep", &r->keep_us, reterr);
	rc = rc < 0 || erase == NULL
		     ? rc
		     : et_yaml_duration(erase, 1000000, SPAN_MAX_US, &r->erase_after_us, reterr);
	return rc;
}

int et_retention_policy_parse(const char *text, size_t size, const char *file,
			      struct et_retention_policy **ret, struct et_error *reterr)
{
	static const char *const keys[] = { "rules" };
	ET_CLEANUP(et_yaml_freep) struct et_yaml *yaml = NULL;
	ET_CLEANUP(et_retention_policy_freep)
	struct et_retention_policy *p = calloc(1, sizeof(*p));
	const struct et_yaml_node *rules = NULL;
	if (p == NULL) {
		return et_fail(reterr, -ENOMEM, "retention policy");
	}
	int rc = et_yaml_parse(file, text, size, &yaml, reterr);
	rc = rc < 0 ? rc
		    : et_yaml_check_keys(et_yaml_root(yaml), keys, ET_ARRAY_SIZE(keys), reterr);
	rc = rc < 0 ? rc : et_yaml_need(et_yaml_root(yaml), "rules", &rules, reterr);
	rc = rc < 0 ? rc : et_yaml_is_list(rules, reterr);
	if (rc < 0) {
		return rc;
	}
	if (rules->count > ET_ARCHIVE_RULES_MAX) {
		return et_yaml_fail(rules, reterr, ET_EMALFORMED, "expected at most %d rules",
				    ET_ARCHIVE_RULES_MAX);
	}
	p->rules = calloc(rules->count + 1, sizeof(*p->rules));
	if (p->rules == NULL) {
		return et_fail(reterr, -ENOMEM, "retention policy");
	}
	ET_YAML_EACH(node, rules)
	{
		rc = retention_rule_parse(node, p, &p->rules[p->rule_count], reterr);
		p->rule_count++; /* what it has so far is released with the others */
		if (rc < 0) {
			return rc;
		}
	}
	*ret = ET_TAKE(p);
	return 0;
}

struct et_retention_policy *et_retention_policy_free(struct et_retention_policy *p)
{
	if (p == NULL) {
		return NULL;
	}
	for (size_t i = 0; i < p->rule_count; i++) {
		selection_release(SELECTION(&p->rules[i]));
	}
	free(p->rules);
	free(p);
	return NULL;
}

static void target_release(struct et_archive_target *t)
{
	free(t->path);
	free(t->endpoint);
	free(t->region);
	free(t->bucket);
	free(t->prefix);
	free(t->ca_file);
	free(t->credentials);
	free(t->storage_class);
}

struct et_archive_policy *et_archive_policy_free(struct et_archive_policy *p)
{
	if (p == NULL) {
		return NULL;
	}
	for (size_t i = 0; i < p->target_count; i++) {
		target_release(&p->targets[i]);
	}
	for (size_t i = 0; i < p->rule_count; i++) {
		selection_release(SELECTION(&p->rules[i]));
	}
	free(p->targets);
	free(p->rules);
	free(p);
	return NULL;
}
