/* Ids of recordings: from arguments, options, or what recording list and search print. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "ops/cli/cli.h"

#define STDIN_MAX ((size_t)64 << 20)
#define IDS_MAX 100000

int et_cli_id(const struct et_cli *cli, const char *given, const char *what,
	      char ret[ET_UUID_TEXT_SIZE], struct et_error *reterr)
{
	uint8_t id[16];
	if (!et_uuid_parse(given, id)) {
		return et_cli_usage(cli, reterr,
				    "\"%.40s\" is no %s (a UUID, as the lists show it)", given,
				    what);
	}
	et_uuid_format(id, ret);
	return 0;
}

static bool id_add(json_t *ids, const char *text, size_t size)
{
	char copy[ET_UUID_TEXT_SIZE];
	char clean[ET_UUID_TEXT_SIZE];
	uint8_t id[16];
	if (size >= sizeof(copy)) {
		return false;
	}
	memcpy(copy, text, size);
	copy[size] = '\0';
	if (!et_uuid_parse(copy, id)) {
		return false;
	}
	et_uuid_format(id, clean);
	et_json_add(ids, json_string(clean));
	return true;
}

/* A line of -o ndjson, csv, a table, or of ids alone: the first word, or the object's id. */
static bool line_add(json_t *ids, const char *line, size_t size)
{
	ET_CLEANUP(et_json_freep) json_t *o = NULL;
	if (size > 0 && line[0] == '{') {
		if (et_json_parse("standard input", line, size, STDIN_MAX, &o, NULL) < 0) {
			return false;
		}
		const char *id = et_json_get_text(o, "id", "");
		return id_add(ids, id, strlen(id));
	}
	size_t word = 0;
	while (word < size && line[word] != ' ' && line[word] != ',' && line[word] != '\t' &&
	       line[word] != '\r') {
		word++;
	}
	return id_add(ids, line, word);
}

/* The document of -o json. ET_ENOTFOUND: it is none. */
static int document_add(json_t *ids, const struct et_buffer *text, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *whole = NULL;
	size_t i;
	json_t *one;
	if (et_json_parse("standard input", text->data, text->size, STDIN_MAX, &whole, NULL) < 0) {
		return ET_ENOTFOUND;
	}
	const json_t *list = json_object_get(whole, "recordings");
	if (!json_is_array(list)) {
		return ET_ENOTFOUND;
	}
	json_array_foreach(list, i, one)
	{
		const char *id = et_json_get_text(one, "id", "");
		if (!id_add(ids, id, strlen(id))) {
			return et_fail_plain(reterr, ET_EUSAGE,
					     "recording %zu on standard input has no id", i + 1);
		}
	}
	return 0;
}

/* Of a table or CSV. */
static bool is_title(const char *line, size_t size)
{
	return size >= 2 && strncasecmp(line, "id", 2) == 0 &&
	       (size == 2 || line[2] == ' ' || line[2] == ',' || line[2] == '\r');
}

int et_cli_ids_stdin(json_t *ids, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	char piece[16384];
	size_t n;
	while ((n = fread(piece, 1, sizeof(piece), stdin)) > 0 && text.size < STDIN_MAX) {
		et_buffer_add(&text, piece, n);
	}
	if (text.failed || text.size >= STDIN_MAX) {
		return et_fail_plain(reterr, ET_ELIMIT, "too much on standard input");
	}
	if (ferror(stdin) != 0) {
		return et_fail_plain(reterr, -EIO, "standard input cannot be read");
	}
	int rc = text.size > 0 ? document_add(ids, &text, reterr) : 0;
	if (text.size == 0 || rc != ET_ENOTFOUND) {
		return rc;
	}
	const char *at = (const char *)text.data;
	const char *end = at + text.size;
	size_t number = 0;
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *line_end = newline != NULL ? newline : end;
		size_t size = (size_t)(line_end - at);
		number++;
		/* Only a title, above all, may be something else: a line that is not understood is
		 * a recording that would be forgotten. */
		if (size > 0 && !(number == 1 && is_title(at, size)) && !line_add(ids, at, size)) {
			return et_fail_plain(reterr, ET_EUSAGE,
					     "line %zu of standard input names no recording",
					     number);
		}
		at = line_end + 1;
	}
	return 0;
}

int et_cli_ids(struct et_cli *cli, unsigned first, json_t *ids, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *named = et_cli_option_list(cli, "recording");
	const char *texts[ET_CLI_ARGS_MAX + 1];
	size_t count = 0;
	int rc = 0;
	for (unsigned i = first; i < cli->arg_count; i++) {
		texts[count++] = cli->args[i];
	}
	for (size_t i = 0; i < json_array_size(named) + count && rc == 0; i++) {
		const char *text =
			i < count ? texts[i] : json_string_value(json_array_get(named, i - count));
		if (strcmp(text, "-") == 0) {
			rc = et_cli_ids_stdin(ids, reterr);
		} else if (!id_add(ids, text, strlen(text))) {
			rc = et_cli_usage(cli, reterr, "\"%.40s\" is no recording id", text);
		}
	}
	if (rc == 0 && json_array_size(ids) > IDS_MAX) {
		rc = et_fail_plain(reterr, ET_ELIMIT, "more than %d recordings", IDS_MAX);
	}
	return rc;
}
