/* Any bytes as a body: the counts stay in their bounds, the views in the body. */
#include <stdlib.h>

#include "node/sip/sdp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct et_view v, const uint8_t *data, size_t size)
{
	if (v.data != NULL &&
	    (v.data < data || v.data > data + size || v.size > (size_t)(data + size - v.data))) {
		abort();
	}
}

static void check_media(const struct et_sdp_media *m, const uint8_t *data, size_t size)
{
	if (m->format_count > ET_SDP_FORMATS_MAX || m->ssrc_count > ET_SDP_SSRC_MAX ||
	    m->crypto_count > ET_SDP_CRYPTO_MAX) {
		abort();
	}
	inside(m->protocol, data, size);
	inside(m->fingerprint, data, size);
	for (uint32_t i = 0; i < m->format_count; i++) {
		inside(m->formats[i].name, data, size);
	}
	for (uint32_t i = 0; i < m->crypto_count; i++) {
		inside(m->crypto[i].suite, data, size);
		inside(m->crypto[i].key, data, size);
		inside(m->crypto[i].session, data, size);
		struct et_sdp_key keys[ET_SDP_KEYS_MAX];
		uint32_t count = et_sdp_crypto_keys(&m->crypto[i], keys);
		for (uint32_t k = 0; k < count; k++) {
			if (keys[k].material_size == 0 ||
			    keys[k].material_size > sizeof(keys[k].material) ||
			    keys[k].mki_size > sizeof(keys[k].mki)) {
				abort();
			}
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_view text;
	struct et_sdp sdp;
	struct et_view multipart = { .data = (const uint8_t *)"multipart/mixed", .size = 15 };

	if (!et_sdp_find(multipart, (struct et_view){ data, size }, &text)) {
		return 0;
	}
	inside(text, data, size);
	if (et_sdp_parse(text, &sdp) < 0) {
		return 0;
	}
	if (sdp.media_count > ET_SDP_MEDIA_MAX) {
		abort();
	}
	inside(sdp.origin, data, size);
	for (uint32_t i = 0; i < sdp.media_count; i++) {
		check_media(&sdp.media[i], data, size);
	}
	return 0;
}
