/* Every command that a message, a comment or a page names is in the table, with its options.
 *
 * What is read: string literals of C files (joined where the compiler joins them) and what stands
 * between backticks in their comments; between backticks, and lines of code, in Markdown and in the
 * API's description; alerts, the console, roff as they are. "evertape" and a word is a command when
 * the word is the first one of a command; then all its words must be there, and every --option up
 * to the end of the sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/bytes.h"
#include "node/io/file.h"
#include "ops/cli/cli.h"

#define FILE_BYTES_MAX (4UL * 1024 * 1024)
#define WORDS_MAX 4

struct look {
	const char *file;
	unsigned line;
	unsigned named; /* commands */
	unsigned wrong;
	bool quiet;
};

static void wrong(struct look *l, const char *what, const char *text, size_t size)
{
	l->wrong++;
	if (!l->quiet) {
		print_error("%s:%u: %s: %.*s\n", l->file, l->line, what,
			    (int)(size < 100 ? size : 100), text);
	}
}

/* ---- One text ---- */

/* The word at `text`: a-z, 0-9 and -, or "" */
static size_t word_of(const char *text, size_t size)
{
	size_t n = 0;
	while (n < size && (islower((unsigned char)text[n]) || isdigit((unsigned char)text[n]) ||
			    (n > 0 && text[n] == '-'))) {
		n++;
	}
	/* "node/3", "a.b", "UPPER" are no words of commands; a dot may end a sentence. */
	bool ends = n == size || strchr(" ,;:)`'\"\n>|.", text[n]) != NULL;
	bool name = n + 1 < size && text[n] == '.' && isalnum((unsigned char)text[n + 1]);
	return ends && !name && n > 0 && text[0] != '-' ? n : 0;
}

static bool begins_with(const char *path, const char *words)
{
	size_t n = strlen(words);
	return strncmp(path, words, n) == 0 && (path[n] == '\0' || path[n] == ' ');
}

static bool is_group(const char *words)
{
	ET_CLI_EACH(c)
	{
		if (begins_with(c->path, words)) {
			return true;
		}
	}
	return false;
}

static const struct et_cli_command *command_of(const char *words)
{
	ET_CLI_EACH(c)
	{
		if (strcmp(c->path, words) == 0) {
			return c;
		}
	}
	return NULL;
}

static bool option_is_in(const struct et_cli_option *o, const char *name, size_t size)
{
	for (; o != NULL && o->name != NULL; o++) {
		if (strlen(o->name) == size && memcmp(o->name, name, size) == 0) {
			return true;
		}
	}
	return false;
}

/* As many words as make a command; NULL with *ret_unknown: it begins like one, and is none. "an
 * evertape cluster" alone is no command. */
static const struct et_cli_command *command_at(const char *text, size_t size, bool *ret_unknown)
{
	const struct et_cli_command *found = NULL;
	char words[128] = "";
	size_t at = 0;

	*ret_unknown = false;
	for (unsigned i = 0; i < WORDS_MAX; i++) {
		size_t n = word_of(text + at, size - at);
		size_t used = strlen(words);
		if (n == 0 || used + n + 2 > sizeof(words)) {
			break;
		}
		(void)snprintf(words + used, sizeof(words) - used, "%s%.*s", used > 0 ? " " : "",
			       (int)n, text + at);
		if (!is_group(words)) {
			*ret_unknown = used > 0 && found == NULL;
			break;
		}
		found = command_of(words) != NULL ? command_of(words) : found;
		at += n;
		if (at == size || text[at] != ' ') {
			break;
		}
		at++;
	}
	return found;
}

static void options_look(struct look *l, const struct et_cli_command *c, const char *text,
			 size_t size)
{
	for (size_t at = 0; at + 2 < size; at++) {
		bool starts = (at == 0 || strchr(" ([`", text[at - 1]) != NULL) &&
			      text[at] == '-' && text[at + 1] == '-' &&
			      islower((unsigned char)text[at + 2]);
		if (!starts) {
			continue;
		}
		const char *name = text + at + 2;
		size_t n = 0;
		while (at + 2 + n < size && (islower((unsigned char)name[n]) || name[n] == '-')) {
			n++;
		}
		if (!option_is_in(c->options, name, n) && !option_is_in(et_cli_globals, name, n)) {
			wrong(l, c->path, text + at, n + 2);
		}
	}
}

/* Is the first word one of a command's, or no word at all? */
static bool is_group_at(const char *text, const char *end)
{
	char word[32];
	size_t n = word_of(text, (size_t)(end - text));

	(void)snprintf(word, sizeof(word), "%.*s", (int)n, text);
	return n == 0 || is_group(word);
}

/* In brackets it ends with them: "(evertape raft peers); or --force". */
static const char *sentence_end(const char *text, const char *end)
{
	unsigned open = 0;

	for (const char *p = text; p < end; p++) {
		if (*p == '(') {
			open++;
		} else if (*p == ')' && open-- == 0) {
			return p;
		} else if (*p == '\n') {
			return p;
		}
	}
	return end;
}

/* A text in which commands may be named; `code`: whatever follows "evertape" is one. */
static void text_look(struct look *l, const char *text, size_t size, bool code)
{
	static const char name[] = "evertape ";
	const char *end = text + size;
	const char *p = memmem(text, size, name, sizeof(name) - 1);

	while (p != NULL) {
		const char *words = p + sizeof(name) - 1;
		bool alone = p == text || strchr(" (\"'`:;,\n$", p[-1]) != NULL;
		const char *next = memmem(words, (size_t)(end - words), name, sizeof(name) - 1);
		const char *stop = next != NULL ? next : end;
		bool unknown = false;
		stop = sentence_end(words, stop);
		if (p > text && p[-1] == '"') { /* in quotes, it ends with them */
			const char *close = memchr(words, '"', (size_t)(stop - words));
			stop = close != NULL ? close : stop;
		}
		const struct et_cli_command *c =
			command_at(words, (size_t)(stop - words), &unknown);
		if (alone && c != NULL) {
			l->named++;
			options_look(l, c, words, (size_t)(stop - words));
		} else if (alone && (unknown || (code && !is_group_at(words, stop)))) {
			wrong(l, "no such command", p, (size_t)(stop - p));
		}
		p = next;
	}
}

/* ---- Files ---- */

/* "evertape kek", "evertape dek/1": what a key or a signature is made with, in pages of formats. */
static bool is_label(const char *text, const char *end)
{
	static const char kek[] = "evertape kek";

	return (end > text + 2 && end[-2] == '/' && isdigit((unsigned char)end[-1])) ||
	       ((size_t)(end - text) == sizeof(kek) - 1 && memcmp(text, kek, sizeof(kek) - 1) == 0);
}

/* What stands between backticks. */
static void quoted_look(struct look *l, const char *text, size_t size)
{
	const char *end = text + size;
	const char *open = memchr(text, '`', size);

	while (open != NULL && open + 1 < end) {
		const char *close = memchr(open + 1, '`', (size_t)(end - open - 1));
		if (close == NULL) {
			return;
		}
		if (memchr(open, '\n', (size_t)(close - open)) == NULL &&
		    !is_label(open + 1, close)) {
			text_look(l, open + 1, (size_t)(close - open - 1), true);
		}
		open = memchr(close + 1, '`', (size_t)(end - close - 1));
	}
}

/* A string literal at `p`, behind its quote, into `b`; the end. Escapes become a space. */
static const char *literal_read(const char *p, const char *end, struct et_buffer *b)
{
	while (p < end && *p != '"') {
		if (*p == '\\' && p + 1 < end) {
			et_buffer_add8(b, p[1] == 'n' ? '\n' : p[1] == '"' ? '"' : ' ');
			p += 2;
		} else {
			et_buffer_add8(b, (uint8_t)*p);
			p++;
		}
	}
	return p < end ? p + 1 : end;
}

static unsigned lines_in(const char *from, const char *to)
{
	unsigned n = 0;
	for (const char *p = from; p < to; p++) {
		n += *p == '\n';
	}
	return n;
}

/* Adjacent literals are one text; what the preprocessor joins in between is a gap. */
static void c_look(struct look *l, const char *text, size_t size)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	const char *end = text + size;
	const char *begun = text;

	for (const char *p = text; p < end;) {
		if (*p == '"') {
			begun = b.size == 0 ? p : begun;
			p = literal_read(p + 1, end, &b);
			continue;
		}
		if (p + 1 < end && p[0] == '/' && p[1] == '*') {
			const char *close = memmem(p, (size_t)(end - p), "*/", 2);
			close = close != NULL ? close + 2 : end;
			l->line = 1 + lines_in(text, p);
			quoted_look(l, p, (size_t)(close - p));
			p = close;
			continue;
		}
		if (b.size > 0 && !isspace((unsigned char)*p)) {
			l->line = 1 + lines_in(text, begun);
			text_look(l, (const char *)b.data, b.size, false);
			b.size = 0;
		}
		p += *p != '\'' || p + 2 >= end ? 1 : p[1] == '\\' ? 4 : 3;
	}
}

/* Lines of code blocks, and what stands between backticks. */
static void page_look(struct look *l, const char *text, size_t size)
{
	const char *end = text + size;
	bool block = false;

	l->line = 0;
	for (const char *p = text; p < end;) {
		const char *stop = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((stop != NULL ? stop : end) - p);
		size_t indent = 0;
		l->line++;
		while (indent < n && p[indent] == ' ') {
			indent++;
		}
		if (n - indent >= 3 && memcmp(p + indent, "```", 3) == 0) {
			block = !block;
		} else if (!block) {
			quoted_look(l, p, n);
		} else if (n - indent > 9 && memcmp(p + indent, "evertape ", 9) == 0) {
			const char *note = memmem(p, n, "  #", 3);
			text_look(l, p, note != NULL ? (size_t)(note - p) : n, true);
		}
		p += n + 1;
	}
}

static bool ends_with(const char *name, const char *end)
{
	size_t n = strlen(name);
	return n > strlen(end) && strcmp(name + n - strlen(end), end) == 0;
}

static void file_look(struct look *l, const FTSENT *f)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer b = { 0 };
	bool is_c = ends_with(f->fts_name, ".c") || ends_with(f->fts_name, ".h");
	bool is_page = ends_with(f->fts_name, ".md") || ends_with(f->fts_name, ".yaml");
	bool is_text = ends_with(f->fts_name, ".yml") || ends_with(f->fts_name, ".js") ||
		       ends_with(f->fts_name, ".html") || ends_with(f->fts_name, ".8") ||
		       ends_with(f->fts_name, ".Debian");

	if (!is_c && !is_page && !is_text) {
		return;
	}
	l->file = f->fts_path;
	assert_int_equal(et_file_read(f->fts_accpath, FILE_BYTES_MAX, &b, NULL), 0);
	if (is_c) {
		c_look(l, (const char *)b.data, b.size);
	} else if (is_text) {
		l->line = 0;
		text_look(l, (const char *)b.data, b.size, false);
	} else {
		page_look(l, (const char *)b.data, b.size);
	}
}

static void every_command_that_is_named_exists(void **state)
{
	char *const roots[] = {
		(char *)(uintptr_t) "../../../node",
		(char *)(uintptr_t) "../../../raft",
		(char *)(uintptr_t) "../../../replication",
		(char *)(uintptr_t) "../../../archive",
		(char *)(uintptr_t) "../../../ops",
		(char *)(uintptr_t) "../../../README.md",
		(char *)(uintptr_t) "../../../cluster-tests",
		(char *)(uintptr_t) "../../../SECURITY.md",
		(char *)(uintptr_t) "../../../ARCHITECTURE.md",
		NULL,
	};
	struct look l = { 0 };
	FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	FTSENT *f;

	(void)state;
	assert_non_null(tree);
	while ((f = fts_read(tree)) != NULL) {
		assert_false(f->fts_info == FTS_NS || f->fts_info == FTS_DNR ||
			     f->fts_info == FTS_ERR); /* it is not there, or cannot be read */
		/* Tests name commands that are not there, decisions some that were. */
		bool skip =
			f->fts_info == FTS_D && f->fts_level > 0 &&
			(strcmp(f->fts_name, "test") == 0 || strcmp(f->fts_name, "decisions") == 0);
		if (skip) {
			(void)fts_set(tree, f, FTS_SKIP);
		} else if (f->fts_info == FTS_F) {
			file_look(&l, f);
		}
	}
	(void)fts_close(tree);
	assert_int_equal(l.wrong, 0);
	assert_true(l.named > 300); /* It has looked. */
}

static void what_is_not_there_is_found(void **state)
{
	static const struct {
		const char *text;
		unsigned named;
		unsigned wrong;
	} rows[] = {
		{ "f(\"evertape status\");", 1, 0 },
		{ "f(\"evertape node \" /* or */\n\t\"list --wide\");", 1, 1 },
		{ "f(\"evertape node lists\");", 0, 1 },
		{ "f(\"evertape key root show, then: evertape key root chnge\");", 1, 1 },
		{ "f(\"evertape node remove NODE --reason dead; --force goes on, --now not\");", 1,
		  1 },
		{ "f(\"evertape grant/1\", \"an evertape cluster CA\");", 0, 0 },
		{ "/* `evertape nodes` and evertape nodes */", 0, 1 },
		{ "char c = '\"'; f(\"evertape statuss\"); /* no command: prose */", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		struct look l = { .file = "", .quiet = true };
		c_look(&l, rows[i].text, strlen(rows[i].text));
		assert_int_equal(l.named, rows[i].named);
		assert_int_equal(l.wrong, rows[i].wrong);
	}
	static const char page[] = "an evertape node\n`evertape nod`\n```\nevertape status --x\n"
				   "  evertape status  # --y\n```\n";
	struct look l = { .file = "", .quiet = true };
	page_look(&l, page, sizeof(page) - 1);
	assert_int_equal(l.named, 2);
	assert_int_equal(l.wrong, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_there_is_found),
		cmocka_unit_test(every_command_that_is_named_exists),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
