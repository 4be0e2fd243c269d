#include "node/capture/pcapfile_internal.h"

#include <pcap/dlt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0xA1B2C3D4U

enum {
	FILE_HEAD = 24,
	FRAME_HEAD = 16,
	FRAME_MAX = 262144,  /* libpcap's MAXIMUM_SNAPLEN */
	PIECE_BYTES = 65536, /* stays in the second cache until it is worked on */
};

struct et_pcapfile {
	int fd; /* owned */
	int link_type;
	uint32_t snapshot; /* bytes of a frame that are given */
	size_t at;	   /* in data: the next frame's head */
	size_t size;	   /* of what was read */
	uint8_t data[FRAME_HEAD + FRAME_MAX + PIECE_BYTES];
};

static uint32_t word(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static uint16_t half(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

/* Those that et_packet_decode() knows, and that have one number in files and in libpcap. */
static bool link_is_plain(uint32_t link)
{
	return link == DLT_NULL || link == DLT_EN10MB || link == DLT_LOOP ||
	       link == DLT_LINUX_SLL || link == DLT_LINUX_SLL2;
}

static bool head_is_plain(const uint8_t head[FILE_HEAD])
{
	return word(head) == MAGIC && half(head + 4) == 2 && half(head + 6) == 4 &&
	       link_is_plain(word(head + 20));
}

int et_pcapfile_open(int fd, struct et_pcapfile **ret)
{
	uint8_t head[FILE_HEAD];
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head) || !head_is_plain(head) ||
	    lseek(fd, FILE_HEAD, SEEK_SET) != FILE_HEAD) {
		return 0;
	}
	struct et_pcapfile *f = malloc(sizeof(*f));
	if (f == NULL) {
		return -ENOMEM;
	}
	const uint32_t snapshot = word(head + 16);
	f->fd = fd;
	f->link_type = (int)word(head + 20);
	f->snapshot = snapshot == 0 || snapshot > FRAME_MAX ? FRAME_MAX : snapshot;
	f->at = 0;
	f->size = 0;
	*ret = f;
	return 1;
}

struct et_pcapfile *et_pcapfile_close(struct et_pcapfile *f)
{
	if (f != NULL) {
		(void)close(f->fd);
		free(f);
	}
	return NULL;
}

int et_pcapfile_link(const struct et_pcapfile *f)
{
	return f->link_type;
}

bool et_pcapfile_next(struct et_pcapfile *f, struct et_frame *ret, struct timeval *ret_time)
{
	const uint8_t *p = f->data + f->at;
	const size_t left = f->size - f->at;

	if (left < FRAME_HEAD) {
		return false;
	}
	const uint32_t captured = word(p + 8);
	const uint32_t on_wire = word(p + 12);
	if (captured > FRAME_MAX || left - FRAME_HEAD < captured) {
		return false;
	}
	ret_time->tv_sec = (int32_t)word(p);
	ret_time->tv_usec = (int32_t)word(p + 4);
	ret->data = p + FRAME_HEAD;
	ret->size = captured < f->snapshot ? captured : f->snapshot;
	ret->wire_size = on_wire > ret->size ? on_wire : ret->size;
	f->at += FRAME_HEAD + captured;
	return true;
}

/* No byte follows what there is. */
static int file_end(const struct et_pcapfile *f, const char *name, struct et_error *reterr)
{
	if (f->at == f->size) {
		return 0;
	}
	return et_fail(reterr, ET_ETRUNCATED, "capture file '%s': it ends in the midst of a frame",
		       name);
}

int et_pcapfile_fill(struct et_pcapfile *f, const char *name, struct et_error *reterr)
{
	const size_t left = f->size - f->at;
	ssize_t n = 0;

	if (left >= FRAME_HEAD && word(f->data + f->at + 8) > FRAME_MAX) {
		return et_fail(reterr, ET_EMALFORMED,
			       "capture file '%s': a frame of %u bytes (at most %d)", name,
			       (unsigned)word(f->data + f->at + 8), FRAME_MAX);
	}
	memmove(f->data, f->data + f->at, left); /* less than a frame: there is room for a piece */
	f->at = 0;
	f->size = left;
	do {
		n = read(f->fd, f->data + left, PIECE_BYTES);
	} while (n < 0 && errno == EINTR);
	if (n < 0) {
		return et_fail(reterr, -errno, "read capture file '%s'", name);
	}
	f->size += (size_t)n;
	return n > 0 ? 1 : file_end(f, name, reterr);
}
