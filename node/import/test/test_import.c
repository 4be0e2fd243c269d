/* A file goes in and comes out again: as it was to the last byte, as samples, and as tapes that
 * anybody can verify. What is not as announced leaves nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/import/test/kit.h"
#include "node/io/file.h"

static void put16(struct et_buffer *b, unsigned v)
{
	et_buffer_add8(b, (uint8_t)v);
	et_buffer_add8(b, (uint8_t)(v >> 8));
}

static void put32(struct et_buffer *b, uint32_t v)
{
	put16(b, v & 0xFFFF);
	put16(b, v >> 16);
}

static int16_t sample(unsigned channel, uint32_t i)
{
	uint32_t x = (i + 1) * 2654435761U ^ (channel + 1) * 0x9E3779B9U;
	x = (x ^ x >> 15) * 0x85EBCA6BU;
	return (int16_t)(x >> 16);
}

static void make_wav(struct fixture *f, unsigned channels, uint32_t rate, uint32_t frames)
{
	struct et_buffer *b = &f->file;
	const uint32_t size = frames * channels * 2;

	b->size = 0;
	et_buffer_add(b, "RIFF", 4);
	put32(b, 4 + 24 + 8 + size + 12);
	et_buffer_add(b, "WAVEfmt ", 8);
	put32(b, 16);
	put16(b, 1);
	put16(b, channels);
	put32(b, rate);
	put32(b, rate * channels * 2);
	put16(b, channels * 2);
	put16(b, 16);
	et_buffer_add(b, "data", 4);
	put32(b, size);
	for (uint32_t i = 0; i < frames; i++) {
		for (unsigned c = 0; c < channels; c++) {
			put16(b, (uint16_t)sample(c, i));
		}
	}
	et_buffer_add(b, "LIST\4\0\0\0tail", 12);
	announce(f);
}

static void wav_sounds_as_it_did(void **state)
{
	struct fixture *f = *state;
	static const struct {
		unsigned channels;
		uint32_t rate;
	} rows[] = { { 1, 8000 }, { 2, 8000 }, { 2, 16000 }, { 2, 48000 } };

	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		const uint32_t frames = rows[i].rate * 95 + 77; /* behind three checkpoints */
		struct et_playback_summary s;
		struct et_import m;
		make_wav(f, rows[i].channels, rows[i].rate, frames);
		assert_int_equal(et_import(&f->config, &f->order, &m, NULL), 0);
		assert_string_equal(m.format, "WAV");
		assert_true(!m.is_capture && !m.untimed && m.recording_count == 1);
		assert_int_equal(m.recordings[0].captured->start_us, T0_US);
		assert_int_equal(m.recordings[0].captured->end_us - T0_US,
				 (int64_t)frames * 1000000 / rows[i].rate);
		assert_int_equal(m.recordings[0].captured->stream_count, rows[i].channels);
		assert_int_equal(et_import_publish(&m, &m.recordings[0], NULL), 0);
		play(f, &m, frames, &s);
		assert_int_equal(s.rate, rows[i].rate);
		assert_int_equal(f->frames, frames);
		for (uint32_t k = 0; k < frames; k++) {
			assert_int_equal(f->heard[k * 2], sample(0, k));
			assert_int_equal(f->heard[k * 2 + 1],
					 rows[i].channels == 2 ? sample(1, k) : 0);
		}
		et_import_withdraw(&m, &m.recordings[0]);
		et_import_remove(&m);
		assert_true(is_empty(f, "import"));
	}
}

static void other_rates_are_heard(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t rate, mix;
	} rows[] = { { 11025, 16000 }, { 22050, 48000 }, { 44100, 48000 } };

	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		struct et_playback_summary s;
		struct et_import m;
		make_wav(f, 2, rows[i].rate, rows[i].rate * 3);
		assert_int_equal(et_import(&f->config, &f->order, &m, NULL), 0);
		assert_int_equal(et_import_publish(&m, &m.recordings[0], NULL), 0);
		play(f, &m, rows[i].mix * 3, &s);
		assert_int_equal(s.rate, rows[i].mix);
		assert_int_equal(f->frames, rows[i].mix * 3);
		assert_int_equal(s.mix.undecodable + s.mix.anchors + s.packets_no_decoder, 0);
		et_import_withdraw(&m, &m.recordings[0]);
		et_import_remove(&m);
	}
}

static void what_is_not_played_comes_back(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct et_import m;

	et_buffer_add(&f->file, "fLaC", 4);
	for (uint32_t i = 0; i < 300000; i++) {
		et_buffer_add8(&f->file, (uint8_t)sample(0, i));
	}
	announce(f);
	assert_int_equal(et_import(&f->config, &f->order, &m, NULL), 0);
	assert_string_equal(m.format, "FLAC");
	assert_true(m.untimed);
	assert_non_null(strstr(m.problem, "nothing here plays it"));
	assert_int_equal(et_import_publish(&m, &m.recordings[0], NULL), 0);
	play(f, &m, 0, &s);
	assert_int_equal(s.streams_no_decoder, 1);
	et_import_remove(&m);
	assert_true(is_empty(f, "import") && !is_empty(f, "tapes")); /* what is published stays */
}

static void what_is_not_as_announced_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct et_import m;
	struct et_error e = { 0 };

	for (int what = 0; what < 6; what++) {
		int want = ET_EINTEGRITY;
		make_wav(f, 1, 8000, 200000);
		if (what == 0) {
			f->order.sha256[5] ^= 1;
		} else if (what == 1) {
			f->order.size_bytes--;
		} else if (what == 2) {
			f->order.size_bytes++;
			want = ET_ETRUNCATED;
		} else if (what == 3) {
			f->fail_at = 5;
			want = -ECONNRESET;
		} else if (what == 4) {
			f->config.reserve_bytes = UINT64_C(1) << 60;
			want = -ENOSPC;
		} else {
			f->file.data[0] = 'X';
			announce(f);
			want = ET_EUNSUPPORTED;
		}
		assert_int_equal(et_import(&f->config, &f->order, &m, &e), want);
		assert_true(e.text[0] != '\0');
		assert_true(is_empty(f, "import") && is_empty(f, "tapes"));
		f->config.reserve_bytes = 0;
	}
}

static void the_same_file_makes_the_same_recording(void **state)
{
	struct fixture *f = *state;
	struct et_import m[2];

	for (int i = 0; i < 2; i++) {
		make_wav(f, 1, 8000, 20000);
		assert_int_equal(et_import(&f->config, &f->order, &m[i], NULL), 0);
	}
	assert_memory_equal(m[0].recordings[0].captured->id, m[1].recordings[0].captured->id, 16);
	assert_int_equal(et_import_publish(&m[0], &m[0].recordings[0], NULL), 0);
	assert_int_equal(et_import_publish(&m[0], &m[0].recordings[0], NULL), 0); /* again */
	/* Its place is taken by another tape, under another key. */
	assert_int_equal(et_import_publish(&m[1], &m[1].recordings[0], NULL), -EEXIST);
	et_import_remove(&m[1]);
	char path[512];
	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, m[0].recordings[0].segments[0].file);
	assert_int_equal(access(path, F_OK), 0);
	et_import_remove(&m[0]);
	assert_int_equal(access(path, F_OK), 0);
}

/* ---- After a crash ---- */

static bool knows(void *arg, const struct et_tape_header *header)
{
	return arg != NULL && memcmp(arg, header->hash, 32) == 0;
}

static void a_sweep_removes_what_nobody_knows(void **state)
{
	struct fixture *f = *state;
	char path[512];

	for (int known = 0; known < 2; known++) {
		struct et_import m;
		struct et_import gone;
		make_wav(f, 1, 8000, 20000 + (uint32_t)known);
		assert_int_equal(et_import(&f->config, &f->order, &m, NULL), 0);
		assert_int_equal(et_import_publish(&m, &m.recordings[0], NULL), 0);
		(void)snprintf(path, sizeof(path), "%s/%s", f->dir,
			       m.recordings[0].segments[0].file);
		uint8_t hash[32];
		memcpy(hash, m.recordings[0].segments[0].header.hash, 32);
		assert_int_equal(et_import_sweep(f->dir, NULL, NULL), 1); /* it was published */
		assert_int_equal(access(path, F_OK), 0);
		assert_int_equal(et_import_sweep(f->dir, knows, known ? hash : NULL), 1);
		assert_int_equal(access(path, F_OK), known ? 0 : -1);
		assert_true(is_empty(f, "import"));
		gone = m;
		gone.job[0] = '\0';
		et_import_remove(&gone);
	}
	assert_int_equal(et_import_sweep(f->dir, NULL, NULL), 0);
	struct et_import m;
	make_wav(f, 1, 8000, 30000);
	assert_int_equal(et_import(&f->config, &f->order, &m, NULL), 0);
	assert_int_equal(et_import_sweep(f->dir, NULL, NULL), 0); /* nobody can know it */
	assert_true(is_empty(f, "import"));
	et_import_remove(&m);
}

/* ---- Captures ---- */

/* Ethernet, IPv4, UDP and RTP with PCMU; both ways; the timestamps of packets say it is a call. */
static void make_capture(struct fixture *f, uint32_t packets)
{
	struct et_buffer *b = &f->file;

	b->size = 0;
	put32(b, 0xA1B2C3D4);
	put16(b, 2);
	put16(b, 4);
	put32(b, 0);
	put32(b, 0);
	put32(b, 65535);
	put32(b, 1);
	for (uint32_t i = 0; i < packets; i++) {
		for (uint8_t side = 0; side < 2; side++) {
			const uint64_t us = (uint64_t)T0_US + i * UINT64_C(20000) + side;
			put32(b, (uint32_t)(us / 1000000));
			put32(b, (uint32_t)(us % 1000000));
			put32(b, 14 + 20 + 8 + 12 + 160);
			put32(b, 14 + 20 + 8 + 12 + 160);
			et_buffer_add(b, "\2\0\0\0\0\1\2\0\0\0\0\2\x08\0", 14);
			et_buffer_add(b, "\x45\0\0\xC8\0\0\0\0\x40\x11\0\0", 12);
			const uint8_t addresses[] = {
				10, 0, 0, side, 10, 0, 0, (uint8_t)(1 - side)
			};
			et_buffer_add(b, addresses, 8);
			et_buffer_add16(b, (uint16_t)(4000 + side * 1000));
			et_buffer_add16(b, (uint16_t)(5000 - side * 1000));
			et_buffer_add16(b, 8 + 12 + 160);
			et_buffer_add16(b, 0);
			et_buffer_add8(b, 0x80);
			et_buffer_add8(b, 0);
			et_buffer_add16(b, (uint16_t)i);
			et_buffer_add32(b, i * 160);
			et_buffer_add32(b, 0x1000U + side);
			for (uint32_t k = 0; k < 160; k++) {
				et_buffer_add8(b, (uint8_t)sample(side, i * 160 + k));
			}
		}
	}
	announce(f);
	f->order.name = "trace.pcap";
}

static void a_capture_makes_recordings(void **state)
{
	struct fixture *f = *state;
	struct et_import m;
	uint8_t id[16];
	uint8_t enc[32];
	uint8_t ciphertext[48];
	uint8_t public_key[32];
	ET_CLEANUP(et_secret_freep) struct et_secret *kek = NULL;
	ET_CLEANUP(et_secret_freep) struct et_secret *dek = NULL;

	make_capture(f, 500);
	assert_int_equal(et_import(&f->config, &f->order, &m, NULL), 0);
	assert_true(m.is_capture && !m.untimed);
	assert_string_equal(m.format, "pcap");
	assert_int_equal(m.recording_count, 1);
	assert_int_equal(m.recordings[0].packets, 1000);
	assert_int_equal(m.packets.total, 1000);
	assert_int_equal(m.left_out, 0);
	et_file_recording_id(f->order.sha256, m.recordings[0].part, id);
	assert_memory_equal(m.recordings[0].captured->id, id, 16);
	assert_int_equal(et_import_publish(&m, &m.recordings[0], NULL), 0);

	/* Its key is wrapped to the cluster's. */
	const struct et_import_segment *s = &m.recordings[0].segments[0];
	assert_int_equal(et_x25519_generate(&kek, public_key, NULL), 0);
	assert_int_equal(et_import_wrap(s, 4, public_key, enc, ciphertext, NULL), 0);
	assert_int_equal(et_dek_unwrap(kek, 4, id, s->header.dek_id, enc,
				       (struct et_view){ ciphertext, 48 }, &dek, NULL),
			 0);
	assert_memory_equal(et_secret_bytes(dek), et_secret_bytes(s->dek), 32);
	et_import_remove(&m);
	assert_true(is_empty(f, "import") && !is_empty(f, "tapes"));
}

static void a_bad_capture_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct et_import m;
	struct et_error e = { 0 };

	make_capture(f, 500);
	f->file.size -= 1000;
	announce(f);
	assert_int_equal(et_import(&f->config, &f->order, &m, &e), ET_ETRUNCATED);
	make_capture(f, 3000);
	memset(f->file.data + 24, 0xFF, 16); /* the first packet is longer than any */
	announce(f);
	assert_int_equal(et_import(&f->config, &f->order, &m, &e), ET_ETRUNCATED);
	make_capture(f, 500);
	f->order.sha256[0] ^= 1;
	assert_int_equal(et_import(&f->config, &f->order, &m, &e), ET_EINTEGRITY);
	make_capture(f, 500);
	f->told.start_us = T0_US;
	assert_int_equal(et_import(&f->config, &f->order, &m, &e), ET_EUSAGE);
	assert_true(is_empty(f, "import") && is_empty(f, "tapes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(wav_sounds_as_it_did, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_rates_are_heard, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_played_comes_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_as_announced_leaves_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(the_same_file_makes_the_same_recording, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_sweep_removes_what_nobody_knows, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_capture_makes_recordings, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_bad_capture_leaves_nothing, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
