/* Join tokens as a person may paste them. The check is made right first, so that the fields behind
 * it are reached too. */
#include "node/crypto/hash.h"
#include "node/tls/join.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(const char *text, size_t size)
{
	struct et_join_token t;
	struct et_secret *again = NULL;

	if (et_join_token_parse(text, size, 0, &t, NULL) == 0) {
		et_assert(et_join_token_format(&t, &again, NULL) == 0);
		(void)et_secret_free(again);
		et_join_token_release(&t);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t binary[400];
	char text[600] = "evt1.";
	uint8_t hash[32];

	parse((const char *)data, size);
	if (size + 4 <= sizeof(binary)) {
		memcpy(binary, data, size);
		et_sha256(binary, size, hash);
		memcpy(binary + size, hash, 4);
		et_base64(binary, size + 4, text + 5);
		parse(text, strlen(text));
	}
	return 0;
}
