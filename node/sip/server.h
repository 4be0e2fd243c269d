/* What a server says of SIP: elements of header lines, bodies in parts, responses, and the answer
 * to an offered session description (RFC 3261, RFC 3264, RFC 3581).
 *
 * A response repeats what the request said in the headers that bind them together. Line ends inside
 * of a folded value become spaces there, so nothing of a stranger's can begin a header of ours.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_SIP_SERVER_H
#define ET_NODE_SIP_SERVER_H

#include "node/sip/sdp.h"
#include "node/sip/sip.h"

/* ---- Reading --------------------------------------------------------------------------------- */

/* Take the next element of "a, b" off `list` (not for values with quotes). false: no more. */
bool et_sip_list_next(struct et_view *list, struct et_view *ret);
/* Is `word` among the elements of any header of that name? */
bool et_sip_header_has(struct et_view message, const char *name, const char *word);

/* A part of a body. */
struct et_sip_part {
	struct et_view type;	    /* Content-Type without parameters; empty: none is told */
	struct et_view disposition; /* Content-Disposition */
	struct et_view body;
};

enum { ET_SIP_PARTS_MAX = 16 };

/* The parts of a multipart body (RFC 2046, section 5.1; no multipart in multipart), or the one body
 * that it is; at most `max`. Returns how many; 0: there is no body. */
uint32_t et_sip_parts(struct et_view content_type, struct et_view body, struct et_sip_part *ret,
		      uint32_t max);

/* ---- Writing --------------------------------------------------------------------------------- */

struct et_sip_reply {
	uint16_t status;
	const char *reason;
	const char *to_tag;	  /* added to To, which has none yet; "" or NULL: nothing */
	const char *received;	  /* the IP address that the request came from */
	uint16_t rport;		  /* ... and its port; 0: do not tell (RFC 3581 asks for it) */
	bool dialog;		  /* it makes a dialog: Record-Route is repeated */
	const char *headers;	  /* further lines, each with its CRLF; or "" */
	const char *content_type; /* of `body`; NULL: there is none */
	struct et_view body;
};

/* Add the response to `request` (a whole message) to `ret`; check ret->failed. */
void et_sip_reply_write(struct et_view request, const struct et_sip_reply *reply,
			struct et_buffer *ret);

/* Values of a stranger's, in one line. */
void et_sip_value_write(struct et_view value, struct et_buffer *ret);

/* One media line of the answer; the caller decides what becomes of each. */
struct et_sdp_answer_media {
	uint16_t port; /* where we receive; 0: refused */
	bool rtcp_mux;
	bool inactive;	  /* else recvonly */
	char crypto[160]; /* "1 AES_CM_128_HMAC_SHA1_80 inline:…", or "" : a secret */
};

struct et_sdp_answer {
	uint64_t session; /* o=: id and version */
	uint64_t version;
	const char *address; /* where we receive, as text */
	bool ipv6;
	struct et_sdp_answer_media media[ET_SDP_MEDIA_MAX];
};

/* Add the answer to `offer`, which `sdp` was parsed from: its media lines in their order, with all
 * formats as offered (they are received as they come), their rtpmap, fmtp, label and ptime. */
void et_sdp_answer_write(struct et_view offer, const struct et_sdp *sdp,
			 const struct et_sdp_answer *answer, struct et_buffer *ret);

#endif
