#include "ops/cli/look.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Before that a call may still ring, and its media may not have begun. */
#define PATIENCE_US 3000000LL

static bool was_answered(const struct et_capture_recording *r)
{
	return r->answer_us != 0 || r->state == ET_CALL_ANSWERED || r->state == ET_CALL_FAILED ||
	       r->state == ET_CALL_CANCELLED;
}

static void count_call(struct et_look *l, const struct et_capture_recording *r)
{
	bool heard[2] = { false, false };
	for (uint32_t i = 0; i < r->stream_count; i++) {
		const struct et_capture_stream *s = &r->streams[i];
		heard[s->party != 0] = true;
		l->media += s->packets;
		l->twice += s->duplicate;
		l->protected += s->srtp[0] != '\0' && s->opened != ET_OPENED_YES;
	}
	if (r->state == ET_CALL_MEDIA_ONLY) {
		l->media_only++;
		return;
	}
	bool answered = was_answered(r);
	bool long_enough = r->end_us - r->start_us >= PATIENCE_US;
	bool talking = r->answer_us != 0 && r->end_us - r->answer_us >= PATIENCE_US;
	l->calls++;
	l->answered += answered;
	l->waited += !answered && long_enough;
	l->both += heard[0] && heard[1];
	l->one_way += talking && heard[0] != heard[1];
	l->silent += talking && !heard[0] && !heard[1];
}

struct et_look et_look_count(const struct et_replay_summary *s)
{
	struct et_look l = { 0 };
	for (uint32_t i = 0; i < s->call_count; i++) {
		count_call(&l, &s->calls[i].recording);
	}
	return l;
}

static void add(json_t *list, const char *code, const char *next, const char *fmt, ...)
	ET_PRINTF(4, 5);

static void add(json_t *list, const char *code, const char *next, const char *fmt, ...)
{
	char detail[300];
	va_list args;
	va_start(args, fmt);
	(void)vsnprintf(detail, sizeof(detail), fmt, args);
	va_end(args);
	json_t *o = json_object();
	et_json_set(o, "code", json_string(code));
	et_json_set(o, "detail", et_json_text(detail));
	et_json_set(o, "next", et_json_text(next));
	et_json_add(list, o);
}

static void add_losses(json_t *list, const struct et_replay_summary *s, const char *interface)
{
	const struct et_capture_metrics *m = &s->metrics;
	const uint64_t *unclaimed = s->packets.unclaimed;
	char next[128];
	(void)snprintf(next, sizeof(next), "ethtool -S %.40s; ethtool -G %.40s rx 4096", interface,
		       interface);
	if (m->kernel_dropped > 0) {
		add(list, "DROPS", "a larger limits.ring, fewer other programs, a faster CPU",
		    "the kernel dropped %" PRIu64 " packets before they could be read",
		    m->kernel_dropped);
	}
	if (m->interface_dropped > 0) {
		add(list, "CARD_DROPS", next, "the card dropped %" PRIu64 " packets",
		    m->interface_dropped);
	}
	if (unclaimed[ET_UNCLAIMED_TRUNCATED] > 0) {
		add(list, "CUT", "the mirror or tunnel cuts packets: let it send them whole",
		    "%" PRIu64 " packets are not whole", unclaimed[ET_UNCLAIMED_TRUNCATED]);
	}
	if (unclaimed[ET_UNCLAIMED_FRAGMENT_INCOMPLETE] > 0) {
		add(list, "FRAGMENTS",
		    "a filter must let all fragments pass: add \"or (ip[6:2] & 0x1fff != 0)\"",
		    "parts of %" PRIu64 " fragments' datagrams are missing",
		    unclaimed[ET_UNCLAIMED_FRAGMENT_INCOMPLETE]);
	}
	if (s->packets.total > 0 && unclaimed[ET_UNCLAIMED_LINK_UNKNOWN] > s->packets.total / 2) {
		add(list, "LINK", "evertape capture replay on a file of it, for a report",
		    "most packets are of a link layer that is not read");
	}
}

static void add_signalling(json_t *list, const struct et_replay_summary *s, const struct et_look *l)
{
	uint64_t sip = s->packets.sip + s->metrics.tcp_messages;
	uint64_t closed = s->packets.unclaimed[ET_UNCLAIMED_TLS_NO_KEY];
	if (sip == 0) {
		add(list, "NO_SIP",
		    closed > 0 ? "give the SIP servers' key log: key-log: FILE in evertape.yaml"
			       : "mirror the ports of the SIP servers, too; or --sip-port PORT",
		    closed > 0 ? "there is SIP over TLS only, and no key for it (%" PRIu64
				 " packets)"
			       : "no SIP is seen (%" PRIu64 " packets of TLS)",
		    closed);
	}
	if (l->waited > 0 && l->answered == 0) {
		add(list, "SIP_ONE_WAY", "mirror both directions (rx and tx) of the port",
		    "%u calls begin, and no answer to any is seen", (unsigned)l->waited);
	}
	if (l->media_only > 0) {
		add(list, "MEDIA_ONLY",
		    "mirror the signalling, too; else they are recorded without numbers",
		    "%u calls have media, and no signalling", (unsigned)l->media_only);
	}
}

static void add_media(json_t *list, const struct et_look *l)
{
	if (l->silent > 0 && l->both + l->one_way == 0) {
		add(list, "NO_MEDIA", "mirror where the media passes: often another port or VLAN",
		    "%u calls are answered, and no media of any is seen", (unsigned)l->silent);
	}
	if (l->one_way > 0 && l->one_way >= l->both) {
		add(list, "MEDIA_ONE_WAY", "mirror both directions (rx and tx) of the port",
		    "of %u answered calls one party alone is heard", (unsigned)l->one_way);
	}
	if (l->twice > 0 && l->twice * 3 >= l->media) {
		add(list, "TWICE",
		    "mirror each packet once: one direction of two ports, or both of one",
		    "%" PRIu64 " of %" PRIu64 " packets of media came twice", l->twice, l->media);
	}
	if (l->protected > 0) {
		add(list, "SRTP_CLOSED", "give the keys: key-log: FILE in evertape.yaml",
		    "%u streams are SRTP, and no key opens them: they are kept closed",
		    (unsigned)l->protected);
	}
}

json_t *et_look_findings(const struct et_replay_summary *s, const struct et_look *l,
			 const char *interface)
{
	json_t *list = json_array();
	char next[128];
	for (uint32_t i = 0; i < s->error_count; i++) {
		add(list, s->errors[i].code, "evertape capture test again, when it is up", "%s",
		    s->errors[i].text);
	}
	if (s->packets.total == 0) {
		(void)snprintf(next, sizeof(next),
			       "ip -s link show %.40s; is it where the switch "
			       "mirrors to?",
			       interface);
		add(list, "NO_PACKETS", next, "nothing came");
		return list;
	}
	add_losses(list, s, interface);
	add_signalling(list, s, l);
	add_media(list, l);
	return list;
}
