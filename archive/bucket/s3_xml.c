#include "archive/bucket/s3_xml.h"

#include <expat.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 8
#define TEXT_SIZE_MAX 4096 /* bytes inside one element: a key of 1024 with each byte escaped */

struct xml_walk {
	XML_Parser parser;
	unsigned depth;
	char path[DEPTH_MAX][32]; /* names of the open elements, cut; namespaces are left out */
	char text[TEXT_SIZE_MAX + 1];
	size_t text_size;
	int code; /* why it was stopped */
	/* At the end of each element that has no children; `depth` counts it. */
	void (*leaf)(struct xml_walk *w);
	void (*end)(struct xml_walk *w);
	void *arg;
	bool had_child;
	char root[32];
};

static void walk_stop(struct xml_walk *w, int code)
{
	if (w->code == 0) {
		w->code = code;
	}
	(void)XML_StopParser(w->parser, XML_FALSE);
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	(void)attributes;
	struct xml_walk *w = arg;
	if (w->code != 0) {
		return; /* stopped: expat may still hand out what it has */
	}
	if (w->depth >= DEPTH_MAX) {
		walk_stop(w, ET_EMALFORMED);
		return;
	}
	(void)snprintf(w->path[w->depth], sizeof(w->path[0]), "%s", name);
	if (w->depth == 0) {
		(void)snprintf(w->root, sizeof(w->root), "%s", name);
	}
	w->depth++;
	w->text_size = 0;
	w->had_child = false;
}

static void on_text(void *arg, const XML_Char *text, int size)
{
	struct xml_walk *w = arg;
	if (w->code != 0) {
		return;
	}
	if ((size_t)size > TEXT_SIZE_MAX - w->text_size) {
		walk_stop(w, ET_EMALFORMED);
		return;
	}
	memcpy(w->text + w->text_size, text, (size_t)size);
	w->text_size += (size_t)size;
}

static void on_end(void *arg, const XML_Char *name)
{
	(void)name;
	struct xml_walk *w = arg;
	if (w->code != 0) {
		return;
	}
	w->text[w->text_size] = '\0';
	if (!w->had_child) {
		w->leaf(w);
	}
	if (w->end != NULL) {
		w->end(w);
	}
	w->had_child = true;
	w->text_size = 0;
	w->depth--;
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
		       const XML_Char *public, int has_subset)
{
	(void)name;
	(void)system;
	(void)public;
	(void)has_subset;
	walk_stop(arg, ET_EMALFORMED);
}

static int walk_run(struct xml_walk *w, const void *data, size_t size)
{
	if (size > S3_XML_SIZE_MAX) {
		return ET_EMALFORMED;
	}
	w->parser = XML_ParserCreate("UTF-8");
	if (w->parser == NULL) {
		return -ENOMEM;
	}
	XML_SetUserData(w->parser, w);
	XML_SetElementHandler(w->parser, on_start, on_end);
	XML_SetCharacterDataHandler(w->parser, on_text);
	XML_SetStartDoctypeDeclHandler(w->parser, on_doctype);
	enum XML_Status status = XML_Parse(w->parser, data, (int)size, XML_TRUE);
	XML_ParserFree(w->parser);
	if (w->code != 0) {
		return w->code;
	}
	return status == XML_STATUS_OK ? 0 : ET_EMALFORMED;
}

static bool walk_is_at(const struct xml_walk *w, const char *a, const char *b)
{
	unsigned depth = b == NULL ? 2 : 3;
	return w->depth == depth && strcmp(w->path[1], a) == 0 &&
	       (b == NULL || strcmp(w->path[2], b) == 0);
}

/* ---- Error ---- */

static void copy_printable(char *ret, size_t size, const char *text)
{
	size_t i = 0;
	for (; text[i] != '\0' && i + 1 < size; i++) {
		ret[i] = (char)(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?');
	}
	ret[i] = '\0';
}

static void error_leaf(struct xml_walk *w)
{
	struct s3_xml_error *e = w->arg;
	if (walk_is_at(w, "Code", NULL)) {
		copy_printable(e->code, sizeof(e->code), w->text);
	} else if (walk_is_at(w, "Message", NULL)) {
		copy_printable(e->message, sizeof(e->message), w->text);
	} else if (walk_is_at(w, "Region", NULL)) {
		copy_printable(e->region, sizeof(e->region), w->text);
	}
}

bool s3_xml_error(const void *data, size_t size, struct s3_xml_error *ret)
{
	struct s3_xml_error e = { 0 };
	struct xml_walk w = { .leaf = error_leaf, .arg = &e };
	*ret = (struct s3_xml_error){ 0 };
	/* Cut short, its code counts all the same: what matters is that it is an error. */
	(void)walk_run(&w, data, size);
	if (strcmp(w.root, "Error") != 0) {
		return false;
	}
	if (e.code[0] == '\0') {
		(void)snprintf(e.code, sizeof(e.code), "Error");
	}
	*ret = e;
	return true;
}

/* ---- List ---- */

struct list_walk {
	struct s3_xml_page *page;
	char key[TEXT_SIZE_MAX + 1];
	bool has_key;
	bool has_size;
	bool has_truncated;
	uint64_t size;
};

static bool size_parse(const char *text, uint64_t *ret)
{
	uint64_t v = 0;
	size_t digits = 0;
	for (; text[digits] >= '0' && text[digits] <= '9' && digits < 18; digits++) {
		v = v * 10 + (uint64_t)(text[digits] - '0');
	}
	*ret = v;
	return digits > 0 && text[digits] == '\0';
}

static void list_leaf(struct xml_walk *w)
{
	struct list_walk *l = w->arg;
	if (walk_is_at(w, "Contents", "Key")) {
		memcpy(l->key, w->text, w->text_size + 1);
		l->has_key = true;
	} else if (walk_is_at(w, "Contents", "Size")) {
		l->has_size = size_parse(w->text, &l->size);
	} else if (walk_is_at(w, "IsTruncated", NULL)) {
		l->has_truncated = true;
		l->page->truncated = strcmp(w->text, "true") == 0;
	} else if (walk_is_at(w, "NextContinuationToken", NULL)) {
		if (w->text_size >= sizeof(l->page->token)) {
			walk_stop(w, ET_EMALFORMED);
			return;
		}
		memcpy(l->page->token, w->text, w->text_size + 1);
	}
}

static void list_end(struct xml_walk *w)
{
	struct list_walk *l = w->arg;
	if (!walk_is_at(w, "Contents", NULL)) {
		return;
	}
	if (!l->has_key || !l->has_size) {
		walk_stop(w, ET_EMALFORMED);
		return;
	}
	int rc = l->page->fn(l->page->arg, l->key, l->size);
	l->has_key = false;
	l->has_size = false;
	if (rc != 0) {
		walk_stop(w, rc);
	}
}

int s3_xml_list(const void *data, size_t size, struct s3_xml_page *page, struct et_error *reterr)
{
	struct list_walk l = { .page = page };
	struct xml_walk w = { .leaf = list_leaf, .end = list_end, .arg = &l };
	page->truncated = false;
	page->token[0] = '\0';
	int rc = walk_run(&w, data, size);
	if (rc == 0 && (strcmp(w.root, "ListBucketResult") != 0 || !l.has_truncated)) {
		rc = ET_EMALFORMED;
	}
	return rc == ET_EMALFORMED ? et_fail(reterr, rc, "list: the server's answer") : rc;
}
