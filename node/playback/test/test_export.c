#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/playback/test/playback_fixture.h"

struct files {
	char folder[96];
	size_t count;
	struct et_playback_file list[64];
};

static int remember(void *arg, const struct et_playback_file *file)
{
	struct files *files = arg;
	assert_true(files->count < 64);
	files->list[files->count++] = *file;
	return 0;
}

static struct et_buffer load(const struct files *files, const char *name)
{
	char path[256];
	struct et_buffer b = { 0 };
	(void)snprintf(path, sizeof(path), "%s/%s", files->folder, name);
	assert_int_equal(et_file_read(path, 1 << 24, &b, NULL), 0);
	et_buffer_add8(&b, 0); /* A string, for sscanf. */
	b.size--;
	return b;
}

static void begin(const struct fixture *f, struct files *files)
{
	*files = (struct files){ .count = 0 };
	(void)snprintf(files->folder, sizeof(files->folder), "%s/out", f->dir);
	assert_int_equal(mkdir(files->folder, 0700), 0);
}

static void end(const struct files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		char path[256];
		(void)snprintf(path, sizeof(path), "%s/%s", files->folder, files->list[i].name);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(rmdir(files->folder), 0); /* No file was left untold. */
}

/* Row by row: the columns say what was sent, and where its bytes are. */
static void check_stream(const struct files *files, unsigned segment, unsigned party)
{
	char name[64];
	const char *codec = party == 0 ? "PCMU" : "PCMA";
	(void)snprintf(name, sizeof(name), "s%03u-stream%02u-%s.raw", segment, party, codec);
	struct et_buffer raw = load(files, name);
	(void)snprintf(name, sizeof(name), "s%03u-stream%02u-%s.csv", segment, party, codec);
	struct et_buffer csv = load(files, name);
	const char *line = strchr((const char *)csv.data, '\n') + 1;
	size_t at = 0;

	for (unsigned n = (segment - 1) * PER_SEGMENT; n < segment * PER_SEGMENT; n++) {
		unsigned seq, ts, pt, marker;
		long long arrival;
		unsigned long offset, length;
		char kind[8];
		assert_int_equal(sscanf(line, "%u,%u,%lld,%u,%u,%lu,%lu,%7[a-z]", &seq, &ts,
					&arrival, &pt, &marker, &offset, &length, kind),
				 8);
		bool whole = n % 50 == 7;
		assert_int_equal(seq, n);
		assert_int_equal(ts, n * PTIME);
		assert_int_equal(arrival, T0_US + (int64_t)n * 20000 + party * 10000);
		assert_int_equal(pt, party == 0 ? 0 : 8);
		assert_int_equal(offset, at);
		assert_int_equal(length, PTIME + (whole ? 16 : 0));
		assert_string_equal(kind, whole ? "whole" : "rtp");
		for (size_t i = 0; i < PTIME; i++) {
			assert_int_equal(raw.data[offset + (whole ? 16 : 0) + i],
					 said(party, n * PTIME + (uint32_t)i));
		}
		at += length;
		line = strchr(line, '\n') + 1;
	}
	assert_int_equal(at, raw.size);
	assert_int_equal(*line, 0);
	et_buffer_release(&raw);
	et_buffer_release(&csv);
}

static void the_original_comes_back_bit_for_bit(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct files files;

	begin(f, &files);
	assert_int_equal(
		et_playback_export_original(&f->config, files.folder, remember, &files, &s, NULL),
		0);
	assert_int_equal(files.count, SEGMENTS * 5); /* Two streams of two files, and meta. */
	assert_int_equal(s.packets, SEGMENTS * PER_SEGMENT * 2);
	for (unsigned segment = 1; segment <= SEGMENTS; segment++) {
		check_stream(&files, segment, 0);
		check_stream(&files, segment, 1);
	}
	for (size_t i = 0; i < files.count; i++) {
		struct et_buffer b = load(&files, files.list[i].name);
		uint8_t hash[32];
		et_sha256(b.data, b.size, hash);
		assert_int_equal(b.size, files.list[i].size_bytes);
		assert_memory_equal(hash, files.list[i].sha256, 32);
		et_buffer_release(&b);
	}
	struct et_buffer meta = load(&files, "s001-meta.txt");
	assert_non_null(strstr((const char *)meta.data, "INVITE sip:b SIP/2.0\r\n\r\n"));
	assert_non_null(strstr((const char *)meta.data, "stream number=1 ssrc=0x00001001 party=1"));
	et_buffer_release(&meta);
	end(&files);
}

static void what_cannot_be_had_is_said(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct files files;

	begin(f, &files);
	f->missing[0] = true;
	assert_int_equal(
		et_playback_export_original(&f->config, files.folder, remember, &files, &s, NULL),
		0);
	assert_int_equal(files.count, (SEGMENTS - 1) * 5);
	assert_int_equal(s.segments_missing, 1);
	assert_string_not_equal(s.problem, "");
	end(&files);
}

static void nothing_is_overwritten(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct files files;
	struct et_error e;

	begin(f, &files);
	assert_int_equal(
		et_playback_export_original(&f->config, files.folder, remember, &files, &s, NULL),
		0);
	assert_int_equal(et_playback_export_original(&f->config, files.folder, NULL, NULL, &s, &e),
			 -EEXIST);
	end(&files);
}

static void srtp_is_exported_protected_and_without_keys(void **state)
{
	struct fixture *f = *state;
	struct et_playback_summary s;
	struct files files;
	uint8_t material[30];

	begin(f, &files);
	assert_int_equal(
		et_playback_export_original(&f->config, files.folder, remember, &files, &s, NULL),
		0);
	struct et_buffer meta = load(&files, "s001-meta.txt");
	const char *text = (const char *)meta.data;
	assert_non_null(strstr(text, "srtp=SRTP payload=protected keys=withheld"));
	assert_non_null(strstr(text,
			       "a=Crypto:1 X INLINE:*********|2^20;inline:*******|1:1 KDR=0\r\n"
			       "a=x:inline:kept\r\n"));
	et_buffer_release(&meta);
	struct et_buffer raw = load(&files, "s001-stream00-PCMU.raw");
	assert_int_equal(raw.size, PER_SEGMENT * (PTIME + 10) + SECONDS * 16);
	et_buffer_release(&raw);
	srtp_key(0, material);
	for (size_t i = 0; i < files.count; i++) {
		struct et_buffer b = load(&files, files.list[i].name);
		assert_null(memmem(b.data, b.size, material, sizeof(material)));
		et_buffer_release(&b);
	}
	end(&files);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(the_original_comes_back_bit_for_bit),
		TEST(what_cannot_be_had_is_said),
		TEST(nothing_is_overwritten),
		cmocka_unit_test_setup_teardown(srtp_is_exported_protected_and_without_keys,
						set_up_protected, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
