/* Every capture file of the sample (ET_SAMPLES, or ../shared/pcaps beside the tree): no crash, the
 * accounting identity holds, a replay repeats; and for some of them what is known to be in them, as
 * tshark and a person counted it. Skipped where there is no sample. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/capture/replay.h"
#include "node/srtp/given.h"

static char folder[512];

static int run(const char *path, struct et_replay_summary *ret, struct et_error *reterr)
{
	struct et_replay_config config = { .files = &path, .file_count = 1 };
	return et_replay(&config, ret, reterr);
}

static uint64_t in_streams(const struct et_replay_summary *s)
{
	uint64_t n = 0;
	for (uint32_t i = 0; i < s->call_count; i++) {
		const struct et_capture_recording *r = &s->calls[i].recording;
		for (uint32_t k = 0; k < r->stream_count; k++) {
			const struct et_capture_stream *t = &r->streams[k];
			assert_true(t->duplicate + t->late <= t->packets);
			assert_true(t->first_us <= t->last_us);
			n += t->packets;
		}
	}
	return n;
}

static void check_identity(const char *path, const struct et_replay_summary *s)
{
	const struct et_capture_packets *p = &s->packets;
	uint64_t sum = et_capture_counted(p);
	if (sum != p->total || p->pending != 0 || in_streams(s) != p->rtp) {
		fail_msg("%s: total %llu, sum %llu, pending %llu, rtp %llu", path,
			 (unsigned long long)p->total, (unsigned long long)sum,
			 (unsigned long long)p->pending, (unsigned long long)p->rtp);
	}
}

static void check_repeats(const char *path, const struct et_replay_summary *s)
{
	struct et_replay_summary again;
	assert_int_equal(run(path, &again, NULL), 0);
	assert_int_equal(again.call_count, s->call_count);
	assert_memory_equal(&again.packets, &s->packets, sizeof(s->packets));
	for (uint32_t i = 0; i < s->call_count; i++) {
		assert_memory_equal(again.calls[i].recording.id, s->calls[i].recording.id, 16);
		assert_int_equal(again.calls[i].recording.stream_count,
				 s->calls[i].recording.stream_count);
	}
	et_replay_summary_release(&again);
}

static void every_file_is_accounted_for(void **state)
{
	(void)state;
	char pattern[600];
	glob_t found;
	size_t refused = 0;
	(void)snprintf(pattern, sizeof(pattern), "%s/*.*", folder);
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	(void)snprintf(pattern, sizeof(pattern), "%s/live/*.pcap", folder);
	(void)glob(pattern, GLOB_APPEND, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct et_replay_summary s;
		const char *path = found.gl_pathv[i];
		if (strstr(path, ".tsv") != NULL || strstr(path, ".md") != NULL) {
			continue;
		}
		if (run(path, &s, NULL) < 0) {
			refused++; /* in another format */
			continue;
		}
		check_identity(path, &s);
		check_repeats(path, &s);
		et_replay_summary_release(&s);
	}
	print_message("%zu files, %zu of another format\n", found.gl_pathc, refused);
	assert_true(refused <= 1);
	globfree(&found);
}

static const struct {
	const char *file;
	uint64_t total;
	uint64_t sip;
	uint64_t rtp;
	uint64_t rtcp;
	uint32_t calls;
	uint32_t streams;
} known[] = {
	{ "ast_fax_g711u.pcap", 800, 0, 800, 0, 1, 1 },
	{ "ast_opus_fec.pcapng", 3000, 0, 3000, 0, 1, 1 },
	{ "ast_ssrc2.pcap", 2, 0, 2, 0, 1, 1 },
	{ "hdiniz_amr_nb.pcap", 2463, 0, 2463, 0, 4, 6 },
	{ "ndpi_rtcp_multi.pcap", 5, 0, 0, 5, 0, 0 },
	{ "ndpi_rtps_notrtp.pcap", 29, 0, 0, 0, 0, 0 },
	{ "rtpproxy_DLT_NULL.rtp", 600, 0, 600, 0, 3, 3 },
	{ "sipnab_488.pcapng", 13, 13, 0, 0, 1, 0 },
	{ "sipnab_invite_opus_bye.pcap", 311, 7, 304, 0, 1, 2 },
	{ "sipnab_reinvite.pcap", 230, 12, 218, 0, 1, 4 },
	{ "sngrep_ipv6frag.pcap", 34, 32, 0, 0, 1, 0 },
	{ "sr_sip-rtp-g711.pcap", 852, 10, 839, 0, 2, 2 },
	{ "ws_Asterisk_ZFONE_XLITE.pcap", 1042, 27, 997, 7, 1, 3 },
	{ "ws_DTMFsipinfo.pcap", 32, 32, 0, 0, 1, 0 },
	{ "zeek_sip_wireshark.pcap", 81, 81, 0, 0, 6, 0 },
	{ "live/ba_srtp_sdes.pcap", 1008, 6, 993, 9, 1, 2 },
	{ "live/sipp_rtpstream.pcap", 3028, 30, 2998, 0, 5, 10 },
};

static void what_is_known_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(known); i++) {
		char path[600];
		struct et_replay_summary s;
		struct et_error error = { .text = "" };
		uint32_t streams = 0;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, known[i].file);
		if (run(path, &s, &error) < 0) {
			fail_msg("%s", error.text);
		}
		for (uint32_t k = 0; k < s.call_count; k++) {
			streams += s.calls[k].recording.stream_count;
		}
		if (s.packets.total != known[i].total || s.packets.sip != known[i].sip ||
		    s.packets.rtp != known[i].rtp || s.packets.rtcp != known[i].rtcp ||
		    s.call_count != known[i].calls || streams != known[i].streams) {
			fail_msg("%s: total %llu sip %llu rtp %llu rtcp %llu calls %u streams %u",
				 known[i].file, (unsigned long long)s.packets.total,
				 (unsigned long long)s.packets.sip,
				 (unsigned long long)s.packets.rtp,
				 (unsigned long long)s.packets.rtcp, s.call_count, streams);
		}
		et_replay_summary_release(&s);
	}
}

/* Five calls on one pair of ports. */
static void shared_ports_are_five_recordings(void **state)
{
	(void)state;
	char path[600];
	struct et_replay_summary s;
	(void)snprintf(path, sizeof(path), "%s/live/sipp_rtpstream.pcap", folder);
	assert_int_equal(run(path, &s, NULL), 0);
	assert_int_equal(s.call_count, 5);
	for (uint32_t i = 0; i < 5; i++) {
		const struct et_capture_recording *r = &s.calls[i].recording;
		assert_int_equal(r->state, ET_CALL_ANSWERED);
		assert_int_equal(r->stream_count, 2);
		assert_int_equal(r->streams[0].ssrc, r->streams[1].ssrc);
		assert_true(r->streams[0].party != r->streams[1].party);
		assert_in_range(r->streams[0].packets, 299, 300);
		assert_int_equal(r->streams[0].lost, 0);
	}
	et_replay_summary_release(&s);
}

/* ---- Tones ---- */

/* What a rule that drops them makes of people, music, tones of the network, modems and, in one
 * file, somebody who presses keys. */
static void a_rule_that_drops_tones_leaves_people_alone(void **state)
{
	(void)state;
	static const struct et_rules rules = { .otherwise = ET_RULE_RECORD,
					       .tones = ET_RULE_TONES_DROP };
	char pattern[600];
	glob_t found;
	uint64_t all = 0;
	uint64_t pressed = 0;
	(void)snprintf(pattern, sizeof(pattern), "%s/*.*", folder);
	assert_int_equal(glob(pattern, 0, NULL, &found), 0);
	(void)snprintf(pattern, sizeof(pattern), "%s/live/*.pcap", folder);
	(void)glob(pattern, GLOB_APPEND, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		struct et_replay_summary plain;
		struct et_replay_summary s;
		const char *path = found.gl_pathv[i];
		struct et_replay_config config = { .files = &path,
						   .file_count = 1,
						   .capture = { .rules = &rules } };
		uint64_t silenced = 0;
		if (run(path, &plain, NULL) < 0) {
			continue;
		}
		assert_int_equal(et_replay(&config, &s, NULL), 0);
		check_identity(path, &s);
		assert_memory_equal(&s.packets, &plain.packets, sizeof(s.packets));
		assert_int_equal(s.metrics.media_dropped, 0);
		for (uint32_t c = 0; c < s.call_count; c++) {
			const struct et_capture_recording *r = &s.calls[c].recording;
			for (uint32_t k = 0; k < r->stream_count; k++) {
				const bool heard = strncmp(r->streams[k].codec, "PCM", 3) == 0 &&
						   r->streams[k].srtp[0] == '\0';
				assert_true(heard || r->streams[k].silenced == 0);
				all += heard ? r->streams[k].packets : 0;
				silenced += r->streams[k].silenced;
			}
		}
		assert_int_equal(silenced, s.metrics.tones_silenced);
		if (strstr(path, "ast_ulaw_dtmf.pcap") != NULL) {
			pressed += silenced;
		} else if (silenced > 0) {
			fail_msg("%s: %llu packets", path, (unsigned long long)silenced);
		}
		et_replay_summary_release(&plain);
		et_replay_summary_release(&s);
	}
	print_message(
		"%llu packets of G.711; %llu of one file, in which keys are pressed, are silent\n",
		(unsigned long long)all, (unsigned long long)pressed);
	assert_true(all > 15000);
	assert_in_range(pressed, 100, 130);
	globfree(&found);
}

/* ---- SRTP ------------------------------------------------------------------------------------ */

static const struct {
	const char *file;
	const char *keylog; /* or NULL */
	bool given;	    /* with the key in KEYS.tsv, whatever the SSRC */
	const char *suite;
	uint64_t packets;
	uint32_t streams;
} srtp[] = {
	{ "live/ba_srtp_sdes.pcap", NULL, false, "AES_CM_128_HMAC_SHA1_80", 993, 2 },
	{ "live/sipp_srtp.pcap", NULL, false, "AES_CM_128_HMAC_SHA1_80", 1489, 1 },
	{ "live/ba_dtls_srtp_keys.pcap", "live/dtls.keys", false, "AES_CM_128_HMAC_SHA1_80", 971,
	  2 },
	{ "rtpproxy_alice_srtp.pcap", NULL, true, "AES_CM_128_HMAC_SHA1_80", 1556, 1 },
	{ "rtpproxy_alice_srtp_out.pcap", NULL, true, "AES_CM_128_HMAC_SHA1_80", 1556, 1 },
};

static struct et_srtp_ring *keys_given(void)
{
	char path[600];
	char line[600];
	struct et_srtp_ring *ring = NULL;
	(void)snprintf(path, sizeof(path), "%s/KEYS.tsv", folder);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	assert_int_equal(et_srtp_ring_new(16, &ring, NULL), 0);
	while (fgets(line, sizeof(line), file) != NULL) {
		char suite[64];
		char key[128];
		char table[256];
		if (sscanf(line, "rtpproxy_alice_srtp.pcap\t%*[^\t]\t%63[^\t]\t%127[^\t\n]", suite,
			   key) == 2) {
			int n = snprintf(table, sizeof(table), "*\t%s\t%s\n", suite, key);
			assert_int_equal(
				et_srtp_given_read((struct et_view){ (uint8_t *)table, (size_t)n },
						   ring, NULL),
				0);
		}
	}
	(void)fclose(file);
	assert_int_equal(et_srtp_ring_count(ring), 1);
	return ring;
}

static struct et_keylog *keylog_of(const char *name)
{
	char path[600];
	struct et_keylog *k = NULL;
	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(et_keylog_new(64, 0, &k, NULL), 0);
	assert_int_equal(et_keylog_read(k, fd, NULL), 0);
	(void)close(fd);
	return k;
}

struct heard {
	uint64_t packets;
	uint64_t closed;
};

static void hear(void *arg, const struct et_replay_media *media)
{
	struct heard *h = arg;
	h->packets++;
	h->closed += media->closed;
}

static void srtp_with_known_keys_opens_fully(void **state)
{
	(void)state;
	for (size_t i = 0; i < ET_ARRAY_SIZE(srtp); i++) {
		char path[600];
		const char *file = path;
		struct et_replay_summary s;
		struct heard heard = { .packets = 0 };
		struct et_srtp_ring *ring = srtp[i].given ? keys_given() : NULL;
		struct et_keylog *keylog =
			srtp[i].keylog != NULL ? keylog_of(srtp[i].keylog) : NULL;
		(void)snprintf(path, sizeof(path), "%s/%s", folder, srtp[i].file);
		struct et_replay_config config = {
			.files = &file,
			.file_count = 1,
			.keylog = keylog,
			.srtp_keys = ring,
			.on_media = hear,
			.media_arg = &heard,
		};
		assert_int_equal(et_replay(&config, &s, NULL), 0);
		if (heard.packets != srtp[i].packets || heard.closed != 0 || s.call_count != 1 ||
		    s.calls[0].recording.stream_count != srtp[i].streams) {
			fail_msg("%s: %llu packets, %llu closed", srtp[i].file,
				 (unsigned long long)heard.packets,
				 (unsigned long long)heard.closed);
		}
		for (uint32_t k = 0; k < srtp[i].streams; k++) {
			const struct et_capture_stream *t = &s.calls[0].recording.streams[k];
			assert_string_equal(t->srtp, srtp[i].suite);
			assert_int_equal(t->opened, ET_OPENED_YES);
		}
		print_message("%s: %llu of %llu packets opened\n", srtp[i].file,
			      (unsigned long long)(heard.packets - heard.closed),
			      (unsigned long long)heard.packets);
		et_replay_summary_release(&s);
		(void)et_srtp_ring_free(ring);
		(void)et_keylog_free(keylog);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_file_is_accounted_for),
		cmocka_unit_test(what_is_known_is_found),
		cmocka_unit_test(shared_ports_are_five_recordings),
		cmocka_unit_test(a_rule_that_drops_tones_leaves_people_alone),
		cmocka_unit_test(srtp_with_known_keys_opens_fully),
	};
	const char *given = getenv("ET_SAMPLES");
	(void)snprintf(folder, sizeof(folder), "%s",
		       given != NULL ? given : "../../../../shared/pcaps");
	if (given == NULL && access(folder, R_OK) < 0) {
		(void)snprintf(folder, sizeof(folder), "../../../../../shared/pcaps");
	}
	if (access(folder, R_OK) < 0) {
		(void)fprintf(stderr,
			      "SKIPPED: no capture files in '%s'; name a folder of them in "
			      "ET_SAMPLES\n",
			      folder);
		return 77;
	}
	return cmocka_run_group_tests_name("node/capture/samples", tests, NULL, NULL);
}
