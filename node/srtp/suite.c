#include <strings.h>

#include "node/srtp/srtp.h"

static const struct {
	enum et_srtp_suite suite;
	uint16_t profile; /* 0: none */
	uint8_t key_size;
	uint8_t salt_size;
	const char *name;
	const char *other; /* what drafts and implementations call it too, or NULL */
} suites[] = {
	{ ET_SRTP_AES_CM_128_HMAC_SHA1_80, 1, 16, 14, "AES_CM_128_HMAC_SHA1_80", NULL },
	{ ET_SRTP_AES_CM_128_HMAC_SHA1_32, 2, 16, 14, "AES_CM_128_HMAC_SHA1_32", NULL },
	{ ET_SRTP_AES_256_CM_HMAC_SHA1_80, 0, 32, 14, "AES_256_CM_HMAC_SHA1_80",
	  "AES_CM_256_HMAC_SHA1_80" },
	{ ET_SRTP_AES_256_CM_HMAC_SHA1_32, 0, 32, 14, "AES_256_CM_HMAC_SHA1_32",
	  "AES_CM_256_HMAC_SHA1_32" },
	{ ET_SRTP_AEAD_AES_128_GCM, 7, 16, 12, "AEAD_AES_128_GCM", "AEAD_AES_128_GCM_16" },
	{ ET_SRTP_AEAD_AES_256_GCM, 8, 32, 12, "AEAD_AES_256_GCM", "AEAD_AES_256_GCM_16" },
};

const char *et_srtp_suite_name(enum et_srtp_suite suite)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(suites); i++) {
		if (suites[i].suite == suite) {
			return suites[i].name;
		}
	}
	return "";
}

static bool is_name(struct et_view text, const char *name)
{
	return name != NULL && text.size == strlen(name) &&
	       strncasecmp((const char *)text.data, name, text.size) == 0;
}

enum et_srtp_suite et_srtp_suite_find(struct et_view name)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(suites); i++) {
		if (is_name(name, suites[i].name) || is_name(name, suites[i].other)) {
			return suites[i].suite;
		}
	}
	return ET_SRTP_NONE;
}

enum et_srtp_suite et_srtp_suite_of_profile(uint16_t profile)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(suites) && profile != 0; i++) {
		if (suites[i].profile == profile) {
			return suites[i].suite;
		}
	}
	return ET_SRTP_NONE;
}

size_t et_srtp_key_size(enum et_srtp_suite suite)
{
	et_assert(suite >= ET_SRTP_AES_CM_128_HMAC_SHA1_80 && suite <= ET_SRTP_AEAD_AES_256_GCM);
	return suites[suite - 1].key_size;
}

size_t et_srtp_salt_size(enum et_srtp_suite suite)
{
	et_assert(suite >= ET_SRTP_AES_CM_128_HMAC_SHA1_80 && suite <= ET_SRTP_AEAD_AES_256_GCM);
	return suites[suite - 1].salt_size;
}
