/* Metadata from a stranger: read, merged with itself and with what was before, and searched. */
#include "node/siprec/metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t size)
{
	size_t n = strnlen(text, size);
	et_assert(n < size);
	for (size_t i = 0; i < n; i++) {
		et_assert((unsigned char)text[i] >= 0x20 && text[i] != 0x7F);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct et_siprec_metadata known;
	static struct et_siprec_metadata m;

	known = (struct et_siprec_metadata){ .partial = false };
	for (int i = 0; i < 2; i++) {
		if (et_siprec_parse((struct et_view){ data, size }, &m, NULL) < 0) {
			return 0;
		}
		et_assert(m.participant_count <= ET_SIPREC_PARTICIPANTS_MAX);
		et_assert(m.stream_count <= ET_SIPREC_STREAMS_MAX);
		et_siprec_merge(&known, &m);
		et_assert(known.participant_count == m.participant_count || i > 0);
		m.partial = !m.partial;
		et_siprec_merge(&known, &m);
		et_assert(known.participant_count <= ET_SIPREC_PARTICIPANTS_MAX);
	}
	for (uint32_t i = 0; i < known.participant_count; i++) {
		check_text(known.participants[i].id, sizeof(known.participants[i].id));
		check_text(known.participants[i].aor, sizeof(known.participants[i].aor));
		check_text(known.participants[i].name, sizeof(known.participants[i].name));
	}
	for (uint32_t i = 0; i < known.stream_count; i++) {
		const char *label = known.streams[i].label;
		check_text(label, sizeof(known.streams[i].label));
		(void)et_siprec_sender(&known,
				       (struct et_view){ (const uint8_t *)label, strlen(label) });
	}
	return 0;
}
