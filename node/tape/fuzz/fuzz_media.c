/* Any plaintext: the decoder stays inside it, and what it accepts can be encoded again to the same
 * packets. */
#include <stdlib.h>

#include "node/tape/media.h"
#include "node/tape/tape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int same(const struct et_media_packet *a, const struct et_media_packet *b)
{
	return a->stream == b->stream && a->marker == b->marker && a->whole == b->whole &&
	       a->rtcp == b->rtcp && a->payload_type == b->payload_type &&
	       a->sequence == b->sequence && a->timestamp == b->timestamp &&
	       a->arrival_us == b->arrival_us && a->payload.size == b->payload.size &&
	       memcmp(a->payload.data, b->payload.data, a->payload.size) == 0;
}

static void check(int held)
{
	if (!held) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_media_encoder e = { 0 };
	struct et_media_decoder d;
	struct et_media_decoder again;
	struct et_media_packet p;
	struct et_media_packet q;
	int rc = et_media_decoder_init(&d, (struct et_view){ data, size }, NULL);
	size_t packets = 0;

	while (rc == 0 && (rc = et_media_decoder_next(&d, &p, NULL)) == 1) {
		check(p.payload.data >= data && p.payload.data + p.payload.size <= data + size);
		check(et_media_encoder_add(&e, &p, SIZE_MAX / 8) == 0);
		packets++;
		rc = 0;
	}
	if (packets > 0) {
		check(et_media_decoder_init(&d, (struct et_view){ data, size }, NULL) == 0);
		check(et_media_decoder_init(&again, (struct et_view){ e.plain.data, e.plain.size },
					    NULL) == 0);
		for (size_t i = 0; i < packets; i++) {
			check(et_media_decoder_next(&d, &p, NULL) == 1);
			check(et_media_decoder_next(&again, &q, NULL) == 1);
			check(same(&p, &q));
		}
		check(et_media_decoder_next(&again, &q, NULL) == 0);
	}
	et_media_encoder_release(&e);
	return 0;
}
