/* Tapes whose records tell nothing by their lengths and times (node/tape/tape.h, decision 0122).
 *
 * Happy path: a stream, or a META of one, names a codec that is not steady, or says that a party
 * sends nothing in silence; what is gathered of the tape is written, and from the second at hand on
 * it is padded. Each second, by packets and by the poll, its block is written, whatever was in it;
 * each thirtieth is followed by a CHECKPOINT.
 *
 * Failures. Not all members can read it yet: it is tried again at each poll. A block cannot be
 * written: as any record (et_segment_fail()); the packets of its second are lost, and counted. */
#include <string.h>

#include "node/capture/writer_internal.h"
#include "node/rtp/rtp.h"
#include "node/tape/meta.h"

static void second_note(struct et_slot *s)
{
	const uint32_t end_ms = et_tape_second_end(s->tape);

	s->second_us = end_ms == UINT32_MAX ? INT64_MAX : s->t0_us + (int64_t)end_ms * 1000;
}

void et_segment_pad(struct et_writer *w, struct et_slot *s)
{
	const struct et_capture_padding *p = &w->config.padding;
	const bool wanted =
		p->which == ET_PADDING_ALWAYS || (p->which == ET_PADDING_AUTO && s->varies);

	if (!wanted || s->tape == NULL || s->state != ET_SLOT_OPEN || et_tape_is_padded(s->tape) ||
	    (p->allowed != NULL && !p->allowed(w->config.arg))) {
		return;
	}
	et_segment_flush(w, s); /* what came before stays as it is */
	if (s->tape != NULL && s->state == ET_SLOT_OPEN) {
		et_tape_pad(s->tape, p->bytes != 0 ? p->bytes : ET_TAPE_BLOCK_DEFAULT,
			    et_segment_ms(s, w->now_us));
		second_note(s);
		s->checkpoint_us = s->second_us - ET_TAPE_BLOCK_MS * 1000LL;
	}
}

void et_pad_codec(struct et_writer *w, struct et_slot *s, const char *codec)
{
	if (!s->varies && !et_rtp_codec_is_steady(codec)) {
		s->varies = true;
		et_segment_pad(w, s);
	}
}

static bool is_silence(struct et_view key)
{
	return key.size == strlen(ET_FACT_SILENCE) &&
	       memcmp(key.data, ET_FACT_SILENCE, key.size) == 0;
}

void et_pad_meta(struct et_writer *w, struct et_slot *s, struct et_view plain)
{
	struct et_meta_reader r;
	struct et_meta_item i;
	char name[32];

	if (s->varies || et_meta_reader_init(&r, plain, NULL) < 0) {
		return;
	}
	while (et_meta_reader_next(&r, &i, NULL) == 1) {
		if (i.type == ET_META_CODEC) {
			const size_t size =
				i.codec.codec.size < sizeof(name) ? i.codec.codec.size : 0;
			memcpy(name, i.codec.codec.data, size);
			name[size] = '\0';
			et_pad_codec(w, s, name);
		} else if (i.type == ET_META_FACT && is_silence(i.fact.key)) {
			et_pad_codec(w, s, "");
		}
	}
}

static void fail_unless(struct et_writer *w, struct et_slot *s, int rc,
			const struct et_error *error)
{
	if (rc < 0) {
		et_segment_fail(w, s, rc, error);
	} else {
		s->gathered = 0;
	}
}

void et_segment_second(struct et_writer *w, struct et_slot *s)
{
	struct et_error error = { .text = "" };

	et_segment_flush(w, s);
	if (s->tape == NULL || s->state != ET_SLOT_OPEN) {
		return;
	}
	int rc = et_tape_tick(s->tape, et_segment_ms(s, w->now_us), &error);
	fail_unless(w, s, rc, &error);
	if (rc < 0) {
		return;
	}
	second_note(s);
	const int64_t begin_us = s->second_us - ET_TAPE_BLOCK_MS * 1000LL;
	if (begin_us - s->checkpoint_us >= ET_CHECKPOINT_EVERY_US) {
		et_segment_checkpoint(w, s, begin_us);
	}
}

void et_segment_settle(struct et_writer *w, struct et_slot *s)
{
	struct et_error error = { .text = "" };

	if (w->now_us >= s->second_us) {
		et_segment_second(w, s);
	}
	if (s->tape != NULL && s->state == ET_SLOT_OPEN && s->second_us != INT64_MAX) {
		fail_unless(w, s, et_tape_settle(s->tape, &error), &error);
	}
}
