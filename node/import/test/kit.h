/* A file that is imported into a folder of its own, played and brought back. */
#ifndef ET_NODE_IMPORT_TEST_KIT_H
#define ET_NODE_IMPORT_TEST_KIT_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/crypto/hash.h"
#include "node/crypto/sign.h"
#include "node/import/import.h"
#include "node/playback/playback.h"
#include "node/tape/file.h"

#define T0_US INT64_C(1709280900000000)

struct fixture {
	char dir[64];
	struct et_secret *seed;
	struct et_import_config config;
	struct et_told told;
	struct et_buffer file;
	size_t at;
	size_t piece; /* bytes that a read gives at most */
	int fail_at;  /* of a read, from 1; 0: none fails */
	struct et_import_order order;
	/* Of playback. */
	const struct et_import *m;
	int16_t *heard;
	size_t frames;
	size_t frames_max;
	struct et_buffer back;
};

static inline ssize_t read_file(void *arg, void *data, size_t size, struct et_error *reterr)
{
	struct fixture *f = arg;
	size_t n = f->file.size - f->at;

	if (f->fail_at > 0 && --f->fail_at == 0) {
		return et_fail(reterr, -ECONNRESET, "read");
	}
	n = n < size ? n : size;
	n = n < f->piece ? n : f->piece;
	memcpy(data, f->file.data + f->at, n);
	f->at += n;
	return (ssize_t)n;
}

static inline int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/et_import.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(et_secret_random(32, &f->seed, NULL), 0);
	f->config = (struct et_import_config){ .media = f->dir,
					       .node = 7,
					       .site = "prg",
					       .sign_key = f->seed,
					       .kek_id = 9,
					       .kek_version = 3 };
	assert_int_equal(et_told_read("m", (struct et_view){ NULL, 0 }, &f->told, NULL), 0);
	f->piece = 10007;
	f->order = (struct et_import_order){ .name = "a call.wav",
					     .start_us = T0_US,
					     .told = &f->told,
					     .read = read_file,
					     .arg = f };
	*state = f;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[96];

	et_told_release(&f->told);
	et_buffer_release(&f->file);
	et_buffer_release(&f->back);
	f->seed = et_secret_free(f->seed);
	free(f->heard);
	(void)snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

/* Nothing in <media>/NAME. */
static inline bool is_empty(const struct fixture *f, const char *name)
{
	char path[128];
	int count = 0;

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	DIR *d = opendir(path);
	for (struct dirent *e = d != NULL ? readdir(d) : NULL; e != NULL; e = readdir(d)) {
		count += e->d_name[0] != '.';
	}
	if (d != NULL) {
		(void)closedir(d);
	}
	return count == 0;
}

static inline void announce(struct fixture *f)
{
	et_sha256(f->file.data, f->file.size, f->order.sha256);
	f->order.size_bytes = f->file.size;
	f->at = 0;
}

/* ---- As it is played, and as it comes back ---- */

static inline int open_segment(void *arg, const struct et_playback_segment *segment,
			       struct et_tape_source *ret, struct et_error *reterr)
{
	const struct fixture *f = arg;
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", f->dir,
		       f->m->recordings[0].segments[segment->segment - 1].file);
	return et_tape_source_open(path, ret, reterr);
}

static inline void close_segment(void *arg, struct et_tape_source *source)
{
	(void)arg;
	et_tape_source_close(source);
}

static inline int open_key(void *arg, const struct et_tape_header *header, struct et_secret **ret,
			   struct et_error *reterr)
{
	const struct fixture *f = arg;
	const struct et_import_segment *s = &f->m->recordings[0].segments[header->segment - 1];

	(void)reterr;
	*ret = et_secret_copy(et_secret_bytes(s->dek), 32);
	return *ret != NULL ? 0 : -ENOMEM;
}

static inline int hear(void *arg, const int16_t *samples, size_t frames)
{
	struct fixture *f = arg;
	assert_true(f->frames + frames <= f->frames_max);
	memcpy(f->heard + f->frames * 2, samples, frames * 4);
	f->frames += frames;
	return 0;
}

static inline int take_back(void *arg, const void *data, size_t size)
{
	struct fixture *f = arg;
	et_buffer_add(&f->back, data, size);
	return 0;
}

/* A sink whose disk is full. */
static inline int refuse(void *arg, const void *data, size_t size)
{
	size_t *asked = arg;

	(void)data;
	(void)size;
	(*asked)++;
	return -ENOSPC;
}

/* Of the first recording. */
struct played {
	struct et_playback_segment segment;
	struct et_playback_config config;
};

static inline void played_fill(struct fixture *f, const struct et_import *m, struct played *ret)
{
	*ret = (struct played){
		.segment = { .generation = 1, .segment = 1, .t0_us = T0_US, .has_root = true },
		.config = { .segments = &ret->segment,
			    .segment_count = 1,
			    .verify = true,
			    .supply = { open_segment, close_segment, open_key, f } },
	};
	f->m = m;
	memcpy(ret->config.recording, m->recordings[0].captured->id, 16);
	memcpy(ret->segment.root, m->recordings[0].segments[0].seal.root, 32);
	memcpy(ret->segment.header_hash, m->recordings[0].segments[0].header.hash, 32);
}

/* At most `frames_max` frames from `first` on, into f->heard. */
static inline void play_from(struct fixture *f, const struct et_import *m, uint64_t first,
			     size_t frames_max, struct et_playback_summary *ret)
{
	struct played p;

	played_fill(f, m, &p);
	f->heard = realloc(f->heard, frames_max * 4 + 4);
	assert_non_null(f->heard);
	f->frames_max = frames_max;
	f->frames = 0;
	assert_int_equal(et_playback_render(&p.config, first,
					    frames_max > 0 ? frames_max : UINT64_MAX, hear, f, ret,
					    NULL),
			 0);
}

static inline void play(struct fixture *f, const struct et_import *m, size_t frames_max,
			struct et_playback_summary *ret)
{
	struct et_playback_summary again;
	struct played p;
	size_t asked = 0;

	played_fill(f, m, &p);
	f->heard = realloc(f->heard, frames_max * 4 + 4);
	f->frames_max = frames_max;
	f->frames = 0;
	assert_int_equal(et_playback_render(&p.config, 0, UINT64_MAX, hear, f, ret, NULL), 0);
	f->back.size = 0;
	assert_int_equal(et_playback_file(&p.config, take_back, f, &again, NULL), 0);
	assert_int_equal(f->back.size, f->file.size);
	assert_memory_equal(f->back.data, f->file.data, f->file.size);
	assert_int_equal(et_playback_file(&p.config, refuse, &asked, &again, NULL), -ENOSPC);
	assert_int_equal(asked, 1);
}

#endif
