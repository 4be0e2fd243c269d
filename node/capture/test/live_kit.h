/* The live recorder, on the loopback of a network namespace of its own. It runs in a child, which
 * writes what it is told into a pipe, and does what it reads from another one; the parties of a
 * call are sockets. Tests of it are skipped without root. */
#ifndef ET_NODE_CAPTURE_TEST_LIVE_KIT_H
#define ET_NODE_CAPTURE_TEST_LIVE_KIT_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node/base/bytes.h"
#include "node/capture/capture.h"
#include "node/capture/test/remove.h"
#include "node/crypto/sign.h"
#include "node/tape/media.h"
#include "node/tape/meta.h"
#include "node/tape/reader.h"
#include "node/tape/wrap.h"

enum { TOLD_MAX = 512, PATIENCE_MS = 20000, SIP = 5060, RTP = 4000 };

enum { TOLD_PAUSE = 100 }; /* a kind of our own: what a pause was answered with */

/* What the recorder is asked for: a pause, or its end; or to keep a call on demand. */
struct order {
	bool keep;
	bool pause;
	uint8_t recording[16];
};

/* An event, as it goes through the pipe. */
struct told {
	enum et_capture_event_kind kind;
	bool restored;
	int code;
	enum et_capture_state state;
	uint32_t gaps;
	char cause[32];
	int64_t gap_us;
	uint32_t streams;
	uint64_t packets;
	uint64_t lost;
	struct et_capture_segment segment;
	char file[128];
	uint8_t recording[16];
	struct et_capture_pause pause;
	struct et_capture_kept kept;
};

struct fixture {
	char dir[64];
	char media[128];
	struct et_secret *sign;
	uint8_t sign_public[32];
	struct et_secret *kek;
	uint8_t kek_public[32];
	pid_t pid;
	int told_fd; /* what the recorder is told */
	int stop_fd; /* closing it stops the recorder in good order */
	struct told told[TOLD_MAX];
	uint32_t count;
	int sip[2]; /* sockets of the parties */
	int rtp[2];
	uint32_t number; /* of the next RTP packet */
	bool on_demand;	 /* what the recorder's rule says */
	uint32_t rings;	 /* of its interface; 0: one */
};

/* ---- The recorder ---------------------------------------------------------------------------- */

static inline int on_event(void *arg, const struct et_capture_event *ev)
{
	const int *fd = arg;
	struct told t = { .kind = ev->kind, .restored = ev->restored, .code = ev->code };
	if (ev->recording != NULL) {
		const struct et_capture_recording *r = ev->recording;
		t.state = r->state;
		t.gaps = r->gap_count;
		if (r->gap_count > 0) {
			(void)snprintf(t.cause, sizeof(t.cause), "%s", r->gaps[0].cause);
			t.gap_us = r->gaps[0].to_us - r->gaps[0].from_us;
		}
		t.streams = r->stream_count;
		for (uint32_t i = 0; i < r->stream_count; i++) {
			t.packets += r->streams[i].packets;
			t.lost += r->streams[i].lost;
		}
		memcpy(t.recording, r->id, 16);
	}
	if (ev->segment != NULL) {
		t.segment = *ev->segment;
		(void)snprintf(t.file, sizeof(t.file), "%s", ev->segment->file);
		memcpy(t.recording, ev->segment->recording, 16);
	}
	/* Smaller than PIPE_BUF: whole. */
	return write(*fd, &t, sizeof(t)) == (ssize_t)sizeof(t) ? 0 : -EIO;
}

static const struct et_rules on_demand = {
	.otherwise = ET_RULE_RECORD,
	.count = 1,
	.rules = { { .name = "wanted",
		     .action = ET_RULE_ON_DEMAND,
		     .ring = { .reach_us = 10000000, .keep_for_us = 60000000 } } },
};

static inline void run_recorder(const struct fixture *f, int told_fd, int stop_fd)
{
	struct et_capture *c = NULL;
	struct et_error error;
	ssize_t n = 0;
	struct et_capture_config config = {
		.sources = { { .interface = "lo", .filter = "udp", .rings = f->rings } },
		.source_count = 1,
		.media = f->media,
		.node = 5,
		.site = "here",
		.sign_key = f->sign,
		.kek_version = 1,
		.on_event = on_event,
		.arg = &told_fd,
		.limits = { .free_reserve_bytes = 65536, .ring_bytes = 4 << 20, .queue_bytes = 1 },
	};
	memcpy(config.kek_public, f->kek_public, 32);
	if (f->on_demand) {
		config.rules = &on_demand;
	}
	if (et_capture_start(&config, &c, &error) < 0) {
		(void)fprintf(stderr, "recorder: %s\n", error.text);
		_exit(1);
	}
	/* Ready: a tick of the epoch. */
	struct told t = { .kind = ET_CAPTURE_TICK };
	if (write(told_fd, &t, sizeof(t)) != (ssize_t)sizeof(t)) {
		_exit(1);
	}
	struct order order;
	while ((n = read(stop_fd, &order, sizeof(order))) > 0 || (n < 0 && errno == EINTR)) {
		t = (struct told){ .kind = (enum et_capture_event_kind)TOLD_PAUSE };
		t.code = order.keep ? et_capture_keep(c, order.recording, "test", &t.kept, &error)
				    : et_capture_pause(c, order.recording, order.pause, "test", 0,
						       &t.pause, &error);
		if (write(told_fd, &t, sizeof(t)) != (ssize_t)sizeof(t)) {
			_exit(1);
		}
	}
	struct et_capture_metrics m;
	et_capture_metrics(c, &m);
	(void)et_capture_stop(c);
	/* What was read of the interface is what the engine has counted. */
	bool fits = m.source_count == 1 && strcmp(m.sources[0].name, "lo") == 0 &&
		    m.sources[0].open && m.sources[0].packets == m.packets.total &&
		    m.sources[0].received >= m.sources[0].packets && m.queue_limit_bytes > 0;
	_exit(m.kernel_dropped == 0 && m.sync_failures == 0 && fits ? 0 : 2);
}

/* The next event, or fail. */
static inline struct told *next_told(struct fixture *f)
{
	struct pollfd fd = { .fd = f->told_fd, .events = POLLIN };
	assert_true(f->count < TOLD_MAX);
	struct told *t = &f->told[f->count];
	if (poll(&fd, 1, PATIENCE_MS) != 1) {
		fail_msg("the recorder says nothing");
	}
	assert_int_equal(read(f->told_fd, t, sizeof(*t)), (ssize_t)sizeof(*t));
	f->count++;
	return t;
}

static inline struct told *wait_for(struct fixture *f, enum et_capture_event_kind kind)
{
	struct told *t = NULL;
	do {
		t = next_told(f);
		if (t->kind == ET_CAPTURE_TICK && kind != ET_CAPTURE_TICK) {
			f->count--; /* there are many */
		}
	} while (t->kind != kind);
	return t;
}

static inline void start(struct fixture *f)
{
	int told[2];
	int stop[2];
	assert_int_equal(pipe2(told, O_CLOEXEC), 0);
	assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
	f->pid = fork();
	assert_true(f->pid >= 0);
	if (f->pid == 0) {
		(void)close(told[0]);
		(void)close(stop[1]);
		run_recorder(f, told[1], stop[0]);
	}
	(void)close(told[1]);
	(void)close(stop[0]);
	f->told_fd = told[0];
	f->stop_fd = stop[1];
	/* It is ready, or has seals of before to tell first. */
	while (next_told(f)->segment.t0_us != 0) {
	}
}

static inline struct et_capture_pause pause_it(struct fixture *f, const uint8_t recording[16],
					       bool pause)
{
	struct order order = { .pause = pause };
	memcpy(order.recording, recording, 16);
	assert_int_equal(write(f->stop_fd, &order, sizeof(order)), (ssize_t)sizeof(order));
	const struct told *t = wait_for(f, (enum et_capture_event_kind)TOLD_PAUSE);
	assert_int_equal(t->code, 0);
	return t->pause;
}

static inline struct told *keep_it(struct fixture *f, const uint8_t recording[16])
{
	struct order order = { .keep = true };
	memcpy(order.recording, recording, 16);
	assert_int_equal(write(f->stop_fd, &order, sizeof(order)), (ssize_t)sizeof(order));
	return wait_for(f, (enum et_capture_event_kind)TOLD_PAUSE);
}

static inline void ended(struct fixture *f, bool killed)
{
	int status = 0;
	assert_int_equal(waitpid(f->pid, &status, 0), f->pid);
	f->pid = -1;
	if (killed) {
		assert_true(WIFSIGNALED(status));
	} else {
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

/* Stop in good order; what it tells meanwhile is kept. */
static inline void stop(struct fixture *f)
{
	(void)close(f->stop_fd);
	f->stop_fd = -1;
	ssize_t n = 0;
	while ((n = read(f->told_fd, &f->told[f->count], sizeof(struct told))) > 0) {
		assert_int_equal(n, (ssize_t)sizeof(struct told));
		f->count += f->told[f->count].kind != ET_CAPTURE_TICK;
		assert_true(f->count < TOLD_MAX);
	}
	(void)close(f->told_fd);
	f->told_fd = -1;
	ended(f, false);
}

static inline void kill_it(struct fixture *f)
{
	assert_int_equal(kill(f->pid, SIGKILL), 0);
	ended(f, true);
	(void)close(f->stop_fd);
	(void)close(f->told_fd);
	f->stop_fd = -1;
	f->told_fd = -1;
}

static inline const struct told *find(const struct fixture *f, enum et_capture_event_kind kind,
				      uint32_t segment)
{
	for (uint32_t i = 0; i < f->count; i++) {
		if (f->told[i].kind == kind &&
		    (segment == 0 || f->told[i].segment.segment == segment)) {
			return &f->told[i];
		}
	}
	fail_msg("event %d of segment %u was not told", (int)kind, segment);
	return NULL;
}

/* ---- The parties ----------------------------------------------------------------------------- */

static inline int make_socket(uint8_t host, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	a.sin_addr.s_addr = htonl(0x7F000000U + host);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static inline void send_to(int fd, uint8_t host, uint16_t port, const void *data, size_t size)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	a.sin_addr.s_addr = htonl(0x7F000000U + host);
	assert_int_equal(sendto(fd, data, size, 0, (struct sockaddr *)&a, sizeof(a)),
			 (ssize_t)size);
}

static inline void say(struct fixture *f, int party, const char *first, const char *cseq, bool sdp)
{
	char text[1024];
	char body[200] = "";
	if (sdp) {
		(void)snprintf(body, sizeof(body),
			       "v=0\r\nc=IN IP4 127.0.0.%d\r\nm=audio %d RTP/AVP 0\r\n", party + 1,
			       RTP);
	}
	int n = snprintf(text, sizeof(text),
			 "%s\r\nFrom: <sip:alice@x>;tag=a\r\nTo: <sip:bob@x>\r\n"
			 "Call-ID: live\r\nCSeq: %s\r\nContent-Length: %zu\r\n\r\n%s",
			 first, cseq, strlen(body), body);
	send_to(f->sip[party], party == 0 ? 2 : 1, SIP, text, (size_t)n);
}

static inline void rest_ms(long ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	(void)nanosleep(&t, NULL);
}

/* `count` packets of 20 ms from each side, at four times their speed. */
static inline void talk(struct fixture *f, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++, f->number++) {
		for (int party = 0; party < 2; party++) {
			uint8_t p[172] = { 0x80, 0 };
			et_put16(p + 2, (uint16_t)f->number);
			et_put32(p + 4, f->number * 160);
			et_put32(p + 8, 0xA0U + (uint32_t)party);
			memset(p + 12, (int)(f->number & 0x7F), 160);
			send_to(f->rtp[party], party == 0 ? 2 : 1, RTP, p, sizeof(p));
		}
		rest_ms(5);
	}
}

static inline void call(struct fixture *f)
{
	say(f, 0, "INVITE sip:bob@x SIP/2.0", "1 INVITE", true);
	say(f, 1, "SIP/2.0 200 OK", "1 INVITE", true);
	say(f, 0, "ACK sip:bob@x SIP/2.0", "1 ACK", false);
}

static inline void hang_up(struct fixture *f)
{
	say(f, 0, "BYE sip:bob@x SIP/2.0", "2 BYE", false);
	say(f, 1, "SIP/2.0 200 OK", "2 BYE", false);
}

/* ---- Tapes ----------------------------------------------------------------------------------- */

struct content {
	uint32_t packets;
	uint32_t first; /* sequence numbers */
	uint32_t last;
	uint32_t pauses;
	uint32_t resumes;
	uint32_t gaps;
	uint32_t sip;
};

static inline void count_meta(struct et_view plain, struct content *c)
{
	struct et_meta_reader m;
	struct et_meta_item item;
	assert_int_equal(et_meta_reader_init(&m, plain, NULL), 0);
	while (et_meta_reader_next(&m, &item, NULL) == 1) {
		c->sip += item.type == ET_META_SIP;
		c->gaps += item.type == ET_META_MARK && item.mark.what == ET_MARK_GAP;
		c->pauses += item.type == ET_META_MARK && item.mark.what == ET_MARK_PAUSE;
		c->resumes += item.type == ET_META_MARK && item.mark.what == ET_MARK_RESUME;
	}
}

static inline void count_media(struct et_view plain, struct content *c)
{
	struct et_media_decoder d;
	struct et_media_packet p;
	assert_int_equal(et_media_decoder_init(&d, plain, NULL), 0);
	while (et_media_decoder_next(&d, &p, NULL) == 1) {
		assert_int_equal(p.payload.size, 160);
		assert_int_equal(p.payload.data[0], p.sequence & 0x7F);
		c->first = c->packets == 0 || p.sequence < c->first ? p.sequence : c->first;
		c->last = p.sequence > c->last ? p.sequence : c->last;
		c->packets++;
	}
}

/* The tape of `segment` is what was told, and opens with the key that was told. */
static inline struct content read_tape(struct fixture *f, uint32_t segment)
{
	const struct told *opened = find(f, ET_CAPTURE_SEGMENT_OPEN, segment);
	const struct told *sealed = find(f, ET_CAPTURE_SEGMENT_SEALED, segment);
	struct content content = { .packets = 0 };
	char path[512];
	struct et_tape_source source;
	struct et_tape_report report;
	struct et_tape_reader *reader = NULL;
	struct et_tape_record record;
	struct et_secret *dek = NULL;
	struct et_error error = { .text = "" };
	assert_string_equal(opened->file, sealed->file);
	(void)snprintf(path, sizeof(path), "%s/%s", f->media, opened->file);
	assert_int_equal(et_tape_source_open(path, &source, &error), 0);
	struct et_tape_expect expect = {
		.recording = opened->recording,
		.segment = segment,
		.header_hash = opened->segment.header_hash,
		.root = sealed->segment.root,
		.seal_hash = sealed->segment.seal_hash,
		.signer_public = f->sign_public,
	};
	if (et_tape_verify(&source, &expect, &report, &error) < 0) {
		fail_msg("%s", error.text);
	}
	struct et_view wrap = { opened->segment.wrap_sealed, 48 };
	assert_int_equal(et_dek_unwrap(f->kek, 1, opened->recording, opened->segment.dek,
				       opened->segment.wrap_enc, wrap, &dek, &error),
			 0);
	assert_int_equal(et_tape_reader_new(&source, dek, &reader, &error), 0);
	while (et_tape_reader_next(reader, &record, &error) == 1) {
		if (record.kind == ET_TAPE_MEDIA) {
			count_media(record.plain, &content);
		} else if (record.kind == ET_TAPE_META) {
			count_meta(record.plain, &content);
		}
	}
	(void)et_tape_reader_free(reader);
	et_secret_free(dek);
	et_tape_source_close(&source);
	return content;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static inline int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const char *tmp = getenv("TMPDIR");
	assert_non_null(f);
	f->pid = f->told_fd = f->stop_fd = -1;
	(void)snprintf(f->dir, sizeof(f->dir), "%.32s/et_live.XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->media, sizeof(f->media), "%s/media", f->dir);
	assert_int_equal(et_ed25519_generate(&f->sign, f->sign_public, NULL), 0);
	assert_int_equal(et_x25519_generate(&f->kek, f->kek_public, NULL), 0);
	for (int party = 0; party < 2; party++) {
		f->sip[party] = make_socket((uint8_t)(party + 1), SIP);
		f->rtp[party] = make_socket((uint8_t)(party + 1), RTP);
	}
	*state = f;
	return 0;
}

static inline int tear_down(void **state)
{
	struct fixture *f = *state;
	if (f->pid > 0) {
		(void)kill(f->pid, SIGKILL);
		(void)waitpid(f->pid, NULL, 0);
	}
	for (int party = 0; party < 2; party++) {
		(void)close(f->sip[party]);
		(void)close(f->rtp[party]);
	}
	(void)umount2(f->media, MNT_DETACH);
	assert_int_equal(nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	et_secret_free(f->sign);
	et_secret_free(f->kek);
	free(f);
	return 0;
}

/* From the first packet to a sealed tape that has all of them. */
static inline void record_a_call(struct fixture *f)
{
	start(f);
	call(f);
	talk(f, 100);
	hang_up(f);
	struct told *closed = wait_for(f, ET_CAPTURE_RECORDING_CLOSE);
	assert_int_equal(closed->state, ET_CALL_ANSWERED);
	assert_int_equal(closed->streams, 2);
	assert_int_equal(closed->packets, 200);
	assert_int_equal(closed->lost, 0);
	assert_int_equal(closed->gaps, 0);
	stop(f);
	struct content c = read_tape(f, 1);
	assert_int_equal(c.packets, 200);
	assert_int_equal(c.sip, 5);
}

static inline bool loopback_up(void)
{
	struct ifreq request = { .ifr_flags = IFF_UP | IFF_RUNNING };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "lo");
	bool up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
	if (fd >= 0) {
		(void)close(fd);
	}
	return up;
}

/* A namespace of our own. false: that needs root; the tests are skipped then (exit 77). */
static inline bool live_begin(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !loopback_up()) {
		(void)fprintf(stderr,
			      "SKIPPED: live capture needs root (a network namespace): %s\n",
			      strerror(errno));
		return false;
	}
	return true;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
