/* Keys of SRTP for a recording that is over. They are read from a file, never from an argument. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "ops/cli/cli.h"

#define FILE_MAX_BYTES (INT64_C(1) << 30)
#define SEND_MAX_BYTES (1024 * 1024) /* as the API takes */

/* The file as it is, or (`wanted`) those of its lines that begin so, in one allocation. */
static int lines_read(const char *path, const char *wanted, struct et_buffer *ret,
		      struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		return et_fail(reterr, -errno, "open '%s'", path);
	}
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > FILE_MAX_BYTES) {
		return et_fail_plain(reterr, ET_EUSAGE, "'%s' is %s", path,
				     !S_ISREG(st.st_mode) ? "no file"
				     : st.st_size == 0	  ? "empty"
							  : "longer than 1 GiB");
	}
	const size_t size = (size_t)st.st_size;
	char *text = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (text == MAP_FAILED || et_buffer_reserve(ret, SEND_MAX_BYTES) == NULL) {
		return et_fail(reterr, -ENOMEM, "read '%s'", path);
	}
	bool fits = true;
	for (size_t at = 0; at < size && fits;) {
		const char *end = memchr(text + at, '\n', size - at);
		const size_t n = end != NULL ? (size_t)(end - text) + 1 - at : size - at;
		if (wanted == NULL ||
		    (n > strlen(wanted) && memcmp(text + at, wanted, strlen(wanted)) == 0)) {
			fits = ret->size + n <= SEND_MAX_BYTES;
			et_buffer_add(ret, fits ? text + at : NULL, fits ? n : 0);
		}
		at += n;
	}
	(void)munmap(text, size);
	if (!fits) {
		return et_fail_plain(reterr, ET_ELIMIT,
				     "'%s' holds more than 1 MiB of keys: cut it to the time of "
				     "the call",
				     path);
	}
	return ret->size > 0 ? 0
			     : et_fail_plain(reterr, ET_EUSAGE,
					     "'%s' has no line that begins "
					     "with %s",
					     path, wanted);
}

static int keys_send(struct et_cli *cli, bool table, struct et_view text, json_t **ret,
		     struct et_error *reterr)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer path = { 0 };
	char id[ET_UUID_TEXT_SIZE];

	int rc = et_cli_id(cli, cli->args[0], "recording id", id, reterr);
	if (rc < 0) {
		return rc;
	}
	et_buffer_printf(&path, "/v1/recordings/%s/keys", id);
	et_cli_query(&path, "kind", table ? "srtp-keys" : "keylog");
	et_cli_query(&path, "reason", et_cli_option(cli, "reason"));
	et_buffer_add8(&path, 0);
	return path.failed ? et_fail(reterr, -ENOMEM, "request")
			   : et_cli_send_text(cli, (const char *)path.data, text, ret, reterr);
}

int et_cli_recording_keys_add(struct et_cli *cli, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *j = NULL;
	struct et_buffer text = { 0 };
	const char *keylog = et_cli_option(cli, "keylog");
	const char *table = et_cli_option(cli, "srtp-keys");

	if ((keylog != NULL) == (table != NULL)) {
		return et_cli_usage(cli, reterr, "either --keylog FILE or --srtp-keys FILE");
	}
	if (et_cli_option(cli, "reason") == NULL) {
		return et_cli_usage(cli, reterr, "recording keys add needs --reason");
	}
	et_cli_patience(cli, ET_CLI_LONG_MS);
	int rc = keylog != NULL ? lines_read(keylog, "CLIENT_RANDOM ", &text, reterr)
				: lines_read(table, NULL, &text, reterr);
	if (rc == 0) {
		rc = keys_send(cli, table != NULL, (struct et_view){ text.data, text.size }, &j,
			       reterr);
	}
	if (text.data != NULL) {
		explicit_bzero(text.data, text.capacity);
	}
	et_buffer_release(&text);
	rc = rc < 0 ? rc : et_cli_print_object(cli, j, reterr);
	return rc < 0 ? rc : et_json_get_int(j, "lines_refused", 0) > 0 ? ET_EXIT_DEGRADED : 0;
}
