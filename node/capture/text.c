/* The words behind the enumerations, what they count, and facts as events tell them. */
#include "node/capture/engine_internal.h"

const char *et_capture_state_text(enum et_capture_state state)
{
	static const char *const texts[] = {
		[ET_CALL_LIVE] = "live",       [ET_CALL_ANSWERED] = "answered",
		[ET_CALL_FAILED] = "failed",   [ET_CALL_CANCELLED] = "cancelled",
		[ET_CALL_PARTIAL] = "partial", [ET_CALL_MEDIA_ONLY] = "media_only",
	};
	return texts[state];
}

const char *et_capture_association_text(enum et_capture_association a)
{
	static const char *const texts[] = {
		[ET_ASSOCIATION_SDP] = "sdp",
		[ET_ASSOCIATION_SSRC] = "ssrc",
		[ET_ASSOCIATION_INFERRED] = "inferred",
	};
	return texts[a];
}

const char *et_capture_other_text(enum et_capture_other reason)
{
	static const char *const texts[] = {
#define TEXT(name, text) [ET_OTHER_##name] = (text),
		ET_CAPTURE_OTHER_MAP(TEXT)
#undef TEXT
	};
	return texts[reason];
}

const char *et_capture_unclaimed_text(enum et_capture_unclaimed reason)
{
	static const char *const texts[] = {
#define TEXT(name, text) [ET_UNCLAIMED_##name] = (text),
		ET_CAPTURE_UNCLAIMED_MAP(TEXT)
#undef TEXT
	};
	return texts[reason];
}

uint64_t et_capture_counted(const struct et_capture_packets *p)
{
	uint64_t n = p->sip + p->rtp + p->rtcp + p->pending;

	for (int i = 0; i < ET_OTHER_COUNT; i++) {
		n += p->other[i];
	}
	for (int i = 0; i < ET_UNCLAIMED_COUNT; i++) {
		n += p->unclaimed[i];
	}
	return n;
}

void et_facts_tell(const struct et_facts *facts, const struct et_capture_stream *streams,
		   uint32_t count, uint64_t node, const char *site,
		   struct et_capture_recording *ret)
{
	*ret = (struct et_capture_recording){
		.node = node,
		.site = site,
		.start_us = facts->start_us,
		.answer_us = facts->answer_us,
		.end_us = facts->end_us,
		.from = facts->from,
		.to = facts->to,
		.from_uri = facts->from_uri,
		.to_uri = facts->to_uri,
		.sip_call_id = facts->sip_call_id,
		.rule = facts->rule,
		.direction = et_rule_direction_text(facts->direction),
		.problem = facts->problem,
		.keys = facts->keys,
		.joined = facts->joined,
		.tones = facts->tones,
		.kept = facts->kept,
		.kept_us = facts->kept_us,
		.state = facts->state,
		.capture_drops = facts->capture_drops,
		.streams = streams,
		.stream_count = count,
		.gaps = facts->gaps,
		.gap_count = facts->gap_count,
	};
	memcpy(ret->id, facts->id, 16);
	memcpy(ret->call, facts->call, 16);
}
