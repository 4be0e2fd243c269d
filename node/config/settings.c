/* What is in force, and where it was said: the file as a list of keys, with the defaults beside it.
 *
 * What the file says is walked key by key, so that nothing that it says is left out. Values of
 * config_fields are those that are in force, in one way of writing them ("1024MiB" is "1GiB"), also
 * where the file says nothing. Values of other keys are as they are written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/config/config_internal.h"

#define KEY_BYTES 160

/* ---- What a key is ---- */

static bool begins(const char *key, const char *with)
{
	return strncmp(key, with, strlen(with)) == 0;
}

static bool is_secret(const char *key)
{
	static const char *const keys[] = { "data.root", "tls.api-key", "siprec.key" };

	for (size_t i = 0; i < ET_ARRAY_SIZE(keys); i++) {
		if (strcmp(key, keys[i]) == 0) {
			return true;
		}
	}
	return begins(key, "capture[") && strstr(key, "].key-log") != NULL;
}

/* How a change of it comes into force. */
static const char *applies(const char *key)
{
	static const char *const never[] = { "cluster", "node.name", "node.site" };

	for (size_t i = 0; i < ET_ARRAY_SIZE(never); i++) {
		if (strcmp(key, never[i]) == 0) {
			return "never"; /* it is another node then */
		}
	}
	return et_config_is_live(key) ? "reload" : "restart";
}

bool et_config_is_live(const char *key)
{
	return strcmp(key, "log.level") == 0 || strcmp(key, "limits.sync-rate") == 0;
}

/* Nodes that do not agree on it work all the same, and not as anybody meant it. */
static bool is_common(const char *key)
{
	static const char *const with[] = { "recording.", "raft.",   "placement.",
					    "scrub.",	  "limits.", "tls.certificate-life" };

	for (size_t i = 0; i < ET_ARRAY_SIZE(with); i++) {
		if (begins(key, with[i])) {
			return true;
		}
	}
	return strcmp(key, "cluster") == 0;
}

/* ---- Values ---- */

/* Exactly, and so that it reads back: "256MiB". */
static json_t *bytes_json(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	unsigned unit = 0;

	while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < ET_ARRAY_SIZE(units)) {
		bytes /= 1024;
		unit++;
	}
	return json_sprintf("%llu%s", (unsigned long long)bytes, units[unit]);
}

static json_t *value_of(const struct et_config *c, const struct config_field *f)
{
	const void *p = (const char *)c + f->offset;
	char text[ET_UNIT_TEXT_SIZE];

	switch (f->kind) {
	case CONFIG_TEXT:
		return et_json_text(p);
	case CONFIG_NUMBER:
		return json_integer(*(const uint32_t *)p);
	case CONFIG_DURATION:
	case CONFIG_PERIOD:
		return json_string(et_duration_format(*(const int64_t *)p, text));
	case CONFIG_BYTES:
		return bytes_json(*(const uint64_t *)p);
	case CONFIG_ACTION:
		return json_string(et_rule_action_text(c->rules.otherwise));
	case CONFIG_DIGITS:
		return json_string(c->rules.digits == ET_RULE_DIGITS_DROP ? "drop" : "keep");
	case CONFIG_TONES:
		return json_string(et_rule_tones_text(c->rules.tones));
	case CONFIG_PADDING:
		return json_string(config_paddings[c->tapes.padding]);
	case CONFIG_PORTS:
		return json_sprintf("%u-%u", c->siprec.port_first, c->siprec.port_last);
	case CONFIG_MODE:
		return json_sprintf("%04o", c->key_socket.mode);
	case CONFIG_LEVEL:
		return json_string(config_levels[c->log_level]);
	}
	return json_null();
}

static bool part_is_there(const struct et_config *c, const struct config_field *f)
{
	return f->needs == CONFIG_SIPREC       ? c->siprec.listen_count > 0
	       : f->needs == CONFIG_KEY_SOCKET ? c->key_socket.path[0] != '\0'
					       : true;
}

/* What is written without quotes may have to be so: numbers, true, false. */
static json_t *plain_json(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	bool is_number = digits > 0 && digits < 16 && text[digits] == '\0' &&
			 (text[0] != '0' || digits == 1);

	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
		return json_boolean(text[0] == 't');
	}
	return is_number ? json_integer(strtoll(text, NULL, 10)) : et_json_text(text);
}

static json_t *written(const struct et_yaml_node *node)
{
	if (node->kind == ET_YAML_SCALAR) {
		return node->plain ? plain_json(node->text) : et_json_text(node->text);
	}
	json_t *j = node->kind == ET_YAML_LIST ? json_array() : json_object();
	ET_YAML_EACH(item, node)
	{
		if (node->kind == ET_YAML_LIST) {
			et_json_add(j, written(item));
		} else {
			et_json_set(j, item->key, written(item));
		}
	}
	return j;
}

/* ---- The list ---- */

struct list {
	const struct et_config *c;
	json_t *settings; /* owned by who asked */
};

static void add(struct list *l, const char *key, json_t *value, const struct et_yaml_node *at)
{
	json_t *o = json_object();

	et_json_set(o, "key", et_json_text(key));
	et_json_set(o, "value", value);
	et_json_set(o, "source", json_string(at != NULL ? "file" : "default"));
	et_json_set(o, "at",
		    at != NULL ? json_sprintf("%s:%u", l->c->file,
					      at->key_line > 0 ? at->key_line : at->line)
			       : json_null());
	et_json_set(o, "applies", json_string(applies(key)));
	et_json_set(o, "common", json_boolean(is_common(key)));
	et_json_set(o, "secret", json_boolean(is_secret(key)));
	et_json_add(l->settings, o);
}

static const struct config_field *field_of(const char *key)
{
	for (const struct config_field *f = config_fields; f->key != NULL; f++) {
		if (strcmp(f->key, key) == 0) {
			return f;
		}
	}
	return NULL;
}

static bool is_said(const struct list *l, const char *key)
{
	return et_config_setting(l->settings, key) != NULL;
}

/* Lists of maps: sources of packets key by key, others (rules) as a whole. */
static bool is_whole(const char *key, const struct et_yaml_node *node)
{
	return node->kind != ET_YAML_MAP || begins(key, "recording.rules[") ||
	       begins(key, "recording.join[");
}

static void walk(struct list *l, const char *key, const struct et_yaml_node *node);

static void walk_items(struct list *l, const char *key, const struct et_yaml_node *node)
{
	char below[KEY_BYTES];
	unsigned i = 0;

	ET_YAML_EACH(item, node)
	{
		(void)snprintf(below, sizeof(below), "%.120s[%u]", key, i++);
		walk(l, below, item);
	}
}

static void walk(struct list *l, const char *key, const struct et_yaml_node *node)
{
	const struct config_field *f = field_of(key);
	char below[KEY_BYTES];

	bool is_ports = begins(key, "capture[") && strstr(key, "].sip-ports") != NULL;
	if (is_ports || (node->kind == ET_YAML_LIST && node->first == NULL)) {
		return; /* told by ports_add(); as if it were not there */
	}
	if (node->kind == ET_YAML_LIST && node->first->kind == ET_YAML_MAP) {
		walk_items(l, key, node);
	} else if (is_whole(key, node)) {
		add(l, key, f != NULL ? value_of(l->c, f) : written(node), node);
	} else {
		ET_YAML_EACH(item, node)
		{
			(void)snprintf(below, sizeof(below), "%.100s.%.50s", key, item->key);
			walk(l, below, item);
		}
	}
}

static void ports_add(struct list *l, const char *key, const struct et_config_capture *source,
		      const struct et_yaml_node *at)
{
	json_t *ports = json_array();

	for (uint32_t p = 0; p < source->sip_port_count; p++) {
		et_json_add(ports, json_integer(source->sip_ports[p]));
	}
	add(l, key, ports, at);
}

/* The sources of packets, with what they do not say. */
static void captures_add(struct list *l, const struct et_yaml_node *list)
{
	uint32_t i = 0;

	ET_YAML_EACH(item, list)
	{
		const struct et_config_capture *source = &l->c->captures[i];
		char key[KEY_BYTES];
		(void)snprintf(key, sizeof(key), "capture[%u]", i++);
		walk(l, key, item);
		(void)snprintf(key, sizeof(key), "capture[%u].sip-ports", i - 1);
		ports_add(l, key, source, et_yaml_get(item, "sip-ports"));
		if (et_yaml_get(item, "filter") == NULL) {
			(void)snprintf(key, sizeof(key), "capture[%u].filter", i - 1);
			add(l, key, json_string(""), NULL);
		}
	}
}

/* What the file says of one part, then its defaults. */
static void part_add(struct list *l, const struct et_yaml_node *root, const char *name)
{
	const struct et_yaml_node *node = et_yaml_get(root, name);
	size_t size = strlen(name);

	if (node != NULL && strcmp(name, "capture") == 0) {
		captures_add(l, node);
	} else if (node != NULL) {
		walk(l, name, node);
	}
	for (const struct config_field *f = config_fields; f->key != NULL; f++) {
		bool own = strncmp(f->key, name, size) == 0 &&
			   (f->key[size] == '.' || f->key[size] == '\0');
		if (!own || is_said(l, f->key) || !part_is_there(l->c, f)) {
			continue;
		}
		/* raft.profile says the two times of the part. */
		const struct et_yaml_node *by =
			strcmp(name, "raft") == 0 ? et_yaml_get(node, "profile") : NULL;
		add(l, f->key, value_of(l->c, f), by);
	}
}

json_t *config_settings(const struct et_config *c, const struct et_yaml_node *root)
{
	struct list l = { .c = c, .settings = json_array() };
	const char *part;

	for (size_t i = 0; (part = config_part_name(i)) != NULL; i++) {
		part_add(&l, root, part);
	}
	return l.settings;
}

json_t *et_config_settings(const struct et_config *c, const void *text, size_t size)
{
	ET_CLEANUP(et_yaml_freep) struct et_yaml *y = NULL;

	return et_yaml_parse(c->file, text, size, &y, NULL) < 0
		       ? json_array() /* It was read before: no memory. */
		       : config_settings(c, et_yaml_root(y));
}

const json_t *et_config_setting(const json_t *settings, const char *key)
{
	size_t i;
	json_t *o;

	json_array_foreach(settings, i, o)
	{
		if (strcmp(et_json_get_text(o, "key", ""), key) == 0) {
			return o;
		}
	}
	return NULL;
}

/* ---- Differences ---- */

static void difference_add(json_t *list, const json_t *before, const json_t *after)
{
	const json_t *one = after != NULL ? after : before;
	const json_t *a = json_object_get(before, "value");
	const json_t *b = json_object_get(after, "value");
	json_t *o = json_object();

	et_json_set(o, "key", json_incref(json_object_get(one, "key")));
	et_json_set(o, "before", a != NULL ? json_incref((json_t *)(uintptr_t)a) : json_null());
	et_json_set(o, "after", b != NULL ? json_incref((json_t *)(uintptr_t)b) : json_null());
	et_json_set(o, "before_at",
		    before != NULL ? json_incref(json_object_get(before, "at")) : json_null());
	et_json_set(o, "after_at",
		    after != NULL ? json_incref(json_object_get(after, "at")) : json_null());
	et_json_set(o, "applies", json_incref(json_object_get(one, "applies")));
	et_json_set(o, "common", json_incref(json_object_get(one, "common")));
	et_json_add(list, o);
}

static void scalar_text(const json_t *j, char text[64])
{
	const char *s = json_string_value(j);

	if (s != NULL) {
		(void)snprintf(text, 64, "%.63s", s);
	} else if (json_is_integer(j)) {
		(void)snprintf(text, 64, "%lld", (long long)json_integer_value(j));
	} else {
		(void)snprintf(text, 64, "%s", json_is_true(j) ? "true" : "false");
	}
}

/* 1001 and "1001" are the same; so are maps in another order. */
static bool is_same(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *value;
	size_t i;

	if (json_is_string(a) && json_is_string(b)) {
		return json_equal(a, b) != 0;
	}
	if (json_is_object(a) && json_is_object(b)) {
		if (json_object_size(a) != json_object_size(b)) {
			return false;
		}
		json_object_foreach((json_t *)(uintptr_t)a, key, value)
		{
			if (json_object_get(b, key) == NULL ||
			    !is_same(value, json_object_get(b, key))) {
				return false;
			}
		}
		return true;
	}
	if (json_is_array(a) && json_is_array(b)) {
		if (json_array_size(a) != json_array_size(b)) {
			return false;
		}
		json_array_foreach((json_t *)(uintptr_t)a, i, value)
		{
			if (!is_same(value, json_array_get(b, i))) {
				return false;
			}
		}
		return true;
	}
	if (json_is_object(a) || json_is_object(b) || json_is_array(a) || json_is_array(b)) {
		return false;
	}
	char text[2][64];
	scalar_text(a, text[0]);
	scalar_text(b, text[1]);
	return strcmp(text[0], text[1]) == 0;
}

json_t *et_config_diff(const json_t *before, const json_t *after)
{
	json_t *list = json_array();
	size_t i;
	json_t *o;

	json_array_foreach((json_t *)(uintptr_t)after, i, o)
	{
		const char *key = et_json_get_text(o, "key", "");
		const json_t *old = et_config_setting(before, key);
		if (old == NULL ||
		    !is_same(json_object_get(old, "value"), json_object_get(o, "value"))) {
			difference_add(list, old, o);
		}
	}
	json_array_foreach((json_t *)(uintptr_t)before, i, o)
	{
		if (et_config_setting(after, et_json_get_text(o, "key", "")) == NULL) {
			difference_add(list, o, NULL);
		}
	}
	return list;
}

/* ---- As a file ---- */

struct page {
	struct et_buffer *b;
	char part[64];	/* that is open, or "" */
	char items[96]; /* the list that is open: "capture", "recording.rules" */
	char item[96];	/* the item of it that is open: "capture[0]" */
};

/* "recording.rules[3]" and "capture[0].filter" in pieces. */
struct pieces {
	char part[64];
	char name[64];	/* "" for `cluster: x` */
	char items[96]; /* "" outside of lists */
	char item[96];
	bool whole; /* the item itself */
};

static void pieces_take(const char *key, struct pieces *ret)
{
	const char *open = strchr(key, '[');
	const char *close = open != NULL ? strchr(open, ']') : NULL;
	const char *dot = strchr(key, '.');

	*ret = (struct pieces){ .whole = close != NULL && close[1] == '\0' };
	size_t part = strcspn(key, ".[");
	(void)snprintf(ret->part, sizeof(ret->part), "%.*s", (int)part, key);
	if (close != NULL) {
		(void)snprintf(ret->items, sizeof(ret->items), "%.*s", (int)(open - key), key);
		(void)snprintf(ret->item, sizeof(ret->item), "%.*s", (int)(close + 1 - key), key);
		(void)snprintf(ret->name, sizeof(ret->name), "%s",
			       ret->whole ? "" : close + 2); /* behind "]." */
	} else if (dot != NULL) {
		(void)snprintf(ret->name, sizeof(ret->name), "%s", dot + 1);
	}
}

static void line_value(struct page *p, size_t from, const json_t *setting)
{
	const char *source = et_json_get_text(setting, "source", "default");
	char *value = json_dumps(json_object_get(setting, "value"),
				 JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(17));

	et_buffer_printf(p->b, "%s", value != NULL ? value : "null");
	free(value);
	size_t used = p->b->size - from;
	et_buffer_printf(p->b, "%*s  # %s\n", used < 44 ? (int)(44 - used) : 0, "",
			 et_json_get_text(setting, "at", source));
}

static void line_write(struct page *p, const json_t *setting)
{
	struct pieces k;

	pieces_take(et_json_get_text(setting, "key", ""), &k);
	bool alone = k.name[0] == '\0' && k.items[0] == '\0'; /* "cluster" */
	if (!alone && strcmp(p->part, k.part) != 0) {
		et_buffer_printf(p->b, "%s:\n", k.part);
		p->items[0] = p->item[0] = '\0';
	}
	(void)snprintf(p->part, sizeof(p->part), "%s", k.part);
	if (k.items[0] != '\0' && strcmp(p->items, k.items) != 0) {
		const char *name = strchr(k.items, '.');
		(void)snprintf(p->items, sizeof(p->items), "%s", k.items);
		if (name != NULL) {
			et_buffer_printf(p->b, "  %s:\n", name + 1);
		}
	}
	size_t from = p->b->size;
	if (alone) {
		et_buffer_printf(p->b, "%s: ", k.part);
	} else if (k.whole) {
		et_buffer_printf(p->b, "    - ");
	} else if (k.items[0] != '\0') {
		bool first = strcmp(p->item, k.item) != 0;
		et_buffer_printf(p->b, "  %s %s: ", first ? "-" : " ", k.name);
	} else {
		et_buffer_printf(p->b, "  %s: ", k.name);
	}
	(void)snprintf(p->item, sizeof(p->item), "%s", k.item);
	line_value(p, from, setting);
}

/* What cannot be written: a text that is not there. */
static bool is_empty(const json_t *setting)
{
	const char *text = json_string_value(json_object_get(setting, "value"));

	return text != NULL && *text == '\0' &&
	       !begins(et_json_get_text(setting, "key", ""), "capture[");
}

void et_config_settings_yaml(const json_t *settings, bool defaults, struct et_buffer *ret)
{
	struct page p = { .b = ret };
	size_t i;
	json_t *o;

	json_array_foreach((json_t *)(uintptr_t)settings, i, o)
	{
		bool said = strcmp(et_json_get_text(o, "source", ""), "default") != 0;
		if ((said || defaults) && !is_empty(o)) {
			line_write(&p, o);
		}
	}
}
