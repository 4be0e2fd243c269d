/* Keys of SRTP that come when the recording is over: which of them open what it holds.
 *
 * An offer is a table of keys (node/srtp/given.h) and lines of a key log (node/keylog): the secrets
 * of handshakes whose hellos lie in the tapes. Each key is tried on the first packets of each
 * stream that the keys in the tapes do not open. What opens one is accepted, whatever else was
 * offered; a line of the table that opens none is refused and named by its number. Lines of a key
 * log that are of other handshakes say nothing: a key log holds those of everybody.
 *
 * Happy path: walk the tapes for keys and handshakes ─▶ derive ─▶ walk them for media, try ─▶ KEYS.
 *
 * Secrets: offer and result are wiped by the caller; nothing of them is in errors.
 *
 * Threads: one owner; calls wait for sources. */
#ifndef ET_NODE_PLAYBACK_FIT_H
#define ET_NODE_PLAYBACK_FIT_H

#include "node/playback/playback.h"
#include "node/tape/keys.h"

#define ET_FIT_REFUSED_MAX 32 /* lines that are named */

struct et_fit_offer {
	struct et_view table;  /* as et_srtp_given_read(); may be empty */
	struct et_view keylog; /* lines as of SSLKEYLOGFILE; may be empty */
	int64_t now_us;	       /* since when the keys are known */
	/* Keys on packets, over all streams. 0: 16,384, half a minute of work. */
	uint32_t tries_max;
};

struct et_fit {
	uint32_t streams;			    /* that are protected, as far as is known */
	uint32_t opened_before;			    /* by keys in the tapes */
	uint32_t opened_now;			    /* by what was offered */
	uint32_t keys;				    /* accepted */
	uint32_t handshakes;			    /* of DTLS, that the tapes know */
	uint32_t handshakes_open;		    /* of them, those whose secret was offered */
	uint32_t refused;			    /* lines of the table that open nothing */
	uint32_t refused_lines[ET_FIT_REFUSED_MAX]; /* the first of them; from 1 */
	enum et_keys_state state;		    /* with the accepted keys */
	struct et_playback_summary summary; /* of the walk: segments that could not be had */
};

/* Try what is offered. 0: at least one key was accepted, and `ret_plain` is the plaintext of a KEYS
 * record with all of them (in one allocation; the caller wipes it).
 *   ET_EREFUSED    nothing is protected, everything is opened already, or no key opens anything:
 *                  *ret says what was refused
 *   ET_EMALFORMED  a line of the table cannot be read
 *   ET_ELIMIT      too many lines, or too much to try
 *   others         of et_playback_render(): no segment can be read */
int et_playback_fit(const struct et_playback_config *config, const struct et_fit_offer *offer,
		    struct et_buffer *ret_plain, struct et_fit *ret,
		    struct et_error *reterr) ET_MUST_CHECK;

#endif
