/* The WAV files of a replay are the same however many calls share a pass: all of them, one after
 * the other, and where the capture files are given in the wrong order. And they hold what was sent.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster-tests/harness/calls.h"
#include "node/audio/codec.h"
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

/* Replay, then write; returns how many calls there are. */
static uint32_t write_all(const struct et_replay_config *config, const char *folder, size_t budget,
			  char (*names)[ET_REPLAY_WAV_NAME])
{
	struct et_replay_summary s;
	struct et_error e;
	uint64_t undecodable = 1;
	assert_int_equal(et_replay(config, &s, &e), 0);
	uint32_t count = s.call_count;
	assert_in_range(count, 1, 2 * CALLS);
	if (et_replay_wavs(config, &s, folder, budget, names, &undecodable, &e) < 0) {
		fail_msg("%s", e.text);
	}
	assert_int_equal(undecodable, 0);
	et_replay_summary_release(&s);
	return count;
}

static void assert_same_files(const char *a, const char *b, char (*names)[ET_REPLAY_WAV_NAME],
			      uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		char path[256];
		struct et_buffer x = { 0 };
		struct et_buffer y = { 0 };
		if (names[i][0] == '\0') {
			continue;
		}
		(void)snprintf(path, sizeof(path), "%s/%.63s", a, names[i]);
		assert_int_equal(et_file_read(path, 1 << 24, &x, NULL), 0);
		(void)snprintf(path, sizeof(path), "%s/%.63s", b, names[i]);
		assert_int_equal(et_file_read(path, 1 << 24, &y, NULL), 0);
		assert_int_equal(x.size, y.size);
		assert_true(x.size > ET_WAV_HEADER_SIZE);
		assert_memory_equal(x.data, y.data, x.size);
		et_buffer_release(&x);
		et_buffer_release(&y);
	}
}

static void compare(struct fixture *f, const struct et_replay_config *config)
{
	static char together[2 * CALLS][ET_REPLAY_WAV_NAME];
	static char alone[2 * CALLS][ET_REPLAY_WAV_NAME];
	static char some[2 * CALLS][ET_REPLAY_WAV_NAME];
	char a[128];
	char b[128];
	char c[128];
	(void)snprintf(a, sizeof(a), "%s/together", f->folder);
	(void)snprintf(b, sizeof(b), "%s/alone", f->folder);
	(void)snprintf(c, sizeof(c), "%s/some", f->folder);
	uint32_t count = write_all(config, a, ET_REPLAY_WAV_BUDGET, together);
	assert_int_equal(write_all(config, b, 1, alone), count);
	assert_int_equal(write_all(config, c, (size_t)5 << 20, some), count);
	assert_memory_equal(together, alone, sizeof(together));
	assert_memory_equal(together, some, sizeof(together));
	assert_same_files(a, b, together, count);
	assert_same_files(a, c, together, count);
	/* Once more over what is there. */
	assert_int_equal(write_all(config, a, ET_REPLAY_WAV_BUDGET, together), count);
	assert_same_files(a, b, together, count);
}

static void all_budgets_write_the_same(void **state)
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
	uint32_t count = write_all(&config, folder, ET_REPLAY_WAV_BUDGET, names);
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
		cmocka_unit_test_setup_teardown(all_budgets_write_the_same, set_up, tear_down),
		cmocka_unit_test_setup_teardown(files_in_the_wrong_order_lose_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_file_holds_what_was_sent, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
