/* The media store and the state folder: made at the first start, recognised at every other.
 *
 * A media filesystem carries a UUID (<media>/store.uuid). The catalogue knows which store holds
 * this node's copies; a changed UUID means that they are gone. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "node/base/log.h"
#include "node/daemon/daemon_internal.h"
#include "node/io/clock.h"
#include "node/io/file.h"

static int make_folders(const char *top, const char *const *names, size_t count,
			struct et_error *reterr)
{
	for (size_t i = 0; i < count; i++) {
		char path[ET_CONFIG_PATH_MAX + 32];
		(void)snprintf(path, sizeof(path), "%s/%s", top, names[i]);
		int rc = et_file_mkdirs(path, reterr);
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

static int read_uuid(struct et_daemon *d, const char *path, struct et_error *reterr)
{
	struct et_buffer text = { 0 };
	uint8_t uuid[16];

	int rc = et_file_read(path, 64, &text, reterr);
	if (rc == 0) {
		et_buffer_add8(&text, 0);
		char *end = text.failed ? NULL : strchr((char *)text.data, '\n');
		if (end != NULL) {
			*end = '\0';
		}
		if (text.failed || !et_uuid_parse((char *)text.data, uuid)) {
			rc = et_fail(reterr, ET_ECORRUPT, "'%s' holds no UUID", path);
		} else {
			et_uuid_format(uuid, d->store_uuid);
		}
	}
	et_buffer_release(&text);
	return rc;
}

static int make_uuid(struct et_daemon *d, const char *path, struct et_error *reterr)
{
	uint8_t uuid[16];
	char line[sizeof(d->store_uuid) + 1];

	et_uuid7(uuid);
	et_uuid_format(uuid, d->store_uuid);
	(void)snprintf(line, sizeof(line), "%s\n", d->store_uuid);
	int rc = et_file_publish(path, line, strlen(line), 0600, reterr);
	if (rc == 0) {
		et_info("store.made", "media=%s store=%s", d->config.media, d->store_uuid);
	}
	return rc;
}

int daemon_open_store(struct et_daemon *d, struct et_error *reterr)
{
	static const char *const media[] = { "tapes",	"incoming",   "cache",
					     "journal", "quarantine", "calls" };
	static const char *const state[] = { "identity", "keys", "run" };
	char path[ET_CONFIG_PATH_MAX + 32];
	struct et_error error;

	int rc = make_folders(d->config.media, media, ET_ARRAY_SIZE(media), reterr);
	if (rc == 0) {
		rc = make_folders(d->config.state, state, ET_ARRAY_SIZE(state), reterr);
	}
	if (rc < 0) {
		return rc;
	}
	(void)snprintf(d->identity_folder, sizeof(d->identity_folder), "%s/identity",
		       d->config.state);
	(void)snprintf(path, sizeof(path), "%s/store.uuid", d->config.media);
	rc = read_uuid(d, path, &error);
	if (rc == -ENOENT) {
		return make_uuid(d, path, reterr);
	}
	if (rc < 0 && reterr != NULL) {
		*reterr = error;
	}
	return rc;
}
