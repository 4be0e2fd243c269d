#include "node/capture/turn_internal.h"

#include "node/capture/table_internal.h"
#include "node/rtp/rtp.h"

enum {
	STUN_HEAD = 20,
	STUN_COOKIE_HIGH = 0x2112,
	CHANNEL_HEAD = 4,
	CHANNELS_MAX = 16, /* of an allocation; the one that was bound first gives way */
	ALLOCATE_SUCCESS = 0x0103,
	CHANNEL_BIND_REQUEST = 0x0009,
	SEND_INDICATION = 0x0016,
	DATA_INDICATION = 0x0017,
	ATTRIBUTE_CHANNEL = 0x000C,
	ATTRIBUTE_PEER = 0x0012,
	ATTRIBUTE_DATA = 0x0013,
	ATTRIBUTE_RELAYED = 0x0016,
};

struct place {
	uint8_t address[16];
	uint16_t port;
};

/* No padding: hashed and compared as bytes. */
struct key {
	struct place client;
	struct place server;
};

struct channel {
	uint16_t number; /* 0: none */
	struct place peer;
};

struct allocation {
	struct et_link link;
	struct allocation *older;
	struct allocation *newer;
	struct key key;
	bool has_relayed;
	uint8_t next; /* channel to give up */
	struct place relayed;
	struct channel channels[CHANNELS_MAX];
};

struct et_turn {
	struct et_table table;
	struct allocation *oldest;
	struct allocation *newest;
	uint32_t count;
	uint32_t limit;
};

struct et_turn *et_turn_new(uint32_t limit, uint64_t seed)
{
	struct et_turn *t = calloc(1, sizeof(*t));
	if (t == NULL || !et_table_init(&t->table, limit, seed)) {
		free(t);
		return NULL;
	}
	t->limit = limit;
	return t;
}

/* ---- Allocations ----------------------------------------------------------------------------- */

static void age_remove(struct et_turn *t, struct allocation *a)
{
	*(a->older != NULL ? &a->older->newer : &t->oldest) = a->newer;
	*(a->newer != NULL ? &a->newer->older : &t->newest) = a->older;
}

static void age_add(struct et_turn *t, struct allocation *a)
{
	a->newer = NULL;
	a->older = t->newest;
	*(t->newest != NULL ? &t->newest->newer : &t->oldest) = a;
	t->newest = a;
}

static void allocation_free(struct et_turn *t, struct allocation *a)
{
	et_table_remove(&t->table, &a->link);
	age_remove(t, a);
	t->count--;
	free(a);
}

struct et_turn *et_turn_free(struct et_turn *t)
{
	if (t != NULL) {
		while (t->oldest != NULL) {
			allocation_free(t, t->oldest);
		}
		et_table_release(&t->table);
		free(t);
	}
	return NULL;
}

static struct key key_of(const struct et_packet *p, bool from_client)
{
	_Static_assert(sizeof(struct key) == 36, "no padding");
	struct key key;
	struct place *src = from_client ? &key.client : &key.server;
	struct place *dst = from_client ? &key.server : &key.client;
	memcpy(src->address, p->src, 16);
	memcpy(dst->address, p->dst, 16);
	src->port = p->sport;
	dst->port = p->dport;
	return key;
}

static struct allocation *find(struct et_turn *t, const struct key *key)
{
	uint64_t hash = et_hash(t->table.seed, key, sizeof(*key));
	for (struct et_link *l = et_table_first(&t->table, hash); l != NULL; l = l->next) {
		struct allocation *a = ET_CONTAINER_OF(l, struct allocation, link);
		if (l->hash == hash && memcmp(&a->key, key, sizeof(*key)) == 0) {
			age_remove(t, a);
			age_add(t, a);
			return a;
		}
	}
	return NULL;
}

static struct allocation *find_or_begin(struct et_turn *t, const struct key *key)
{
	struct allocation *a = find(t, key);
	if (a != NULL) {
		return a;
	}
	if (t->count == t->limit) {
		allocation_free(t, t->oldest);
	}
	a = calloc(1, sizeof(*a));
	if (a != NULL) {
		a->key = *key;
		t->count++;
		age_add(t, a);
		et_table_add(&t->table, &a->link, et_hash(t->table.seed, key, sizeof(*key)));
	}
	return a;
}

static void bind(struct allocation *a, uint16_t number, const struct place *peer)
{
	struct channel *c = NULL;
	for (int i = 0; i < CHANNELS_MAX; i++) {
		if (a->channels[i].number == number) {
			c = &a->channels[i];
			break;
		}
		if (c == NULL && a->channels[i].number == 0) {
			c = &a->channels[i];
		}
	}
	if (c == NULL) {
		c = &a->channels[a->next];
		a->next = (uint8_t)((a->next + 1) % CHANNELS_MAX);
	}
	*c = (struct channel){ .number = number, .peer = *peer };
}

static const struct place *peer_of(const struct allocation *a, uint16_t number)
{
	for (int i = 0; a != NULL && i < CHANNELS_MAX; i++) {
		if (a->channels[i].number == number) {
			return &a->channels[i].peer;
		}
	}
	return NULL;
}

/* ---- STUN ------------------------------------------------------------------------------------ */

struct message {
	uint16_t type;
	uint16_t channel; /* 0: none */
	bool has_peer;
	bool has_relayed;
	struct place peer;
	struct place relayed;
	struct et_view data;
};

/* RFC 8489, section 14.2: XOR with the cookie, of IPv6 with the transaction id too. */
static bool read_address(const uint8_t *message, const uint8_t *value, size_t size,
			 struct place *ret)
{
	if (size == 8 && value[1] == 1) {
		memset(ret->address, 0, 10);
		memset(ret->address + 10, 0xFF, 2);
		for (int i = 0; i < 4; i++) {
			ret->address[12 + i] = value[4 + i] ^ message[4 + i];
		}
	} else if (size == 20 && value[1] == 2) {
		for (int i = 0; i < 16; i++) {
			ret->address[i] = value[4 + i] ^ message[4 + i];
		}
	} else {
		return false;
	}
	ret->port = et_get16(value + 2) ^ STUN_COOKIE_HIGH;
	return true;
}

static void read_attribute(const uint8_t *message, uint16_t type, const uint8_t *value, size_t size,
			   struct message *m)
{
	switch (type) {
	case ATTRIBUTE_CHANNEL:
		m->channel = size == 4 ? et_get16(value) : 0;
		break;
	case ATTRIBUTE_PEER:
		m->has_peer = read_address(message, value, size, &m->peer);
		break;
	case ATTRIBUTE_RELAYED:
		m->has_relayed = read_address(message, value, size, &m->relayed);
		break;
	case ATTRIBUTE_DATA:
		m->data = (struct et_view){ value, size };
		break;
	default:
		break;
	}
}

static struct message read_message(const uint8_t *p, size_t size)
{
	struct message m = { .type = et_get16(p) };
	size_t end = STUN_HEAD + (size_t)et_get16(p + 2);
	end = end < size ? end : size;
	for (size_t at = STUN_HEAD; at + 4 <= end;) {
		size_t n = et_get16(p + at + 2);
		if (n > end - at - 4) {
			break;
		}
		read_attribute(p, et_get16(p + at), p + at + 4, n, &m);
		at += 4 + ((n + 3) & ~(size_t)3);
	}
	return m;
}

/* The packet inside: between the client's relayed address and the peer. */
static void set_inside(const struct et_packet *p, const struct allocation *a, bool from_client,
		       const struct place *peer, struct et_view data, struct et_packet *ret)
{
	*ret = *p;
	ret->payload = data.data;
	ret->size = (uint32_t)data.size;
	if (peer != NULL) {
		memcpy(from_client ? ret->dst : ret->src, peer->address, 16);
		*(from_client ? &ret->dport : &ret->sport) = peer->port;
	}
	if (a != NULL && a->has_relayed) {
		memcpy(from_client ? ret->src : ret->dst, a->relayed.address, 16);
		*(from_client ? &ret->sport : &ret->dport) = a->relayed.port;
	}
}

bool et_turn_stun(struct et_turn *t, const struct et_packet *p, struct et_packet *ret)
{
	if (p->size < STUN_HEAD) {
		return false;
	}
	uint16_t type = et_get16(p->payload);
	bool from_client = type == SEND_INDICATION || type == CHANNEL_BIND_REQUEST;
	if (!from_client && type != DATA_INDICATION && type != ALLOCATE_SUCCESS) {
		return false;
	}
	struct message m = read_message(p->payload, p->size);
	struct key key = key_of(p, from_client);
	struct allocation *a = NULL;
	if (type == ALLOCATE_SUCCESS) {
		a = m.has_relayed ? find_or_begin(t, &key) : NULL;
		if (a != NULL) {
			a->has_relayed = true;
			a->relayed = m.relayed;
		}
		return false;
	}
	if (type == CHANNEL_BIND_REQUEST) {
		a = m.has_peer && m.channel != 0 ? find_or_begin(t, &key) : NULL;
		if (a != NULL) {
			bind(a, m.channel, &m.peer);
		}
		return false;
	}
	if (!m.has_peer || m.data.size == 0) {
		return false;
	}
	set_inside(p, find(t, &key), from_client, &m.peer, m.data, ret);
	return true;
}

/* ---- Channels -------------------------------------------------------------------------------- */

bool et_turn_channel(struct et_turn *t, const struct et_packet *p, struct et_packet *ret)
{
	if (p->size <= CHANNEL_HEAD || p->payload[0] < 0x40 || p->payload[0] > 0x4F) {
		return false;
	}
	uint16_t number = et_get16(p->payload);
	size_t size = et_get16(p->payload + 2);
	/* Over UDP it may be padded to four bytes (section 12.5). */
	if (size == 0 || size > p->size - CHANNEL_HEAD || p->size - CHANNEL_HEAD - size > 3) {
		return false;
	}
	struct et_view data = { p->payload + CHANNEL_HEAD, size };
	for (int i = 0; i < 2; i++) {
		struct key key = key_of(p, i == 0);
		const struct allocation *a = find(t, &key);
		const struct place *peer = peer_of(a, number);
		if (peer != NULL) {
			set_inside(p, a, i == 0, peer, data, ret);
			return true;
		}
	}
	if (et_rtp_classify(data.data, (uint32_t)size) == ET_RTP_KIND_NONE) {
		return false;
	}
	set_inside(p, NULL, true, NULL, data, ret);
	return true;
}
