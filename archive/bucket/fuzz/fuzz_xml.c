/* The XML that a server answers with. */
#include <string.h>

#include "archive/bucket/s3_xml.h"

static int entry_take(void *arg, const char *key, uint64_t size)
{
	uint64_t *sum = arg;
	*sum += size + strlen(key);
	return *sum % 97 == 96 ? 1 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t sum = 0;
	struct s3_xml_error error;
	struct s3_xml_page page = { .fn = entry_take, .arg = &sum };
	(void)s3_xml_error(data, size, &error);
	et_assert(memchr(error.code, 0, sizeof(error.code)) != NULL);
	et_assert(memchr(error.message, 0, sizeof(error.message)) != NULL);
	(void)!s3_xml_list(data, size, &page, NULL);
	et_assert(memchr(page.token, 0, sizeof(page.token)) != NULL);
	return 0;
}
