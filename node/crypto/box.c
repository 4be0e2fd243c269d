#include "node/crypto/box.h"

#include <string.h>

#include "node/crypto/aead.h"
#include "node/crypto/hash.h"
#include "node/crypto/ossl_internal.h"

enum {
	BOX_VERSION = 1,
	BOX_SUITE = 1, /* HKDF-SHA256, AES-256-GCM */
	SALT_AT = 8,
	SALT_SIZE = 16,
	NONCE_AT = SALT_AT + SALT_SIZE,
	BOX_HEAD = NONCE_AT + ET_AEAD_NONCE_SIZE,
	LABEL_MAX = 128,
};
_Static_assert(BOX_HEAD + ET_AEAD_TAG_SIZE == ET_BOX_OVERHEAD_SIZE, "box.h names the overhead");

/* The cipher of one box: its key is made of the root, the salt in `head`, and the label. */
static int box_cipher(const struct et_secret *root, const char *label, const uint8_t head[BOX_HEAD],
		      struct et_aead **ret, struct et_error *reterr)
{
	static const char purpose[] = "evertape box/1 ";
	uint8_t info[sizeof(purpose) - 1 + LABEL_MAX];
	const size_t label_size = strlen(label);
	ET_CLEANUP(et_secret_freep) struct et_secret *key = NULL;

	et_assert(label_size <= LABEL_MAX);
	memcpy(info, purpose, sizeof(purpose) - 1);
	memcpy(info + sizeof(purpose) - 1, label, label_size);
	int rc = et_hkdf_sha256(root, (struct et_view){ head + SALT_AT, SALT_SIZE },
				(struct et_view){ info, sizeof(purpose) - 1 + label_size },
				ET_AEAD_KEY_SIZE, &key, reterr);
	return rc < 0 ? rc : et_aead_new(key, ret, reterr);
}

int et_box_seal(const struct et_secret *root, const char *label, const struct et_secret *plain,
		struct et_buffer *ret, struct et_error *reterr)
{
	const size_t size = et_secret_size(plain);
	uint8_t head[BOX_HEAD] = { 'E', 'V', 'S', 'B', BOX_VERSION, BOX_SUITE, 0, 0 };
	uint8_t sealed[ET_SECRET_SIZE_MAX + ET_AEAD_TAG_SIZE];
	ET_CLEANUP(et_aead_freep) struct et_aead *a = NULL;

	int rc = et_ossl_random(head + SALT_AT, SALT_SIZE + ET_AEAD_NONCE_SIZE, reterr);
	if (rc == 0) {
		rc = box_cipher(root, label, head, &a, reterr);
	}
	if (rc == 0) {
		rc = et_aead_seal(a, head + NONCE_AT, (struct et_view){ head, sizeof(head) },
				  et_secret_bytes(plain), size, sealed, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	et_buffer_add(ret, head, sizeof(head));
	et_buffer_add(ret, sealed, size + ET_AEAD_TAG_SIZE);
	return ret->failed ? et_fail(reterr, -ENOMEM, "seal '%s'", label) : 0;
}

int et_box_open(const struct et_secret *root, const char *label, struct et_view box,
		struct et_secret **ret, struct et_error *reterr)
{
	ET_CLEANUP(et_secret_freep) struct et_secret *plain = NULL;
	ET_CLEANUP(et_aead_freep) struct et_aead *a = NULL;

	if (box.size <= ET_BOX_OVERHEAD_SIZE ||
	    box.size > ET_BOX_OVERHEAD_SIZE + ET_SECRET_SIZE_MAX ||
	    memcmp(box.data, "EVSB", 4) != 0) {
		return et_fail(reterr, ET_ECORRUPT, "sealed '%s' is not a box", label);
	}
	if (box.data[4] != BOX_VERSION || box.data[5] != BOX_SUITE) {
		return et_fail(reterr, ET_EVERSION, "sealed '%s' is version %u, suite %u", label,
			       box.data[4], box.data[5]);
	}
	plain = et_secret_new(box.size - ET_BOX_OVERHEAD_SIZE);
	if (plain == NULL) {
		return et_fail(reterr, -ENOMEM, "open '%s'", label);
	}
	int rc = box_cipher(root, label, box.data, &a, reterr);
	if (rc == 0) {
		rc = et_aead_open(a, box.data + NONCE_AT, (struct et_view){ box.data, BOX_HEAD },
				  box.data + BOX_HEAD, box.size - BOX_HEAD, et_secret_edit(plain),
				  NULL);
		if (rc == ET_EINTEGRITY) {
			rc = et_fail_plain(
				reterr, ET_ECORRUPT,
				"sealed '%s' does not open: damaged, or sealed under another root",
				label);
		} else if (rc < 0) {
			rc = et_fail(reterr, rc, "open '%s'", label);
		}
	}
	if (rc == 0) {
		*ret = ET_TAKE(plain);
	}
	return rc;
}
