/* Any bytes as a packet of a protected stream: nothing opens but by its tag, and what is said to be
 * plain is not longer than what was protected. The first byte chooses the suite and whether there
 * is an MKI. */
#include <stdlib.h>

#include "node/srtp/srtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t material[ET_SRTP_MATERIAL_MAX] = { 1, 2, 3 };
	static struct et_srtp *openers[6][2];
	uint32_t ret[65536 / 4];
	size_t ret_size = 0;

	if (size < 2 || size > 60000) {
		return 0;
	}
	int i = data[0] % 6;
	int mki = data[0] >> 7;
	if (openers[i][mki] == NULL) {
		enum et_srtp_suite suite = (enum et_srtp_suite)(i + 1);
		struct et_srtp_key key = {
			.suite = suite,
			.material = { material,
				      et_srtp_key_size(suite) + et_srtp_salt_size(suite) },
			.mki = { material, (size_t)mki },
		};
		if (et_srtp_new(&key, 0x01020304, &openers[i][mki], NULL) < 0) {
			abort();
		}
		et_srtp_set_tries(openers[i][mki], 2);
	}
	data++;
	size--;
	if (et_srtp_open_rtp(openers[i][mki], data, size, (uint8_t *)ret, &ret_size) == 0 ||
	    et_srtp_open_rtcp(openers[i][mki], data, size, (uint8_t *)ret, &ret_size) == 0) {
		abort(); /* 80 bits of a tag by chance */
	}
	return 0;
}
