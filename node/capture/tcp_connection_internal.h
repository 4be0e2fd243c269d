/* The connections of TCP (tcp.c): what is known of them, what they hold, who gives way.
 *
 * Threads: the engine's. */
#ifndef ET_NODE_CAPTURE_TCP_CONNECTION_INTERNAL_H
#define ET_NODE_CAPTURE_TCP_CONNECTION_INTERNAL_H

#include "node/capture/engine_internal.h"
#include "node/capture/tcp_internal.h"
#include "node/sip/framer.h"
#include "node/tlsread/tlsread.h"

/* An early segment, or what is new of it. */
struct et_tcp_piece {
	struct et_tcp_piece *next;
	uint32_t seq;
	uint32_t size;
	uint32_t packets; /* 1: its packet is counted with it; 0: with another piece */
	uint8_t data[];
};

/* One direction. */
struct et_tcp_half {
	struct et_framer framer;
	struct et_tcp_piece *pieces; /* owned; in order, disjoint, all behind `next` */
	size_t piece_bytes;
	uint32_t piece_count;
	uint32_t undecided; /* packets in the framer that are not counted yet */
	uint32_t next;	    /* sequence number */
	uint32_t syn;
	uint32_t acked; /* by the receiver */
	uint32_t far_next;
	uint8_t far_count;
	bool synced; /* `next` is known */
	bool has_syn;
	bool has_ack;
	int64_t hole_us; /* since when something is missing; 0: nothing */
	int64_t part_us; /* since when a part of a message waits; 0: none */
};

/* No padding: hashed and compared as bytes. The lower end stands first. */
struct et_tcp_key {
	uint8_t address[2][16];
	uint16_t port[2];
};

struct et_tcp_ends {
	struct et_tcp_connection *older;
	struct et_tcp_connection *newer;
};

struct et_tcp_connection {
	struct et_link link;
	struct et_tcp_ends age;	    /* in the list of its rank, by the last segment */
	struct et_tcp_ends holding; /* in `holding`, by when it began to hold bytes */
	struct et_tcp_key key;
	struct et_tcp_half half[2]; /* by who sends: key.address[i] */
	struct et_tlsread *tls;	    /* owned; NULL: in clear */
	int tls_client;		    /* which half is the client's */
	int64_t seen_us;
	uint64_t bytes; /* without SIP */
	bool proven;	/* SIP was in it */
	bool trusted;	/* ... and authentic: nobody can forge what a key opens */
	bool foreign;	/* another protocol on a SIP port */
	bool over;	/* RST or FIN was seen */
	bool is_holding;
};

struct et_tcp_list {
	struct et_tcp_connection *oldest;
	struct et_tcp_connection *newest;
};

enum et_tcp_rank {
	ET_TCP_UNPROVEN,
	ET_TCP_PROVEN,
	ET_TCP_TRUSTED,
	ET_TCP_RANKS
}; /* a full table gives up in this order */

struct et_tcp {
	struct et_table table;
	struct et_tcp_list ranks[ET_TCP_RANKS];
	struct et_tcp_list holding;
	uint32_t count;
	uint32_t limit;
	size_t message_max;
	size_t bytes;
	size_t bytes_max;
	uint64_t gaps;
	uint64_t evicted;
	struct et_framer_counts framed;
};

/* Returns which end sends. */
int et_tcp_key_of(const struct et_packet *p, struct et_tcp_key *ret);
struct et_tcp_connection *et_tcp_find(const struct et_tcp *t, const struct et_tcp_key *key,
				      uint64_t hash);
/* A new one; where the table is full another gives way. NULL: no memory. */
struct et_tcp_connection *et_tcp_begin(struct et_engine *e, const struct et_tcp_key *key,
				       uint64_t hash);
/* Put it at the end of the list that it belongs to now. */
void et_tcp_touch(struct et_tcp *t, struct et_tcp_connection *c, bool proven, bool trusted);
void et_tcp_end(struct et_engine *e, struct et_tcp_connection *c, enum et_capture_unclaimed reason);

/* Bytes that it holds; after each work on it they are settled: it held `before` of them. */
size_t et_tcp_connection_held(const struct et_tcp_connection *c);
void et_tcp_settle(struct et_tcp *t, struct et_tcp_connection *c, size_t before);
/* A part of something waits for the rest, or for its secrets. */
bool et_tcp_waits(const struct et_tcp_connection *c, int side);

/* Bytes of a direction are missing. */
void et_tcp_stream_gap(struct et_tcp_connection *c, int side, uint64_t size);
/* Packets that were not counted yet are counted so. */
void et_tcp_give_up(struct et_engine *e, struct et_tcp_half *h, enum et_capture_unclaimed reason);
/* Whatever waits is given up; where the stream is has to be learnt again. */
void et_tcp_half_reset(struct et_engine *e, struct et_tcp_connection *c, int side,
		       enum et_capture_unclaimed reason);
/* Nothing is held behind it: not what waits for secrets either. */
void et_tcp_drop(struct et_engine *e, struct et_tcp_connection *c,
		 enum et_capture_unclaimed reason);

#endif
