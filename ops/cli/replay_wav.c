#include "ops/cli/replay_wav.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/audio/mix.h"
#include "node/audio/wav.h"
#include "node/base/fd.h"
#include "node/io/clock.h"
#include "node/io/file.h"

#define MIX_BYTES ((size_t)600 * 1024) /* at 8 kHz */
#define OVER_US 1000000LL	       /* behind a call's end: nothing of it comes any more */

enum { CACHE = 4096 }; /* a power of two */

enum progress { WAITS, MIXES, DONE, CAME_AGAIN };

struct call {
	const struct et_capture_recording *recording; /* of the first replay */
	const uint8_t *name;			      /* the id that its file is called by */
	uint32_t rate;
	uint32_t pass;	 /* 0: not yet planned */
	bool to_the_end; /* its mix stays to the end of the pass */
	enum progress progress;
	struct et_mix *mix; /* owned */
	struct et_wav wav;
	bool used; /* something could be decoded */
	uint64_t undecodable;
	int code; /* the first failure of mix or file */
};

/* The engine names a call by where its id lies: that place is the same from packet to packet. */
struct cached {
	const uint8_t *place;
	uint8_t id[16];
	struct call *call;
};

struct wavs {
	const char *folder;
	struct call *calls; /* owned; as in the summary: by start */
	uint32_t count;
	struct call **by_id; /* owned */
	struct call **live;  /* owned: those of which a mix is under way */
	uint32_t live_count;
	uint32_t pass; /* from 1 */
	struct cached cache[CACHE];
	size_t budget;
	int rc;
	struct et_error error; /* when rc < 0 */
};

static const struct et_codec *codec_of(const struct et_capture_stream *s, uint8_t payload_type)
{
	if (payload_type == s->payload_type && s->codec[0] != '\0') {
		return et_codec_find(s->codec, strcspn(s->codec, "/"), s->clock_hz);
	}
	return et_codec_static(payload_type);
}

/* What the best of its codecs needs. */
static uint32_t rate_of(const struct et_capture_recording *r)
{
	uint32_t rate = 8000;
	for (uint32_t i = 0; i < r->stream_count; i++) {
		const struct et_codec *codec = codec_of(&r->streams[i], r->streams[i].payload_type);
		if (codec != NULL && et_mix_rate_for(codec) > rate) {
			rate = et_mix_rate_for(codec);
		}
	}
	return rate;
}

static size_t bytes_of(const struct call *c)
{
	return MIX_BYTES * (c->rate == 48000 ? 8 : c->rate / 8000);
}

static void path_of(const struct wavs *w, const struct call *c, char ret[4200])
{
	char id[ET_UUID_TEXT_SIZE];
	et_uuid_format(c->name, id);
	(void)snprintf(ret, 4200, "%s/%s.wav", w->folder, id);
}

/* ---- A call ---- */

static void call_fail(struct wavs *w, int code, const struct et_error *why)
{
	if (w->rc == 0) {
		w->rc = code;
		w->error = *why;
	}
}

static int on_samples(void *arg, const int16_t *samples, size_t frames)
{
	struct call *c = arg;
	return et_wav_write(&c->wav, samples, frames, NULL);
}

static void call_begin(struct wavs *w, struct call *c)
{
	char path[4200];
	struct et_error e;
	path_of(w, c, path);
	c->used = false;
	c->undecodable = 0;
	c->code = 0;
	c->progress = DONE;
	int rc = et_wav_create(&c->wav, path, c->rate, &e);
	if (rc == 0) {
		rc = et_mix_new(c->recording->start_us, c->rate, on_samples, c, &c->mix, &e);
	}
	if (rc < 0) {
		et_wav_close(&c->wav);
		call_fail(w, rc, &e);
		return;
	}
	c->progress = MIXES;
	w->live[w->live_count++] = c;
}

/* The file is whole, or it is gone. */
static void call_end(struct wavs *w, struct call *c)
{
	char path[4200];
	struct et_error e;
	path_of(w, c, path);
	int rc = c->code < 0 ? c->code : et_mix_finish(c->mix, c->recording->end_us);
	c->mix = et_mix_free(c->mix);
	if (rc < 0) {
		(void)et_fail(&e, rc, "write '%s'", path);
	} else if (c->used) {
		rc = et_wav_end(&c->wav, &e);
	}
	if (rc < 0 || !c->used) {
		et_wav_close(&c->wav);
		(void)unlink(path);
	}
	if (rc < 0) {
		call_fail(w, rc, &e);
	}
	c->progress = DONE;
}

/* Those whose end lies behind. */
static void live_end(struct wavs *w, int64_t now_us, bool all)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < w->live_count; i++) {
		struct call *c = w->live[i];
		if (all || (!c->to_the_end && c->recording->end_us + OVER_US < now_us)) {
			call_end(w, c);
		} else {
			w->live[kept++] = c;
		}
	}
	w->live_count = kept;
}

/* ---- Packets ---- */

static int by_id(const void *a, const void *b)
{
	const struct call *const *x = a;
	const struct call *const *y = b;
	return memcmp((*x)->recording->id, (*y)->recording->id, 16);
}

static int by_key(const void *id, const void *element)
{
	const struct call *const *c = element;
	return memcmp(id, (*c)->recording->id, 16);
}

static struct call *call_find(struct wavs *w, const uint8_t *id)
{
	struct cached *at = &w->cache[((uintptr_t)id >> 4) % CACHE];
	if (at->place != id || memcmp(at->id, id, 16) != 0) {
		struct call **found = bsearch(id, w->by_id, w->count, sizeof(*found), by_key);
		at->place = id;
		memcpy(at->id, id, 16);
		at->call = found != NULL ? *found : NULL;
	}
	return at->call;
}

static void on_media(void *arg, const struct et_replay_media *media)
{
	struct wavs *w = arg;
	struct call *c = call_find(w, media->recording);
	if (c == NULL || c->pass != w->pass || w->rc < 0) {
		return;
	}
	if (c->progress == WAITS) {
		live_end(w, media->arrival_us, false);
		call_begin(w, c);
	}
	if (c->progress != MIXES) {
		c->progress = CAME_AGAIN;
		return;
	}
	if (c->code < 0 || media->stream >= c->recording->stream_count) {
		return;
	}
	const struct et_capture_stream *s = &c->recording->streams[media->stream];
	const struct et_codec *codec = media->closed ? NULL : codec_of(s, media->payload_type);
	if (codec == NULL) {
		c->undecodable++;
		return;
	}
	const struct et_mix_packet packet = {
		.stream = media->stream,
		.party = s->party,
		.marker = media->marker,
		.sequence = media->sequence,
		.timestamp = media->timestamp,
		.arrival_us = media->arrival_us,
		.codec = codec,
		.payload = { media->payload, media->payload_size },
	};
	c->used = true;
	c->code = et_mix_add(c->mix, &packet);
}

/* ---- Passes ---- */

/* Take calls, by their start, as long as those that are under way at a time fit the budget. false:
 * none is left. */
static bool pass_plan(struct wavs *w)
{
	size_t bytes = 0;
	bool any = false;
	uint32_t live = 0;
	for (uint32_t i = 0; i < w->count; i++) {
		struct call *c = &w->calls[i];
		uint32_t kept = 0;
		if (c->pass != 0) {
			continue;
		}
		for (uint32_t k = 0; k < live; k++) {
			if (!w->live[k]->to_the_end &&
			    w->live[k]->recording->end_us + OVER_US < c->recording->start_us) {
				bytes -= bytes_of(w->live[k]);
			} else {
				w->live[kept++] = w->live[k];
			}
		}
		live = kept;
		if (live == 0 || bytes + bytes_of(c) <= w->budget) {
			c->pass = w->pass;
			c->progress = WAITS;
			bytes += bytes_of(c);
			w->live[live++] = c;
			any = true;
		}
	}
	return any;
}

static int pass_run(struct wavs *w, const struct et_replay_config *first, struct et_error *reterr)
{
	struct et_replay_config config = *first;
	struct et_replay_summary again;
	config.on_media = on_media;
	config.media_arg = w;
	memset(w->cache, 0, sizeof(w->cache));
	int rc = et_replay(&config, &again, reterr);
	if (rc == 0) {
		et_replay_summary_release(&again);
	}
	live_end(w, 0, true);
	if (rc == 0 && w->rc < 0) {
		*reterr = w->error;
		rc = w->rc;
	}
	for (uint32_t i = 0; i < w->count; i++) {
		struct call *c = &w->calls[i];
		if (c->pass == w->pass && c->progress == CAME_AGAIN) {
			char path[4200];
			path_of(w, c, path);
			(void)unlink(path);
			c->pass = 0; /* once more, as a whole */
			c->to_the_end = true;
			c->used = false;
		}
	}
	return rc;
}

/* A file is called as its call; that of a recording which took the place of another of the same
 * call (Replaces) as the recording. Calls of one id are found by the next that begins. */
static int by_call(const void *a, const void *b)
{
	const struct call *const *x = a;
	const struct call *const *y = b;
	int order = memcmp((*x)->recording->call, (*y)->recording->call, 16);
	return order != 0 ? order : *x < *y ? -1 : *x > *y;
}

static void names_choose(struct wavs *w)
{
	qsort(w->by_id, w->count, sizeof(struct call *), by_call);
	for (uint32_t i = 0; i < w->count; i++) {
		const struct et_capture_recording *r = w->by_id[i]->recording;
		bool again = i > 0 && memcmp(w->by_id[i - 1]->recording->call, r->call, 16) == 0;
		w->by_id[i]->name = again ? r->id : r->call;
	}
	qsort(w->by_id, w->count, sizeof(struct call *), by_id);
}

static int wavs_init(struct wavs *w, const struct et_replay_summary *summary)
{
	w->count = summary->call_count;
	w->calls = calloc((size_t)w->count + 1, sizeof(*w->calls));
	w->by_id = calloc((size_t)w->count + 1, sizeof(struct call *));
	w->live = calloc((size_t)w->count + 1, sizeof(struct call *));
	if (w->calls == NULL || w->by_id == NULL || w->live == NULL) {
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < w->count; i++) {
		w->calls[i].recording = &summary->calls[i].recording;
		w->calls[i].rate = rate_of(w->calls[i].recording);
		w->calls[i].wav.fd = -1;
		w->by_id[i] = &w->calls[i];
	}
	names_choose(w);
	for (uint32_t i = 0; i < w->count; i++) { /* of an earlier run */
		char path[4200];
		path_of(w, &w->calls[i], path);
		(void)unlink(path);
	}
	return 0;
}

static int folder_sync(const char *folder, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || syncfs(fd) < 0 ? et_fail(reterr, -errno, "sync '%s'", folder) : 0;
}

int et_replay_wavs(const struct et_replay_config *config, const struct et_replay_summary *summary,
		   const char *folder, size_t budget, char (*names)[ET_REPLAY_WAV_NAME],
		   uint64_t *ret_undecodable, struct et_error *reterr)
{
	*ret_undecodable = 0;
	if (strlen(folder) > 4000) {
		return et_fail(reterr, -ENAMETOOLONG, "folder '%.100s...'", folder);
	}
	int rc = et_file_mkdirs(folder, reterr);
	if (rc < 0) {
		return rc;
	}
	struct wavs *w = calloc(1, sizeof(*w));
	if (w == NULL) {
		return et_fail(reterr, -ENOMEM, "replay");
	}
	w->folder = folder;
	w->budget = budget;
	if (wavs_init(w, summary) < 0) {
		rc = et_fail(reterr, -ENOMEM, "replay");
	}
	for (w->pass = 1; rc == 0 && pass_plan(w); w->pass++) {
		rc = pass_run(w, config, reterr);
	}
	for (uint32_t i = 0; i < w->count && rc == 0; i++) {
		char id[ET_UUID_TEXT_SIZE];
		et_uuid_format(w->calls[i].name, id);
		(void)snprintf(names[i], ET_REPLAY_WAV_NAME, "%s%s", w->calls[i].used ? id : "",
			       w->calls[i].used ? ".wav" : "");
		*ret_undecodable += w->calls[i].undecodable;
	}
	rc = rc < 0 ? rc : folder_sync(folder, reterr);
	free(w->calls);
	free(w->by_id);
	free(w->live);
	free(w);
	return rc;
}
