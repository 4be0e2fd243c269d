/* A capture file that is read without libpcap: frame by frame what libpcap reads, and the same end
 * of it. Other files are libpcap's alone. */
#include <fcntl.h>
#include <pcap/pcap.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/capture/pcapfile_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds) {
		abort();
	}
}

/* The same file from its beginning, at an offset of its own. */
static pcap_t *peer_of(int fd)
{
	char path[64];
	char text[PCAP_ERRBUF_SIZE] = "";
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return pcap_open_offline(path, text);
}

/* 1: a frame; else what et_pcapfile_fill() says. */
static int next(struct et_pcapfile *f, struct et_frame *frame, struct timeval *time)
{
	while (!et_pcapfile_next(f, frame, time)) {
		int rc = et_pcapfile_fill(f, "fuzz", NULL);
		if (rc <= 0) {
			return rc;
		}
	}
	return 1;
}

static void compare(struct et_pcapfile *f, pcap_t *peer)
{
	struct et_frame frame = { .link_type = 0 };
	struct timeval time = { .tv_sec = 0 };
	struct pcap_pkthdr *head = NULL;
	const u_char *bytes = NULL;
	int rc = 0;

	check(et_pcapfile_link(f) == pcap_datalink(peer));
	while ((rc = next(f, &frame, &time)) == 1) {
		check(pcap_next_ex(peer, &head, &bytes) == 1);
		check(frame.size == head->caplen);
		check(frame.wire_size == (head->len > head->caplen ? head->len : head->caplen));
		check(time.tv_sec == head->ts.tv_sec && time.tv_usec == head->ts.tv_usec);
		check(frame.size == 0 || memcmp(frame.data, bytes, frame.size) == 0);
	}
	int end = pcap_next_ex(peer, &head, &bytes);
	if (rc == 0) {
		check(end == PCAP_ERROR_BREAK);
	} else {
		const bool cut = strstr(pcap_geterr(peer), "truncated") != NULL;
		check(end == PCAP_ERROR && rc == (cut ? ET_ETRUNCATED : ET_EMALFORMED));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ET_CLEANUP(et_fd_closep) int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct et_pcapfile *f = NULL;

	check(fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
	if (et_pcapfile_open(fd, &f) != 1) {
		check(lseek(fd, 0, SEEK_CUR) == 0); /* as libpcap wants it */
		return 0;
	}
	pcap_t *peer = peer_of(fd);
	fd = -1; /* f's */
	check(peer != NULL);
	compare(f, peer);
	pcap_close(peer);
	(void)et_pcapfile_close(f);
	return 0;
}
