/* From one JSON document to what -o asks for. */
#include <errno.h>
#include <fcntl.h>
#include <libsmartcols/libsmartcols.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/io/file.h"
#include "node/text/units.h"
#include "ops/cli/cli.h"

bool et_cli_is_json(const struct et_cli *cli)
{
	return cli->format == ET_CLI_JSON || cli->format == ET_CLI_NDJSON;
}

void et_cli_print_json(struct et_cli *cli, const json_t *document)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	et_json_print(document, cli->format != ET_CLI_NDJSON, &text);
	if (cli->format == ET_CLI_NDJSON) {
		et_buffer_add8(&text, '\n');
	}
	(void)fwrite(text.data, 1, text.size, cli->out);
}

void et_cli_note(struct et_cli *cli, const char *fmt, ...)
{
	if (cli->quiet) {
		return;
	}
	va_list ap;
	va_start(ap, fmt);
	(void)vfprintf(cli->err, fmt, ap);
	va_end(ap);
	(void)fputc('\n', cli->err);
}

/* Where it went wrong: the node that was asked, else the place in a file at the head of the text
 * ("FILE:LINE:COLUMN: ..."), else nowhere in particular. */
static void add_where(const struct et_cli *cli, const struct et_error *e, struct et_buffer *b)
{
	if (cli->asked) {
		et_buffer_printf(b, "%s", cli->node != NULL ? cli->node : cli->socket);
		return;
	}
	for (const char *p = strchr(e->text, ':'); p != NULL; p = strchr(p + 1, ':')) {
		size_t line = strspn(p + 1, "0123456789");
		size_t column = p[1 + line] == ':' ? strspn(p + line + 2, "0123456789") : 0;
		if (line > 0 && column > 0 && p[line + column + 2] == ':') {
			et_buffer_add(b, e->text, (size_t)(p - e->text) + line + column + 2);
			return;
		}
	}
}

void et_cli_print_error(struct et_cli *cli, const struct et_error *e)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	if (et_cli_is_json(cli)) {
		ET_CLEANUP(et_json_freep) json_t *o = json_object();
		et_json_set(o, "schema", json_string("evertape/v1"));
		et_json_set(o, "code", json_string(et_errname(e->code)));
		et_json_set(o, "what",
			    et_json_text(cli->command != NULL ? cli->command->path : "evertape"));
		ET_CLEANUP(et_buffer_release) struct et_buffer where = { 0 };
		add_where(cli, e, &where);
		et_json_set(o, "where", et_json_text_n((const char *)where.data, where.size));
		et_json_set(o, "why", et_json_text(e->text));
		et_json_set(o, "next", et_json_text(e->next));
		et_json_print(o, false, &text);
		et_buffer_add8(&text, '\n');
	} else {
		et_buffer_printf(&text, "evertape: ");
		et_cli_add_safe(&text, e->text);
		et_buffer_add8(&text, '\n');
		if (e->next[0] != '\0') {
			et_buffer_printf(&text, "next: ");
			et_cli_add_safe(&text, e->next);
			et_buffer_add8(&text, '\n');
		}
	}
	(void)fwrite(text.data, 1, text.size, cli->err);
}

/* ---- Values ---- */

/* Control characters of foreign text could drive the terminal, or make two lines of one. */
void et_cli_add_safe(struct et_buffer *b, const char *text)
{
	for (const char *p = text; *p != '\0'; p++) {
		uint8_t c = (uint8_t)*p;
		bool c1 = c == 0xc2 && (uint8_t)p[1] >= 0x80 && (uint8_t)p[1] <= 0x9f;
		et_buffer_add8(b, c < 0x20 || c == 0x7f || c1 ? '?' : c);
		p += c1;
	}
}

static void add_duration_ms(struct et_buffer *b, int64_t ms)
{
	int64_t s = (ms + 500) / 1000;
	if (s >= 3600) {
		et_buffer_printf(b, "%lld:%02lld:%02lld", (long long)(s / 3600),
				 (long long)(s / 60 % 60), (long long)(s % 60));
	} else {
		et_buffer_printf(b, "%02lld:%02lld", (long long)(s / 60), (long long)(s % 60));
	}
}

static void add_ago_ms(struct et_buffer *b, int64_t ms)
{
	int64_t s = ms / 1000;
	if (ms < 1000) {
		et_buffer_printf(b, "%lld ms", (long long)ms);
	} else if (s < 60) {
		et_buffer_printf(b, "%lld s", (long long)s);
	} else if (s < 3600) {
		et_buffer_printf(b, "%lld min %lld s", (long long)(s / 60), (long long)(s % 60));
	} else {
		et_buffer_printf(b, "%lld h %lld min", (long long)(s / 3600),
				 (long long)(s / 60 % 60));
	}
}

/* "2026-11-22T14:05:02.123456Z" as local time to the second; other text as it is. */
static void add_time(struct et_buffer *b, const char *text)
{
	struct tm tm = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (rest == NULL || (*rest != '.' && *rest != 'Z')) {
		et_cli_add_safe(b, text);
		return;
	}
	time_t t = timegm(&tm);
	struct tm local;
	char shown[32];
	if (localtime_r(&t, &local) == NULL ||
	    strftime(shown, sizeof(shown), "%Y-%m-%d %H:%M:%S", &local) == 0) {
		et_cli_add_safe(b, text);
		return;
	}
	et_buffer_printf(b, "%s", shown);
}

static void add_plain(struct et_buffer *b, const json_t *v)
{
	if (v == NULL || json_is_null(v)) {
		et_buffer_add8(b, '-');
	} else if (json_is_string(v)) {
		et_cli_add_safe(b, *json_string_value(v) != '\0' ? json_string_value(v) : "-");
	} else if (json_is_integer(v)) {
		et_buffer_printf(b, "%lld", (long long)json_integer_value(v));
	} else if (json_is_boolean(v)) {
		et_buffer_printf(b, "%s", json_is_true(v) ? "yes" : "no");
	} else {
		et_json_print(v, false, b);
	}
}

static void add_list(struct et_buffer *b, const json_t *list)
{
	size_t i;
	json_t *item;
	if (json_array_size(list) == 0) {
		et_buffer_add8(b, '-');
		return;
	}
	json_array_foreach((json_t *)(uintptr_t)list, i, item)
	{
		if (i > 0) {
			et_buffer_add8(b, ',');
		}
		const json_t *name = json_object_get(item, "name");
		add_plain(b, name != NULL ? name : item);
	}
}

/* The sites and targets that hold a verified copy, each once. */
static void add_copies(struct et_buffer *b, const json_t *copies)
{
	size_t i;
	json_t *copy;
	size_t shown = 0;
	ET_CLEANUP(et_json_freep) json_t *seen = json_object();
	json_array_foreach((json_t *)(uintptr_t)copies, i, copy)
	{
		const char *site = et_json_get_text(copy, "site", "");
		const char *place = et_json_get_text(copy, "target", *site != '\0' ? site : "?");
		if (strcmp(et_json_get_text(copy, "state", ""), "verified") != 0 ||
		    json_object_get(seen, place) != NULL) {
			continue;
		}
		et_json_set(seen, place, json_true());
		et_buffer_printf(b, "%s", shown++ > 0 ? "," : "");
		et_cli_add_safe(b, place);
	}
	if (shown == 0) {
		et_buffer_add8(b, '-');
	}
}

void et_cli_format_value(const json_t *value, enum et_cli_kind kind, struct et_buffer *ret)
{
	bool number = json_is_integer(value);
	int64_t n = number ? (int64_t)json_integer_value(value) : 0;
	char text[ET_UNIT_TEXT_SIZE];
	if (kind == ET_CLI_BYTES && number && n >= 0) {
		et_buffer_printf(ret, "%s", et_bytes_format((uint64_t)n, text));
	} else if (kind == ET_CLI_MS && number) {
		add_duration_ms(ret, n);
	} else if (kind == ET_CLI_AGO_MS && number) {
		add_ago_ms(ret, n);
	} else if (kind == ET_CLI_TIME && json_is_string(value)) {
		add_time(ret, json_string_value(value));
	} else if (kind == ET_CLI_COPIES && json_is_array(value)) {
		add_copies(ret, value);
	} else if (json_is_array(value)) {
		add_list(ret, value);
	} else {
		add_plain(ret, value);
	}
}

/* ---- Tables ---- */

static int table_row(struct libscols_table *table, const struct et_cli *cli, const json_t *row,
		     const struct et_cli_column *columns)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	if (line == NULL) {
		return -ENOMEM;
	}
	size_t n = 0;
	for (const struct et_cli_column *c = columns; c->title != NULL; c++) {
		if (c->wide && cli->format != ET_CLI_WIDE) {
			continue;
		}
		ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
		et_cli_format_value(json_object_get(row, c->key), c->kind, &text);
		et_buffer_add8(&text, '\0');
		if (text.failed || scols_line_set_data(line, n++, (char *)text.data) != 0) {
			return -ENOMEM;
		}
	}
	return 0;
}

static int table_fill(struct libscols_table *table, const struct et_cli *cli, const json_t *rows,
		      const struct et_cli_column *columns)
{
	for (const struct et_cli_column *c = columns; c->title != NULL; c++) {
		if (c->wide && cli->format != ET_CLI_WIDE) {
			continue;
		}
		bool right = c->kind == ET_CLI_NUMBER || c->kind == ET_CLI_BYTES ||
			     c->kind == ET_CLI_MS || c->kind == ET_CLI_AGO_MS;
		if (scols_table_new_column(table, c->title, 0, right ? SCOLS_FL_RIGHT : 0) ==
		    NULL) {
			return -ENOMEM;
		}
	}
	size_t i;
	json_t *row;
	json_array_foreach((json_t *)(uintptr_t)rows, i, row)
	{
		int rc = table_row(table, cli, row, columns);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

static int print_table(struct et_cli *cli, const json_t *rows, const struct et_cli_column *columns,
		       struct et_error *reterr)
{
	struct libscols_table *table = scols_new_table();
	if (table == NULL) {
		return et_fail(reterr, -ENOMEM, "table");
	}
	(void)scols_table_set_stream(table, cli->out);
	(void)scols_table_set_column_separator(table, "  ");
	int rc = table_fill(table, cli, rows, columns);
	if (rc == 0 && json_array_size(rows) > 0 && scols_print_table(table) != 0) {
		rc = -EIO;
	}
	scols_unref_table(table);
	return rc < 0 ? et_fail(reterr, rc, "print a table") : 0;
}

/* RFC 4180; a cell that a spreadsheet would run as a formula gets an apostrophe. */
static void csv_cell(FILE *f, const char *text, bool first)
{
	if (!first) {
		(void)fputc(',', f);
	}
	bool formula = *text == '=' || *text == '@' ||
		       ((*text == '+' || *text == '-') &&
			strspn(text + 1, "0123456789.") != strlen(text + 1));
	bool quote = formula || strpbrk(text, ",\"\r\n") != NULL;
	if (quote) {
		(void)fputc('"', f);
	}
	if (formula) {
		(void)fputc('\'', f);
	}
	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '"') {
			(void)fputc('"', f);
		}
		(void)fputc(*p, f);
	}
	if (quote) {
		(void)fputc('"', f);
	}
}

static void print_csv(struct et_cli *cli, const json_t *rows, const struct et_cli_column *columns)
{
	for (const struct et_cli_column *c = columns; c->title != NULL; c++) {
		csv_cell(cli->out, c->key, c == columns);
	}
	(void)fputs("\r\n", cli->out);
	size_t i;
	json_t *row;
	json_array_foreach((json_t *)(uintptr_t)rows, i, row)
	{
		for (const struct et_cli_column *c = columns; c->title != NULL; c++) {
			const json_t *v = json_object_get(row, c->key);
			ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
			if (v != NULL && !json_is_null(v) &&
			    !(json_is_string(v) && *json_string_value(v) == '\0')) {
				enum et_cli_kind kind =
					c->kind == ET_CLI_COPIES ? ET_CLI_COPIES : ET_CLI_TEXT;
				et_cli_format_value(v, kind, &text);
			}
			et_buffer_add8(&text, '\0');
			csv_cell(cli->out, text.failed ? "" : (char *)text.data, c == columns);
		}
		(void)fputs("\r\n", cli->out);
	}
}

int et_cli_print(struct et_cli *cli, const json_t *document, const char *rows,
		 const struct et_cli_column *columns, struct et_error *reterr)
{
	const json_t *list = rows != NULL ? json_object_get(document, rows) : document;
	if (!json_is_array(list)) {
		return et_fail(reterr, ET_EMALFORMED, "the answer has no list \"%s\"",
			       rows != NULL ? rows : "");
	}
	size_t i;
	json_t *row;
	switch (cli->format) {
	case ET_CLI_JSON:
		et_cli_print_json(cli, document);
		return 0;
	case ET_CLI_NDJSON:
		json_array_foreach((json_t *)(uintptr_t)list, i, row)
		{
			et_cli_print_json(cli, row);
		}
		return 0;
	case ET_CLI_CSV:
		print_csv(cli, list, columns);
		return 0;
	case ET_CLI_TABLE:
	case ET_CLI_WIDE:
	case ET_CLI_YAML:
	default:
		return print_table(cli, list, columns, reterr);
	}
}

int et_cli_print_object(struct et_cli *cli, const json_t *document, struct et_error *reterr)
{
	if (!json_is_object(document)) {
		return et_fail(reterr, ET_EMALFORMED, "the answer is not an object");
	}
	if (et_cli_is_json(cli)) {
		et_cli_print_json(cli, document);
		return 0;
	}
	const char *key;
	json_t *v;
	json_object_foreach((json_t *)(uintptr_t)document, key, v)
	{
		if (strcmp(key, "schema") == 0) {
			continue;
		}
		size_t size = strlen(key);
		bool bytes = size > 6 && strcmp(key + size - 6, "_bytes") == 0;
		bool ms = size > 3 && strcmp(key + size - 3, "_ms") == 0;
		bool length = strcmp(key, "duration_ms") == 0;
		enum et_cli_kind kind = bytes	 ? ET_CLI_BYTES
					: length ? ET_CLI_MS
					: ms	 ? ET_CLI_AGO_MS
						 : ET_CLI_TIME;
		ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
		et_cli_format_value(v, kind, &text);
		if (cli->format == ET_CLI_CSV) {
			et_buffer_add8(&text, '\0');
			csv_cell(cli->out, key, true);
			csv_cell(cli->out, text.failed ? "" : (char *)text.data, false);
			(void)fputs("\r\n", cli->out);
		} else {
			et_buffer_add8(&text, '\n');
			(void)fprintf(cli->out, "%-18s ", key);
			(void)fwrite(text.failed ? (const uint8_t *)"\n" : text.data, 1,
				     text.failed ? 1 : text.size, cli->out);
		}
	}
	return 0;
}

int et_cli_write_file(const char *out, int (*fn)(void *arg, FILE *f, struct et_error *reterr),
		      void *arg, struct et_error *reterr)
{
	char part[4096];
	int n = snprintf(part, sizeof(part), "%s.part", out);
	if (n < 0 || (size_t)n >= sizeof(part)) {
		return et_fail(reterr, -ENAMETOOLONG, "'%s'", out);
	}
	ET_CLEANUP(et_fd_closep)
	int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
	if (f == NULL) {
		return et_fail(reterr, -errno, "create '%s'", part);
	}
	fd = -1; /* It is the stream's. */
	int rc = fn(arg, f, reterr);
	if (rc == 0 && (fflush(f) != 0 || fsync(fileno(f)) != 0)) {
		rc = et_fail(reterr, -errno, "write '%s'", part);
	}
	(void)fclose(f);
	if (rc == 0 && rename(part, out) != 0) {
		rc = et_fail(reterr, -errno, "rename '%s'", part);
	}
	if (rc < 0) {
		(void)unlink(part);
		return rc;
	}
	return et_file_sync_parent(out, reterr);
}
