#include "node/text/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was accepted prints, and reads back as the same value. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *text = et_json_text_n(data, size);
	et_assert(text != NULL);
	json_decref(text);

	json_t *j = NULL;
	struct et_error e = { 0 };
	if (et_json_parse("f", data, size, 65536, &j, &e) < 0) {
		et_assert(e.text[0] != '\0');
		return 0;
	}
	struct et_buffer out = { 0 };
	et_json_print(j, false, &out);
	et_assert(!out.failed);
	json_t *again = NULL;
	et_assert(et_json_parse("f", out.data, out.size, 1 << 20, &again, NULL) == 0);
	et_assert(json_equal(j, again));
	et_buffer_release(&out);
	json_decref(again);
	json_decref(j);
	return 0;
}
