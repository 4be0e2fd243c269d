/* Requests, forwarded requests and replies of evertape-join/1. What is read packs to the same. */
#include "node/tls/join.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct et_view bytes = { data, size };
	struct et_join_request request;
	struct et_join_reply reply;
	struct et_buffer again = { 0 };
	static const uint8_t nobody[32];

	if (et_join_request_parse(bytes, &request, NULL) == 0) {
		et_assert(et_join_request_pack(&request, &again, NULL) == 0);
		et_assert(again.size == size && memcmp(again.data, data, size) == 0);
		et_assert(et_join_request_verify(&request, nobody, NULL) < 0);
		et_join_request_release(&request);
	}
	again.size = 0;
	if (et_join_forward_parse(bytes, &request, NULL) == 0) {
		et_assert(et_join_forward_pack(&request, &again) == 0);
		et_assert(again.size == size && memcmp(again.data, data, size) == 0);
		et_join_request_release(&request);
	}
	again.size = 0;
	if (et_join_reply_parse(bytes, &reply, NULL) == 0) {
		et_assert(et_join_reply_pack(&reply, &again) == 0);
		et_join_reply_release(&reply);
	}
	et_buffer_release(&again);
	return 0;
}
