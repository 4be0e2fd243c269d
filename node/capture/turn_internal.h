/* TURN (RFC 8656): what is inside of its indications and channels, and whose it is.
 *
 * Media through a relay goes between a client and its TURN server in Send and Data indications or
 * in ChannelData. The packet inside gets the addresses that SDP talks about: of the peer as the
 * indication (XOR-PEER-ADDRESS) or the binding of the channel (ChannelBind) names it, and the
 * client's relayed address as the Allocate response told it. Where an Allocate or ChannelBind was
 * not seen, the address of the client, or of the server, stands in its place. So the same media on
 * both sides of the relay is one stream, with duplicates.
 *
 * Bounded: allocations (the one that was silent longest is forgotten) and channels of each. Not
 * read: TURN over TCP, TCP allocations.
 *
 * Threads: one owner. */
#ifndef ET_NODE_CAPTURE_TURN_INTERNAL_H
#define ET_NODE_CAPTURE_TURN_INTERNAL_H

#include "node/capture/packet_internal.h"

struct et_turn;

/* NULL: no memory. */
struct et_turn *et_turn_new(uint32_t limit, uint64_t seed);
struct et_turn *et_turn_free(struct et_turn *t);

/* A STUN message is seen. true: it is an indication, and *ret (a view into p) is inside. */
bool et_turn_stun(struct et_turn *t, const struct et_packet *p, struct et_packet *ret);

/* A datagram that is nothing else. true: it is ChannelData, and *ret (a view into p) is inside.
 * Without a binding that was seen: only when `p` fits its length field and RTP, RTCP, STUN or DTLS
 * is inside. */
bool et_turn_channel(struct et_turn *t, const struct et_packet *p, struct et_packet *ret);

#endif
