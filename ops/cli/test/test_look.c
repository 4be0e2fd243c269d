/* What `capture test` says of an installation, from made counts; and that a real interface is
 * looked at: the loopback of a network namespace of its own (skipped without root). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ops/cli/look.h"

#define SECOND INT64_C(1000000)

static struct et_replay_call calls[8];
static struct et_capture_stream streams[8][2];
static struct et_replay_summary summary;

static int set_up(void **state)
{
	(void)state;
	memset(calls, 0, sizeof(calls));
	memset(streams, 0, sizeof(streams));
	summary = (struct et_replay_summary){ .calls = calls };
	summary.packets.total = 1000;
	summary.packets.sip = 20;
	return 0;
}

/* A call of ten seconds; `parties`: bit 0 caller, bit 1 callee. */
static struct et_capture_recording *call_add(enum et_capture_state state, bool answered,
					     unsigned parties)
{
	uint32_t n = summary.call_count++;
	struct et_capture_recording *r = &calls[n].recording;
	*r = (struct et_capture_recording){ .state = state,
					    .start_us = SECOND,
					    .answer_us = answered ? 2 * SECOND : 0,
					    .end_us = 11 * SECOND,
					    .streams = streams[n] };
	for (uint8_t party = 0; party < 2; party++) {
		if ((parties & (1U << party)) != 0) {
			streams[n][r->stream_count++] =
				(struct et_capture_stream){ .party = party, .packets = 450 };
		}
	}
	return r;
}

/* The codes of all findings, in order, each followed by a space. */
static const char *findings(void)
{
	static char text[256];
	struct et_look l = et_look_count(&summary);
	json_t *list = et_look_findings(&summary, &l, "eth1");
	size_t i;
	json_t *one;
	text[0] = '\0';
	json_array_foreach(list, i, one)
	{
		assert_string_not_equal(et_json_get_text(one, "detail", ""), "");
		assert_string_not_equal(et_json_get_text(one, "next", ""), "");
		strncat(text, et_json_get_text(one, "code", "?"), 40);
		strncat(text, " ", 2);
	}
	json_decref(list);
	return text;
}

static void a_good_mirror_has_no_finding(void **state)
{
	(void)state;
	call_add(ET_CALL_PARTIAL, true, 3);
	call_add(ET_CALL_ANSWERED, true, 3);
	call_add(ET_CALL_FAILED, false, 0);
	call_add(ET_CALL_PARTIAL, false, 0)->end_us = 2 * SECOND; /* it still rings */
	call_add(ET_CALL_PARTIAL, true, 1);			  /* hold: the other is silent */
	assert_string_equal(findings(), "");
	struct et_look l = et_look_count(&summary);
	assert_int_equal(l.calls, 5);
	assert_int_equal(l.both, 2);
}

static void says_what_is_missing(void **state)
{
	(void)state;
	summary.packets.total = 0;
	assert_string_equal(findings(), "NO_PACKETS ");
	summary.packets.total = 1000;
	summary.packets.sip = 0;
	assert_string_equal(findings(), "NO_SIP ");
	summary.metrics.tcp_messages = 7;
	assert_string_equal(findings(), "");
	call_add(ET_CALL_MEDIA_ONLY, false, 3);
	assert_string_equal(findings(), "MEDIA_ONLY ");
}

static void a_direction_that_is_missing(void **state)
{
	(void)state;
	call_add(ET_CALL_PARTIAL, false, 1);
	assert_string_equal(findings(), "SIP_ONE_WAY ");
	summary.call_count = 0;
	call_add(ET_CALL_ANSWERED, true, 2);
	assert_string_equal(findings(), "MEDIA_ONE_WAY ");
	summary.call_count = 0;
	call_add(ET_CALL_ANSWERED, true, 0);
	assert_string_equal(findings(), "NO_MEDIA ");
	summary.call_count = 0;
	call_add(ET_CALL_ANSWERED, true, 3);
	streams[0][0].duplicate = streams[0][1].duplicate = 225;
	assert_string_equal(findings(), "TWICE ");
}

static void what_is_lost_or_closed(void **state)
{
	(void)state;
	call_add(ET_CALL_ANSWERED, true, 3);
	(void)strcpy(streams[0][1].srtp, "SRTP");
	summary.metrics.kernel_dropped = 1;
	summary.metrics.interface_dropped = 1;
	summary.packets.unclaimed[ET_UNCLAIMED_TRUNCATED] = 1;
	summary.packets.unclaimed[ET_UNCLAIMED_FRAGMENT_INCOMPLETE] = 1;
	assert_string_equal(findings(), "DROPS CARD_DROPS CUT FRAGMENTS SRTP_CLOSED ");
	streams[0][1].opened = ET_OPENED_YES;
	summary.metrics = (struct et_capture_metrics){ .kernel_dropped = 0 };
	memset(summary.packets.unclaimed, 0, sizeof(summary.packets.unclaimed));
	assert_string_equal(findings(), "");
}

/* ---- A real interface ---- */

static atomic_bool looked;

/* A datagram that is SIP, to a port that nobody listens at, until the look is over. */
static void *send_options(void *arg)
{
	static const char text[] = "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP "
				   "127.0.0.1:5070;branch=z9hG4bK1\r\nFrom: <sip:b@c>;tag=1\r\nTo: "
				   "<sip:a@c>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nContent-Length: "
				   "0\r\n\r\n";
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(5060),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)arg;
	while (!atomic_load(&looked)) {
		(void)sendto(fd, text, sizeof(text) - 1, 0, (struct sockaddr *)&to, sizeof(to));
		(void)usleep(1000); /* a pace, not a wait */
	}
	(void)close(fd);
	return NULL;
}

static void an_interface_is_looked_at(void **state)
{
	struct et_replay_config config = { .interface = "lo", .duration_us = SECOND / 2 };
	struct et_replay_summary live;
	struct et_error e;
	pthread_t sender;
	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
		skip();
	}
	struct ifreq up = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &up), 0);
	(void)close(fd);

	assert_int_equal(pthread_create(&sender, NULL, send_options, NULL), 0);
	int rc = et_replay(&config, &live, &e);
	atomic_store(&looked, true);
	assert_int_equal(pthread_join(sender, NULL), 0);
	assert_int_equal(rc, 0);
	assert_true(live.packets.sip > 0);
	assert_true(live.bytes > 0);
	assert_int_equal(live.error_count, 0);
	et_replay_summary_release(&live);

	config.interface = "none0";
	assert_int_equal(et_replay(&config, &live, &e), -ENODEV);
	config.interface = "lo";
	config.filter = "no such filter";
	assert_int_equal(et_replay(&config, &live, &e), ET_EUSAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_good_mirror_has_no_finding, set_up),
		cmocka_unit_test_setup(says_what_is_missing, set_up),
		cmocka_unit_test_setup(a_direction_that_is_missing, set_up),
		cmocka_unit_test_setup(what_is_lost_or_closed, set_up),
		cmocka_unit_test(an_interface_is_looked_at),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
