/* Recording metadata of SIPREC (RFC 7865): what an application/rs-metadata+xml body says of the
 * session that is recorded: who takes part, and who is heard in which stream.
 *
 * The bytes are a stranger's. A document type is refused, so there are no entities beyond XML's own
 * five and nothing is fetched; at most ET_SIPREC_XML_MAX bytes, ET_SIPREC_DEPTH_MAX elements deep
 * and ET_SIPREC_ELEMENTS_MAX in all; names of namespaces up to ET_SIPREC_NAMESPACE_MAX bytes.
 * UTF-16 is refused. More participants or streams than fit: the first ones count and `clipped` is
 * set. Elements of other namespaces than the root's are passed over. Names of the drafts before the
 * RFC (`id` for `participant_id`, `send` inside of `participant`) are read too: recording clients
 * in the field still send them.
 *
 * Texts are UTF-8 without control characters, cut at a character's end where they are too long.
 *
 * Threads: pure functions. */
#ifndef ET_NODE_SIPREC_METADATA_H
#define ET_NODE_SIPREC_METADATA_H

#include <stdbool.h>
#include <stdint.h>

#include "node/base/bytes.h"
#include "node/base/err.h"

#define ET_SIPREC_XML_MAX 65536 /* bytes */
#define ET_SIPREC_DEPTH_MAX 16	/* elements in elements */
#define ET_SIPREC_ELEMENTS_MAX 2048
#define ET_SIPREC_NAMESPACE_MAX 256 /* bytes; the RFC's has 35 */
#define ET_SIPREC_PARTICIPANTS_MAX 16
#define ET_SIPREC_STREAMS_MAX 16 /* bits of a mask */

struct et_siprec_participant {
	char id[48];
	char aor[256];	 /* address of record, "sip:+420…@example.com", "tel:…"; or "" */
	char name[128];	 /* display name, or "" */
	char joined[40]; /* associate-time, RFC 3339; or "" */
	char left[40];	 /* disassociate-time; "" while it takes part */
	bool gone;	 /* it left: told so, or absent from a later complete description */
	uint16_t sends;	 /* bit i: it is heard in streams[i] */
	uint16_t receives;
};

struct et_siprec_stream {
	char id[48];
	char label[32]; /* a=label of the session description (RFC 4574) */
};

/* Zero-initialised: nothing is known yet. */
struct et_siprec_metadata {
	bool partial;	       /* datamode: changes only */
	bool clipped;	       /* there was more than fits */
	char session[48];      /* session_id of the (first) communication session */
	char sip_session[128]; /* sipSessionID (RFC 7989), or "" */
	char group[48];	       /* group_id, or "" */
	char start[40];	       /* start-time, RFC 3339; or "" */
	char stop[40];	       /* stop-time; or "" */
	char reason[64];       /* why it ended; or "" */
	struct et_siprec_participant participants[ET_SIPREC_PARTICIPANTS_MAX];
	uint32_t participant_count;
	struct et_siprec_stream streams[ET_SIPREC_STREAMS_MAX];
	uint32_t stream_count;
};

/* Read one document. On failure *ret is untouched:
 *   ET_EMALFORMED  it is not XML, its root is not `recording`, it has a document type or is UTF-16
 *   ET_ELIMIT      too long, too deep, too many elements, or a namespace with too long a name
 *   -ENOMEM */
int et_siprec_parse(struct et_view xml, struct et_siprec_metadata *ret,
		    struct et_error *reterr) ET_MUST_CHECK;

/* What is known after `update`: participants and streams by their ids. Those whom a complete
 * description does not name have left; who once took part stays in the list. Where the list is full
 * `clipped` is set. */
void et_siprec_merge(struct et_siprec_metadata *into, const struct et_siprec_metadata *update);

/* The participant who is heard in the stream with this label and took part first; -1: nobody is
 * known to be. */
int et_siprec_sender(const struct et_siprec_metadata *m, struct et_view label);

#endif
