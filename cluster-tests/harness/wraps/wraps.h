/* For tests and measurements of the life of keys: many recordings without media.
 *
 * They are put into the journal of a node that does not run: at its start it proposes them, as it
 * would what it recorded while it was cut off. Each has one segment, whose key is sealed to the
 * KEK's public half as the recorder does it; nothing but wraps of keys can be tried with them. */
#ifndef ET_CLUSTER_TESTS_HARNESS_WRAPS_WRAPS_H
#define ET_CLUSTER_TESTS_HARNESS_WRAPS_WRAPS_H

#include <stdint.h>

#include "node/base/err.h"

struct et_labwraps {
	const char *journal; /* folder: <media>/journal of a node that does not run */
	uint64_t node;
	uint32_t kek_version;
	uint8_t kek_public[32];
	unsigned long count;
};

int et_labwraps_write(const struct et_labwraps *w, struct et_error *reterr) ET_MUST_CHECK;

#endif
