/* Messages of other nodes: whatever the bytes are, what is taken is within its bounds, and says the
 * same when it is written again. The first byte chooses the message. */
#include "raft/catalog/catalog_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_request(struct et_view body)
{
	struct cat_request q;

	if (!et_cat_request_read(body, &q)) {
		return;
	}
	struct et_buffer again = { 0 };
	et_cat_request_write(&q, &again);
	et_assert(again.size == body.size && memcmp(again.data, body.data, body.size) == 0);
	et_assert(q.op == CAT_SNAPSHOT_OPEN || et_cat_file_name_is_plain(q.name));
	et_buffer_release(&again);
}

static void fuzz_files(struct et_view body)
{
	struct cat_files f;

	if (!et_cat_files_read(body, &f)) {
		et_assert(f.files == NULL);
		return;
	}
	et_assert(f.count > 0 && f.count <= CAT_FILES_MAX);
	for (size_t i = 0; i < f.count; i++) {
		et_assert(et_cat_file_name_is_plain(f.files[i].name));
		et_assert(f.files[i].size <= f.bytes);
	}
	et_cat_files_release(&f);
}

static void fuzz_greeting(const uint8_t *data, size_t size)
{
	struct cat_greeting g = { 0 };
	uint8_t again[CAT_GREETING_MAX];
	const uint8_t *begin = data;

	if (et_cat_greeting_take(&g, &data, &size) != 1) {
		return;
	}
	size_t n = et_cat_greeting_make(g.address, again);
	et_assert(n == (size_t)(data - begin) && memcmp(again, begin, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cat_manifest m;

	if (size == 0) {
		return 0;
	}
	struct et_view body = { data + 1, size - 1 };
	switch (data[0] % 4) {
	case 0:
		fuzz_request(body);
		break;
	case 1:
		fuzz_files(body);
		break;
	case 2:
		fuzz_greeting(body.data, body.size);
		break;
	default:
		(void)et_cat_manifest_read(body.data, body.size, &m);
		break;
	}
	return 0;
}
