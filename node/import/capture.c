/* A capture file through the recorder's engine, which writes its tapes into the job's folder as
 * into a media folder of its own.
 *
 *   input ─▶ pipe ─▶ thread: et_replay() ─▶ tapes, packets (hashed), events (seals, wraps)
 *
 * The file goes through a pipe, for libpcap reads files and streams, and the file must not lie on
 * the disk. The engine wraps its keys to a key pair that is made for this file and lives in memory
 * only: so they can be opened once more, to verify, and are wrapped to the cluster's key then. */
#include <fcntl.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/crypto/sign.h"
#include "node/import/import_internal.h"
#include "node/tape/file.h"

enum { PUMP_BYTES = 65536 };

/* What the engine gave for one recording. Kept by id in a tree of libc's. */
struct taken {
	uint8_t id[16];
	uint8_t digest[32]; /* a chain over its packets */
	uint64_t packets;
	struct et_import_segment *segments; /* owned */
	uint32_t segment_count;
	uint32_t sealed;
	const struct et_capture_recording *recording; /* a view; NULL until the engine is over */
	struct taken *next;
};

struct capture {
	const struct et_import_config *config;
	struct et_import *m;
	struct et_secret *kek; /* owned: private half, of this file only */
	uint8_t kek_public[32];
	void *tree; /* owned: of struct taken */
	struct taken *all;
	int pipe[2]; /* owned */
	pthread_t thread;
	const struct et_import_order *order;
	int code;   /* of the engine's thread */
	int failed; /* of a callback: not all could be kept */
	struct et_error error;
};

/* ---- What the engine tells ---- */

static int taken_compare(const void *a, const void *b)
{
	return memcmp(((const struct taken *)a)->id, ((const struct taken *)b)->id, 16);
}

static struct taken *taken_find(const struct capture *c, const uint8_t id[16])
{
	struct taken key;

	memcpy(key.id, id, 16);
	struct taken *const *found = tfind(&key, &c->tree, taken_compare);
	return found != NULL ? *found : NULL;
}

/* Found, or new. */
static struct taken *taken_of(struct capture *c, const uint8_t id[16])
{
	struct taken *t = taken_find(c, id);
	if (t != NULL) {
		return t;
	}
	t = calloc(1, sizeof(*t));
	if (t != NULL) {
		memcpy(t->id, id, 16);
	}
	if (t == NULL || tsearch(t, &c->tree, taken_compare) == NULL) {
		free(t);
		c->failed = -ENOMEM;
		return NULL;
	}
	t->next = c->all;
	c->all = t;
	return t;
}

/* All that a packet is, in a tape. */
static void digest_add(uint8_t digest[32], const struct et_media_packet *p)
{
	uint8_t head[32 + 24];
	uint8_t payload[32];

	et_sha256(p->payload.data, p->payload.size, payload);
	et_put32(head, p->stream);
	head[4] = (uint8_t)(p->marker | p->whole << 1 | p->rtcp << 2);
	head[5] = p->payload_type;
	et_put16(head + 6, p->sequence);
	et_put32(head + 8, p->timestamp);
	et_put64(head + 12, (uint64_t)p->arrival_us);
	et_put32(head + 20, (uint32_t)p->payload.size);
	memcpy(head + 24, payload, 32);
	uint8_t both[32 + sizeof(head)];
	memcpy(both, digest, 32);
	memcpy(both + 32, head, sizeof(head));
	et_sha256(both, sizeof(both), digest);
}

static void on_packet(void *arg, const uint8_t recording[16], const struct et_media_packet *p)
{
	struct taken *t = taken_of(arg, recording);

	if (t != NULL) {
		digest_add(t->digest, p);
		t->packets++;
	}
}

/* Its key is opened once more. */
static int segment_opened(struct capture *c, const struct et_capture_segment *s)
{
	struct taken *t = taken_of(c, s->recording);
	struct et_import_segment *list =
		t != NULL && t->segment_count < ET_IMPORT_SEGMENTS_MAX
			? realloc(t->segments, (t->segment_count + 1) * sizeof(*list))
			: NULL;

	if (list == NULL) {
		c->failed = -ENOMEM;
		return -ENOMEM;
	}
	t->segments = list;
	struct et_import_segment *to = &list[t->segment_count];
	*to = (struct et_import_segment){
		.header = { .generation = s->generation,
			    .segment = s->segment,
			    .kek_version = s->kek_version,
			    .dek_id = s->dek,
			    .t0_us = s->t0_us },
	};
	(void)snprintf(to->file, sizeof(to->file), "%s", s->file);
	memcpy(to->header.recording, s->recording, 16);
	memcpy(to->header.hash, s->header_hash, 32);
	int rc = et_dek_unwrap(c->kek, s->kek_version, s->recording, s->dek, s->wrap_enc,
			       (struct et_view){ s->wrap_sealed, sizeof(s->wrap_sealed) }, &to->dek,
			       &c->error);
	t->segment_count += rc == 0;
	c->failed = rc < 0 ? rc : c->failed;
	return rc;
}

static void segment_sealed(struct capture *c, const struct et_capture_segment *s)
{
	struct taken *t = taken_of(c, s->recording);

	for (uint32_t i = 0; t != NULL && i < t->segment_count; i++) {
		struct et_import_segment *to = &t->segments[i];
		if (to->header.segment == s->segment) {
			memcpy(to->seal.root, s->root, 32);
			memcpy(to->seal.seal_hash, s->seal_hash, 32);
			to->seal.block_bytes = s->block_bytes;
			to->seal.records = s->records;
			to->seal.size_bytes = s->size_bytes;
			to->seal.signed_us = s->sealed_us;
			t->sealed++;
		}
	}
}

static int on_event(void *arg, const struct et_capture_event *ev)
{
	struct capture *c = arg;

	switch ((int)ev->kind) {
	case ET_CAPTURE_SEGMENT_OPEN:
		return segment_opened(c, ev->segment);
	case ET_CAPTURE_SEGMENT_SEALED:
		segment_sealed(c, ev->segment);
		return 0;
	case ET_CAPTURE_PROBLEM:
		if (c->failed == 0) {
			c->failed = ev->code;
			(void)et_fail_plain(&c->error, ev->code, "%s", ev->text);
		}
		return 0;
	default:
		return 0;
	}
}

/* ---- The pipe ---- */

static void *engine_run(void *arg)
{
	struct capture *c = arg;
	char path[64];
	char media[IMPORT_PATH_MAX];
	const char *files[] = { path };
	struct et_error error = { .code = 0 };
	struct et_replay_config config = {
		.files = files,
		.file_count = 1,
		.capture = { .media = media,
			     .node = c->config->node,
			     .site = c->config->site,
			     .sign_key = c->config->sign_key,
			     .kek_id = c->config->kek_id,
			     .kek_version = c->config->kek_version,
			     .rules = c->config->rules,
			     .sip_port_count = c->config->sip_port_count,
			     .padding = { .which = c->config->padding.which,
					  .bytes = c->config->padding.bytes },
			     .limits = { .free_reserve_bytes = c->config->reserve_bytes },
			     .on_event = on_event,
			     .arg = c },
		.on_packet = on_packet,
		.packet_arg = c,
		.origin = c->order->sha256,
	};

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", c->pipe[0]);
	(void)snprintf(media, sizeof(media), "%s/%s", c->m->media, c->m->job);
	memcpy(config.capture.kek_public, c->kek_public, sizeof(c->kek_public));
	memcpy(config.capture.sip_ports, c->config->sip_ports, sizeof(config.capture.sip_ports));
	c->code = et_replay(&config, &c->m->summary, &error);
	c->m->has_summary = c->code == 0;
	if (c->code < 0 && c->failed == 0) {
		c->error = error;
	}
	(void)close(c->pipe[0]); /* whoever still writes learns it */
	c->pipe[0] = -1;
	return NULL;
}

static int pipe_write(int fd, const uint8_t *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n < 0) {
			return -errno;
		}
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

/* What the engine does not take any more is read all the same: is it the file? */
static int pump(struct capture *c, struct import_input *in, struct et_view begin,
		struct et_error *reterr)
{
	uint8_t *bytes = malloc(PUMP_BYTES);
	ssize_t n = 0;

	if (bytes == NULL) {
		return et_fail(reterr, -ENOMEM, "import");
	}
	int rc = pipe_write(c->pipe[1], begin.data, begin.size);
	while ((n = import_read(in, bytes, PUMP_BYTES, reterr)) > 0) {
		rc = rc < 0 ? rc : pipe_write(c->pipe[1], bytes, (size_t)n);
	}
	explicit_bzero(bytes, PUMP_BYTES);
	free(bytes);
	return n < 0 ? (int)n : 0;
}

static int engine_feed(struct capture *c, struct import_input *in, struct et_view begin,
		       struct et_error *reterr)
{
	sigset_t pipe_set;
	sigset_t before;

	if (pipe2(c->pipe, O_CLOEXEC) < 0) {
		return et_fail(reterr, -errno, "pipe");
	}
	(void)sigemptyset(&pipe_set);
	(void)sigaddset(&pipe_set, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
	int rc = -pthread_create(&c->thread, NULL, engine_run, c);
	if (rc < 0) {
		(void)close(c->pipe[0]);
		(void)close(c->pipe[1]);
		(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
		return et_fail(reterr, rc, "import thread");
	}
	rc = pump(c, in, begin, reterr);
	(void)close(c->pipe[1]);
	(void)pthread_join(c->thread, NULL);
	const struct timespec now = { 0 };
	while (sigtimedwait(&pipe_set, NULL, &now) == SIGPIPE) { /* ours: it stays unheard */
	}
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* ---- Afterwards ---- */

/* All that the engine kept lies in tapes; nothing was dropped on the way. */
static int engine_check(const struct capture *c, struct et_error *reterr)
{
	const struct et_replay_summary *s = &c->m->summary;
	const struct et_capture_metrics *x = &s->metrics;

	if (c->code < 0 || c->failed < 0) {
		if (reterr != NULL) {
			*reterr = c->error;
		}
		return c->code < 0 ? c->code : c->failed;
	}
	if (x->calls_refused_disk > 0) {
		return et_fail_plain(reterr, -ENOSPC,
				     "DISK_FULL: free space fell below the reserve");
	}
	if (x->media_dropped > 0 || x->calls_refused_writer > 0 || x->calls_refused_limit > 0) {
		return et_fail_plain(
			reterr, ET_ELIMIT, "%llu packets and %llu calls of it could not be written",
			(unsigned long long)x->media_dropped,
			(unsigned long long)(x->calls_refused_writer + x->calls_refused_limit));
	}
	if (s->truncated) {
		return et_fail_plain(reterr, ET_ETRUNCATED, "%s",
				     s->error_count > 0 ? s->errors[0].text : "the file is cut");
	}
	return 0;
}

struct compared {
	uint8_t digest[32];
	uint64_t packets;
};

static int compare_packet(void *arg, const struct et_media_packet *p)
{
	struct compared *x = arg;

	digest_add(x->digest, p);
	x->packets++;
	return 0;
}

static int taken_verify(const struct capture *c, const struct taken *t, struct et_error *reterr)
{
	struct compared x = { .packets = 0 };
	const struct import_visitor visitor = { compare_packet, NULL, &x };
	int rc = t->sealed == t->segment_count
			 ? 0
			 : et_fail_plain(reterr, -EIO, "a tape could not be sealed");

	for (uint32_t i = 0; i < t->segment_count && rc == 0; i++) {
		rc = import_open_tape(c->m, &t->segments[i], &visitor, reterr);
	}
	if (rc == 0 && (x.packets != t->packets || memcmp(x.digest, t->digest, 32) != 0)) {
		rc = et_fail_plain(reterr, ET_EINTEGRITY,
				   "a tape does not hold the packets that the capture has");
	}
	return rc;
}

static int recording_make(struct capture *c, struct taken *t, uint32_t part,
			  struct et_error *reterr)
{
	struct et_import *m = c->m;
	int rc = taken_verify(c, t, reterr);

	if (rc == 0) {
		m->recordings[m->recording_count++] = (struct et_import_recording){
			.part = part,
			.captured = t->recording,
			.packets = t->packets,
			.segment_count = t->segment_count,
			.segments = ET_TAKE(t->segments),
		};
		t->segment_count = 0;
	}
	return rc;
}

/* Which calls have tapes: a rule may have left one out. */
static uint32_t calls_note(struct capture *c)
{
	const struct et_replay_summary *s = &c->m->summary;
	uint32_t count = 0;

	for (uint32_t i = 0; i < s->call_count; i++) {
		struct taken *t = taken_find(c, s->calls[i].recording.id);
		if (t != NULL && t->segment_count > 0) {
			t->recording = &s->calls[i].recording;
			count++;
		}
	}
	return count;
}

/* In the order of their numbers, of which the ids are made. */
static int recordings_make(struct capture *c, struct et_error *reterr)
{
	struct et_import *m = c->m;
	const uint32_t count = calls_note(c);
	uint8_t id[16];

	m->recordings = calloc((size_t)count + 1, sizeof(*m->recordings));
	if (m->recordings == NULL) {
		return et_fail(reterr, -ENOMEM, "import");
	}
	for (uint32_t part = 1; m->recording_count < count; part++) {
		if (part > UINT16_MAX) {
			return et_fail_plain(reterr, ET_ELIMIT, "more than %d calls in one file",
					     UINT16_MAX);
		}
		et_file_recording_id(c->order->sha256, part, id);
		struct taken *t = taken_find(c, id);
		int rc = t != NULL && t->recording != NULL ? recording_make(c, t, part, reterr) : 0;
		if (rc < 0) {
			return rc;
		}
	}
	return 0;
}

static void left_out_count(struct et_import *m)
{
	m->packets = m->summary.packets;
	for (size_t i = 0; i < ET_UNCLAIMED_COUNT; i++) {
		m->left_out += m->packets.unclaimed[i];
	}
	if (m->recording_count == 0) {
		(void)snprintf(m->problem, sizeof(m->problem),
			       "there is no call in it that is recorded");
	} else if (m->left_out > 0) {
		(void)snprintf(
			m->problem, sizeof(m->problem),
			"%llu packets of it are in no recording: evertape capture replay tells "
			"why",
			(unsigned long long)m->left_out);
	}
}

static void capture_release(struct capture *c)
{
	while (c->all != NULL) {
		struct taken *t = c->all;
		c->all = t->next;
		(void)tdelete(t, &c->tree, taken_compare);
		for (uint32_t i = 0; i < t->segment_count; i++) {
			t->segments[i].dek = et_secret_free(t->segments[i].dek);
		}
		free(t->segments);
		free(t);
	}
	c->kek = et_secret_free(c->kek);
	free(c);
}

static int told_check(const struct et_told *t, struct et_error *reterr)
{
	if (t->start_us == 0 && t->from[0] == '\0' && t->to[0] == '\0' && t->call[0] == '\0' &&
	    t->direction[0] == '\0') {
		return 0;
	}
	return et_fail_plain(
		reterr, ET_EUSAGE,
		"a capture file tells start, parties and call itself: metadata may have "
		"agent, site, facts and tags");
}

int import_capture(const struct et_import_config *config, struct import_input *in,
		   struct et_view begin, struct et_import *m, struct et_error *reterr)
{
	struct capture *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		return et_fail(reterr, -ENOMEM, "import");
	}
	c->config = config;
	c->m = m;
	c->order = in->order;
	(void)snprintf(m->format, sizeof(m->format), "%s",
		       begin.data[0] == 0x0A ? "pcapng" : "pcap");
	int rc = told_check(in->order->told, reterr);
	rc = rc < 0 ? rc : et_x25519_generate(&c->kek, c->kek_public, reterr);
	rc = rc < 0 ? rc : engine_feed(c, in, begin, reterr);
	rc = rc < 0 ? rc : import_read_end(in, reterr);
	rc = rc < 0 ? rc : engine_check(c, reterr);
	rc = rc < 0 ? rc : recordings_make(c, reterr);
	if (rc == 0) {
		left_out_count(m);
	}
	capture_release(c);
	return rc;
}
