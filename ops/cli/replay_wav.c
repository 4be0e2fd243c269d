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
#include "ops/cli/spool.h"

enum { PATH_SIZE = 4200, FOLDER_MAX = 4000 };

/* A call under way: in a slot of the engine. */
struct live {
	struct et_spool_call spooled;
	uint64_t closed; /* packets of it that no key opens */
};

/* One that is over, and has a file. */
struct written {
	uint8_t id[16]; /* of the recording */
	uint64_t concealed_ms;
};

struct wavs {
	const char *folder;
	bool conceal;
	struct et_spool *spool; /* owned */
	struct live **live;	/* owned: by slot */
	uint32_t live_room;
	struct written *written; /* owned */
	uint32_t written_count;
	uint32_t written_room;
	uint64_t undecodable;
	int rc;
	struct et_error error; /* when rc < 0 */
};

/* The call that is mixed. */
struct mixing {
	const struct et_capture_recording *recording;
	struct et_mix *mix; /* owned */
	struct et_wav wav;
	uint64_t undecodable;
	uint64_t concealed_ms;
	bool used; /* something could be decoded */
	char path[PATH_SIZE];
	struct et_error *reterr;
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

static void path_of(const struct wavs *w, const uint8_t id[16], const char *ending,
		    char ret[PATH_SIZE])
{
	char text[ET_UUID_TEXT_SIZE];
	et_uuid_format(id, text);
	(void)snprintf(ret, PATH_SIZE, "%s/%s.%s", w->folder, text, ending);
}

static void wavs_fail(struct wavs *w, int code, const struct et_error *why)
{
	if (w->rc == 0) {
		w->rc = code;
		w->error = *why;
	}
}

/* The folder and the spool in it, when there is something to put there: a file that is no capture
 * file leaves no folder behind. */
static int wavs_ready(struct wavs *w, struct et_error *reterr)
{
	int rc = 0;
	if (w->spool == NULL) {
		rc = et_file_mkdirs(w->folder, reterr);
		rc = rc < 0 ? rc : et_spool_new(w->folder, &w->spool, reterr);
	}
	return rc;
}

/* ---- Media ---- */

static struct live *live_of(struct wavs *w, uint32_t slot)
{
	if (slot >= w->live_room) {
		const uint32_t room = (slot + 1) * 2;
		struct live **more = realloc(w->live, room * sizeof(struct live *));
		if (more == NULL) {
			return NULL;
		}
		memset(more + w->live_room, 0, (room - w->live_room) * sizeof(struct live *));
		w->live = more;
		w->live_room = room;
	}
	if (w->live[slot] == NULL) {
		w->live[slot] = calloc(1, sizeof(struct live));
	}
	return w->live[slot];
}

static void on_media(void *arg, const struct et_replay_media *media)
{
	struct wavs *w = arg;
	struct et_error e = { .code = 0 };
	const struct et_media_packet packet = {
		.stream = media->stream,
		.marker = media->marker,
		.payload_type = media->payload_type,
		.sequence = media->sequence,
		.timestamp = media->timestamp,
		.arrival_us = media->arrival_us,
		.payload = { media->payload, media->payload_size },
	};
	int rc = w->rc < 0 ? w->rc : wavs_ready(w, &e);
	if (rc < 0) {
		wavs_fail(w, rc, &e);
		return;
	}
	struct live *l = live_of(w, media->slot);
	if (l == NULL) {
		wavs_fail(w, et_fail(&e, -ENOMEM, "replay"), &e);
	} else if (media->closed) {
		l->closed++;
	} else if (et_spool_add(w->spool, &l->spooled, &packet, &e) < 0) {
		wavs_fail(w, e.code, &e);
	}
}

/* ---- A call that is over ---- */

static int on_samples(void *arg, const int16_t *samples, size_t frames)
{
	struct mixing *m = arg;
	int rc = et_wav_write(&m->wav, samples, frames, NULL);
	return rc < 0 ? et_fail(m->reterr, rc, "write '%s'", m->path) : 0;
}

static int on_packet(void *arg, const struct et_media_packet *p)
{
	struct mixing *m = arg;
	if (p->stream >= m->recording->stream_count) {
		return 0;
	}
	const struct et_capture_stream *s = &m->recording->streams[p->stream];
	const struct et_codec *codec = codec_of(s, p->payload_type);
	if (codec == NULL) {
		m->undecodable++;
		return et_mix_came(m->mix, p->stream, p->sequence, p->timestamp, p->arrival_us);
	}
	const struct et_mix_packet packet = {
		.stream = p->stream,
		.party = s->party,
		.marker = p->marker,
		.sequence = p->sequence,
		.timestamp = p->timestamp,
		.arrival_us = p->arrival_us,
		.codec = codec,
		.payload = p->payload,
	};
	m->used = true;
	return et_mix_add(m->mix, &packet);
}

/* Packets of a pause are no losses. */
static int mix_conceal(struct mixing *m)
{
	const struct et_capture_recording *r = m->recording;
	const int64_t per_ms = rate_of(r) / 1000;
	int rc = et_mix_conceal(m->mix, NULL, NULL);

	for (uint32_t i = 0; i < r->gap_count && rc == 0; i++) {
		const int64_t from = (r->gaps[i].from_us - r->start_us) * per_ms / 1000;
		const int64_t to = (r->gaps[i].to_us - r->start_us) * per_ms / 1000;
		et_mix_leave(m->mix, from, r->gaps[i].to_us != 0 ? to + 1 : INT64_MAX);
	}
	return rc;
}

static int call_mix(struct wavs *w, struct live *l, struct mixing *m, struct et_error *reterr)
{
	const struct et_capture_recording *r = m->recording;
	const uint32_t rate = rate_of(r);
	path_of(w, r->id, "part", m->path);
	m->reterr = reterr;
	reterr->code = 0;
	(void)unlink(m->path); /* of a run that was killed */
	int rc = et_wav_create(&m->wav, m->path, rate, reterr);
	m->wav.concealed = w->conceal;
	rc = rc < 0 ? rc : et_mix_new(r->start_us, rate, on_samples, m, &m->mix, reterr);
	rc = rc < 0 || !w->conceal ? rc : mix_conceal(m);
	rc = rc < 0 ? rc : et_spool_drain(w->spool, &l->spooled, on_packet, m, reterr);
	rc = rc < 0 ? rc : et_mix_finish(m->mix, r->end_us);
	if (m->mix != NULL) {
		m->concealed_ms = et_mix_stats(m->mix).concealed / (rate / 1000);
	}
	m->mix = et_mix_free(m->mix);
	if (rc == 0 && m->used) {
		rc = et_wav_end(&m->wav, NULL);
	}
	et_wav_close(&m->wav);
	if (rc < 0 || !m->used) {
		(void)unlink(m->path);
	}
	return rc < 0 && reterr->code == 0 ? et_fail(reterr, rc, "write '%s'", m->path) : rc;
}

static int note_written(struct wavs *w, const struct mixing *m)
{
	if (w->written_count == w->written_room) {
		const uint32_t room = w->written_room * 2 + 64;
		struct written *more = realloc(w->written, room * sizeof(*more));
		if (more == NULL) {
			return -ENOMEM;
		}
		w->written = more;
		w->written_room = room;
	}
	struct written *one = &w->written[w->written_count++];
	memcpy(one->id, m->recording->id, 16);
	one->concealed_ms = m->concealed_ms;
	return 0;
}

static void on_close(void *arg, uint32_t slot, const struct et_capture_recording *recording)
{
	struct wavs *w = arg;
	struct et_error e;
	struct live *l = slot < w->live_room ? w->live[slot] : NULL;
	if (l == NULL) {
		return; /* without media */
	}
	struct mixing m = { .recording = recording, .wav = { .fd = -1 } };
	w->live[slot] = NULL;
	int rc = w->rc == 0 ? call_mix(w, l, &m, &e) : 0;
	if (rc == 0 && m.used && note_written(w, &m) < 0) {
		(void)unlink(m.path);
		rc = et_fail(&e, -ENOMEM, "replay");
	}
	if (rc < 0) {
		wavs_fail(w, rc, &e);
	}
	w->undecodable += m.undecodable + l->closed;
	et_spool_drop(w->spool, &l->spooled);
	free(l);
}

/* ---- Names ---- */

static int by_id(const void *a, const void *b)
{
	const struct written *x = a;
	const struct written *y = b;
	return memcmp(x->id, y->id, sizeof(x->id));
}

/* Calls of the same id next to each other, by their start. */
static int by_call(const void *a, const void *b)
{
	const struct et_replay_call *const *x = a;
	const struct et_replay_call *const *y = b;
	int order = memcmp((*x)->recording.call, (*y)->recording.call, 16);
	return order != 0 ? order : *x < *y ? -1 : *x > *y;
}

/* A file gets its name; one of an earlier run that has it goes. */
static int call_name(struct wavs *w, const struct et_capture_recording *r, const uint8_t name[16],
		     char ret[ET_REPLAY_WAV_NAME], uint64_t *ret_concealed_ms,
		     struct et_error *reterr)
{
	char part[PATH_SIZE];
	char path[PATH_SIZE];
	path_of(w, name, "wav", path);
	const struct written *one = w->written_count > 0
					    ? bsearch(r->id, w->written, w->written_count,
						      sizeof(struct written), by_id)
					    : NULL;
	if (one == NULL) {
		(void)unlink(path);
		ret[0] = '\0';
		return 0;
	}
	*ret_concealed_ms = one->concealed_ms;
	path_of(w, r->id, "part", part);
	if (rename(part, path) < 0) {
		return et_fail(reterr, -errno, "rename '%s' to '%s'", part, path);
	}
	(void)snprintf(ret, ET_REPLAY_WAV_NAME, "%s", path + strlen(w->folder) + 1);
	return 0;
}

/* A file is called as its call; that of a recording which took the place of another of the same
 * call (Replaces) as the recording. */
static int names_give(struct wavs *w, struct et_replay_wavs *ret, struct et_error *reterr)
{
	const uint32_t count = ret->summary.call_count;
	int rc = 0;
	ret->names = calloc((size_t)count + 1, sizeof(*ret->names));
	ret->concealed_ms = calloc((size_t)count + 1, sizeof(*ret->concealed_ms));
	const struct et_replay_call **sorted =
		calloc((size_t)count + 1, sizeof(struct et_replay_call *));
	if (ret->names == NULL || ret->concealed_ms == NULL || sorted == NULL) {
		free(sorted);
		return et_fail(reterr, -ENOMEM, "replay");
	}
	for (uint32_t i = 0; i < count; i++) {
		sorted[i] = &ret->summary.calls[i];
	}
	qsort(sorted, count, sizeof(struct et_replay_call *), by_call);
	if (w->written_count > 0) {
		qsort(w->written, w->written_count, sizeof(*w->written), by_id);
	}
	for (uint32_t i = 0; i < count && rc == 0; i++) {
		const struct et_capture_recording *r = &sorted[i]->recording;
		bool again = i > 0 && memcmp(sorted[i - 1]->recording.call, r->call, 16) == 0;
		const ptrdiff_t at = sorted[i] - ret->summary.calls;
		rc = call_name(w, r, again ? r->id : r->call, ret->names[at],
			       &ret->concealed_ms[at], reterr);
	}
	free(sorted);
	return rc;
}

/* ---- All ---- */

static int folder_sync(const char *folder, struct et_error *reterr)
{
	ET_CLEANUP(et_fd_closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || syncfs(fd) < 0 ? et_fail(reterr, -errno, "sync '%s'", folder) : 0;
}

static void wavs_release(struct wavs *w, bool failed)
{
	for (uint32_t i = 0; i < w->live_room; i++) {
		if (w->live[i] != NULL) {
			et_spool_drop(w->spool, &w->live[i]->spooled);
			free(w->live[i]);
		}
	}
	for (uint32_t i = 0; i < w->written_count && failed; i++) {
		char path[PATH_SIZE];
		path_of(w, w->written[i].id, "part", path);
		(void)unlink(path);
	}
	w->spool = et_spool_free(w->spool);
	free(w->live);
	free(w->written);
}

static int wavs_run(struct wavs *w, const struct et_replay_config *given,
		    struct et_replay_wavs *ret, struct et_error *reterr)
{
	struct et_replay_config config = *given;
	config.on_media = on_media;
	config.on_close = on_close;
	config.media_arg = w;
	int rc = et_replay(&config, &ret->summary, reterr);
	if (rc == 0 && w->rc < 0) {
		rc = et_fail_plain(reterr, w->rc, "%s", w->error.text);
	}
	rc = rc < 0 ? rc : wavs_ready(w, reterr);
	rc = rc < 0 ? rc : names_give(w, ret, reterr);
	ret->undecodable = w->undecodable;
	return rc < 0 ? rc : folder_sync(w->folder, reterr);
}

int et_replay_wavs(const struct et_replay_config *config, const char *folder, bool conceal,
		   struct et_replay_wavs *ret, struct et_error *reterr)
{
	struct wavs w = { .folder = folder, .conceal = conceal };
	*ret = (struct et_replay_wavs){ .undecodable = 0 };
	if (strlen(folder) > FOLDER_MAX) {
		return et_fail(reterr, -ENAMETOOLONG, "folder '%.100s...'", folder);
	}
	int rc = wavs_run(&w, config, ret, reterr);
	wavs_release(&w, rc < 0);
	if (rc < 0) {
		et_replay_wavs_release(ret);
	}
	if (rc == -ENOSPC || rc == -EDQUOT) {
		(void)et_fail_next(reterr, "df %.160s", folder);
	}
	return rc;
}

void et_replay_wavs_release(struct et_replay_wavs *w)
{
	et_replay_summary_release(&w->summary);
	free(w->names);
	free(w->concealed_ms);
	*w = (struct et_replay_wavs){ .undecodable = 0 };
}
