/* One value of the configuration is written by a program: where the node root is, when it moves. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/bytes.h"
#include "node/base/fd.h"
#include "node/config/config.h"
#include "node/io/file.h"
#include "node/text/yaml.h"

/* Where the value stands in the file. */
struct span {
	size_t start;
	size_t size;
};

static int span_fail(const char *path, const char *spec, struct et_error *reterr)
{
	(void)et_fail_plain(reterr, ET_EUNSUPPORTED,
			    "%s: the value of data.root is not written plainly on one line", path);
	return et_fail_next(reterr, "write it there by hand: root: \"%.150s\"", spec);
}

/* The bytes of the scalar at line and column, which must be its text, plain or between quotes. */
static bool span_find(const struct et_buffer *file, const struct et_yaml_node *node,
		      struct span *ret)
{
	const char *bytes = (const char *)file->data;
	size_t at = 0;

	for (uint32_t line = 1; line < node->line; line++) {
		const char *end = memchr(bytes + at, '\n', file->size - at);
		if (end == NULL) {
			return false;
		}
		at = (size_t)(end - bytes) + 1;
	}
	for (uint32_t column = 1; column < node->column && at < file->size; column++) {
		do { /* Columns count characters. */
			at++;
		} while (at < file->size && (file->data[at] & 0xc0) == 0x80);
	}
	size_t size = strlen(node->text);
	if (at + size > file->size || memcmp(bytes + at, node->text, size) != 0) {
		return false;
	}
	if (!node->plain) { /* It begins behind its quote. */
		if (at == 0 || at + size == file->size || bytes[at - 1] != bytes[at + size] ||
		    (bytes[at - 1] != '"' && bytes[at - 1] != '\'')) {
			return false;
		}
		at--;
		size += 2;
	}
	*ret = (struct span){ at, size };
	return true;
}

static int text_replace(const char *path, const char *spec, const struct et_buffer *old,
			struct et_buffer *ret, struct et_error *reterr)
{
	ET_CLEANUP(et_yaml_freep) struct et_yaml *y = NULL;
	struct span span;

	int rc = et_yaml_parse(path, old->data, old->size, &y, reterr);
	if (rc < 0) {
		return rc;
	}
	const struct et_yaml_node *node = et_yaml_get(et_yaml_get(et_yaml_root(y), "data"), "root");
	if (node == NULL || node->kind != ET_YAML_SCALAR || !span_find(old, node, &span)) {
		return span_fail(path, spec, reterr);
	}
	et_buffer_add(ret, old->data, span.start);
	et_buffer_printf(ret, "\"%s\"", spec);
	et_buffer_add(ret, old->data + span.start + span.size, old->size - span.start - span.size);
	return ret->failed ? et_fail(reterr, -ENOMEM, "%s", path) : 0;
}

/* The new text says what the old one said, but for data.root, which is `spec`. */
static int text_check(const char *path, const char *spec, const struct et_buffer *old,
		      const struct et_buffer *new, struct et_error *reterr)
{
	struct et_config *a = calloc(1, sizeof(*a));
	struct et_config *b = calloc(1, sizeof(*b));

	int rc = a == NULL || b == NULL ? et_fail(reterr, -ENOMEM, "%s", path) : 0;
	rc = rc < 0 ? rc : et_config_parse(path, old->data, old->size, a, reterr);
	rc = rc < 0 ? rc : et_config_parse(path, new->data, new->size, b, reterr);
	if (rc == 0 && strcmp(b->root, spec) != 0) {
		rc = span_fail(path, spec, reterr);
	}
	if (rc == 0) {
		memcpy(b->root, a->root, sizeof(b->root));
		rc = memcmp(a, b, sizeof(*a)) == 0 ? 0 : span_fail(path, spec, reterr);
	}
	free(a);
	free(b);
	return rc;
}

/* As et_file_publish(), with the owner of the file that is replaced. */
static int file_replace(const char *path, const struct et_buffer *text, struct et_error *reterr)
{
	char temp[PATH_MAX];
	struct stat st;

	int n = snprintf(temp, sizeof(temp), "%s.tmp", path);
	if (n < 0 || (size_t)n >= sizeof(temp) || stat(path, &st) < 0) {
		return et_fail(reterr, -errno, "'%s'", path);
	}
	(void)unlink(temp); /* What a crash left. */
	int rc = 0;
	{
		ET_CLEANUP(et_fd_closep)
		int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0) {
			return et_fail(reterr, -errno, "create '%s'", temp);
		}
		rc = et_file_pwrite(fd, text->data, text->size, 0);
		if (rc == 0 && (fchown(fd, st.st_uid, st.st_gid) < 0 ||
				fchmod(fd, st.st_mode & 07777) < 0 || fsync(fd) < 0)) {
			rc = -errno;
		}
	}
	if (rc == 0 && rename(temp, path) < 0) {
		rc = -errno;
	}
	if (rc < 0) {
		(void)unlink(temp);
		return et_fail(reterr, rc, "write '%s'", path);
	}
	return et_file_sync_parent(path, reterr);
}

int et_config_set_root(const char *path, const char *spec, struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer old = { 0 };
	ET_CLEANUP(et_buffer_release) struct et_buffer new = { 0 };
	char real[PATH_MAX];

	if (realpath(path, real) == NULL) { /* A link stays one. */
		return et_fail(reterr, -errno, "'%s'", path);
	}
	int rc = et_file_read(real, ET_YAML_SIZE_MAX, &old, reterr);
	rc = rc < 0 ? rc : text_replace(path, spec, &old, &new, reterr);
	rc = rc < 0 ? rc : text_check(path, spec, &old, &new, reterr);
	return rc < 0 ? rc : file_replace(real, &new, reterr);
}
