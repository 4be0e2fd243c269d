/* The console's files: built into the program, or from a folder while they are being written. */
#include <stdio.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/api/console_files.h"
#include "node/crypto/hash.h"
#include "node/io/file.h"

#define FILE_SIZE_MAX (1024 * 1024)

static const char *type_of(const char *name)
{
	static const struct {
		const char *end;
		const char *type;
	} types[] = {
		{ ".html", "text/html; charset=utf-8" },
		{ ".css", "text/css; charset=utf-8" },
		{ ".js", "text/javascript; charset=utf-8" },
		{ ".svg", "image/svg+xml" },
		{ ".yaml", "application/yaml" },
	};
	size_t size = strlen(name);
	for (size_t i = 0; i < ET_ARRAY_SIZE(types); i++) {
		size_t n = strlen(types[i].end);
		if (size > n && strcmp(name + size - n, types[i].end) == 0) {
			return types[i].type;
		}
	}
	return "application/octet-stream";
}

/* With an ETag of its content: a browser asks again, and mostly hears 304. */
static int send_file(struct api_call *call, const char *name, const void *data, size_t size)
{
	uint8_t hash[32];
	char tag[40] = "\"";
	et_sha256(data, size, hash);
	et_hex(hash, 16, tag + 1);
	(void)strcat(tag, "\"");
	api_header(call, "etag:", "%s", tag);
	api_header(call, "cache-control:", "no-cache");
	if (strcmp(call->if_none_match, tag) == 0) {
		api_begin(call, 304, type_of(name), 0);
		api_end(call);
		return 0;
	}
	api_begin(call, 200, type_of(name), (int64_t)size);
	int rc = api_write(call, data, size);
	api_end(call);
	return rc == ET_ECLOSED ? 0 : rc;
}

static int send_named(struct api_call *call, const char *name, struct et_error *reterr)
{
	const struct api_console_file *f = api_console_files;
	while (f->name != NULL && strcmp(f->name, name) != 0) {
		f++;
	}
	if (f->name == NULL) {
		return et_fail_plain(reterr, ET_ENOTFOUND, "there is no %s", call->request.path);
	}
	const char *folder = call->api->config.console;
	if (folder == NULL || *folder == '\0') {
		return send_file(call, name, f->data, f->size);
	}
	/* Only names that are built in as well: no path of a request reaches the disk. */
	char path[512];
	ET_CLEANUP(et_buffer_release) struct et_buffer text = { 0 };
	(void)snprintf(path, sizeof(path), "%s/%s", folder, f->name);
	int rc = et_file_read(path, FILE_SIZE_MAX, &text, reterr);
	return rc < 0 ? rc : send_file(call, name, text.data, text.size);
}

int api_console(struct api_call *call, struct et_error *reterr)
{
	char name[64];
	if (strcmp(call->request.path, "/") == 0) {
		return send_named(call, "index.html", reterr);
	}
	if (!api_path_star(call->route->path, call->request.path, name, sizeof(name))) {
		return et_fail_plain(reterr, ET_ENOTFOUND, "there is no %s", call->request.path);
	}
	return send_named(call, name, reterr);
}

int api_openapi(struct api_call *call, struct et_error *reterr)
{
	return send_named(call, "openapi.yaml", reterr);
}
