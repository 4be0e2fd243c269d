/* A credentials file. */
#include <string.h>

#include "archive/bucket/credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_credentials c = { 0 };
	struct et_error e = { 0 };
	if (et_credentials_parse("file", (const char *)data, size, &c, &e) == 0) {
		et_assert(c.key_id[0] != '\0' && strlen(c.key_id) < sizeof(c.key_id));
		et_assert(et_secret_size(c.secret) > 0);
	} else {
		et_assert(c.secret == NULL && e.code < 0);
	}
	et_credentials_release(&c);
	return 0;
}
