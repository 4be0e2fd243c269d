/* What the services of this node say at one moment, and the health codes that follow.
 *
 * Threads: a worker each. */
#ifndef ET_NODE_API_PICTURE_INTERNAL_H
#define ET_NODE_API_PICTURE_INTERNAL_H

#include "node/api/api_internal.h"

/* Enough on the heap for one request: its parts are large. */
struct api_picture {
	struct et_catalog_status raft;
	struct et_sync_status sync;
	bool has_sync;
	struct et_mover_status mover;
	bool has_mover;
};

struct api_picture *api_picture_take(struct et_api *api); /* NULL: no memory */
void api_picture_freep(struct api_picture **p);

/* What a function of the backend answers: always a new array. */
json_t *api_backend_array(json_t *(*fn)(void *arg), void *arg);

/* A new array of {code, level, detail, next, node?}; level is note, degraded or at_risk. */
json_t *api_codes(struct api_call *call, const struct api_picture *p);
void api_code_add(json_t *codes, const char *code, const char *next, const char *fmt, ...)
	ET_PRINTF(4, 5);
/* Why this node answers for itself alone, before it is attached: its root is locked, it is
 * starting, or it belongs to no cluster. The error says what comes next. */
const char *api_detached_code(const struct et_api *api);
int api_detached(const struct et_api *api, struct et_error *reterr) ET_MUST_CHECK;
/* "ok", "degraded" or "at_risk": the worst of them; notes do not count. */
const char *api_health_of(const json_t *codes);

#endif
