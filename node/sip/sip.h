/* SIP messages (RFC 3261, section 7) for a listener: read in place, lenient, bounded.
 *
 * A listener must make sense of what two others understood, so it accepts what real stacks send:
 * bare LF line ends, any case, compact names, folded lines, space before the colon, missing headers
 * and missing Content-Length. It refuses only what has no start line of SIP. It never allocates,
 * never reads past the message, and looks at no more than ET_SIP_HEADERS_MAX header lines.
 *
 * All views point into the message and live as long as it. Values have no white space around them;
 * a folded value still has its line ends inside: treat them as white space.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_SIP_SIP_H
#define ET_NODE_SIP_SIP_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"

#define ET_SIP_HEADERS_MAX 256

enum et_sip_method {
	ET_SIP_UNKNOWN, /* a method we do not know; `method_text` names it */
	ET_SIP_INVITE,
	ET_SIP_ACK,
	ET_SIP_BYE,
	ET_SIP_CANCEL,
	ET_SIP_OPTIONS,
	ET_SIP_REGISTER,
	ET_SIP_PRACK,
	ET_SIP_UPDATE,
	ET_SIP_INFO,
	ET_SIP_REFER,
	ET_SIP_NOTIFY,
	ET_SIP_SUBSCRIBE,
	ET_SIP_MESSAGE,
	ET_SIP_PUBLISH,
};

/* From, To and the like: [display] <uri>;tag=… */
struct et_sip_party {
	struct et_view display; /* quotes taken off; escapes stay */
	struct et_view uri;	/* "sip:+420123@example.com;user=phone" */
	struct et_view user; /* as written, see et_sip_unescape(): "+420123", without the parameters
			      * of a number; the host where there is no user */
	struct et_view tag;
};

struct et_sip {
	bool is_request;
	enum et_sip_method method; /* of a response: the method of CSeq */
	struct et_view method_text;
	uint16_t status;	    /* responses: 100..699 */
	struct et_view request_uri; /* requests */

	struct et_view call_id; /* empty: there is none */
	struct et_sip_party from;
	struct et_sip_party to;
	uint32_t cseq;
	bool has_cseq;
	struct et_view via_branch; /* of the topmost Via; empty: it has none */
	uint32_t via_count;	   /* lines */
	struct et_sip_party contact;
	struct et_sip_party asserted; /* P-Asserted-Identity, the first */
	struct et_view replaces;
	struct et_view refer_to;
	struct et_view user_agent;
	struct et_view content_type;

	struct et_view body; /* at most Content-Length bytes, and what is there */
	uint32_t content_length;
	bool has_content_length; /* there is one, and none that differs from it */
	bool bad_content_length; /* there is one, and it is no number, or several that differ */
	bool truncated; /* the body is shorter than Content-Length, or the headers do not end */
	uint32_t header_count; /* lines, the folded ones counted once */
	uint32_t message_size; /* bytes from the start line to the end of the body: the next message
				* of a stream begins there */
};

/* Does it begin as SIP (a request line or a status line, perhaps after empty lines)? Cheap. */
bool et_sip_probe(const uint8_t *data, size_t size);

/* Read the message at the front. ET_EMALFORMED and *ret untouched: no start line of SIP. */
int et_sip_parse(const uint8_t *data, size_t size, struct et_sip *ret) ET_MUST_CHECK;

/* A header line. Compact names are the long ones of what is known here. */
struct et_sip_header {
	struct et_view name;
	struct et_view value; /* without white space around it; a folded one keeps its line ends */
};

/* Walk the header lines of a message that et_sip_parse() read: *at begins with 0. false: no more.
 */
bool et_sip_header_next(struct et_view message, size_t *at, struct et_sip_header *ret);
bool et_sip_header_is(const struct et_sip_header *h, const char *name);
/* The value of the n-th header line of this name (from 0). false: there are no more, and *ret is
 * empty. */
bool et_sip_header(struct et_view message, const char *name, uint32_t n, struct et_view *ret);

/* Read the value of From, To, Contact, P-Asserted-Identity, ... Never fails: what is not there is
 * empty. */
struct et_sip_party et_sip_party(struct et_view value);

/* What escapes (%41) stand for, at most `size` bytes; a % that begins none stays. Returns how many.
 * Bytes of any value may come out, NUL too (RFC 4475, section 3.1.1.4). */
size_t et_sip_unescape(struct et_view text, uint8_t *ret, size_t size);

/* A parameter of `;a=b;c` in `params`, of its first value when it is a list; quotes taken off.
 * false: it is not there. */
bool et_sip_param(struct et_view params, const char *name, struct et_view *ret);

/* Equal without regard to case. */
bool et_sip_is(struct et_view text, const char *word);

#endif
