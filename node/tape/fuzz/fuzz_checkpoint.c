/* Any plaintext of a CHECKPOINT, an INDEX, an END: readers stay inside it; a clock that was taken
 * can be gone on with; what a list says lies in the tape. The first byte says what it is. */
#include <stdlib.h>
#include <string.h>

#include "node/tape/checkpoint.h"
#include "node/tape/index_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok) {
		abort();
	}
}

static void go_on(const struct et_rtp_clock *saved)
{
	const struct et_rtp_clock_packet p = { .sequence = 7,
					       .timestamp = 99,
					       .arrival_us = INT64_C(1700000000000000) };
	struct et_rtp_clock fresh = { 0 };
	struct et_rtp_clock older = { 0 };

	et_rtp_clock_resume(&fresh, saved, INT64_MIN);
	(void)et_rtp_clock_add(&fresh, saved->rate, &p, p.arrival_us, INT64_MIN);
	(void)et_rtp_clock_add(&older, 8000, &p, p.arrival_us, INT64_MIN);
	et_rtp_clock_resume(&older, saved, INT64_MIN);
	(void)et_rtp_place_us(et_rtp_clock_add(&older, 16000, &p, INT64_MIN, INT64_MIN), 16000);
}

static void read_items(struct et_view plain)
{
	struct et_tape_state *s = et_tape_state_new(0);
	struct et_checkpoint_reader r;
	struct et_checkpoint_item i;
	struct et_buffer back = { 0 };
	int rc = et_checkpoint_reader_init(&r, plain, NULL);

	check(s != NULL);
	while (rc == 0 && (rc = et_checkpoint_reader_next(&r, &i, NULL)) == 1) {
		rc = 0;
		check(i.raw.data >= plain.data &&
		      i.raw.data + i.raw.size <= plain.data + plain.size);
		if (i.type == ET_CHECKPOINT_META) {
			et_tape_state_meta(s, i.raw);
		} else if (i.type == ET_CHECKPOINT_CLOCK) {
			go_on(&i.clock);
		}
	}
	if (et_tape_state_write(s, &back) == 0) { /* What was told can be told again. */
		check(et_checkpoint_reader_init(&r, (struct et_view){ back.data, back.size },
						NULL) == 0);
		while ((rc = et_checkpoint_reader_next(&r, &i, NULL)) == 1) {
		}
		check(rc == 0);
	}
	et_buffer_release(&back);
	(void)et_tape_state_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape_list list = { 0 };
	uint64_t offset;
	uint32_t seq;

	if (size < 1) {
		return 0;
	}
	const struct et_view plain = { data + 1, size - 1 };
	read_items(plain);
	if (tape_list_read(plain, 1000000, 5000, &list) == 0) {
		for (uint32_t i = 0; i < list.count; i++) {
			check(list.all[i].offset >= ET_TAPE_HEADER_SIZE &&
			      list.all[i].offset < 1000000 && list.all[i].seq < 5000);
			check(i == 0 || (list.all[i].offset > list.all[i - 1].offset &&
					 list.all[i].seq > list.all[i - 1].seq));
		}
		tape_list_release(&list);
	}
	(void)tape_end_parse(plain, &offset, &seq);
	return 0;
}
