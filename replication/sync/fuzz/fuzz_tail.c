/* What a source says of an open segment, in answers of any size: the prefix that is kept is that
 * which recovery would keep of the whole. */
#include "replication/sync/tail_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(struct tail *t, const uint8_t *data, size_t size, size_t step)
{
	size_t window = step;

	while (t->good < size) {
		struct tail_part part = { .tail = t, .good = t->good, .records = t->records };
		size_t left = size - t->good;
		size_t n = window < left ? window : left;
		size_t good = et_tail_judge(&part, (struct et_view){ data + t->good, n });
		et_assert(good <= n && part.records >= t->records);
		t->good += good;
		t->records = part.records;
		if (part.code < 0 || part.whole || (good == 0 && n == left)) {
			return;
		}
		window = good > 0 ? step : window + step; /* A record may take more than one. */
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct et_tape_header header;
	struct et_tape_report report;
	struct tail t = { 0 };

	if (size < 1 + ET_TAPE_HEADER_SIZE) {
		return 0;
	}
	size_t step = (size_t)data[0] * 8 + 1;
	const struct et_view tape = { data + 1, size - 1 };
	if (et_tape_header_parse(tape.data, &header, NULL) == 0) {
		memcpy(t.key.recording, header.recording, 16);
		t.key.generation = header.generation;
		t.key.segment = header.segment;
	}
	judge(&t, tape.data, tape.size, step);
	const struct et_tape_source source = et_tape_source_memory(&tape);
	if (et_tape_verify_prefix(&source, NULL, &report, NULL) == 0) {
		et_assert(t.good == report.good_bytes && t.records == report.good_records);
	} else {
		et_assert(t.good == 0);
	}
	return 0;
}
