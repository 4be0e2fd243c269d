#include "node/capture/source_internal.h"

#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/capture/pcapfile_internal.h"

enum {
	SNAPLEN = 65535,
	TIMEOUT_MS = 20,
	HELD_SIZE = 32768,   /* of the frames of a batch; 16 of G.711 have 3,424 bytes */
	FILE_BUFFER = 65536, /* 4 KiB, as stdio has it, is a read(2) for 19 packets of G.711 */
};

#define US_PER_S 1000000LL
#define YEAR_9999_S 253402300799LL

struct et_source {
	pcap_t *pcap;		   /* owned; NULL: */
	struct et_pcapfile *plain; /* owned */
	int link_type;
	bool is_file;
	int fd;
	char name[256];
	struct et_source_stats stats;
	uint32_t last_received; /* libpcap's counters are 32 bits and wrap */
	uint32_t last_dropped;
	uint32_t last_interface_dropped;

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
		(void)snprintf(s->name, sizeof(s->name), "%s", name);
	}
	return s;
}

struct et_source *et_source_close(struct et_source *s)
{
	if (s != NULL) {
		if (s->pcap != NULL) {
			pcap_close(s->pcap);
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
	s->pcap = pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_MICRO, text);
	if (s->pcap == NULL) {
		(void)fclose(file);
		return et_fail(reterr, ET_EMALFORMED, "capture file '%s': %s", s->name, text);
	}
	s->link_type = pcap_datalink(s->pcap);
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

static int set_filter(struct et_source *s, const char *filter, struct et_error *reterr)
{
	struct bpf_program program;
	if (filter == NULL || filter[0] == '\0') {
		return 0;
	}
	if (pcap_compile(s->pcap, &program, filter, 1, PCAP_NETMASK_UNKNOWN) < 0) {
		return et_fail(reterr, ET_EUSAGE, "filter of interface '%s': %s", s->name,
			       pcap_geterr(s->pcap));
	}
	int rc = pcap_setfilter(s->pcap, &program);
	pcap_freecode(&program);
	return rc < 0 ? et_fail(reterr, -EIO, "filter of interface '%s': %s", s->name,
				pcap_geterr(s->pcap))
		      : 0;
}

int et_source_open_interface(const char *name, const char *filter, size_t ring_bytes,
			     struct et_source **ret, struct et_error *reterr)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	ET_CLEANUP(source_closep) struct et_source *s = source_new(name);
	if (s == NULL) {
		return et_fail(reterr, -ENOMEM, "interface '%s'", name);
	}
	s->pcap = pcap_create(name, text);
	if (s->pcap == NULL) {
		return et_fail(reterr, -ENODEV, "interface '%s': %s", name, text);
	}
	(void)pcap_set_snaplen(s->pcap, SNAPLEN);
	(void)pcap_set_promisc(s->pcap, 1);
	(void)pcap_set_timeout(s->pcap, TIMEOUT_MS); /* of a ring block that is not full */
	(void)pcap_set_buffer_size(s->pcap, (int)(ring_bytes < INT32_MAX ? ring_bytes : INT32_MAX));
	int rc = pcap_activate(s->pcap);
	if (rc < 0) {
		int code = translate(rc);
		return et_fail(reterr, code, "interface '%s': %s", name, pcap_geterr(s->pcap));
	}
	/* A blocking read of TPACKET_V3 may not return on an idle link: never block in it. */
	if (pcap_setnonblock(s->pcap, 1, text) < 0) {
		return et_fail(reterr, -EIO, "interface '%s': %s", name, text);
	}
	s->fd = pcap_get_selectable_fd(s->pcap);
	if (s->fd < 0) {
		return et_fail(reterr, ET_EUNSUPPORTED, "interface '%s': it cannot be polled",
			       name);
	}
	s->link_type = pcap_datalink(s->pcap);
	rc = set_filter(s, filter, reterr);
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

static void on_frame(u_char *arg, const struct pcap_pkthdr *head, const u_char *data)
{
	struct et_source *s = (struct et_source *)(void *)arg;
	struct et_frame frame = {
		.link_type = s->link_type,
		.time_us = time_us_of(&head->ts),
		.data = data,
		.size = head->caplen,
		.wire_size = head->len > head->caplen ? head->len : head->caplen,
	};
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

int et_source_read(struct et_source *s, int max, et_source_fn fn, void *arg,
		   struct et_error *reterr)
{
	s->fn = fn;
	s->arg = arg;
	if (s->plain != NULL) {
		return read_plain(s, max, reterr);
	}
	int n = pcap_dispatch(s->pcap, max, on_frame, (u_char *)s);
	batch_hand_over(s); /* on an error, too: these came before it */
	if (n >= 0) {
		return n;
	}
	const char *text = pcap_geterr(s->pcap);
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

void et_source_stats(struct et_source *s, struct et_source_stats *ret)
{
	struct pcap_stat now;
	if (!s->is_file && pcap_stats(s->pcap, &now) == 0) {
		s->stats.received += (uint32_t)(now.ps_recv - s->last_received);
		s->stats.dropped += (uint32_t)(now.ps_drop - s->last_dropped);
		s->stats.interface_dropped += (uint32_t)(now.ps_ifdrop - s->last_interface_dropped);
		s->last_received = now.ps_recv;
		s->last_dropped = now.ps_drop;
		s->last_interface_dropped = now.ps_ifdrop;
	}
	*ret = s->stats;
}
