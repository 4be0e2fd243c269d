/* A backup of the catalogue, streamed: nothing of it is kept here. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "node/api/api_internal.h"
#include "node/base/log.h"

static int backup_sink(void *arg, const void *data, size_t size)
{
	struct api_call *call = arg;

	if (!call->begun) {
		api_header(call, "content-disposition:", "attachment; filename=\"%s.evbk\"",
			   call->api->config.cluster);
		api_begin(call, 200, "application/octet-stream", -1);
	}
	return api_write(call, data, size);
}

int api_backup(struct api_call *call, struct et_error *reterr)
{
	const struct et_api_backend *b = &call->api->config.backend;
	struct et_error why;
	uint64_t number = 0;

	if (b->backup == NULL) {
		return et_fail_plain(reterr, ET_EUNSUPPORTED, "this node makes no backups");
	}
	/* Without a quorum a backup is worth most: it does not wait for its audit event then. */
	if (api_audit(call, "cluster.backup", call->api->config.cluster, "", "", &number, &why) <
	    0) {
		et_warn("backup.unaudited", "principal=%s", call->principal);
	}
	int rc = b->backup(b->arg, backup_sink, call, reterr);
	if (rc < 0) {
		return rc;
	}
	api_end(call);
	return 0;
}
