/* evertape capture replay: capture files through the recorder's own engine, without a node.
 *
 * --wav writes each call as a time-true stereo WAV (caller left, callee right): replay_wav.c. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/base/fd.h"
#include "node/capture/replay.h"
#include "node/config/config.h"
#include "node/io/clock.h"
#include "node/srtp/given.h"
#include "ops/cli/cli.h"
#include "ops/cli/replay_wav.h"

enum { KEYLOG_SECRETS_MAX = 1 << 17 };

/* ---- JSON ------------------------------------------------------------------------------------ */

static json_t *time_json(int64_t us)
{
	char text[ET_TIME_TEXT_SIZE];
	if (us == 0) {
		return json_null();
	}
	et_time_format(us, text);
	return json_string(text);
}

static json_t *stream_json(const struct et_capture_stream *s)
{
	char ssrc[16];
	json_t *o = json_object();
	(void)snprintf(ssrc, sizeof(ssrc), "0x%08x", (unsigned)s->ssrc);
	et_json_set(o, "stream", et_json_u64(s->number));
	et_json_set(o, "ssrc", json_string(ssrc));
	et_json_set(o, "src", json_string(s->src));
	et_json_set(o, "dst", json_string(s->dst));
	et_json_set(o, "party", json_string(s->party == 0 ? "caller" : "callee"));
	et_json_set(o, "codec", et_json_text(s->codec));
	et_json_set(o, "payload_type", json_integer(s->payload_type));
	et_json_set(o, "association", json_string(et_capture_association_text(s->association)));
	et_json_set(o, "srtp", s->srtp[0] != '\0' ? et_json_text(s->srtp) : json_null());
	et_json_set(o, "opened",
		    s->srtp[0] == '\0' || s->opened == ET_OPENED_UNKNOWN
			    ? json_null()
			    : json_boolean(s->opened == ET_OPENED_YES));
	et_json_set(o, "packets", et_json_u64(s->packets));
	et_json_set(o, "lost", et_json_u64(s->lost));
	et_json_set(o, "duplicate", et_json_u64(s->duplicate));
	et_json_set(o, "late", et_json_u64(s->late));
	et_json_set(o, "silenced", et_json_u64(s->silenced));
	et_json_set(o, "jitter_us", json_integer(s->jitter_us));
	et_json_set(o, "first_us", json_integer(s->first_us));
	et_json_set(o, "last_us", json_integer(s->last_us));
	return o;
}

static json_t *leg_json(const struct et_capture_recording *r)
{
	json_t *o = json_object();
	char id[ET_UUID_TEXT_SIZE];
	et_uuid_format(r->id, id);
	et_json_set(o, "recording", json_string(id));
	et_json_set(o, "sip_call_id",
		    r->sip_call_id[0] != '\0' ? et_json_text(r->sip_call_id) : json_null());
	et_json_set(o, "from_uri", et_json_text(r->from_uri));
	et_json_set(o, "to_uri", et_json_text(r->to_uri));
	et_json_set(o, "answer", time_json(r->answer_us));
	et_json_set(o, "rule", et_json_text(r->rule));
	et_json_set(o, "tones", json_string(et_rule_tones_text(r->tones)));
	et_json_set(o, "problem", et_json_text(r->problem));
	if (r->direction[0] != '\0') {
		et_json_set(o, "direction", json_string(r->direction));
	}
	return o;
}

static json_t *call_json(const struct et_replay_wavs *wavs, uint32_t at)
{
	const struct et_capture_recording *r = &wavs->summary.calls[at].recording;
	char id[ET_UUID_TEXT_SIZE];
	json_t *o = json_object();
	json_t *ids = json_array();
	json_t *legs = json_array();
	json_t *streams = json_array();
	json_t *pauses = json_array();
	uint64_t packets = 0;
	uint64_t lost = 0;
	for (uint32_t i = 0; i < r->gap_count; i++) {
		if (strcmp(r->gaps[i].cause, "paused") == 0) {
			json_t *pause = json_object();
			et_json_set(pause, "from", time_json(r->gaps[i].from_us));
			et_json_set(pause, "to", time_json(r->gaps[i].to_us));
			et_json_add(pauses, pause);
		}
	}
	et_uuid_format(r->call, id);
	if (r->sip_call_id[0] != '\0') {
		et_json_add(ids, et_json_text(r->sip_call_id));
	}
	et_json_add(legs, leg_json(r));
	for (uint32_t i = 0; i < r->stream_count; i++) {
		packets += r->streams[i].packets;
		lost += r->streams[i].lost;
		et_json_add(streams, stream_json(&r->streams[i]));
	}
	et_json_set(o, "id", json_string(id));
	et_json_set(o, "sip_call_ids", ids);
	et_json_set(o, "from", et_json_text(r->from));
	et_json_set(o, "to", et_json_text(r->to));
	et_json_set(o, "start", time_json(r->start_us));
	et_json_set(o, "duration_ms", json_integer((r->end_us - r->start_us) / 1000));
	et_json_set(o, "state", json_string(et_capture_state_text(r->state)));
	et_json_set(o, "packets", et_json_u64(packets));
	et_json_set(o, "lost", et_json_u64(lost));
	et_json_set(o, "legs", legs);
	et_json_set(o, "pauses", pauses);
	et_json_set(o, "streams", streams);
	if (wavs->names != NULL) {
		const char *wav = wavs->names[at];
		et_json_set(o, "wav", wav[0] != '\0' ? et_json_text(wav) : json_null());
		et_json_set(o, "concealed_ms", et_json_u64(wavs->concealed_ms[at]));
	}
	return o;
}

json_t *et_cli_packets_json(const struct et_capture_packets *p)
{
	json_t *o = json_object();
	json_t *reasons = json_object();
	json_t *unclaimed = json_object();
	uint64_t other = 0;
	for (int i = 0; i < ET_OTHER_COUNT; i++) {
		other += p->other[i];
		if (p->other[i] > 0) {
			et_json_set(reasons, et_capture_other_text((enum et_capture_other)i),
				    et_json_u64(p->other[i]));
		}
	}
	for (int i = 0; i < ET_UNCLAIMED_COUNT; i++) {
		if (p->unclaimed[i] > 0) {
			et_json_set(unclaimed,
				    et_capture_unclaimed_text((enum et_capture_unclaimed)i),
				    et_json_u64(p->unclaimed[i]));
		}
	}
	et_json_set(o, "total", et_json_u64(p->total));
	et_json_set(o, "sip", et_json_u64(p->sip));
	et_json_set(o, "rtp", et_json_u64(p->rtp));
	et_json_set(o, "rtcp", et_json_u64(p->rtcp));
	et_json_set(o, "other", et_json_u64(other));
	et_json_set(o, "other_reasons", reasons);
	et_json_set(o, "unclaimed", unclaimed);
	return o;
}

/* SIP over TCP and WebSocket: of messages, not of packets. */
static json_t *tcp_json(const struct et_capture_metrics *m)
{
	json_t *o = json_object();
	et_json_set(o, "messages", et_json_u64(m->tcp_messages));
	et_json_set(o, "gaps", et_json_u64(m->tcp_gaps));
	et_json_set(o, "resyncs", et_json_u64(m->tcp_resyncs));
	et_json_set(o, "cut", et_json_u64(m->tcp_cut));
	et_json_set(o, "too_long", et_json_u64(m->tcp_too_long));
	et_json_set(o, "no_length", et_json_u64(m->tcp_no_length));
	et_json_set(o, "evicted", et_json_u64(m->tcp_evicted));
	et_json_set(o, "websocket_compressed", et_json_u64(m->websocket_compressed));
	return o;
}

/* How many calls each rule took, or kept from being recorded; the default last. */
static json_t *rules_json(const struct et_rules *rules, const struct et_capture_metrics *m)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i <= rules->count; i++) {
		json_t *o = json_object();
		bool is_rule = i < rules->count;
		et_json_set(o, "name", et_json_text(is_rule ? rules->rules[i].name : "default"));
		et_json_set(o, "action",
			    json_string(et_rule_action_text(is_rule ? rules->rules[i].action
								    : rules->otherwise)));
		et_json_set(o, "calls", et_json_u64(m->rule_calls[i]));
		et_json_add(list, o);
	}
	return list;
}

static json_t *errors_json(const struct et_replay_summary *s)
{
	json_t *list = json_array();
	for (uint32_t i = 0; i < s->error_count; i++) {
		json_t *o = json_object();
		et_json_set(o, "code", json_string(s->errors[i].code));
		et_json_set(o, "count", et_json_u64(s->errors[i].count));
		et_json_set(o, "text", et_json_text(s->errors[i].text));
		et_json_add(list, o);
	}
	return list;
}

/* `folder` NULL: no files. */
static int replay(struct et_cli *cli, const struct et_replay_config *config, const char *folder,
		  struct et_replay_wavs *ret, struct et_error *reterr)
{
	if (folder == NULL) {
		return et_replay(config, &ret->summary, reterr);
	}
	const bool conceal = et_cli_option(cli, "conceal") != NULL;
	int rc = et_replay_wavs(config, folder, conceal, ret, reterr);
	if (rc == 0 && ret->undecodable > 0) {
		et_cli_note(cli,
			    "%llu packets have no decoder here and are silent in the WAV files",
			    (unsigned long long)ret->undecodable);
	}
	if (rc == 0 && conceal) {
		et_cli_note(cli, "the WAV files are no evidence: lost packets are concealed "
				 "(concealed_ms)");
	}
	return rc;
}

/* ---- The command ----------------------------------------------------------------------------- */

static const struct et_cli_column columns[] = {
	{ "START", "start", ET_CLI_TIME, false }, { "DURATION", "duration_ms", ET_CLI_MS, false },
	{ "FROM", "from", ET_CLI_TEXT, false },	  { "TO", "to", ET_CLI_TEXT, false },
	{ "STATE", "state", ET_CLI_TEXT, false }, { "PACKETS", "packets", ET_CLI_NUMBER, false },
	{ "LOST", "lost", ET_CLI_NUMBER, false }, { "WAV", "wav", ET_CLI_TEXT, true },
	{ "ID", "id", ET_CLI_TEXT, true },	  { NULL, NULL, ET_CLI_TEXT, false },
};

static void note_packets(struct et_cli *cli, const json_t *packets)
{
	struct et_buffer b = { .data = NULL };
	const char *reason = NULL;
	json_t *count = NULL;
	json_object_foreach(json_object_get(packets, "unclaimed"), reason, count)
	{
		et_buffer_printf(&b, "%s %s %lld", b.size > 0 ? "," : "; unclaimed:", reason,
				 (long long)json_integer_value(count));
	}
	et_cli_note(cli, "%lld packets: sip %lld, rtp %lld, rtcp %lld, other %lld%.*s",
		    (long long)et_json_get_int(packets, "total", 0),
		    (long long)et_json_get_int(packets, "sip", 0),
		    (long long)et_json_get_int(packets, "rtp", 0),
		    (long long)et_json_get_int(packets, "rtcp", 0),
		    (long long)et_json_get_int(packets, "other", 0), (int)b.size,
		    b.data != NULL ? (const char *)b.data : "");
	et_buffer_release(&b);
}

int et_cli_sip_ports(struct et_cli *cli, struct et_capture_config *config, struct et_error *reterr)
{
	ET_CLEANUP(et_json_freep) json_t *list = et_cli_option_list(cli, "sip-port");
	size_t i = 0;
	json_t *value = NULL;
	json_array_foreach(list, i, value)
	{
		const char *text = json_string_value(value);
		char *end = NULL;
		long port = strtol(text, &end, 10);
		if (*text == '\0' || *end != '\0' || port < 1 || port > 65535 ||
		    config->sip_port_count == ET_CAPTURE_SIP_PORTS_MAX) {
			return et_cli_usage(cli, reterr,
					    "--sip-port takes up to %d ports, not \"%.20s\"",
					    ET_CAPTURE_SIP_PORTS_MAX, text);
		}
		config->sip_ports[config->sip_port_count++] = (uint16_t)port;
	}
	return 0;
}

static void config_freep(struct et_config **c)
{
	free(*c);
	*c = NULL;
}

/* Without --config everything is recorded. */
static int read_rules(struct et_cli *cli, struct et_config **ret, struct et_capture_config *capture,
		      struct et_error *reterr)
{
	const char *path = et_cli_option(cli, "config");
	if (path == NULL) {
		return 0;
	}
	*ret = malloc(sizeof(**ret));
	if (*ret == NULL) {
		return et_fail(reterr, -ENOMEM, "configuration");
	}
	int rc = et_config_load(path, *ret, reterr);
	if (rc == 0) {
		capture->rules = &(*ret)->rules;
		capture->site = (*ret)->site;
	}
	return rc;
}

static void ring_freep(struct et_srtp_ring **r)
{
	*r = et_srtp_ring_free(*r);
}

static int read_keylog(struct et_cli *cli, struct et_keylog **ret, struct et_error *reterr)
{
	const char *path = et_cli_option(cli, "keylog");
	if (path == NULL) {
		return 0;
	}
	ET_CLEANUP(et_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		return et_fail(reterr, -errno, "open '%s'", path);
	}
	ET_CLEANUP(et_keylog_freep) struct et_keylog *k = NULL;
	int rc = et_keylog_new(KEYLOG_SECRETS_MAX, 0, &k, reterr);
	if (rc == 0) {
		rc = et_keylog_read(k, fd, reterr);
	}
	if (rc == 0) {
		rc = et_keylog_end(k);
	}
	if (rc < 0) {
		return rc;
	}
	struct et_keylog_counts counts = et_keylog_counts(k);
	if (counts.kept == 0) {
		return et_fail_plain(reterr, ET_EMALFORMED, "'%s' holds no secret of TLS", path);
	}
	if (counts.malformed + counts.forgotten > 0) {
		et_cli_note(cli, "key log: %llu lines are malformed, %llu secrets were too many",
			    (unsigned long long)counts.malformed,
			    (unsigned long long)counts.forgotten);
	}
	*ret = ET_TAKE(k);
	return 0;
}

static int read_keys(struct et_cli *cli, struct et_srtp_ring **ret, struct et_error *reterr)
{
	const char *path = et_cli_option(cli, "srtp-keys");
	if (path == NULL) {
		return 0;
	}
	int rc = et_srtp_ring_new(ET_SRTP_RING_MAX, ret, reterr);
	return rc == 0 ? et_srtp_given_load(path, *ret, reterr) : rc;
}

static json_t *document_of(const struct et_replay_wavs *wavs, const struct et_rules *rules)
{
	const struct et_replay_summary *s = &wavs->summary;
	json_t *document = json_object();
	json_t *calls = json_array();
	for (uint32_t i = 0; i < s->call_count; i++) {
		et_json_add(calls, call_json(wavs, i));
	}
	et_json_set(document, "schema", json_string("evertape/v1"));
	et_json_set(document, "packets", et_cli_packets_json(&s->packets));
	et_json_set(document, "tcp", tcp_json(&s->metrics));
	et_json_set(document, "calls", calls);
	if (rules != NULL) {
		et_json_set(document, "rules", rules_json(rules, &s->metrics));
	}
	et_json_set(document, "errors", errors_json(s));
	return document;
}

static int print(struct et_cli *cli, const struct et_replay_wavs *wavs,
		 const struct et_rules *rules, struct et_error *reterr)
{
	const struct et_replay_summary *s = &wavs->summary;
	ET_CLEANUP(et_json_freep) json_t *document = document_of(wavs, rules);
	int rc = et_cli_print(cli, document, "calls", columns, reterr);
	if (rc == 0 && !et_cli_is_json(cli)) {
		note_packets(cli, json_object_get(document, "packets"));
	}
	for (uint32_t i = 0; i < s->error_count; i++) {
		et_cli_note(cli, "%s", s->errors[i].text);
	}
	return rc < 0 ? rc : s->truncated ? ET_EXIT_DEGRADED : 0;
}

int et_cli_capture_replay(struct et_cli *cli, struct et_error *reterr)
{
	struct et_replay_config config = { .files = cli->args, .file_count = cli->arg_count };
	struct et_replay_wavs replayed = { .undecodable = 0 };
	const char *folder = et_cli_option(cli, "wav");
	ET_CLEANUP(ring_freep) struct et_srtp_ring *keys = NULL;
	ET_CLEANUP(et_keylog_freep) struct et_keylog *keylog = NULL;
	ET_CLEANUP(config_freep) struct et_config *settings = NULL;
	if (folder == NULL && et_cli_option(cli, "conceal") != NULL) {
		return et_cli_usage(cli, reterr, "--conceal is of --wav");
	}
	int rc = et_cli_sip_ports(cli, &config.capture, reterr);
	if (rc == 0) {
		rc = read_rules(cli, &settings, &config.capture, reterr);
	}
	if (rc == 0) {
		rc = read_keys(cli, &keys, reterr);
	}
	if (rc == 0) {
		rc = read_keylog(cli, &keylog, reterr);
	}
	if (rc < 0) {
		return rc;
	}
	config.srtp_keys = keys;
	config.keylog = keylog;
	rc = replay(cli, &config, folder, &replayed, reterr);
	if (rc == 0) {
		rc = print(cli, &replayed, config.capture.rules, reterr);
	}
	et_replay_wavs_release(&replayed);
	return rc;
}
