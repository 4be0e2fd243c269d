/* SRTP: keys of DTLS handshakes whose secret is in a key log: found while the call runs, or when it
 * is over, for as long as the handshake is remembered. What it said in the clear goes into the tape
 * when its secret is not there: who brings that later can open the recording. */
#include "node/capture/keys_internal.h"
#include "node/srtp/dtls.h"

enum {
	HANDSHAKES_MAX = 2048,		       /* that are remembered */
	HANDSHAKES_NAMED = HANDSHAKES_MAX / 2, /* of them between addresses that SDP names, both */
};

/* Between two addresses. No padding: hashed and compared as bytes. */
struct handshake_key {
	uint8_t client[16];
	uint8_t server[16];
	uint16_t client_port;
	uint16_t server_port;
};

struct et_handshake {
	struct et_link link; /* by key; only of those with has_client */
	struct handshake_key key;
	bool has_client;
	bool has_server;
	struct et_dtls_hello client;
	struct et_dtls_hello server;
	struct et_secret *material; /* owned; NULL: not derived yet */
	uint8_t told[16];	    /* the recording whose tape has it; zeros: none */

	/* To try the secret with, should it come when the call is over. */
	struct {
		uint8_t *data; /* owned: a packet; NULL: none */
		uint32_t size;
		uint32_t ssrc;
		uint8_t party;
	} samples[2];
	uint8_t client_party;
	bool over; /* the call is, and the secret did not come */
	int64_t start_us;
	uint32_t others;  /* streams of the recording that something else must open */
	bool on_demand;	  /* nobody kept the recording so far: nothing is tried */
	int64_t until_us; /* ... and nobody can from then on */
};

static void handshake_clear(struct et_engine *e, struct et_handshake *h)
{
	e->handshakes_over -= h->over;
	h->over = false;
	h->on_demand = false;
	h->material = et_secret_free(h->material);
	for (size_t i = 0; i < ET_ARRAY_SIZE(h->samples); i++) {
		free(h->samples[i].data);
		h->samples[i].data = NULL;
	}
	memset(h->told, 0, sizeof(h->told));
}

static bool handshakes_make(struct et_engine *e)
{
	if (e->handshakes != NULL) {
		return true;
	}
	struct et_handshake *h = calloc(HANDSHAKES_MAX, sizeof(*h));
	if (h == NULL || !et_table_init(&e->handshake_table, HANDSHAKES_MAX, e->streams.seed)) {
		free(h);
		return false;
	}
	e->handshakes = h;
	return true;
}

void et_handshakes_free(struct et_engine *e)
{
	for (uint32_t i = 0; e->handshakes != NULL && i < HANDSHAKES_MAX; i++) {
		handshake_clear(e, &e->handshakes[i]);
	}
	free(e->handshakes);
	e->handshakes = NULL;
	et_table_release(&e->handshake_table);
}

static struct handshake_key key_of(const uint8_t *client, uint16_t client_port,
				   const uint8_t *server, uint16_t server_port)
{
	_Static_assert(sizeof(struct handshake_key) == 36, "no padding");
	struct handshake_key key = { .client_port = client_port, .server_port = server_port };
	memcpy(key.client, client, 16);
	memcpy(key.server, server, 16);
	return key;
}

static struct et_handshake *handshake_find(const struct et_engine *e,
					   const struct handshake_key *key)
{
	uint64_t hash = et_hash(e->handshake_table.seed, key, sizeof(*key));
	struct et_link *l = et_table_first(&e->handshake_table, hash);
	for (; l != NULL; l = l->next) {
		struct et_handshake *h = ET_CONTAINER_OF(l, struct et_handshake, link);
		if (l->hash == hash && memcmp(&h->key, key, sizeof(*key)) == 0) {
			return h;
		}
	}
	return NULL;
}

/* The place of the oldest. Anybody can send hellos between any addresses: those that SDP names have
 * places of their own, else a thousand datagrams would make recordings that nobody can open. */
static struct et_handshake *handshake_place(struct et_engine *e, const struct et_packet *p)
{
	bool named = et_endpoint_at(e, p->dst, p->dport) != NULL &&
		     et_endpoint_at(e, p->src, p->sport) != NULL;
	uint32_t first = named ? 0 : HANDSHAKES_NAMED;
	uint32_t count = named ? HANDSHAKES_NAMED : HANDSHAKES_MAX - HANDSHAKES_NAMED;
	uint32_t *next = &e->handshake_next[named ? 0 : 1];
	struct et_handshake *h = &e->handshakes[first + *next];
	*next = (*next + 1) % count;
	return h;
}

static void on_client_hello(struct et_engine *e, const struct et_packet *p,
			    const struct et_dtls_hello *hello)
{
	struct handshake_key key = key_of(p->src, p->sport, p->dst, p->dport);
	struct et_handshake *h = handshake_find(e, &key);
	if (h != NULL && memcmp(h->client.random, hello->random, sizeof(hello->random)) == 0) {
		return; /* again, with the cookie */
	}
	if (h == NULL) {
		h = handshake_place(e, p);
	}
	if (h->has_client) {
		et_table_remove(&e->handshake_table, &h->link);
	}
	handshake_clear(e, h);
	*h = (struct et_handshake){ .key = key, .has_client = true, .client = *hello };
	et_table_add(&e->handshake_table, &h->link,
		     et_hash(e->handshake_table.seed, &key, sizeof(key)));
}

void et_keys_handshake(struct et_engine *e, const struct et_packet *p)
{
	struct et_dtls_hello hello;

	if (!et_dtls_hello_find(p->payload, p->size, &hello) || !handshakes_make(e)) {
		return;
	}
	if (hello.is_client) {
		on_client_hello(e, p, &hello);
		return;
	}
	struct handshake_key key = key_of(p->dst, p->dport, p->src, p->sport);
	struct et_handshake *h = handshake_find(e, &key);
	if (h != NULL && !h->has_server) {
		h->has_server = true;
		h->server = hello;
	}
}

static bool derive(const struct et_engine *e, struct et_handshake *h)
{
	struct et_view secret;

	if (h->material != NULL) {
		return true;
	}
	return e->config.keylog != NULL && h->has_server && h->server.suite != ET_SRTP_NONE &&
	       et_keylog_find(e->config.keylog, ET_KEYLOG_MASTER_SECRET, h->client.random,
			      &secret) &&
	       et_dtls_srtp_keys(&h->client, &h->server, secret, &h->material, NULL) == 0;
}

/* The handshake on the stream's own addresses, or NULL. */
static struct et_handshake *handshake_of(const struct et_engine *e, const struct et_stream *s,
					 bool *ret_from_client)
{
	const struct et_stream_key *k = &s->key;
	struct handshake_key key = key_of(k->src, k->sport, k->dst, k->dport);
	struct et_handshake *h = handshake_find(e, &key);

	*ret_from_client = h != NULL;
	if (h == NULL) {
		key = key_of(k->dst, k->dport, k->src, k->sport);
		h = handshake_find(e, &key);
	}
	return h;
}

/* A packet of a stream, to try its secret with. */
static void sample_take(struct et_handshake *h, const struct et_stream *s,
			const struct et_packet *p)
{
	for (size_t i = 0; i < ET_ARRAY_SIZE(h->samples); i++) {
		if (h->samples[i].data == NULL) {
			h->samples[i].data = malloc(p->size);
			if (h->samples[i].data != NULL) {
				memcpy(h->samples[i].data, p->payload, p->size);
				h->samples[i].size = p->size;
				h->samples[i].ssrc = s->key.ssrc;
				h->samples[i].party = s->party;
			}
			return;
		}
	}
}

/* What it said goes into the tape: with its secret, whenever that comes, the stream is opened. */
void et_keys_tell_handshake(struct et_engine *e, struct et_stream *s, const struct et_packet *p)
{
	bool from_client = false;
	struct et_handshake *h = e->handshakes != NULL ? handshake_of(e, s, &from_client) : NULL;

	if (h != NULL && !h->has_server) {
		return; /* its answer may come yet */
	}
	s->handshake_told = true;
	if (h == NULL || h->material != NULL || h->server.suite == ET_SRTP_NONE) {
		return;
	}
	if (memcmp(h->told, s->call->facts.id, sizeof(h->told)) == 0) {
		sample_take(h, s, p);
		return;
	}
	struct et_keys_item item = {
		.type = ET_KEYS_DTLS,
		.time_us = e->packet_us,
		.party = from_client ? s->party : s->party ^ 1U,
		.suite = (uint8_t)h->server.suite,
		.version = h->server.version,
		.cipher = h->server.cipher,
		.mki = { h->server.mki, h->server.mki_size },
	};
	memcpy(item.client_random, h->client.random, sizeof(item.client_random));
	memcpy(item.server_random, h->server.random, sizeof(item.server_random));
	if (et_keys_tell_item(e, s->call, &item) == 0) {
		handshake_clear(e, h); /* of another recording, before */
		memcpy(h->told, s->call->facts.id, sizeof(h->told));
		h->client_party = item.party;
		sample_take(h, s, p);
	} else {
		s->handshake_told = false; /* no room: the next packet tries again */
	}
}

bool et_handshake_add_key(struct et_engine *e, struct et_stream *s)
{
	bool from_client = false;
	struct et_handshake *h = handshake_of(e, s, &from_client);

	if (h == NULL) {
		return true;
	}
	if (!derive(e, h)) {
		return false;
	}
	size_t size = et_secret_size(h->material) / 2;
	struct et_srtp_entry entry = {
		.key = {
			.suite = h->server.suite,
			.material = { et_secret_bytes(h->material) + (from_client ? 0 : size), size },
			.mki = { h->server.mki, h->server.mki_size },
		},
		.origin = ET_SRTP_ORIGIN_DTLS,
		.party = s->party,
		.time_us = e->packet_us,
	};
	uint8_t checks = s->checks;
	et_keys_add_to(e, s->call, &entry);
	s->checks = checks;
	return true;
}

/* ---- When the call is over ------------------------------------------------------------------- */

void et_keys_call_over(struct et_engine *e, const struct et_call *c)
{
	bool from_client;
	uint32_t closed = 0;

	if (e->handshakes == NULL || !c->opened || e->sink.late == NULL) {
		return;
	}
	for (const struct et_stream *s = c->streams; s != NULL; s = s->next) {
		closed += s->frozen || (s->srtp[0] != '\0' && s->opened != ET_OPENED_YES);
	}
	for (const struct et_stream *s = c->streams; s != NULL && closed > 0; s = s->next) {
		struct et_handshake *h = s->frozen ? NULL : handshake_of(e, s, &from_client);
		if (h == NULL || s->opened == ET_OPENED_YES ||
		    memcmp(h->told, c->facts.id, sizeof(h->told)) != 0) {
			continue;
		}
		if (!h->over) {
			h->over = true;
			h->start_us = c->facts.start_us;
			h->on_demand = et_call_is_waiting(c);
			h->until_us = e->now_us + c->facts.keep_for_us;
			h->others = closed;
			e->handshakes_over++;
		}
		h->others -= h->others > 0;
	}
}

/* Does a key of the ring open one of the packets that were kept? */
static bool late_fits(struct et_engine *e, const struct et_handshake *h,
		      const struct et_srtp_ring *ring)
{
	bool fits = false;

	for (size_t i = 0; i < ET_ARRAY_SIZE(h->samples) && !fits; i++) {
		struct et_srtp_stream s = { .opener = NULL };
		size_t size = 0;
		fits = h->samples[i].data != NULL && h->samples[i].size <= ET_PACKET_SIZE_MAX &&
		       et_srtp_stream_open(&s, ring, h->samples[i].party, h->samples[i].ssrc,
					   h->samples[i].data, h->samples[i].size,
					   (uint8_t *)e->plain_room, &size) == 0;
		et_srtp_stream_release(&s);
	}
	return fits;
}

static int late_tell(struct et_engine *e, const struct et_handshake *h,
		     const struct et_srtp_ring *ring)
{
	ET_CLEANUP(et_buffer_release) struct et_buffer plain = { .secret = true };
	struct et_late_keys late = {
		.start_us = h->start_us,
		.state = h->others == 0 ? ET_KEYS_COMPLETE : ET_KEYS_PARTLY,
		.salt = h->client.random[0],
	};

	memcpy(late.recording, h->told, sizeof(late.recording));
	for (uint32_t i = 0; i < et_srtp_ring_count(ring); i++) {
		const struct et_srtp_entry entry = et_srtp_ring_at(ring, i);
		const struct et_keys_item item = et_keys_item_of(&entry);
		int rc = et_keys_add(&plain, &item);
		et_assert(rc == 0);
	}
	return plain.failed ? -ENOMEM
			    : e->sink.late(e->sink.arg, &late,
					   (struct et_view){ plain.data, plain.size });
}

/* Its secret came, if it did. */
static void late_try(struct et_engine *e, struct et_handshake *h)
{
	struct et_srtp_ring *ring = NULL;

	if (!derive(e, h) || et_srtp_ring_new(2, &ring, NULL) < 0) {
		return;
	}
	const size_t size = et_secret_size(h->material) / 2;
	int rc = 0;
	for (uint8_t side = 0; side < 2 && rc >= 0; side++) {
		const struct et_srtp_entry entry = {
			.key = { .suite = h->server.suite,
				 .material = { et_secret_bytes(h->material) + side * size, size },
				 .mki = { h->server.mki, h->server.mki_size } },
			.origin = ET_SRTP_ORIGIN_DTLS,
			.party = h->client_party ^ side,
			.time_us = e->now_us,
		};
		rc = et_srtp_ring_add(ring, &entry);
	}
	/* No room: the next look tries again. What does not fit is somebody's mistake: kept out. */
	if (rc >= 0 && (!late_fits(e, h, ring) || late_tell(e, h, ring) == 0)) {
		handshake_clear(e, h);
	}
	(void)et_srtp_ring_free(ring);
}

void et_keys_late(struct et_engine *e)
{
	for (uint32_t i = 0; i < HANDSHAKES_MAX && e->handshakes_over > 0; i++) {
		struct et_handshake *h = &e->handshakes[i];
		if (h->over && h->on_demand && e->now_us > h->until_us) {
			handshake_clear(e, h); /* nobody kept it */
		} else if (h->over && !h->on_demand) {
			late_try(e, h);
		}
	}
}

void et_keys_kept(struct et_engine *e, const uint8_t recording[16])
{
	for (uint32_t i = 0; i < HANDSHAKES_MAX && e->handshakes_over > 0; i++) {
		struct et_handshake *h = &e->handshakes[i];
		if (h->over && memcmp(h->told, recording, sizeof(h->told)) == 0) {
			h->on_demand = false;
		}
	}
}
