/* Import: a plain file becomes sealed tapes, as if it had been captured.
 *
 *   audio file ─▶ node/medium ─▶ one tape that holds the file, byte for byte
 *   capture file ─▶ the recorder's own engine (node/capture/replay.h) ─▶ a tape for each call
 *
 * Happy path: the file comes in pieces and goes, as it comes, sealed into tapes under
 * <media>/import/<job>/; nothing of it is ever on this disk in the clear, nor in memory as a whole.
 * When it is over, its length and SHA-256 are those that were announced. Then each tape is opened
 * again, as anybody would, and compared: the file that comes out of it has the SHA-256 of the
 * source; of a capture, each packet is the one that the engine gave. Only then are there recordings
 * to be told of; et_import_publish() puts their tapes where tapes are, durably, and who told the
 * catalogue of them removes the job.
 *
 * Possible failure modes are
 *   - the file is no audio and no capture, or not what was announced; free space falls below the
 *     reserve (-ENOSPC); a tape does not verify: an error, and nothing is left of it;
 *   - the process is killed: the job's folder is left, and et_import_sweep() removes it, with what
 * was published and nobody was told of. The keys of its tapes were in memory only: nothing opens
 *     them;
 *   - run again, the file makes the same recordings (et_file_recording_id()): what is known already
 *     is refused by the catalogue and named.
 *
 * Keys: DEKs are kept until they are wrapped (et_import_wrap()), to the KEK version of that moment.
 *
 * Threads: et_import() waits for its input and the disk; one owner a job. Several at a time. */
#ifndef ET_NODE_IMPORT_IMPORT_H
#define ET_NODE_IMPORT_IMPORT_H

#include "node/capture/replay.h"
#include "node/medium/told.h"
#include "node/tape/tape.h"
#include "node/tape/wrap.h"

#define ET_IMPORT_FILE_MAX 128			/* bytes of a tape's relative name */
#define ET_IMPORT_SEGMENTS_MAX 64		/* of one recording */
#define ET_IMPORT_BYTES_MAX (INT64_C(64) << 30) /* of one file */
#define ET_IMPORT_AUDIO_MAX                                                                        \
	((INT64_C(8) << 30) - 1) /* of an audio file: a ustar stream brings it back */

/* All borrowed for the call. */
struct et_import_config {
	const char *media; /* the media folder */
	uint64_t node;
	const char *site;		  /* of the node: for rules */
	const struct et_secret *sign_key; /* Ed25519 seed */
	uint32_t kek_id;		  /* for the headers of tapes */
	uint32_t kek_version;
	uint64_t reserve_bytes;		   /* of free space, that stay */
	struct et_capture_padding padding; /* `allowed` is not asked */
	/* Of captures: as the recorder has them. */
	const struct et_rules *rules;
	uint16_t sip_ports[ET_CAPTURE_SIP_PORTS_MAX];
	uint32_t sip_port_count;
};

struct et_import_order {
	uint8_t sha256[32];
	uint64_t size_bytes;
	const char *name;	    /* of the file, without its folder */
	int64_t start_us;	    /* of audio whose metadata does not say */
	const struct et_told *told; /* borrowed */
	/* The next bytes of the file: how many, 0 at its end, or negative. */
	ssize_t (*read)(void *arg, void *data, size_t size, struct et_error *reterr);
	void *arg;
};

/* A sealed tape. */
struct et_import_segment {
	char file[ET_IMPORT_FILE_MAX]; /* relative to the media folder, in the end */
	struct et_tape_header header;
	struct et_tape_seal seal;
	struct et_secret *dek; /* owned */
};

struct et_import_recording {
	uint32_t part;				     /* 1; of a capture: the number of the call */
	const struct et_capture_recording *captured; /* a view: belongs to the import */
	struct et_import_segment *segments;	     /* owned */
	uint32_t segment_count;
	uint64_t packets; /* in its tapes, verified */
};

struct et_import {
	char job[64]; /* relative to the media folder */
	char media[4096];
	char format[32]; /* "WAV", "MP3", "pcap", ... */
	bool is_capture;
	bool untimed; /* kept as it is */
	char problem[256];
	struct et_import_recording *recordings; /* owned; by part */
	uint32_t recording_count;
	/* Of a capture: packets that are in no tape, and might have been somebody's. */
	struct et_capture_packets packets;
	uint64_t left_out;
	/* Private. */
	struct et_replay_summary summary;
	bool has_summary;
	struct et_capture_recording audio;
	struct et_capture_stream streams[2];
};

/* Make the tapes of one file. On success the caller publishes what he wants of *ret, and then
 * removes it with et_import_remove(). ET_EUNSUPPORTED: no audio that is known; ET_EINTEGRITY: not
 * the file that was announced, or a tape is not what was written; -ENOSPC; ET_EUSAGE: told of a
 * capture what it tells itself; of order->read. */
int et_import(const struct et_import_config *config, const struct et_import_order *order,
	      struct et_import *ret, struct et_error *reterr) ET_MUST_CHECK;

/* The tapes of a recording get their places, durably. Repeatable. */
int et_import_publish(const struct et_import *m, const struct et_import_recording *r,
		      struct et_error *reterr) ET_MUST_CHECK;
/* Nobody was told of them: they go again. */
void et_import_withdraw(const struct et_import *m, const struct et_import_recording *r);

/* Wrap the key of a segment. */
int et_import_wrap(const struct et_import_segment *s, uint32_t kek_version,
		   const uint8_t kek_public[ET_HPKE_KEY_SIZE], uint8_t ret_enc[ET_HPKE_ENC_SIZE],
		   uint8_t ret_ciphertext[ET_DEK_WRAPPED_SIZE],
		   struct et_error *reterr) ET_MUST_CHECK;

/* The job's folder goes, and all that *m owns; what was published stays. */
void et_import_remove(struct et_import *m);

/* What a killed process left. First, at start, with is_known NULL: what was not published goes, for
 * nobody can know it. Returns how many jobs there are of which something was: before anything is
 * imported they are swept once more, when the catalogue has all that is committed. `is_known` says
 * then whether journal or catalogue know a tape (by its header); what is not known goes. */
uint32_t et_import_sweep(const char *media,
			 bool (*is_known)(void *arg, const struct et_tape_header *header),
			 void *arg);

#endif
