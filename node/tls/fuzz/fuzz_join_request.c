/* Requests, forwarded requests and replies of evertape-join/1. What is read packs to the same. */
#include "node/tls/join.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct et_view bytes = { data, size };
	struct et_join_request request;
	struct et_join_reply reply;
	struct et_buffer again = { 0 };
	/* RFC 8032, section 7.1, test 1: nobody who fuzzes signs with it. (Of the all-zero key, a
	 * point of small order, a fuzzer does find signatures.) */
	static const uint8_t nobody[32] = { 0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7,
					    0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
					    0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25,
					    0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a };

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
