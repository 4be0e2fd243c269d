#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/audio/wav.h"
#include "node/io/file.h"

static const uint8_t two_frames[ET_WAV_HEADER_SIZE + 8] = {
	'R', 'I', 'F', 'F', 44, 0, 0,	 0,    'W', 'A', 'V',  'E',  'f',  'm',	 't', ' ',  16, 0,
	0,   0,	  1,   0,   2,	0, 0x40, 0x1F, 0,   0,	 0,    0x7D, 0,	   0,	 4,   0,    16, 0,
	'd', 'a', 't', 'a', 8,	0, 0,	 0,    1,   0,	 0xFF, 0xFF, 0xFF, 0x7F, 0,   0x80,
};

static void writes_the_file_that_the_format_asks_for(void **state)
{
	static const int16_t samples[] = { 1, -1, INT16_MAX, INT16_MIN };
	char dir[] = "/tmp/et_wav.XXXXXX";
	char path[64];
	struct et_buffer b = { 0 };
	struct et_wav w;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/a.wav", dir);
	assert_int_equal(et_wav_create(&w, path, 8000, NULL), 0);
	assert_int_equal(et_wav_write(&w, samples, 1, NULL), 0);
	assert_int_equal(et_wav_write(&w, samples + 2, 1, NULL), 0);
	assert_int_equal(et_wav_end(&w, NULL), 0);
	et_wav_close(&w);
	assert_int_equal(et_file_read(path, 1000, &b, NULL), 0);
	assert_int_equal(b.size, sizeof(two_frames));
	assert_memory_equal(b.data, two_frames, sizeof(two_frames));
	assert_int_equal(et_wav_create(&w, path, 8000, NULL), -EEXIST);
	et_buffer_release(&b);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

/* Behind the samples, whose place and number stay. */
static void a_label_says_that_sound_is_made_up(void **state)
{
	uint8_t plain[ET_WAV_HEADER_SIZE];
	uint8_t header[ET_WAV_HEADER_SIZE];
	uint8_t label[ET_WAV_LABEL_SIZE];

	(void)state;
	assert_int_equal(et_wav_header(2, 8000, plain), 0);
	assert_int_equal(et_wav_header(2, 8000, header), 0);
	assert_int_equal(et_wav_label(header, label), 0);
	assert_int_equal(header[4], plain[4] + ET_WAV_LABEL_SIZE);
	header[4] = plain[4];
	assert_memory_equal(header, plain, sizeof(plain));
	assert_memory_equal(label,
			    "LIST\x98\0\0\0INFOICMT\x8C\0\0\0"
			    "A derivative",
			    32);
	assert_non_null(strstr((const char *)label + 20, "made up"));
	assert_int_equal(label[ET_WAV_LABEL_SIZE - 1], 0);
	assert_int_equal(et_wav_header(ET_WAV_FRAMES_MAX, 8000, header), 0);
	assert_int_equal(et_wav_label(header, label), ET_ELIMIT);
}

static void refuses_what_a_riff_header_cannot_say(void **state)
{
	uint8_t header[ET_WAV_HEADER_SIZE];

	(void)state;
	assert_int_equal(et_wav_header(ET_WAV_FRAMES_MAX, 8000, header), 0);
	assert_int_equal(et_wav_header((uint64_t)ET_WAV_FRAMES_MAX + 1, 8000, header), ET_ELIMIT);
}

static void peaks_cover_every_frame_once(void **state)
{
	struct et_peak peaks[3];
	struct et_peaks p;

	(void)state;
	et_peaks_init(&p, peaks, 3, 10);
	for (int16_t i = 0; i < 12; i++) { /* Two more than announced. */
		const int16_t frame[2] = { (int16_t)(i * 10), (int16_t)-i };
		et_peaks_add(&p, frame, 1);
	}
	assert_int_equal(p.frames, 10);
	/* Buckets 0-3, 4-6, 7-9. */
	assert_int_equal(peaks[0].high[0], 30);
	assert_int_equal(peaks[0].low[1], -3);
	assert_int_equal(peaks[1].high[0], 60);
	assert_int_equal(peaks[2].high[0], 90);
	assert_int_equal(peaks[2].low[1], -9);
	assert_int_equal(peaks[2].low[0], 0);
	et_peaks_init(&p, peaks, 3, 0);
	et_peaks_add(&p, (const int16_t[]){ 5, 5 }, 1);
	assert_int_equal(peaks[0].high[0], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_the_file_that_the_format_asks_for),
		cmocka_unit_test(a_label_says_that_sound_is_made_up),
		cmocka_unit_test(refuses_what_a_riff_header_cannot_say),
		cmocka_unit_test(peaks_cover_every_frame_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
