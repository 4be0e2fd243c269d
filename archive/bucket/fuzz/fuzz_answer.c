/* The header lines of an HTTP answer. */
#include <string.h>

#include "archive/bucket/s3_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct s3_answer a = { .content_length = -1 };
	for (size_t at = 0; at < size;) {
		const uint8_t *end = memchr(data + at, '\n', size - at);
		size_t line = end != NULL ? (size_t)(end - data) - at : size - at;
		s3_answer_line(&a, (const char *)data + at, line);
		at += line + 1;
	}
	a.status = 206;
	(void)s3_answer_is_range(&a, 0, 10);
	et_assert(memchr(a.etag, 0, sizeof(a.etag)) != NULL);
	et_assert(memchr(a.content_range, 0, sizeof(a.content_range)) != NULL);
	return 0;
}
