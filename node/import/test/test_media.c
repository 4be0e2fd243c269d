/* Files as encoders of others made them (fixtures/make) are heard as they were said, and come back
 * to the last byte; ones that lie or are damaged say so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "node/audio/codec.h"
#include "node/audio/format.h"
#include "node/import/test/kit.h"

/* ---- The sound, as fixtures/make makes it ---- */

static int triangle(int64_t i, int64_t period, int64_t high)
{
	const int64_t x = i % period * 4 * high / period;

	return (int)(x <= high ? x : x <= 3 * high ? 2 * high - x : x - 4 * high);
}

static int said(unsigned channel, int64_t i, uint32_t rate)
{
	if (channel == 0) {
		return triangle(i, rate / 250, 9000);
	}
	return i * 4 / rate % 2 != 0 ? triangle(i, rate / 800, 5000) : 0;
}

/* How like it is what was heard: at the place where it was said, no later. */
static double likeness(const struct fixture *f, unsigned channel, uint32_t said_rate,
		       uint32_t heard_rate)
{
	double both = 0;
	double one = 0;
	double other = 0;

	for (size_t i = 0; i < f->frames; i++) {
		const double x = said(channel, (int64_t)(i * said_rate / heard_rate), said_rate);
		const double y = f->heard[2 * i + channel];
		both += x * y;
		one += x * x;
		other += y * y;
	}
	return both / sqrt(one * other + 1);
}

/* ---- Files ---- */

static int file_take(void *arg, const void *data, size_t size)
{
	et_buffer_add(arg, data, size);
	return 0;
}

/* f->file is an export; of that what is said is heard once in `every` samples. */
static void export_some(struct fixture *f, const char *format, uint32_t rate, uint32_t frames,
			uint32_t every)
{
	const struct et_audio_about about = { .recording = { 7 }, .rate = rate, .frames = frames };
	struct et_audio_writer *w = NULL;

	f->file.size = 0;
	assert_int_equal(et_audio_writer_new(et_audio_format_find(format), &about, file_take,
					     &f->file, &w, NULL),
			 0);
	for (uint32_t i = 0; i < frames; i++) {
		const bool heard = i % every == 0;
		const int16_t both[2] = { (int16_t)(heard ? said(0, i, rate) : 0),
					  (int16_t)(heard ? said(1, i, rate) : 0) };
		assert_int_equal(et_audio_writer_write(w, both, 1, NULL), 0);
	}
	assert_int_equal(et_audio_writer_end(w, NULL), 0);
	w = et_audio_writer_free(w);
	announce(f);
}

static void export(struct fixture *f, const char *format, uint32_t rate, uint32_t frames)
{
	export_some(f, format, rate, frames, 1);
}

static void load(struct fixture *f, const char *name)
{
	uint8_t bytes[65536];
	char path[128];

	(void)snprintf(path, sizeof(path), "fixtures/%s", name);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	const size_t n = fread(bytes, 1, sizeof(bytes), file);
	(void)fclose(file);
	f->file.size = 0;
	et_buffer_add(&f->file, bytes, n);
	announce(f);
}

/* Import it, and hear all of it. The caller removes *m. */
static void take(struct fixture *f, struct et_import *m, size_t frames_max,
		 struct et_playback_summary *ret)
{
	struct et_error e = { 0 };

	if (et_import(&f->config, &f->order, m, &e) != 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(et_import_publish(m, &m->recordings[0], NULL), 0);
	play(f, m, frames_max, ret);
}

/* What f->file is now: so long, and said to be so. The caller removes *m. */
static void take_changed(struct fixture *f, struct et_import *m, size_t frames, const char *problem)
{
	struct et_playback_summary s;

	announce(f);
	take(f, m, frames, &s);
	assert_int_equal(f->frames, frames);
	assert_string_equal(m->problem, problem);
}

static void drop(struct et_import *m)
{
	et_import_withdraw(m, &m->recordings[0]);
	et_import_remove(m);
}

/* What was exported can be imported: FLAC to the bit, Opus as long and each voice in its channel;
 * of MP3 what its Info frame says to cut is heard, too. */
static void exports_come_back(void **state)
{
	static const uint32_t rates[] = { 8000, 16000, 48000 };
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct et_import m;

	for (size_t k = 0; k < ET_ARRAY_SIZE(rates); k++) {
		const uint32_t rate = rates[k];
		const uint32_t frames = rate / 2 + 77;
		export(f, "flac", rate, frames);
		take(f, &m, frames, &s);
		assert_string_equal(m.problem, "");
		assert_int_equal(s.rate, rate);
		assert_int_equal(f->frames, frames);
		for (size_t i = 0; i < frames; i++) {
			assert_int_equal(f->heard[2 * i], said(0, (int64_t)i, rate));
			assert_int_equal(f->heard[2 * i + 1], said(1, (int64_t)i, rate));
		}
		drop(&m);

		export(f, "opus", rate, frames);
		take(f, &m, frames * (48000 / rate), &s);
		assert_string_equal(m.problem, "");
		assert_string_equal(m.format, "Ogg Opus");
		assert_int_equal(f->frames, frames * (48000 / rate));
		for (unsigned c = 0; c < 2; c++) {
			assert_true(likeness(f, c, rate, 48000) > 0.9);
		}
		drop(&m);

		const uint32_t each = rate == 48000 ? 1152 : 576;
		const uint32_t whole = ((576 + frames + 576 + each - 1) / each + 1) * each;
		export(f, "mp3", rate, frames);
		take(f, &m, whole, &s);
		assert_string_equal(m.problem, "");
		assert_int_equal(s.rate, rate);
		assert_int_equal(f->frames, whole);
		drop(&m);
	}
}

/* Who has no key sees of the tape of a compressed file how long it plays; of others no less. */
static void files_of_one_length_make_tapes_of_one_length(void **state)
{
	static const uint32_t every[] = { 1, 3, 1000000 };
	struct fixture *f = *state;
	struct et_playback_summary s;
	uint64_t files[ET_ARRAY_SIZE(every)];
	uint64_t tapes[ET_ARRAY_SIZE(every)];
	struct et_import m;

	f->config.padding.bytes = 65536; /* what there is of a second fits */
	for (size_t i = 0; i < ET_ARRAY_SIZE(every); i++) {
		export_some(f, "flac", 8000, 40000, every[i]);
		take(f, &m, 40000, &s);
		files[i] = f->file.size;
		tapes[i] = m.recordings[0].segments[0].seal.size_bytes;
		assert_true(m.recordings[0].segments[0].seal.block_bytes > 0);
		drop(&m);
	}
	assert_true(files[0] != files[1] && files[1] > 2 * files[2]);
	assert_int_equal(tapes[0], tapes[2]);
	assert_int_equal(tapes[1], tapes[2]);
	f->config.padding.which = ET_PADDING_NONE;
	announce(f);
	take(f, &m, 40000, &s);
	assert_int_equal(m.recordings[0].segments[0].seal.block_bytes, 0);
	assert_true(m.recordings[0].segments[0].seal.size_bytes < tapes[2] / 2);
	drop(&m);
}

enum how { EXACT, ROUNDED, LIKE };

static const struct {
	const char *name;
	const char *format;
	uint32_t rate; /* Hz of the source */
	uint32_t mix;
	uint32_t frames; /* of the source */
	unsigned channels;
	enum how how;
	double least;
} files[] = {
	{ "stereo8.flac", "FLAC", 8000, 8000, 5321, 2, EXACT, 0 },
	{ "fine48.flac", "FLAC", 48000, 48000, 1500, 1, ROUNDED, 0 },
	{ "mono44.flac", "FLAC", 44100, 48000, 9001, 1, LIKE, 0.999 },
	{ "stereo48.opus", "Ogg Opus", 48000, 48000, 24011, 2, LIKE, 0.98 },
	{ "mono8.opus", "Ogg Opus", 8000, 48000, 4000, 1, LIKE, 0.95 },
	{ "stereo16.ogg", "Ogg Vorbis", 16000, 16000, 16007, 2, LIKE, 0.98 },
	{ "mono44.ogg", "Ogg Vorbis", 44100, 48000, 9001, 1, LIKE, 0.98 },
	{ "mono8-gsm.wav", "WAV", 8000, 8000, 4160, 1, LIKE, 0.9 }, /* whole blocks */
	{ "short8-24.wav", "WAV", 8000, 8000, 101, 2, EXACT, 0 },
	{ "short8-32.wav", "WAV", 8000, 8000, 101, 2, EXACT, 0 },
	{ "short8-float.wav", "WAV", 8000, 8000, 101, 2, EXACT, 0 },
	{ "short8-double.wav", "WAV", 8000, 8000, 101, 2, EXACT, 0 },
	{ "short8.aiff", "AIFF", 8000, 8000, 101, 2, EXACT, 0 },
	{ "short8-24.aifc", "AIFF-C", 8000, 8000, 101, 2, EXACT, 0 },
	{ "short8.au", "AU", 8000, 8000, 101, 2, EXACT, 0 },
};

static void files_sound_as_they_were_said(void **state)
{
	struct fixture *f = *state;

	for (size_t k = 0; k < ET_ARRAY_SIZE(files); k++) {
		const uint64_t all = (uint64_t)files[k].frames * files[k].mix;
		const size_t frames = (size_t)((all + files[k].rate - 1) / files[k].rate);
		struct et_playback_summary s;
		struct et_import m;

		load(f, files[k].name);
		take(f, &m, frames, &s);
		print_message("%s: %s, %zu frames of %u Hz, '%s'\n", files[k].name, m.format,
			      f->frames, s.rate, m.problem);
		assert_string_equal(m.format, files[k].format);
		assert_string_equal(m.problem, "");
		assert_false(m.untimed);
		assert_int_equal(m.recordings[0].segments[0].seal.block_bytes > 0,
				 strcmp(m.format, "FLAC") == 0 || memcmp(m.format, "Ogg", 3) == 0);
		assert_int_equal(s.rate, files[k].mix);
		/* Of compressed audio that is resampled the end is a rounded place. */
		assert_in_range(f->frames, frames - (files[k].rate == 44100), frames);
		assert_int_equal(m.recordings[0].captured->end_us - T0_US,
				 (int64_t)files[k].frames * 1000000 / files[k].rate);
		assert_int_equal(s.mix.undecodable + s.mix.anchors + s.mix.out_of_range +
					 s.mix.duplicates + s.packets_no_decoder,
				 0);
		for (unsigned c = 0; c < files[k].channels && files[k].how == LIKE; c++) {
			const double like = likeness(f, c, files[k].rate, files[k].mix);
			print_message("  channel %u: %.5f\n", c, like);
			assert_true(like >= files[k].least);
		}
		for (size_t i = 0; i < f->frames; i++) {
			for (unsigned c = 0; c < 2; c++) {
				const int x = c < files[k].channels
						      ? said(c, (int64_t)i, files[k].rate)
						      : 0;
				const int fine = c == 0 ? ((int)i * 37 % 256 + 128) / 256 : 0;
				if (files[k].how != LIKE || c >= files[k].channels) {
					assert_int_equal(f->heard[2 * i + c],
							 x + (files[k].how == ROUNDED ? fine : 0));
				}
			}
		}
		drop(&m);
	}
}

/* ---- Files that lie, and damaged ones ---- */

static void a_length_that_lies_is_told(void **state)
{
	struct fixture *f = *state;
	struct et_import m;

	load(f, "stereo8.flac"); /* 2^36 - 1 samples */
	f->file.data[21] |= 15;
	memset(f->file.data + 22, 0xFF, 4);
	take_changed(f, &m, 5321, "the file says that it has 68719476735 samples; 5321 are in it");
	drop(&m);
}

static void what_is_damaged_does_not_slip(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct et_import m;
	size_t silent = 0;

	load(f, "stereo8.flac"); /* in blocks of 576 */
	f->file.data[f->file.size / 2] ^= 0x10;
	take_changed(f, &m, 5321, "576 samples are missing or damaged: they are silence");
	for (size_t i = 0; i < f->frames; i++) {
		const int x = said(0, (int64_t)i, 8000);
		silent += f->heard[2 * i] != x;
		assert_true(f->heard[2 * i] == x || f->heard[2 * i] == 0);
	}
	assert_in_range(silent, 500, 576);
	drop(&m);

	load(f, "stereo48.opus");
	f->file.data[f->file.size / 2] ^= 0x10; /* within a page */
	announce(f);
	take(f, &m, 48000, &s);
	assert_non_null(strstr(m.problem, "pages of the file are damaged or missing"));
	drop(&m);
}

static void what_follows_the_end_is_kept(void **state)
{
	struct fixture *f = *state;
	struct et_buffer first = { 0 };
	struct et_import m;

	load(f, "stereo48.opus");
	et_buffer_add(&first, f->file.data, f->file.size);
	load(f, "mono8.opus");
	et_buffer_add(&first, f->file.data, f->file.size);
	f->file.size = 0;
	et_buffer_add(&f->file, first.data, first.size);
	take_changed(f, &m, 24011, "another stream follows the first one: it is kept, not heard");
	drop(&m);
	et_buffer_release(&first);
}

static void every_prefix_comes_back(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = { "stereo8.flac", "stereo48.opus", "stereo16.ogg",
					     "short8.aiff", "short8.au" };

	for (size_t k = 0; k < ET_ARRAY_SIZE(names); k++) {
		load(f, names[k]);
		const size_t whole = f->file.size;
		for (size_t cut = 12; cut < whole; cut += cut < 120 ? 9 : 431) {
			struct et_playback_summary s;
			struct et_import m;
			load(f, names[k]);
			f->file.size = cut;
			announce(f);
			take(f, &m, 48000, &s); /* compares what comes back */
			drop(&m);
		}
	}
}

/* ---- Long ones: packets over the ends of pages, and ranges ---- */

static uint32_t crc_of(const uint8_t *p, size_t size)
{
	uint32_t crc = 0;

	for (size_t i = 0; i < size; i++) {
		crc ^= (uint32_t)p[i] << 24;
		for (int bit = 0; bit < 8; bit++) {
			crc = crc << 1 ^ ((crc & 0x80000000) != 0 ? 0x04C11DB7 : 0);
		}
	}
	return crc;
}

static void put_little(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++) {
		p[i] = (uint8_t)(v >> 8 * i);
	}
}

/* Pages of at most `most` segments. */
struct muxer {
	struct et_buffer *out;
	uint8_t lengths[255];
	size_t count;
	struct et_buffer body;
	uint32_t number;
	size_t most;
	bool goes_on;
	bool ends;    /* a packet ends in the page at hand */
	bool is_told; /* pages say how many samples end in them: */
	uint64_t granule;
};

static void page_put(struct muxer *x, bool last)
{
	uint8_t head[27] = "OggS";
	const size_t at = x->out->size;
	const uint64_t granule = x->ends && x->is_told ? x->granule : UINT64_MAX;

	head[5] = (uint8_t)((x->goes_on ? 1 : 0) | (x->number == 0 ? 2 : 0) | (last ? 4 : 0));
	put_little(head + 6, (uint32_t)granule);
	put_little(head + 10, (uint32_t)(granule >> 32));
	put_little(head + 14, 77);
	put_little(head + 18, x->number++);
	head[26] = (uint8_t)x->count;
	et_buffer_add(x->out, head, sizeof(head));
	et_buffer_add(x->out, x->lengths, x->count);
	et_buffer_add(x->out, x->body.data, x->body.size);
	put_little(x->out->data + at + 22, crc_of(x->out->data + at, x->out->size - at));
	x->goes_on = x->count > 0 && x->lengths[x->count - 1] == 255;
	x->ends = false;
	x->count = 0;
	x->body.size = 0;
}

static void packet_put(struct muxer *x, const uint8_t *data, size_t size)
{
	for (;;) {
		const size_t n = size < 255 ? size : 255;
		if (x->count == x->most) {
			page_put(x, false);
		}
		x->lengths[x->count++] = (uint8_t)n;
		et_buffer_add(&x->body, data, n);
		data += n;
		size -= n;
		if (n < 255) {
			x->ends = true;
			return;
		}
	}
}

/* Samples of a packet of Opus (RFC 6716, section 3). */
static uint32_t opus_length(const uint8_t *p)
{
	const unsigned config = p[0] >> 3;
	const uint32_t frame = config >= 16  ? 120U << (config & 3)
			       : config < 12 ? (config & 3) == 0 ? 480 : 960U * (config & 3)
					     : 480U << (config & 1);

	return frame * ((p[0] & 3) == 0 ? 1U : (p[0] & 3) < 3 ? 2U : p[1] & 63U);
}

/* The packets of an Ogg file, its sound `times` over, in other pages, with `remark` bytes more in
 * its second one, which is text. No packet of the fixtures goes over the end of a page. */
static void mux_again(struct fixture *f, size_t heads, unsigned times, size_t most, size_t remark,
		      bool is_told)
{
	static uint8_t longer[65536];
	struct et_buffer in = { 0 };
	struct muxer x = { .out = &f->file, .most = most, .is_told = is_told };

	et_buffer_add(&in, f->file.data, f->file.size);
	f->file.size = 0;
	for (unsigned round = 0; round < times; round++) {
		size_t number = 0;
		for (size_t at = 0; at < in.size;) {
			const uint8_t *page = in.data + at;
			size_t body = 27U + page[26];
			size_t size = 0;
			for (size_t i = 0; i < page[26]; i++) {
				size += page[27 + i];
				if (page[27 + i] < 255) {
					if (round == 0 && number == 1) {
						assert_true(size + remark <= sizeof(longer));
						memcpy(longer, page + body, size);
						packet_put(&x, longer, size + remark);
					} else if (round == 0 || number >= heads) {
						packet_put(&x, page + body, size);
					}
					if (is_told && number >= heads) {
						x.granule += opus_length(page + body);
					}
					number++;
					body += size;
					size = 0;
				}
			}
			assert_int_equal(size, 0);
			at += body;
		}
	}
	page_put(&x, true);
	et_buffer_release(&x.body);
	et_buffer_release(&in);
	announce(f);
}

/* Ranges of what is there whole, from some places on. */
static void ranges_are_of_the_whole(struct fixture *f, const struct et_import *m, bool exact)
{
	const size_t all = f->frames;
	int16_t *whole = malloc(all * 4);
	struct et_playback_summary s;

	assert_non_null(whole);
	memcpy(whole, f->heard, all * 4);
	for (size_t k = 1; k < 8; k++) {
		const size_t first = all / 8 * k + k;
		const size_t count = all / 16;
		double both = 0;
		double one = 0;
		double other = 0;
		play_from(f, m, first, count, &s);
		assert_int_equal(f->frames, count);
		assert_int_equal(s.mix.anchors, 0);
		for (size_t i = 0; i < 2 * count; i++) {
			const double x = whole[2 * first + i];
			const double y = f->heard[i];
			both += x * y;
			one += x * x;
			other += y * y;
			assert_true(!exact || whole[2 * first + i] == f->heard[i]);
		}
		assert_true(both / sqrt(one * other) > 0.999);
	}
	free(whole);
}

static void packets_go_over_pages(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *name;
		size_t heads;
		unsigned times;
		size_t most;
		size_t frames; /* at most */
		bool exact;
		size_t remark; /* of 16 pages, and more */
	} rows[] = {
		{ "stereo48.opus", 2, 100, 1, 3000000, false, 0 },
		{ "stereo48.opus", 2, 3, 2, 100000, false, 0 },
		{ "mono8.opus", 2, 100, 7, 3000000, false, 0 },
		{ "mono8.opus", 2, 100, 7, 3000000, false, 40000 },
		{ "stereo16.ogg", 3, 50, 1, 900000, true, 0 },
		{ "stereo16.ogg", 3, 50, 1, 900000, true, 6000 },
		{ "stereo16.ogg", 3, 50, 3, 900000, true, 0 },
		{ "mono44.ogg", 3, 1, 255, 12000, true, 0 },
	};
	size_t frames = 0;

	for (size_t k = 0; k < ET_ARRAY_SIZE(rows); k++) {
		struct et_playback_summary s;
		struct et_import m;
		load(f, rows[k].name);
		mux_again(f, rows[k].heads, rows[k].times, rows[k].most, rows[k].remark, false);
		take(f, &m, rows[k].frames, &s);
		print_message("%s %u times, %zu segments a page: %zu frames, '%s'\n", rows[k].name,
			      rows[k].times, rows[k].most, f->frames, m.problem);
		assert_string_equal(m.problem, "");
		assert_true(f->frames > rows[k].frames * 3 / 5);
		assert_true(rows[k].remark == 0 || f->frames == frames); /* as in the row before */
		frames = f->frames;
		assert_int_equal(s.mix.undecodable + s.mix.anchors + s.mix.duplicates, 0);
		ranges_are_of_the_whole(f, &m, rows[k].exact);
		drop(&m);
	}
}

/* The size of a page, and where it begins. */
static size_t page_find(const struct et_buffer *file, int number, size_t *ret_at)
{
	size_t size = 0;

	*ret_at = 0;
	for (int page = 0; page <= number; page++) {
		*ret_at += size;
		size = 27U + file->data[*ret_at + 26];
		for (size_t i = 0; i < file->data[*ret_at + 26]; i++) {
			size += file->data[*ret_at + 27 + i];
		}
	}
	return size;
}

/* A page that is not there, or damaged: what comes behind it is where it was. */
static void a_page_that_is_lost_is_silence(void **state)
{
	struct fixture *f = *state;

	for (int what = 0; what < 3; what++) {
		struct et_playback_summary s;
		struct et_import m;
		size_t at;
		load(f, "mono8.opus");
		mux_again(f, 2, 10, 7, 0, true); /* 7 packets a page, most of 60 ms */
		take(f, &m, 300000, &s);
		assert_string_equal(m.problem, "");
		drop(&m);
		const size_t all = f->frames;
		int16_t *whole = malloc(all * 4);
		assert_non_null(whole);
		memcpy(whole, f->heard, all * 4);
		const size_t size = page_find(&f->file, 4, &at);
		if (what == 0) {
			memmove(f->file.data + at, f->file.data + at + size,
				f->file.size - at - size);
			f->file.size -= size;
		} else {
			f->file.data[at + (what == 1 ? size / 2 : 2)] ^= 0x10;
		}
		take_changed(f, &m, all,
			     "1 pages of the file are damaged or missing: "
			     "11520 samples are silence");
		assert_int_equal(s.mix.undecodable + s.mix.anchors + s.mix.duplicates, 0);
		double both = 0;
		double one = 0;
		double other = 0;
		size_t silent = 0;
		for (size_t i = 0; i < all; i++) {
			const double x = whole[2 * i];
			const double y = f->heard[2 * i];
			silent += y == 0 && x != 0;
			both += i > all / 2 ? x * y : 0;
			one += i > all / 2 ? x * x : 0;
			other += i > all / 2 ? y * y : 0;
		}
		print_message("%d: %zu of %zu are silent\n", what, silent, all);
		assert_in_range(silent, 10000, 11520);
		assert_true(both / sqrt(one * other) > 0.999);
		drop(&m);
		free(whole);
	}
}

static void a_long_flac_is_heard_from_anywhere(void **state)
{
	struct fixture *f = *state;
	struct et_buffer one = { 0 };
	struct et_import m;

	load(f, "stereo8.flac");
	size_t frames_at = 4;
	bool last = false;
	while (!last) { /* blocks of metadata */
		last = (f->file.data[frames_at] & 0x80) != 0;
		frames_at += 4 + (et_get32(f->file.data + frames_at) & 0xFFFFFF);
	}
	et_buffer_add(&one, f->file.data + frames_at, f->file.size - frames_at);
	for (int i = 1; i < 60; i++) {
		et_buffer_add(&f->file, one.data, one.size);
	}
	take_changed(f, &m, 60 * 5321, "the file says that it has 5321 samples; 319260 are in it");
	assert_int_equal(f->heard[2 * 5321 * 59 + 200], said(0, 100, 8000));
	ranges_are_of_the_whole(f, &m, true);
	drop(&m);
	et_buffer_release(&one);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(exports_come_back),
		TEST(files_of_one_length_make_tapes_of_one_length),
		TEST(files_sound_as_they_were_said),
		TEST(a_length_that_lies_is_told),
		TEST(what_is_damaged_does_not_slip),
		TEST(what_follows_the_end_is_kept),
		TEST(every_prefix_comes_back),
		TEST(packets_go_over_pages),
		TEST(a_page_that_is_lost_is_silence),
		TEST(a_long_flac_is_heard_from_anywhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
