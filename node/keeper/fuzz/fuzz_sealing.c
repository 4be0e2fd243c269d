/* Any bytes as <state>/keys/sealing: what is accepted is within its bounds and has a signature. */
#include <stdlib.h>
#include <string.h>

#include "node/keeper/keeper_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_keeper_sealing s = { 0 };

	int rc = sealing_parse((struct et_view){ data, size }, &s);
	if (rc != 0 && rc != ET_ECORRUPT && rc != ET_EUNTRUSTED) {
		abort();
	}
	if (rc == 0 && (s.version == 0 || s.signature_size == 0 ||
			s.signature_size > sizeof(s.signature) || size != 46 + s.signature_size)) {
		abort();
	}
	if (rc < 0 && s.version != 0) {
		abort();
	}
	return 0;
}
