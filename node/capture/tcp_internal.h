/* TCP: segments in any order to the bytes of both directions, and SIP out of them.
 *
 * A connection is looked at when it uses a SIP port, or when a segment begins as SIP does (see
 * et_framer_recognise()); others cost one look-up. It may be joined in its middle. Segments that
 * come early wait, bounded, for what is missing; a hole is given up when the receiver has
 * acknowledged what is in it (then it is the capture that lost it), after three seconds, or when
 * too much waits; then the next start line is looked for. What is received first stays: an overlap
 * with other content changes nothing. A segment far outside the window moves the stream only when
 * the receiver acknowledges it, a SYN announced it, or three in a row go on there; RST and FIN move
 * nothing, they only let the connection be forgotten sooner. So forged segments cost at most the
 * message that they hit.
 *
 * Accounting: each segment is counted once. What carries (a part of) a message that became whole is
 * `sip`; until that is known it is `pending`.
 *
 * Bounded: connections, bytes of each direction and of all (limits.tcp_*). A full pool gives up
 * what has waited longest; a full table the connection without SIP that was silent longest, then
 * the one with, and last the one that a key opened: that cannot be forged, nor joined again in its
 * middle.
 *
 * Threads: one owner. */
#ifndef ET_NODE_CAPTURE_TCP_INTERNAL_H
#define ET_NODE_CAPTURE_TCP_INTERNAL_H

#include "node/capture/packet_internal.h"

struct et_engine;
struct et_tcp;

/* NULL: no memory. */
struct et_tcp *et_tcp_new(const struct et_capture_limits *limits, uint64_t seed);
struct et_tcp *et_tcp_free(struct et_tcp *t);

/* One segment: counted here. `sip_port`: one of its ports is a SIP port. */
void et_tcp_packet(struct et_engine *e, const struct et_packet *p, bool sip_port);

/* Holes and connections that are too old; all: whatever waits is given up. */
void et_tcp_sweep(struct et_engine *e, bool all);

void et_tcp_tell(const struct et_tcp *t, struct et_capture_metrics *ret);

/* For tests: bytes held by all connections. */
size_t et_tcp_held(const struct et_tcp *t);

#endif
