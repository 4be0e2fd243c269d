/* `survives` of GET /v1/status. Threads: a worker each. */
#ifndef ET_NODE_API_LOSSES_INTERNAL_H
#define ET_NODE_API_LOSSES_INTERNAL_H

#include "node/api/picture_internal.h"

/* A new array of {loss, survives, lacks[], why}; empty when it cannot be told. counts->copies
 * becomes what was counted at members and targets, if it was. */
json_t *api_survives_json(struct api_call *call, const struct et_state_view *v,
			  const struct api_picture *p, struct et_state_counts *counts);

#endif
