#include "node/capture/source_internal.h"

#include <fcntl.h>
#include <linux/if_packet.h>
#include <pcap/pcap.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/capture/capture.h"
#include "node/capture/pcapfile_internal.h"
#include "node/io/clock.h"

enum {
	SNAPLEN = 65535,
	TIMEOUT_MS = 20,
	RING_MAX = 256,	     /* frames of one ring before the next one has its turn */
	HELD_SIZE = 32768,   /* of the frames of a batch; 16 of G.711 have 3,424 bytes */
	FILE_BUFFER = 65536, /* 4 KiB, as stdio has it, is a read(2) for 19 packets of G.711 */
};

#define US_PER_S 1000000LL
#define SETTLE_US US_PER_S
#define LAST_US (2000LL * TIMEOUT_MS) /* then the kernel has handed over the last block */
#define NOTHING "less 0"	      /* a filter that lets no frame pass */
#define YEAR_9999_S 253402300799LL

struct ring {
	struct et_source *source;
	pcap_t *pcap;		/* owned */
	uint32_t last_received; /* libpcap's counters are 32 bits and wrap */
	uint32_t last_dropped;
	uint32_t last_interface_dropped;
};

struct et_source {
	struct ring rings[ET_CAPTURE_RINGS_MAX]; /* a file that libpcap reads: the first */
	uint32_t ring_count;
	uint32_t turn;		   /* the ring that is read next */
	struct et_pcapfile *plain; /* owned; NULL: one that libpcap reads, or an interface */
	int link_type;
	bool is_file;
	int fd;		    /* to poll */
	int epoll;	    /* owned: of more rings than one; -1 */
	int64_t begins_us;  /* of more rings than one: frames of before are left out; 0: no more */
	int64_t settled_us; /* monotonic: then at the latest; 0: nothing was read yet */
	int64_t gone_us;    /* monotonic: the interface is gone since then; 0: it is not */
	char name[256];
	struct et_source_stats stats;

	/* For the time of one read. libpcap has a frame only until the next one: they are copied.
	 */
	et_source_fn fn;
	void *arg;
	struct et_frame batch[ET_SOURCE_BATCH];
	size_t count;
	size_t used; /* of held */
	uint8_t held[HELD_SIZE];
};

static struct et_source *source_new(const char *name)
{
	struct et_source *s = calloc(1, sizeof(*s));
	if (s != NULL) {
		s->fd = -1;
		s->epoll = -1;
		(void)snprintf(s->name, sizeof(s->name), "%s", name);
	}
	return s;
}

struct et_source *et_source_close(struct et_source *s)
{
	if (s != NULL) {
		for (uint32_t i = 0; i < s->ring_count; i++) {
			pcap_close(s->rings[i].pcap);
		}
		if (s->epoll >= 0) {
			(void)close(s->epoll);
		}
		(void)et_pcapfile_close(s->plain);
		free(s);
	}
	return NULL;
}

static void source_closep(struct et_source **s)
{
	*s = et_source_close(*s);
}

/* On success the descriptor is the source's, and *fd is -1. */
static int open_with_libpcap(struct et_source *s, int *fd, struct et_error *reterr)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	FILE *file = fdopen(*fd, "r");
	if (file == NULL) {
		return et_fail(reterr, -errno, "capture file '%s'", s->name);
	}
	*fd = -1;
	(void)setvbuf(file, NULL, _IOFBF, FILE_BUFFER);
	(void)__fsetlocking(file, FSETLOCKING_BYCALLER); /* two fread() a packet, of one thread */
	pcap_t *pcap =
		pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_MICRO, text);
	if (pcap == NULL) {
		(void)fclose(file);
		return et_fail(reterr, ET_EMALFORMED, "capture file '%s': %s", s->name, text);
	}
	s->rings[0] = (struct ring){ .source = s, .pcap = pcap };
	s->ring_count = 1;
	s->link_type = pcap_datalink(pcap);
	return 0;
}

int et_source_open_file(const char *path, struct et_source **ret, struct et_error *reterr)
{
	struct stat st;
	if (stat(path, &st) < 0) {
		return et_fail(reterr, -errno, "capture file '%s'", path);
	}
	if (S_ISDIR(st.st_mode)) {
		return et_fail(reterr, -EISDIR, "capture file '%s'", path);
	}
	ET_CLEANUP(source_closep) struct et_source *s = source_new(path);
	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "capture file '%s'", path);
	}
	s->is_file = true;
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return et_fail(reterr, -errno, "capture file '%s'", path);
	}
	int rc = et_pcapfile_open(fd, &s->plain);
	if (rc < 0) {
		return et_fail(reterr, rc, "capture file '%s'", path);
	}
	if (rc > 0) {
		fd = -1;
		s->link_type = et_pcapfile_link(s->plain);
	} else {
		rc = open_with_libpcap(s, &fd, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	*ret = ET_TAKE(s);
	return 0;
}

static int translate(int code)
{
	switch (code) {
	case PCAP_ERROR_NO_SUCH_DEVICE:
		return -ENODEV;
	case PCAP_ERROR_PERM_DENIED:
	case PCAP_ERROR_PROMISC_PERM_DENIED:
		return -EPERM;
	case PCAP_ERROR_IFACE_NOT_UP:
		return -ENETDOWN;
	default:
		return -EIO;
	}
}

static int set_filter(pcap_t *pcap, const char *name, const char *filter, struct et_error *reterr)
{
	struct bpf_program program;
	if (filter == NULL) {
		filter = "";
	}
	if (pcap_compile(pcap, &program, filter, 1, PCAP_NETMASK_UNKNOWN) < 0) {
		return et_fail(reterr, ET_EUSAGE, "filter of interface '%s': %s", name,
			       pcap_geterr(pcap));
	}
	int rc = pcap_setfilter(pcap, &program);
	pcap_freecode(&program);
	return rc < 0 ? et_fail(reterr, -EIO, "filter of interface '%s': %s", name,
				pcap_geterr(pcap))
		      : 0;
}

static int ring_open(struct et_source *s, const char *filter, size_t bytes, struct et_error *reterr)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	pcap_t *pcap = pcap_create(s->name, text);
	if (pcap == NULL) {
		return et_fail(reterr, -ENODEV, "interface '%s': %s", s->name, text);
	}
	s->rings[s->ring_count++] = (struct ring){ .source = s, .pcap = pcap };
	(void)pcap_set_snaplen(pcap, SNAPLEN);
	(void)pcap_set_promisc(pcap, 1);
	(void)pcap_set_timeout(pcap, TIMEOUT_MS); /* of a ring block that is not full */
	(void)pcap_set_buffer_size(pcap, (int)(bytes < INT32_MAX ? bytes : INT32_MAX));
	int rc = pcap_activate(pcap);
	if (rc < 0) {
		int code = translate(rc);
		return et_fail(reterr, code, "interface '%s': %s", s->name, pcap_geterr(pcap));
	}
	/* A blocking read of TPACKET_V3 may not return on an idle link: never block in it. */
	if (pcap_setnonblock(pcap, 1, text) < 0) {
		return et_fail(reterr, -EIO, "interface '%s': %s", s->name, text);
	}
	s->fd = pcap_get_selectable_fd(pcap);
	if (s->fd < 0) {
		return et_fail(reterr, ET_EUNSUPPORTED, "interface '%s': it cannot be polled",
			       s->name);
	}
	s->link_type = pcap_datalink(pcap);
	return set_filter(pcap, s->name, filter, reterr);
}

/* Into a fanout group, which the first one makes; *group is its number. */
static int ring_join(struct et_source *s, struct ring *r, int *group)
{
	const int fd = pcap_get_selectable_fd(r->pcap);
	const bool is_first = r == s->rings;
	int how = PACKET_FANOUT_HASH | (is_first ? PACKET_FANOUT_FLAG_UNIQUEID : 0);
	int what = (int)((unsigned)how << 16 | (unsigned)*group);
	struct epoll_event ev = { .events = EPOLLIN };

	if (setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &what, sizeof(what)) < 0 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		return -errno;
	}
	if (is_first) {
		socklen_t size = sizeof(what);
		if (getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &what, &size) < 0) {
			return -errno;
		}
		*group = what & 0xFFFF;
		return 0;
	}
	return 0;
}

/* Where a flow comes depends on how many there are: none takes a frame before all are there. */
static int rings_join(struct et_source *s, const char *filter, struct et_error *reterr)
{
	int group = 0;
	int rc = 0;

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0) {
		return et_fail(reterr, -errno, "interface '%s'", s->name);
	}
	s->fd = s->epoll;
	for (uint32_t i = 0; i < s->ring_count && rc == 0; i++) {
		rc = ring_join(s, &s->rings[i], &group);
	}
	if (rc < 0) {
		return et_fail(reterr, rc, "interface '%s': %u rings", s->name, s->ring_count);
	}
	s->begins_us = et_clock_now_us();
	for (uint32_t i = 0; i < s->ring_count && rc == 0; i++) {
		rc = set_filter(s->rings[i].pcap, s->name, filter, reterr);
	}
	return rc;
}

int et_source_open_interface(const char *name, const char *filter, size_t ring_bytes,
			     uint32_t rings, struct et_source **ret, struct et_error *reterr)
{
	ET_CLEANUP(source_closep) struct et_source *s = source_new(name);
	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "interface '%s'", name);
	}
	if (rings > ET_CAPTURE_RINGS_MAX) {
		return et_fail(reterr, ET_EUSAGE, "interface '%s': more than %d rings", name,
			       ET_CAPTURE_RINGS_MAX);
	}
	const char *at_first = rings > 1 ? NOTHING : filter;
	int rc = 0;
	do {
		rc = ring_open(s, at_first, ring_bytes, reterr);
	} while (rc == 0 && s->ring_count < rings);
	if (rc == 0 && s->ring_count > 1) {
		rc = rings_join(s, filter, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	*ret = ET_TAKE(s);
	return 0;
}

/* A file may say anything of when it was (pcapng has 64 bits of it, and an offset): before 1970 is
 * 1970, behind the year 9999 is its end. */
static int64_t time_us_of(const struct timeval *tv)
{
	int64_t s = tv->tv_sec;
	int64_t us = tv->tv_usec >= 0 && tv->tv_usec < US_PER_S ? tv->tv_usec : 0;
	if (s < 0) {
		return 0;
	}
	return s > YEAR_9999_S ? YEAR_9999_S * US_PER_S : s * US_PER_S + us;
}

static void frames_give(struct et_source *s, const struct et_frame *frames, size_t count)
{
	s->stats.read += count;
	s->fn(s->arg, frames, count);
}

static void batch_hand_over(struct et_source *s)
{
	const size_t count = s->count;

	s->count = 0;
	s->used = 0;
	if (count > 0) {
		frames_give(s, s->batch, count);
	}
}

/* What a ring got before all were in the group, others may have got, too: it is what is read first,
 * however long after the opening. A clock that was set back since then does not make it deaf. */
static bool is_early(struct et_source *s, int64_t time_us)
{
	if (s->begins_us == 0) {
		return false;
	}
	const int64_t mono_us = et_clock_mono_us();
	if (s->settled_us == 0) {
		s->settled_us = mono_us + SETTLE_US;
	}
	if (mono_us >= s->settled_us || et_clock_now_us() < s->begins_us) {
		s->begins_us = 0;
		return false;
	}
	if (time_us >= s->begins_us) {
		return false;
	}
	s->stats.received--; /* as if it had not been there */
	return true;
}

static void on_frame(u_char *arg, const struct pcap_pkthdr *head, const u_char *data)
{
	struct ring *r = (struct ring *)(void *)arg;
	struct et_source *s = r->source;
	struct et_frame frame = {
		.link_type = s->link_type,
		.time_us = time_us_of(&head->ts),
		.data = data,
		.size = head->caplen,
		.wire_size = head->len > head->caplen ? head->len : head->caplen,
	};
	if (is_early(s, frame.time_us)) {
		return;
	}
	if (frame.size > sizeof(s->held) - s->used) {
		batch_hand_over(s);
	}
	if (frame.size > sizeof(s->held)) {
		frames_give(s, &frame, 1);
		return;
	}
	frame.data = memcpy(s->held + s->used, data, frame.size);
	s->used += frame.size;
	s->batch[s->count++] = frame;
	if (s->count == ET_SOURCE_BATCH) {
		batch_hand_over(s);
	}
}

/* The frames are where they were read to: nothing is copied. */
static int read_plain(struct et_source *s, int max, struct et_error *reterr)
{
	int n = 0;
	while (n < max) {
		size_t count = 0;
		struct et_frame *frame = s->batch;
		struct timeval time;
		while (count < ET_SOURCE_BATCH && n + (int)count < max &&
		       et_pcapfile_next(s->plain, frame, &time)) {
			frame->link_type = s->link_type;
			frame->time_us = time_us_of(&time);
			frame++;
			count++;
		}
		if (count > 0) {
			frames_give(s, s->batch, count);
			n += (int)count;
			continue;
		}
		int rc = et_pcapfile_fill(s->plain, s->name, reterr);
		if (rc <= 0) {
			return rc < 0 ? rc : n;
		}
	}
	return n;
}

/* The interface is gone, and nothing is left in any ring: but for the block that the kernel still
 * fills. 0: it may come; else what is to be told. */
static int rings_over(struct et_source *s, int code)
{
	const int64_t mono_us = et_clock_mono_us();

	if (s->is_file) {
		return code;
	}
	if (s->gone_us == 0) {
		s->gone_us = mono_us;
	}
	return mono_us - s->gone_us < LAST_US ? 0 : code;
}

/* Each ring in turn, until all of them are empty; the next call goes on with the next one, so that
 * under load the last ones are not left to overflow. */
static int read_rings(struct et_source *s, int max, const char **text)
{
	const int share = s->ring_count > 1 ? RING_MAX : max;
	int failed = 0;
	int n = 0;
	int all;

	do {
		all = 0;
		for (uint32_t i = 0; i < s->ring_count && n < max; i++) {
			struct ring *r = &s->rings[s->turn];
			s->turn = (s->turn + 1) % s->ring_count;
			int left = max - n < share ? max - n : share;
			int some = pcap_dispatch(r->pcap, left, on_frame, (u_char *)r);
			if (some < 0) { /* what others hold comes before it is told */
				*text = pcap_geterr(r->pcap);
				failed = some;
				continue;
			}
			all += some;
			n += some;
		}
	} while (s->ring_count > 1 && all > 0 && n < max);
	if (n > 0 || failed == 0) {
		s->gone_us = 0;
		return n;
	}
	return rings_over(s, failed);
}

int et_source_read(struct et_source *s, int max, et_source_fn fn, void *arg,
		   struct et_error *reterr)
{
	const char *text = "";

	s->fn = fn;
	s->arg = arg;
	if (s->plain != NULL) {
		return read_plain(s, max, reterr);
	}
	int n = read_rings(s, max, &text);
	batch_hand_over(s); /* on an error, too: these came before it */
	if (n >= 0) {
		return n;
	}
	if (s->is_file) {
		bool cut = strstr(text, "truncated") != NULL;
		return et_fail(reterr, cut ? ET_ETRUNCATED : ET_EMALFORMED, "capture file '%s': %s",
			       s->name, text);
	}
	return et_fail(reterr, -ENODEV, "interface '%s': %s", s->name, text);
}

int et_source_fd(const struct et_source *s)
{
	return s->fd;
}

static void ring_stats(struct ring *r, struct et_source_stats *to)
{
	struct pcap_stat now;

	if (pcap_stats(r->pcap, &now) == 0) {
		const uint32_t more = now.ps_ifdrop - r->last_interface_dropped;
		to->received += (uint32_t)(now.ps_recv - r->last_received);
		to->dropped += (uint32_t)(now.ps_drop - r->last_dropped);
		r->last_received = now.ps_recv;
		r->last_dropped = now.ps_drop;
		/* That of the card is the same for each ring. Of an interface that was renamed or
		 * is gone libpcap reads 0, and counts back: that is no loss. */
		if (r == r->source->rings && more <= INT32_MAX) {
			to->interface_dropped += more;
			r->last_interface_dropped = now.ps_ifdrop;
		}
	}
}

void et_source_stats(struct et_source *s, struct et_source_stats *ret)
{
	for (uint32_t i = 0; !s->is_file && i < s->ring_count; i++) {
		ring_stats(&s->rings[i], &s->stats);
	}
	*ret = s->stats;
}
