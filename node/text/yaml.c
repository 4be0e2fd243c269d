#include "node/text/yaml.h"

#include <libfyaml.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "node/base/bytes.h"
#include "node/text/utf8_internal.h"
#include "node/text/yaml_internal.h"

/* libfyaml yields events; the tree is ours. A stack of open lists and maps grows it:
 *
 *   scalar, list, map in a list      append
 *   scalar in a map without a key    becomes the key, which must be new
 *   scalar, list, map after a key    append under that key
 *   end of list or map               pop
 *
 * Nodes and texts live in chunks that are freed as a whole with the document. */

#define CHUNK_SIZE (16 * 1024)
#define MAP_KEYS_MAX 1024 /* keys of one map; they are searched one by one */

struct chunk {
	struct chunk *next; /* owned */
	size_t used;
	size_t size;
	_Alignas(max_align_t) uint8_t data[];
};

struct et_yaml {
	struct chunk *chunks; /* owned */
	const char *name;     /* view: of a chunk */
	const struct et_yaml_node *root;
	uint32_t node_count;
};

struct frame {
	struct et_yaml_node *node; /* view: the open list or map */
	struct et_yaml_node *last; /* view: its last child */
	const char *key;	   /* view: waits for its value, or NULL */
	struct fy_mark key_mark;
};

struct builder {
	struct et_yaml *y;
	struct frame stack[ET_YAML_DEPTH_MAX];
	uint32_t depth;
	struct et_yaml_node *root; /* view */
	bool over;		   /* the document has ended */
	struct et_error *reterr;
};

static void *yaml_alloc(struct et_yaml *y, size_t size)
{
	size = (size + 15) & ~(size_t)15;
	if (y->chunks == NULL || y->chunks->size - y->chunks->used < size) {
		size_t room = size > CHUNK_SIZE ? size : CHUNK_SIZE;
		struct chunk *c = malloc(sizeof(*c) + room);
		if (c == NULL) {
			return NULL;
		}
		*c = (struct chunk){ .next = y->chunks, .size = room };
		y->chunks = c;
	}
	void *p = y->chunks->data + y->chunks->used;
	y->chunks->used += size;
	return p;
}

static const char *yaml_copy(struct et_yaml *y, const char *text, size_t size)
{
	char *copy = yaml_alloc(y, size + 1);
	if (copy != NULL) {
		if (size > 0) {
			memcpy(copy, text, size);
		}
		copy[size] = '\0';
	}
	return copy;
}

struct et_yaml *et_yaml_free(struct et_yaml *y)
{
	if (y == NULL) {
		return NULL;
	}
	while (y->chunks != NULL) {
		struct chunk *next = y->chunks->next;
		free(y->chunks);
		y->chunks = next;
	}
	free(y);
	return NULL;
}

const struct et_yaml_node *et_yaml_root(const struct et_yaml *y)
{
	return y->root;
}

const char *et_yaml_document_name(const struct et_yaml *y)
{
	return y->name;
}

/* An error at `mark`, or at the beginning where there is none. */
static int ET_PRINTF(4, 5)
	builder_fail(struct builder *b, int code, const struct fy_mark *mark, const char *fmt, ...)
{
	char text[320];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	int line = mark != NULL ? mark->line + 1 : 1;
	int column = mark != NULL ? mark->column + 1 : 1;
	return et_fail_plain(b->reterr, code, "%s:%d:%d: %s", b->y->name, line, column, text);
}

static struct et_yaml_node *node_new(struct builder *b, enum et_yaml_kind kind,
				     const struct fy_mark *mark)
{
	struct et_yaml_node *node = yaml_alloc(b->y, sizeof(*node));
	if (node == NULL) {
		return NULL;
	}
	*node = (struct et_yaml_node){
		.kind = kind,
		.line = mark != NULL ? (uint32_t)mark->line + 1 : 1,
		.column = mark != NULL ? (uint32_t)mark->column + 1 : 1,
		.text = "",
		.document = b->y,
	};
	b->y->node_count++;
	return node;
}

/* Hang `node` where the document stands now. */
static int builder_append(struct builder *b, struct et_yaml_node *node)
{
	if (b->depth == 0) {
		et_assert(b->root == NULL);
		b->root = node;
		return 0;
	}
	struct frame *f = &b->stack[b->depth - 1];
	if (f->node->kind == ET_YAML_MAP) {
		et_assert(f->key != NULL);
		node->key = ET_TAKE(f->key);
		node->key_line = (uint32_t)f->key_mark.line + 1;
		node->key_column = (uint32_t)f->key_mark.column + 1;
	}
	if (f->last == NULL) {
		f->node->first = node;
	} else {
		f->last->next = node;
	}
	f->last = node;
	f->node->count++;
	return 0;
}

/* Does the document expect a key now? */
static bool builder_wants_key(const struct builder *b)
{
	return b->depth > 0 && b->stack[b->depth - 1].node->kind == ET_YAML_MAP &&
	       b->stack[b->depth - 1].key == NULL;
}

static int builder_key(struct builder *b, const char *text, const struct fy_mark *mark)
{
	struct frame *f = &b->stack[b->depth - 1];
	if (*text == '\0') {
		return builder_fail(b, ET_EMALFORMED, mark, "a key is empty");
	}
	if (f->node->count >= MAP_KEYS_MAX) {
		return builder_fail(b, ET_ELIMIT, mark, "more than %d keys in one map",
				    MAP_KEYS_MAX);
	}
	const struct et_yaml_node *same = et_yaml_get(f->node, text);
	if (same != NULL) {
		return builder_fail(b, ET_EMALFORMED, mark,
				    "duplicate key \"%.64s\" (first on line %u)", text,
				    same->key_line);
	}
	f->key = text;
	f->key_mark = mark != NULL ? *mark : (struct fy_mark){ 0 };
	return 0;
}

static int builder_scalar(struct builder *b, struct fy_event *event, const struct fy_mark *mark)
{
	size_t size = 0;
	const char *text = fy_token_get_text(event->scalar.value, &size);
	if (text == NULL) {
		text = "";
		size = 0;
	}
	if (memchr(text, '\0', size) != NULL) {
		return builder_fail(b, ET_EMALFORMED, mark, "a NUL character");
	}
	const char *copy = yaml_copy(b->y, text, size);
	if (copy == NULL) {
		return builder_fail(b, -ENOMEM, mark, "no memory");
	}
	if (builder_wants_key(b)) {
		return builder_key(b, copy, mark);
	}
	struct et_yaml_node *node = node_new(b, ET_YAML_SCALAR, mark);
	if (node == NULL) {
		return builder_fail(b, -ENOMEM, mark, "no memory");
	}
	node->text = copy;
	node->plain = event->scalar.value == NULL ||
		      fy_token_scalar_style(event->scalar.value) == FYSS_PLAIN;
	return builder_append(b, node);
}

static int builder_open(struct builder *b, enum et_yaml_kind kind, const struct fy_mark *mark)
{
	if (builder_wants_key(b)) {
		return builder_fail(b, ET_EMALFORMED, mark, "a key must be text");
	}
	if (b->depth == ET_YAML_DEPTH_MAX) {
		return builder_fail(b, ET_ELIMIT, mark, "nested deeper than %d levels",
				    ET_YAML_DEPTH_MAX);
	}
	struct et_yaml_node *node = node_new(b, kind, mark);
	if (node == NULL) {
		return builder_fail(b, -ENOMEM, mark, "no memory");
	}
	int rc = builder_append(b, node);
	b->stack[b->depth++] = (struct frame){ .node = node };
	return rc;
}

static int builder_check(struct builder *b, const struct fy_mark *mark,
			 const struct fy_token *anchor, const struct fy_token *tag)
{
	if (anchor != NULL) {
		return builder_fail(
			b, ET_EMALFORMED, mark,
			"anchors (&) are not allowed: write the value where it is used");
	}
	if (tag != NULL) {
		return builder_fail(b, ET_EMALFORMED, mark, "tags (!) are not allowed");
	}
	if (b->y->node_count >= ET_YAML_NODES_MAX) {
		return builder_fail(b, ET_ELIMIT, mark, "more than %d values", ET_YAML_NODES_MAX);
	}
	return 0;
}

static int builder_event(struct builder *b, struct fy_event *event)
{
	const struct fy_mark *mark = fy_event_start_mark(event);
	int rc;
	switch (event->type) {
	case FYET_SCALAR:
		rc = builder_check(b, mark, event->scalar.anchor, event->scalar.tag);
		return rc < 0 ? rc : builder_scalar(b, event, mark);
	case FYET_SEQUENCE_START:
		rc = builder_check(b, mark, event->sequence_start.anchor,
				   event->sequence_start.tag);
		return rc < 0 ? rc : builder_open(b, ET_YAML_LIST, mark);
	case FYET_MAPPING_START:
		rc = builder_check(b, mark, event->mapping_start.anchor, event->mapping_start.tag);
		return rc < 0 ? rc : builder_open(b, ET_YAML_MAP, mark);
	case FYET_SEQUENCE_END:
	case FYET_MAPPING_END:
		et_assert(b->depth > 0);
		b->depth--;
		return 0;
	case FYET_ALIAS:
		return builder_fail(b, ET_EMALFORMED, mark,
				    "aliases (*) are not allowed: write the value out");
	case FYET_DOCUMENT_START:
		if (b->over) {
			return builder_fail(b, ET_EMALFORMED, mark, "a second document (---)");
		}
		return 0;
	case FYET_DOCUMENT_END:
		b->over = true;
		return 0;
	case FYET_NONE:
	case FYET_STREAM_START:
	case FYET_STREAM_END:
	default:
		return 0;
	}
}

/* What libfyaml found wrong, as "name:line:col: sentence". */
static int builder_syntax(struct builder *b, struct fy_diag *diag)
{
	void *at = NULL;
	const struct fy_diag_error *e = fy_diag_errors_iterate(diag, &at);
	if (e == NULL || e->msg == NULL) {
		return builder_fail(b, ET_EMALFORMED, NULL, "this is not YAML");
	}
	struct fy_mark mark = { .line = e->line > 0 ? e->line - 1 : 0,
				.column = e->column > 0 ? e->column - 1 : 0 };
	return builder_fail(b, ET_EMALFORMED, &mark, "%s", e->msg);
}

static int builder_run(struct builder *b, struct fy_parser *parser, struct fy_diag *diag)
{
	for (;;) {
		struct fy_event *event = fy_parser_parse(parser);
		if (event == NULL) {
			break;
		}
		int rc = builder_event(b, event);
		bool last = event->type == FYET_STREAM_END;
		fy_parser_event_free(parser, event);
		if (rc < 0) {
			return rc;
		}
		if (last) {
			break;
		}
	}
	if (fy_parser_get_stream_error(parser) || fy_diag_got_error(diag) || b->depth > 0) {
		return builder_syntax(b, diag);
	}
	return 0;
}

static int yaml_build(struct builder *b, const char *data, size_t size)
{
	struct fy_diag_cfg diag_cfg;
	fy_diag_cfg_default(&diag_cfg);
	diag_cfg.fp = NULL;
	diag_cfg.colorize = false;
	struct fy_diag *diag = fy_diag_create(&diag_cfg);
	if (diag == NULL) {
		return builder_fail(b, -ENOMEM, NULL, "no memory");
	}
	fy_diag_set_collect_errors(diag, true);
	struct fy_parse_cfg cfg = {
		.search_path = "",
		.flags = FYPCF_COLLECT_DIAG | FYPCF_JSON_NONE | FYPCF_DEFAULT_VERSION_1_2,
		.diag = diag,
	};
	int rc;
	struct fy_parser *parser = fy_parser_create(&cfg);
	if (parser == NULL || fy_parser_set_string(parser, data, size) != 0) {
		rc = builder_fail(b, -ENOMEM, NULL, "no memory");
	} else {
		rc = builder_run(b, parser, diag);
	}
	fy_parser_destroy(parser);
	fy_diag_destroy(diag);
	return rc;
}

/* Does a new line begin behind this character? All that any version of YAML counts. */
static bool is_line_end(const uint8_t *p, size_t size)
{
	return p[0] == '\n' || p[0] == '\r' || (size == 2 && p[0] == 0xc2 && p[1] == 0x85) ||
	       (size == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9));
}

/* What the library is not to see. Control characters hide things in a terminal; directives (and
 * what is not UTF-8) keep libfyaml 0.7.12 busy for ever: "%M-" is enough. */
static int yaml_check_characters(struct builder *b, const char *data, size_t size)
{
	struct fy_mark mark = { 0 };
	const uint8_t *p = (const uint8_t *)data;
	bool line_begins = true;
	for (size_t i = 0; i < size;) {
		size_t n = utf8_size(p + i, size - i);
		if (n == 0 || p[i] == 0x7f ||
		    (p[i] < 0x20 && p[i] != '\t' && !is_line_end(p + i, n))) {
			return builder_fail(b, ET_EMALFORMED, &mark,
					    n == 0 && p[i] != 0 ? "this is not UTF-8 (0x%02x)"
								: "a control character (0x%02x)",
					    p[i]);
		}
		if (line_begins && p[i] == '%') {
			return builder_fail(b, ET_EMALFORMED, &mark,
					    "directives (%%) are not allowed");
		}
		line_begins = is_line_end(p + i, n);
		if (p[i] == '\n') {
			mark.line++;
			mark.column = 0;
		} else {
			mark.column++;
		}
		i += n;
	}
	return 0;
}

static int yaml_fill(struct et_yaml *y, const char *name, const char *data, size_t size,
		     struct et_error *reterr)
{
	struct builder b = { .y = y, .reterr = reterr };
	y->name = yaml_copy(y, name, strlen(name));
	if (y->name == NULL) {
		return et_fail(reterr, -ENOMEM, "%s", name);
	}
	if (size > ET_YAML_SIZE_MAX) {
		return builder_fail(&b, ET_ELIMIT, NULL, "%zu bytes, at most %d", size,
				    ET_YAML_SIZE_MAX);
	}
	if (size >= 3 &&
	    memcmp(data, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark says nothing */
		data += 3;
		size -= 3;
	}
	int rc = yaml_check_characters(&b, data, size);
	if (rc == 0 && size > 0) {
		rc = yaml_build(&b, data, size);
	}
	if (rc < 0) {
		return rc;
	}
	bool empty = b.root == NULL ||
		     (b.root->kind == ET_YAML_SCALAR && b.root->plain && b.root->text[0] == '\0');
	if (empty) {
		b.root = node_new(&b, ET_YAML_MAP, NULL);
		if (b.root == NULL) {
			return et_fail(reterr, -ENOMEM, "%s", name);
		}
	}
	y->root = b.root;
	return 0;
}

int et_yaml_parse(const char *name, const void *data, size_t size, struct et_yaml **ret,
		  struct et_error *reterr)
{
	ET_CLEANUP(et_yaml_freep) struct et_yaml *y = calloc(1, sizeof(*y));
	if (y == NULL) {
		return et_fail(reterr, -ENOMEM, "%s", name);
	}
	int rc = yaml_fill(y, name, data, size, reterr);
	if (rc < 0) {
		return rc;
	}
	*ret = ET_TAKE(y);
	return 0;
}

int et_yaml_load(const char *path, struct et_yaml **ret, struct et_error *reterr)
{
	FILE *f = fopen(path, "re");
	if (f == NULL) {
		return et_fail(reterr, -errno, "open '%s'", path);
	}
	/* One byte more than allowed tells too long from just fitting. */
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	uint8_t *room = et_buffer_reserve(&text, ET_YAML_SIZE_MAX + 1);
	if (room == NULL) {
		(void)fclose(f);
		return et_fail(reterr, -ENOMEM, "read '%s'", path);
	}
	errno = 0;
	size_t size = fread(room, 1, ET_YAML_SIZE_MAX + 1, f);
	int error = ferror(f) != 0 ? (errno != 0 ? errno : EIO) : 0;
	(void)fclose(f);
	if (error != 0) {
		return et_fail(reterr, -error, "read '%s'", path);
	}
	return et_yaml_parse(path, room, size, ret, reterr);
}
