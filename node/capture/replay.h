/* Replay: one or more capture files through the real engine, on the caller's thread, deterministic:
 * the same files give the same result, ids among them (they are hashed from the input). Or what
 * comes at an interface for a while, of which nothing is kept (capture test).
 *
 * Threads: one at a time. */
#ifndef ET_NODE_CAPTURE_REPLAY_H
#define ET_NODE_CAPTURE_REPLAY_H

#include "node/capture/capture.h"
#include "node/keylog/keylog.h"
#include "node/srtp/ring.h"
#include "node/tape/media.h"

/* An RTP packet of a recorded stream, in the order of arrival. `recording` and `stream` name its
 * stream (as in the summary). The payload is a view, valid for the call. */
struct et_replay_media {
	const uint8_t *recording; /* 16 bytes */
	uint32_t stream;
	uint32_t ssrc;
	uint16_t sequence;
	uint32_t timestamp;
	int64_t arrival_us;
	uint8_t payload_type;
	bool marker;
	bool closed; /* protected, and not opened: the payload is as received */
	const uint8_t *payload;
	uint32_t payload_size;
	uint32_t slot; /* of its recording, until that is closed; then another may have it */
};

struct et_replay_config {
	const char *const *files;
	uint32_t file_count;
	const char *interface; /* instead of files; or NULL */
	const char *filter;    /* of the interface: BPF; or NULL */
	int64_t duration_us;   /* of looking at it */
	/* Optional tapes: media, node, site, sign_key, kek_*, on_event. media == NULL: only count.
	 * Its sources are not used. Rules, ports and limits are. */
	struct et_capture_config capture;
	const struct et_keylog *keylog;	      /* borrowed: DTLS-SRTP, SIP over TLS; or NULL */
	const struct et_srtp_ring *srtp_keys; /* keys by hand, of any party; or NULL */
	void (*on_media)(void *arg, const struct et_replay_media *media); /* or NULL */
	/* A recording is closed: no more media comes for its slot. Or NULL. */
	void (*on_close)(void *arg, uint32_t slot, const struct et_capture_recording *recording);
	void *media_arg; /* of both */
	/* A call is decided about by the rules, with what is known of it then; may come again for
	 * the same call when more is known. Or NULL. */
	void (*on_decided)(void *arg, const struct et_rule_facts *facts, const char *sip_call_id);
	void *decided_arg;
	/* A packet as it goes into the tape of the recording, in order. Or NULL. */
	void (*on_packet)(void *arg, const uint8_t recording[16],
			  const struct et_media_packet *packet);
	void *packet_arg;
	/* SHA-256 of the one file that is read: its recordings are called after it
	 * (et_file_recording_id(), by the number of the call). NULL: ids hashed from the calls. */
	const uint8_t *origin;
};

struct et_replay_call {
	struct et_capture_recording recording; /* its texts and streams belong to the summary */
	void *kept;			       /* private: where they are */
};

struct et_replay_error {
	const char *code; /* "ET_ETRUNCATED": static */
	char text[512];	  /* names the file */
	uint64_t count;
};

struct et_replay_summary {
	struct et_capture_packets packets; /* pending is 0 */
	struct et_capture_metrics metrics;
	struct et_replay_call *calls; /* owned; by start time */
	uint32_t call_count;
	struct et_replay_error errors[16];
	uint32_t error_count;
	bool truncated; /* a file was cut in the middle: exit code 6 */
	uint64_t bytes; /* of all frames, as they were on the wire */
};

/* Run. A file that cannot be opened or is no capture file at all: negative, and no summary. A file
 * that is cut in the middle: 0, with `truncated` and an error in the summary. An interface: as
 * et_capture_start() says; one that goes away meanwhile is an error in the summary. */
int et_replay(const struct et_replay_config *config, struct et_replay_summary *ret,
	      struct et_error *reterr) ET_MUST_CHECK;
void et_replay_summary_release(struct et_replay_summary *s);

#endif
