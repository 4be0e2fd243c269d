/* Several rings of one interface: each frame comes once, those of a flow in order, from the first
 * on, and datagrams that were sent in fragments come in one piece or are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <pthread.h>
#include <sys/resource.h>

#include "node/capture/intake_internal.h"
#include "node/capture/source_internal.h"
#include "node/capture/test/live_kit.h"

enum {
	FLOWS = 64,
	PER_FLOW = 200,
	RINGS = 4,
	BIG = 9000,
	LO_HEAD = 14,
	IP_HEAD = 20,
	UDP_HEAD = 8,
	VETH_PORT = 4000,
};

struct seen {
	uint32_t next[FLOWS]; /* number that is expected of each */
	bool begun[FLOWS];
	uint32_t total;
	uint32_t fragments;
	uint16_t port;
};

/* {flow, number}, each 4 bytes. */
static void see(void *arg, const struct et_frame *frames, size_t count)
{
	struct seen *s = arg;

	for (size_t i = 0; i < count; i++) {
		const uint8_t *ip = frames[i].data + LO_HEAD;
		uint32_t v[2];
		assert_true(frames[i].size >= LO_HEAD + IP_HEAD + UDP_HEAD);
		if ((et_get16(ip + 6) & 0x3FFF) != 0) {
			s->fragments++;
			continue;
		}
		if (et_get16(ip + IP_HEAD + 2) != s->port) {
			continue;
		}
		memcpy(v, ip + IP_HEAD + UDP_HEAD, sizeof(v));
		assert_in_range(v[0], 0, FLOWS - 1);
		if (s->begun[v[0]]) {
			assert_int_equal(v[1], s->next[v[0]]);
		}
		s->begun[v[0]] = true;
		s->next[v[0]] = v[1] + 1;
		s->total++;
	}
}

struct sender {
	int flows[FLOWS];
	int to;
	_Atomic bool opened; /* the rings are: some more, and that is all */
};

static void *send_all(void *arg)
{
	struct sender *s = arg;
	uint32_t last = UINT32_MAX;

	for (uint32_t n = 0; n != last; n++) { /* no more than the rings hold meanwhile */
		(void)nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
		if (last == UINT32_MAX && s->opened) {
			last = n + PER_FLOW;
		}
		for (uint32_t i = 0; i < FLOWS; i++) {
			const uint32_t v[2] = { i, n };
			assert_int_equal(send(s->flows[i], v, sizeof(v), 0), sizeof(v));
		}
	}
	return (void *)(uintptr_t)last;
}

static uint16_t bound(int fd)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t size = sizeof(in);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
	return ntohs(in.sin_port);
}

/* The rings are opened while frames come: what is seen of a flow has no twin and no hole. */
static void each_frame_comes_once(void **state)
{
	struct sender sender = { .to = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) };
	struct seen seen = { .port = bound(sender.to) };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(seen.port) };
	struct et_source *s = NULL;
	struct et_source_stats stats;
	struct et_error e = { .text = "" };
	pthread_t thread;
	void *last = NULL;
	int rc = 0;
	(void)state;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (uint32_t i = 0; i < FLOWS; i++) {
		sender.flows[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		(void)bound(sender.flows[i]);
		assert_int_equal(connect(sender.flows[i], (struct sockaddr *)&in, sizeof(in)), 0);
	}
	assert_int_equal(pthread_create(&thread, NULL, send_all, &sender), 0);
	rc = et_source_open_interface("lo", "udp", 16 << 20, RINGS, &s, &e);
	assert_string_equal(e.text, "");
	assert_int_equal(rc, 0);
	sender.opened = true;
	assert_int_equal(pthread_join(thread, &last), 0);
	(void)nanosleep(&(struct timespec){ .tv_sec = 1, .tv_nsec = 100000000 },
			NULL); /* a recorder that starts looks at its tapes first */

	struct pollfd fd = { .fd = et_source_fd(s), .events = POLLIN };
	while (poll(&fd, 1, 200) == 1) { /* blocks are handed over after 20 ms */
		assert_true(et_source_read(s, 2048, see, &seen, &e) >= 0);
	}
	for (uint32_t i = 0; i < FLOWS; i++) {
		assert_int_equal(seen.next[i], (uint32_t)(uintptr_t)last); /* to the last one */
		assert_int_equal(close(sender.flows[i]), 0);
	}
	assert_true(seen.total >= FLOWS * PER_FLOW);
	et_source_stats(s, &stats);
	assert_int_equal(stats.dropped, 0);
	assert_true(stats.received >= stats.read);
	print_message("%u frames of %d flows from %d rings\n", seen.total, FLOWS, RINGS);
	(void)close(sender.to);
	(void)et_source_close(s);
}

/* Its fragments are frames as any other: the engine puts them together, or counts what is missing.
 */
static void fragments_are_not_put_together_by_the_kernel(void **state)
{
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const int to = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct seen seen = { .port = bound(to) };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(seen.port) };
	struct ifreq request = { .ifr_mtu = 1500 };
	static uint8_t big[BIG];
	struct et_source *s = NULL;
	struct et_error e;
	(void)state;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "lo");
	assert_int_equal(ioctl(fd, SIOCSIFMTU, &request), 0);
	assert_int_equal(et_source_open_interface("lo", "", 1 << 20, RINGS, &s, &e), 0);
	assert_int_equal(sendto(fd, big, BIG, 0, (struct sockaddr *)&in, sizeof(in)), BIG);
	struct pollfd p = { .fd = et_source_fd(s), .events = POLLIN };
	while (seen.fragments < 7 && poll(&p, 1, PATIENCE_MS) == 1) {
		assert_true(et_source_read(s, 2048, see, &seen, &e) >= 0);
	}
	assert_int_equal(seen.fragments, (BIG + UDP_HEAD + 1479) / 1480);
	(void)et_source_close(s);
	(void)close(fd);
	(void)close(to);
}

static void veth_make(void)
{
	assert_int_equal(system("ip link add name va type veth peer name vb && "
				"ip link set dev va arp off up && ip link set dev vb up && "
				"ip address add 10.9.0.1/24 dev va"),
			 0);
}

/* So many of each flow out of it, in turns. */
static void veth_send(uint32_t count)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(VETH_PORT) };
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	for (uint32_t n = 0; n < count; n++) {
		for (uint32_t i = 0; i < FLOWS; i++) {
			const uint32_t v[2] = { i, n };
			in.sin_addr.s_addr = htonl(0x0A090002 + i);
			assert_int_equal(
				sendto(fd, v, sizeof(v), 0, (struct sockaddr *)&in, sizeof(in)),
				sizeof(v));
		}
	}
	(void)close(fd);
}

/* No ring waits for others to be empty; a link that was down is read on; and when it is gone, that
 * is told after all that came before. */
static void an_interface_goes_down_and_up_and_away(void **state)
{
	struct et_source *s = NULL;
	struct et_source_stats stats;
	struct et_error e = { .text = "" };
	struct seen seen = { .port = VETH_PORT };
	uint32_t flows = 0;
	int rc = 0;
	(void)state;

	veth_make();
	assert_int_equal(et_source_open_interface("va", "udp port 4000", 1 << 20, RINGS, &s, &e),
			 0);
	struct pollfd fd = { .fd = et_source_fd(s), .events = POLLIN };
	assert_int_equal(system("ip link set dev va down"), 0);
	for (int i = 0; i < 100 && poll(&fd, 1, 50) == 1; i++) {
		assert_true(et_source_read(s, 2048, see, &seen, &e) >= 0);
	}
	assert_int_equal(poll(&fd, 1, 0), 0); /* nothing keeps its reader awake */
	assert_int_equal(system("ip link set dev va up"), 0);
	veth_send(3);
	assert_int_equal(system("ip link delete dev va"), 0);

	for (int i = 0; i < 10000 && rc >= 0; i++) {
		rc = et_source_read(s, 1, see, &seen, &e);
		if (seen.total == 3 * FLOWS / RINGS && flows == 0) {
			for (uint32_t k = 0; k < FLOWS; k++) {
				flows += seen.begun[k];
			}
		}
		if (rc == 0) {
			(void)poll(&fd, 1, 1);
		}
	}
	assert_int_equal(rc, -ENODEV);
	assert_int_equal(seen.total, 3 * FLOWS);
	assert_true(flows > FLOWS / 2); /* of one ring it would be a quarter of them */
	et_source_stats(s, &stats);
	assert_int_equal(stats.read, 3 * FLOWS);
	assert_true(stats.received >= 3 * FLOWS); /* and what the system says by itself */
	(void)et_source_close(s);
}

struct taken {
	uint64_t frames;
	int lost; /* what the intake said of its source */
};

static void on_taken(void *arg, const struct et_frame *frames, size_t count)
{
	struct taken *t = arg;
	(void)frames;
	t->frames += count;
}

static void on_gone(void *arg, int code, const char *text)
{
	struct taken *t = arg;
	assert_non_null(strstr(text, "va"));
	t->lost = code;
}

/* Until so many frames came, or the source is lost. */
static void take_until(struct et_intake *in, struct taken *t, uint64_t frames)
{
	for (int i = 0; i < 10000 && t->lost == 0 && t->frames < frames; i++) {
		if (!et_intake_read(in)) {
			et_intake_wait(in, -1);
		}
	}
}

/* When there is an interface of that name again it is read through as many rings, and what was
 * counted before stays counted. */
static void an_interface_comes_back(void **state)
{
	struct taken t = { .lost = 0 };
	struct et_intake in = { .frames = on_taken, .lost = on_gone, .arg = &t };
	struct et_capture_config config = {
		.sources = { { .interface = "va", .filter = "udp port 4000", .rings = RINGS } },
		.source_count = 1,
		.limits = { .ring_bytes = 1 << 20 },
	};
	struct et_capture_metrics m = { .source_count = 0 };
	struct et_error e;
	(void)state;

	veth_make();
	assert_int_equal(et_intake_open(&in, &config, &e), 0);
	for (uint32_t round = 1; round <= 2; round++) {
		veth_send(3);
		take_until(&in, &t, round * 3 * FLOWS);
		et_intake_tell(&in, &m);
		assert_true(m.sources[0].open);
		assert_int_equal(m.sources[0].packets, round * 3 * FLOWS);
		assert_true(m.sources[0].received >= m.sources[0].packets);
		assert_int_equal(m.sources[0].waiting, 0);
		assert_int_equal(system("ip link delete dev va"), 0);
		take_until(&in, &t, UINT64_MAX);
		assert_int_equal(t.lost, -ENODEV);
		t.lost = 0;
		et_intake_reopen(&in, (int64_t)round * 3600 * 1000000); /* there is none yet */
		et_intake_tell(&in, &m);
		assert_false(m.sources[0].open);
		assert_int_equal(m.sources[0].packets, round * 3 * FLOWS);
		assert_int_equal(m.sources[0].dropped + m.sources[0].interface_dropped, 0);
		veth_make();
		et_intake_reopen(&in, (int64_t)round * 3600 * 1000000 + 6000000);
	}
	et_intake_close(&in);
	assert_int_equal(system("ip link delete dev va"), 0);
}

static void card_dropped(const char *count)
{
	FILE *f = fopen("/sys/class/net/lo/statistics/rx_missed_errors", "we");
	assert_non_null(f);
	assert_true(fprintf(f, "%s\n", count) > 0);
	assert_int_equal(fclose(f), 0);
}

/* What libpcap reads of it is by its name: 0 when that is gone. */
static void drops_of_the_card_are_counted_once_and_never_back(void **state)
{
	struct et_source *s = NULL;
	struct et_source_stats stats;
	struct et_error e;
	(void)state;

	assert_int_equal(mount("none", "/sys/class/net", "tmpfs", 0, NULL), 0);
	assert_int_equal(mkdir("/sys/class/net/lo", 0700), 0);
	assert_int_equal(mkdir("/sys/class/net/lo/statistics", 0700), 0);
	card_dropped("100");
	assert_int_equal(et_source_open_interface("lo", "", 1 << 20, RINGS, &s, &e), 0);
	card_dropped("150");
	et_source_stats(s, &stats);
	assert_int_equal(stats.interface_dropped, 50);
	assert_int_equal(unlink("/sys/class/net/lo/statistics/rx_missed_errors"), 0);
	et_source_stats(s, &stats);
	assert_int_equal(stats.interface_dropped, 50);
	card_dropped("160");
	et_source_stats(s, &stats);
	assert_int_equal(stats.interface_dropped, 60);
	(void)et_source_close(s);
	assert_int_equal(umount("/sys/class/net"), 0);
}

static uint32_t descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	uint32_t n = 0;
	assert_non_null(d);
	while (readdir(d) != NULL) {
		n++;
	}
	assert_int_equal(closedir(d), 0);
	return n;
}

/* The fourth has no room, and the last filter is wrong: the others are closed. */
static void what_cannot_be_opened_leaves_nothing_open(void **state)
{
	const uint32_t before = descriptors();
	struct rlimit old;
	struct et_source *s = NULL;
	struct et_error e = { .text = "" };
	(void)state;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	const struct rlimit few = { .rlim_cur = before + 5, .rlim_max = old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	int rc = et_source_open_interface("lo", "", 1 << 20, ET_CAPTURE_RINGS_MAX, &s, &e);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(rc, -EIO);
	print_message("%s\n", e.text);
	rc = et_source_open_interface("lo", "nonsense here", 1 << 20, 3, &s, &e);
	assert_int_equal(rc, ET_EUSAGE);
	assert_non_null(strstr(e.text, "filter of interface 'lo': "));
	assert_null(s);
	assert_int_equal(descriptors(), before);
	rc = et_source_open_interface("any", "udp", 1 << 20, 3, &s, &e);
	assert_int_equal(rc, 0);
	(void)et_source_close(s);
	assert_int_equal(descriptors(), before);
}

static void a_ring_too_many_is_refused(void **state)
{
	struct et_source *s = NULL;
	struct et_error e = { .text = "" };
	(void)state;

	assert_int_equal(
		et_source_open_interface("lo", "", 1 << 20, ET_CAPTURE_RINGS_MAX + 1, &s, &e),
		ET_EUSAGE);
	assert_int_equal(et_source_open_interface("nowhere", "", 1 << 20, 2, &s, &e), -ENODEV);
	assert_null(s);
}

/* The recorder as it is, with two. */
static void a_call_is_recorded_through_rings(void **state)
{
	struct fixture *f = *state;

	f->rings = 2;
	record_a_call(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_frame_comes_once),
		cmocka_unit_test(an_interface_goes_down_and_up_and_away),
		cmocka_unit_test(an_interface_comes_back),
		cmocka_unit_test(drops_of_the_card_are_counted_once_and_never_back),
		cmocka_unit_test(what_cannot_be_opened_leaves_nothing_open),
		cmocka_unit_test(a_ring_too_many_is_refused),
		TEST(a_call_is_recorded_through_rings),
		cmocka_unit_test(fragments_are_not_put_together_by_the_kernel),
	};
	return live_begin() ? cmocka_run_group_tests_name("node/capture/rings", tests, NULL, NULL)
			    : 77;
}
