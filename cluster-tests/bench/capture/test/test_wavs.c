/* The WAV files of a replay are what the packets of each call say, also where the capture files are
 * given in the wrong order. And they hold what was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster-tests/harness/calls.h"
#include "node/audio/codec.h"
#include "node/audio/mix.h"
#include "node/audio/wav.h"
#include "node/io/file.h"
#include "ops/cli/replay_wav.h"

enum { CALLS = 24, SECONDS = 3, SEED = 7, LISTENED = 8000 };

struct fixture {
	char folder[64];
	char file[96];
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct et_made_counts counts;
	const struct et_made_config made = { .calls = CALLS, .seconds = SECONDS, .seed = SEED };
	(void)strcpy(f->folder, "/tmp/evertape-wavs.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->file, sizeof(f->file), "%s/made.pcap", f->folder);
	assert_int_equal(et_made_write(f->file, &made, &counts, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(f);
	return 0;
}

static uint32_t files_in(const char *folder)
{
	uint32_t count = 0;
	DIR *d = opendir(folder);
	assert_non_null(d);
	for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
		count += e->d_name[0] != '.';
	}
	(void)closedir(d);
	return count;
}

/* Replay and write; returns how many calls there are. */
static uint32_t write_all(const struct et_replay_config *config, const char *folder,
			  char (*names)[ET_REPLAY_WAV_NAME])
{
	struct et_replay_wavs w;
	struct et_error e;
	if (et_replay_wavs(config, folder, false, &w, &e) < 0) {
		fail_msg("%s", e.text);
	}
	const uint32_t count = w.summary.call_count;
	assert_in_range(count, 1, 2 * CALLS);
	assert_int_equal(w.undecodable, 0);
	memcpy(names, w.names, count * sizeof(*names));
	et_replay_wavs_release(&w);
	return count;
}

/* ---- The same, told another way: all packets in memory, each call mixed from them ---- */

struct heard {
	uint8_t recording[16];
	struct et_replay_media media;
	uint8_t payload[ET_MADE_SAMPLES];
};

struct all_heard {
	struct heard *packets; /* owned */
	size_t count;
	size_t room;
};

static void hear(void *arg, const struct et_replay_media *media)
{
	struct all_heard *all = arg;
	if (all->count == all->room) {
		all->room = all->room * 2 + 1024;
		all->packets = realloc(all->packets, all->room * sizeof(*all->packets));
		assert_non_null(all->packets);
	}
	struct heard *h = &all->packets[all->count++];
	assert_true(media->payload_size <= sizeof(h->payload));
	memcpy(h->recording, media->recording, sizeof(h->recording));
	memcpy(h->payload, media->payload, media->payload_size);
	h->media = *media;
}

static int on_samples(void *arg, const int16_t *samples, size_t frames)
{
	struct et_buffer *b = arg;
	uint8_t *p = et_buffer_reserve(b, frames * ET_WAV_FRAME_SIZE);
	assert_non_null(p);
	et_wav_frames(samples, frames, p);
	b->size += frames * ET_WAV_FRAME_SIZE;
	return 0;
}

static void mix_call(const struct all_heard *all, const struct et_capture_recording *r,
		     struct et_buffer *ret)
{
	struct et_mix *mix = NULL;
	assert_int_equal(et_mix_new(r->start_us, 8000, on_samples, ret, &mix, NULL), 0);
	for (size_t i = 0; i < all->count; i++) {
		const struct heard *h = &all->packets[i];
		if (memcmp(h->recording, r->id, 16) != 0) {
			continue;
		}
		const struct et_mix_packet p = {
			.stream = h->media.stream,
			.party = r->streams[h->media.stream].party,
			.marker = h->media.marker,
			.sequence = h->media.sequence,
			.timestamp = h->media.timestamp,
			.arrival_us = h->media.arrival_us,
			.codec = et_codec_static(h->media.payload_type),
			.payload = { h->payload, h->media.payload_size },
		};
		assert_int_equal(et_mix_add(mix, &p), 0);
	}
	assert_int_equal(et_mix_finish(mix, r->end_us), 0);
	et_mix_free(mix);
}

/* Write, and compare each file; twice, the second time over what is there. */
static void compare(struct fixture *f, const struct et_replay_config *config)
{
	static char names[2 * CALLS][ET_REPLAY_WAV_NAME];
	static char again[2 * CALLS][ET_REPLAY_WAV_NAME];
	char folder[128];
	struct et_replay_config told = *config;
	struct all_heard all = { .count = 0 };
	struct et_replay_summary s;
	uint32_t files = 0;
	(void)snprintf(folder, sizeof(folder), "%s/out", f->folder);
	told.on_media = hear;
	told.media_arg = &all;
	assert_int_equal(et_replay(&told, &s, NULL), 0);
	assert_int_equal(write_all(config, folder, names), s.call_count);
	assert_int_equal(write_all(config, folder, again), s.call_count);
	assert_memory_equal(names, again, sizeof(names));
	for (uint32_t i = 0; i < s.call_count; i++) {
		char path[256];
		struct et_buffer file = { 0 };
		struct et_buffer mixed = { 0 };
		if (names[i][0] == '\0') {
			continue;
		}
		files++;
		(void)snprintf(path, sizeof(path), "%s/%.63s", folder, names[i]);
		assert_int_equal(et_file_read(path, 1 << 24, &file, NULL), 0);
		mix_call(&all, &s.calls[i].recording, &mixed);
		assert_true(mixed.size > 0);
		assert_int_equal(file.size, ET_WAV_HEADER_SIZE + mixed.size);
		assert_memory_equal(file.data + ET_WAV_HEADER_SIZE, mixed.data, mixed.size);
		et_buffer_release(&file);
		et_buffer_release(&mixed);
	}
	assert_in_range(files, CALLS, 2 * CALLS);
	assert_int_equal(files_in(folder), files); /* and nothing else lies there */
	free(all.packets);
	et_replay_summary_release(&s);
}

static void files_are_what_each_call_says(void **state)
{
	struct fixture *f = *state;
	const char *const files[] = { f->file };
	const struct et_replay_config config = { .files = files, .file_count = 1 };
	compare(f, &config);
}

/* Half of the calls first, then all: time goes back in the middle of every call. */
static void files_in_the_wrong_order_lose_nothing(void **state)
{
	struct fixture *f = *state;
	char later[96];
	struct et_made_counts counts;
	const struct et_made_config made = {
		.calls = CALLS / 2, .seconds = SECONDS, .seed = SEED + 1, .without_sip = true
	};
	(void)snprintf(later, sizeof(later), "%s/later.pcap", f->folder);
	assert_int_equal(et_made_write(later, &made, &counts, NULL), 0);
	const char *const files[] = { later, f->file, later };
	const struct et_replay_config config = { .files = files, .file_count = 3 };
	compare(f, &config);
}

/* No room for what waits, or for a WAV: the error says where, and no file is left. */
static void a_full_disk_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	static const struct {
		uint32_t calls;
		rlim_t limit;
		const char *says;
	} rows[] = { { CALLS, 65536, "calls under way" }, { 1, 80000, ".part'" } };
	const struct rlimit all = { .rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY };
	char folder[128];
	(void)snprintf(folder, sizeof(folder), "%s/out", f->folder);
	(void)signal(SIGXFSZ, SIG_IGN);
	for (size_t i = 0; i < ET_ARRAY_SIZE(rows); i++) {
		const struct et_made_config made = { .calls = rows[i].calls,
						     .seconds = SECONDS,
						     .seed = SEED };
		const struct rlimit less = { .rlim_cur = rows[i].limit, .rlim_max = RLIM_INFINITY };
		const char *const files[] = { f->file };
		const struct et_replay_config config = { .files = files, .file_count = 1 };
		struct et_made_counts counts;
		struct et_replay_wavs w;
		struct et_error e;
		assert_int_equal(et_made_write(f->file, &made, &counts, NULL), 0);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
		int rc = et_replay_wavs(&config, folder, false, &w, &e);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
		assert_int_equal(rc, -EFBIG);
		assert_non_null(strstr(e.text, rows[i].says));
		assert_non_null(strstr(e.text, folder));
		assert_int_equal(files_in(folder), 0);
	}
}

/* How many samples of the caller of call 5 are right when its first one is the frame `at`. */
static size_t equal_from(const struct et_buffer *wav, size_t at)
{
	const uint8_t *p = wav->data + ET_WAV_HEADER_SIZE + at * ET_WAV_FRAME_SIZE;
	size_t equal = 0;
	assert_true(ET_WAV_HEADER_SIZE + (at + LISTENED) * ET_WAV_FRAME_SIZE <= wav->size);
	for (size_t k = 0; k < LISTENED; k++, p += ET_WAV_FRAME_SIZE) {
		int16_t sample;
		memcpy(&sample, p, sizeof(sample));
		equal += sample == et_ulaw_decode(et_made_code(SEED, 5, 0, k));
	}
	return equal;
}

/* The audio of a call is that which anyone can compute. */
static void a_file_holds_what_was_sent(void **state)
{
	struct fixture *f = *state;
	static char names[2 * CALLS][ET_REPLAY_WAV_NAME];
	const char *const files[] = { f->file };
	const struct et_replay_config config = { .files = files, .file_count = 1 };
	char folder[128];
	char path[256];
	struct et_replay_summary s;
	struct et_buffer wav = { 0 };
	size_t equal = 0;
	(void)snprintf(folder, sizeof(folder), "%s/out", f->folder);
	uint32_t count = write_all(&config, folder, names);
	assert_int_equal(count, CALLS);
	assert_int_equal(et_replay(&config, &s, NULL), 0);
	for (uint32_t i = 0; i < count; i++) {
		if (strcmp(s.calls[i].recording.from, "caller000005") != 0) {
			continue;
		}
		(void)snprintf(path, sizeof(path), "%s/%.63s", folder, names[i]);
		assert_int_equal(et_file_read(path, 1 << 24, &wav, NULL), 0);
		/* Calls begin at moments of their own within a packet's time. */
		size_t at = (size_t)(ET_MADE_MEDIA_US - s.calls[i].recording.start_us) / 125;
		for (size_t late = 0; late < 2 * ET_MADE_SAMPLES && equal < LISTENED; late++) {
			equal = equal_from(&wav, at + late);
		}
	}
	assert_int_equal(equal, LISTENED);
	et_buffer_release(&wav);
	et_replay_summary_release(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files_are_what_each_call_says, set_up, tear_down),
		cmocka_unit_test_setup_teardown(files_in_the_wrong_order_lose_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_full_disk_leaves_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_file_holds_what_was_sent, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
