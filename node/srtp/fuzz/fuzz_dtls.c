/* Any bytes as a datagram of DTLS: the reader stays inside it, and keys follow from any hello. */
#include <stdlib.h>

#include "node/srtp/dtls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t secret[48];
	struct et_dtls_hello hello;
	struct et_secret *keys = NULL;

	if (!et_dtls_hello_find(data, size, &hello)) {
		return 0;
	}
	if (hello.mki_size > sizeof(hello.mki) ||
	    (hello.is_client && hello.suite != ET_SRTP_NONE)) {
		abort();
	}
	if (hello.suite != ET_SRTP_NONE &&
	    et_dtls_srtp_keys(&hello, &hello, (struct et_view){ secret, sizeof(secret) }, &keys,
			      NULL) == 0) {
		(void)et_secret_free(keys);
	}
	return 0;
}
