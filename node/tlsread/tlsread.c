#include "node/tlsread/tlsread.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "node/base/secret.h"
#include "node/tlsread/keys_internal.h"

enum {
	TYPE_CHANGE = 20,
	TYPE_ALERT = 21,
	TYPE_HANDSHAKE = 22,
	TYPE_DATA = 23,
	HELLO_CLIENT = 1,
	HELLO_SERVER = 2,
	HANDSHAKE_HEAD = 4,
	HELLO_MAX = 32 * 1024, /* a ClientHello with post-quantum keys is 2 KiB */
	LOST_MAX = 32,	       /* records that a gap may have swallowed */
	FAILED_MAX = 32,       /* records in a row that no key opens */
	HELD_MAX = 64 * 1024,  /* what is not whole, of each end; what waits, of both */
	WAITING_HEAD = 9,
	WAITING_LOST = 2,
	EXTENSION_ENCRYPT_THEN_MAC = 22,
	EXTENSION_VERSIONS = 43,
	VERSION_12 = 0x0303,
	VERSION_13 = 0x0304,
};

enum state { STATE_HELLO, STATE_WAITING, STATE_KEYED, STATE_REFUSED };

enum epoch { EPOCH_CLEAR, EPOCH_HANDSHAKE, EPOCH_DATA };

/* What one end sends. */
struct end {
	struct et_buffer bytes; /* a record that is not whole */
	struct et_buffer hello; /* a handshake message in clear that is not whole */
	enum epoch epoch;
	size_t waiting;	 /* bytes in what waits */
	uint64_t number; /* of the next record in this epoch */
	uint32_t failed; /* records in a row */
	bool lost;	 /* its number, and whether a record begins here, have to be found */
	bool opened;	 /* application data was */
};

/* In secret memory, in one piece. */
struct all_keys {
	struct keys end[2];
};

struct et_tlsread {
	enum state state;
	const struct suite *suite;
	struct et_secret *keys; /* owned: struct all_keys; NULL: not yet */
	bool has_client_random;
	bool has_server_random;
	bool encrypt_then_mac;
	uint8_t client_random[32];
	uint8_t server_random[32];
	/* Records that wait for their secrets, of both ends in the order of their arrival: { from 1
	 * | time 8 | record } */
	struct et_buffer waiting;
	struct end end[2];
};

/* One feed. */
struct feed {
	struct et_tlsread *t;
	const struct et_keylog *keylog;
	et_tlsread_fn fn;
	void *arg;
	int64_t time_us;
	unsigned flags;
};

bool et_tlsread_recognise(const uint8_t *data, size_t size)
{
	return size >= RECORD_HEAD + HANDSHAKE_HEAD && data[0] == TYPE_HANDSHAKE && data[1] == 3 &&
	       data[2] <= 4 && data[RECORD_HEAD] == HELLO_CLIENT && data[RECORD_HEAD + 1] == 0 &&
	       et_get16(data + 3) >= HANDSHAKE_HEAD + 34;
}

int et_tlsread_new(struct et_tlsread **ret)
{
	_Static_assert(sizeof(struct all_keys) <= ET_SECRET_SIZE_MAX, "one secret holds them");
	struct et_tlsread *t = calloc(1, sizeof(*t));
	if (t == NULL) {
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

static void drop_bytes(struct end *end)
{
	et_buffer_release(&end->bytes);
	et_buffer_release(&end->hello);
}

static void drop_waiting(struct et_tlsread *t)
{
	et_buffer_release(&t->waiting);
	t->end[0].waiting = 0;
	t->end[1].waiting = 0;
}

struct et_tlsread *et_tlsread_free(struct et_tlsread *t)
{
	if (t != NULL) {
		(void)et_secret_free(t->keys);
		drop_bytes(&t->end[0]);
		drop_bytes(&t->end[1]);
		drop_waiting(t);
		free(t);
	}
	return NULL;
}

static void refuse(struct et_tlsread *t)
{
	t->state = STATE_REFUSED;
	t->keys = et_secret_free(t->keys);
	drop_bytes(&t->end[0]);
	drop_bytes(&t->end[1]);
	drop_waiting(t);
}

void et_tlsread_give_up(struct et_tlsread *t)
{
	refuse(t);
}

bool et_tlsread_is_refused(const struct et_tlsread *t)
{
	return t->state == STATE_REFUSED;
}

bool et_tlsread_is_waiting(const struct et_tlsread *t)
{
	return t->state == STATE_WAITING;
}

size_t et_tlsread_held(const struct et_tlsread *t, int from)
{
	const struct end *end = &t->end[from];
	return end->bytes.capacity + end->hello.capacity + end->waiting;
}

void et_tlsread_gap(struct et_tlsread *t, int from)
{
	struct end *end = &t->end[from];
	if (t->state == STATE_REFUSED) {
		return;
	}
	drop_bytes(end);
	end->lost = true;
	if (t->state == STATE_HELLO) { /* without both hellos there are no keys */
		refuse(t);
	}
}

/* ---- Keys ------------------------------------------------------------------------------------ */

static struct all_keys *keys_of(struct et_tlsread *t)
{
	return (struct all_keys *)(void *)et_secret_edit(t->keys);
}

static bool take_secret(const struct feed *f, enum et_keylog_label label, struct keys *ret)
{
	struct et_view secret;
	if (!et_keylog_find(f->keylog, label, f->t->client_random, &secret) ||
	    secret.size != f->t->suite->hash_size) {
		return false;
	}
	memcpy(ret->secret, secret.data, secret.size);
	return keys_expand(f->t->suite, ret);
}

/* The application's traffic secret of one end, into `ret`. */
static bool take_traffic(const struct feed *f, int from, struct keys *ret)
{
	return take_secret(
		f, from == ET_TLSREAD_CLIENT ? ET_KEYLOG_CLIENT_TRAFFIC : ET_KEYLOG_SERVER_TRAFFIC,
		ret);
}

/* Once log_has(). */
static bool derive(const struct feed *f, struct all_keys *keys)
{
	struct et_tlsread *t = f->t;
	struct et_view master;
	if (!t->suite->is_tls13) {
		return et_keylog_find(f->keylog, ET_KEYLOG_MASTER_SECRET, t->client_random,
				      &master) &&
		       keys_block(t->suite, master, t->client_random, t->server_random,
				  &keys->end[ET_TLSREAD_CLIENT], &keys->end[ET_TLSREAD_SERVER]);
	}
	/* Without the handshake's secrets its records are passed over, that is all. */
	for (int i = 0; i < 2; i++) {
		struct keys *k = &keys->end[i];
		bool has = take_secret(f,
				       i == ET_TLSREAD_CLIENT ? ET_KEYLOG_CLIENT_HANDSHAKE
							      : ET_KEYLOG_SERVER_HANDSHAKE,
				       k);
		if (!has && !take_traffic(f, i, k)) {
			return false;
		}
		t->end[i].epoch = has ? EPOCH_HANDSHAKE : EPOCH_DATA;
		t->end[i].number = 0;
	}
	return true;
}

/* In TLS 1.3 both or nothing: the log is being written. */
static bool log_has(const struct feed *f)
{
	const struct et_tlsread *t = f->t;
	struct et_view secret;
	if (!t->suite->is_tls13) {
		return et_keylog_find(f->keylog, ET_KEYLOG_MASTER_SECRET, t->client_random,
				      &secret);
	}
	return et_keylog_find(f->keylog, ET_KEYLOG_CLIENT_TRAFFIC, t->client_random, &secret) &&
	       et_keylog_find(f->keylog, ET_KEYLOG_SERVER_TRAFFIC, t->client_random, &secret);
}

/* Both hellos were seen: are the secrets there? */
static void find_keys(struct feed *f)
{
	struct et_tlsread *t = f->t;
	if (t->state != STATE_WAITING || f->keylog == NULL || !log_has(f)) {
		return;
	}
	t->keys = et_secret_new(sizeof(struct all_keys));
	if (t->keys == NULL) {
		return; /* no memory now */
	}
	if (derive(f, keys_of(t))) {
		t->state = STATE_KEYED;
	} else {
		t->keys = et_secret_free(t->keys);
	}
}

/* ---- Hellos ---------------------------------------------------------------------------------- */

static void read_client_hello(struct et_tlsread *t, struct et_reader *r)
{
	(void)et_read16(r);
	const uint8_t *random = et_read_bytes(r, 32);
	if (random == NULL) {
		refuse(t);
		return;
	}
	memcpy(t->client_random, random, 32);
	t->has_client_random = true;
}

/* RFC 8446, section 4.1.4: a ServerHello with this random is no ServerHello. */
static const uint8_t retry_random[32] = {
	0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C,
	0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB,
	0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
};

static void read_server_hello(struct et_tlsread *t, struct et_reader *r)
{
	uint16_t version = et_read16(r);
	const uint8_t *random = et_read_bytes(r, 32);
	(void)et_read_bytes(r, et_read8(r)); /* session id */
	uint16_t number = et_read16(r);
	uint8_t compression = et_read8(r);
	size_t left = et_reader_left(r) >= 2 ? et_read16(r) : 0;
	if (random == NULL || r->failed || left > et_reader_left(r)) {
		refuse(t);
		return;
	}
	while (left >= 4) {
		uint16_t type = et_read16(r);
		uint16_t size = et_read16(r);
		const uint8_t *data = et_read_bytes(r, size);
		if (data == NULL) {
			break;
		}
		left = et_reader_left(r);
		if (type == EXTENSION_VERSIONS && size == 2) {
			version = et_get16(data);
		} else if (type == EXTENSION_ENCRYPT_THEN_MAC) {
			t->encrypt_then_mac = true;
		}
	}
	if (memcmp(random, retry_random, 32) == 0) {
		return;
	}
	memcpy(t->server_random, random, 32);
	t->has_server_random = true;
	t->suite = suite_find(number);
	if (t->suite == NULL || compression != 0 || !t->has_client_random ||
	    version != (t->suite->is_tls13 ? VERSION_13 : VERSION_12)) {
		refuse(t);
		return;
	}
	t->state = STATE_WAITING;
}

/* A record of the handshake in clear: messages may be cut at its ends. */
static void read_clear(struct feed *f, int from, const uint8_t *data, size_t size)
{
	struct et_tlsread *t = f->t;
	struct et_buffer *b = &t->end[from].hello;
	f->flags |= ET_TLSREAD_HANDSHAKE;
	if (t->state != STATE_HELLO) {
		return; /* TLS 1.2: certificates, which do not matter */
	}
	et_buffer_add(b, data, size);
	if (b->failed || b->size > HELLO_MAX) {
		refuse(t);
		return;
	}
	size_t at = 0;
	while (t->state == STATE_HELLO && b->size - at >= HANDSHAKE_HEAD) {
		size_t n = et_get32(b->data + at) & 0xFFFFFF;
		if (b->size - at - HANDSHAKE_HEAD < n) {
			break;
		}
		struct et_reader r = et_reader_of(b->data + at + HANDSHAKE_HEAD, n);
		if (from == ET_TLSREAD_CLIENT && b->data[at] == HELLO_CLIENT) {
			read_client_hello(t, &r);
		} else if (from == ET_TLSREAD_SERVER && b->data[at] == HELLO_SERVER) {
			read_server_hello(t, &r);
		}
		at += HANDSHAKE_HEAD + n;
	}
	if (t->state == STATE_REFUSED) {
		return;
	}
	if (t->state != STATE_HELLO || at == b->size) {
		et_buffer_release(b);
	} else {
		memmove(b->data, b->data + at, b->size - at);
		b->size -= at;
	}
}

/* ---- Records --------------------------------------------------------------------------------- */

static bool is_record(const uint8_t *p)
{
	return p[0] >= TYPE_CHANGE && p[0] <= TYPE_DATA && p[1] == 3 && p[2] <= 4 &&
	       et_get16(p + 3) <= RECORD_MAX;
}

struct opened {
	uint8_t data[RECORD_MAX];
	size_t size;
	uint8_t type;
};

static bool try_keys(struct feed *f, int from, const struct keys *k, uint64_t number,
		     const uint8_t *record, size_t size, struct opened *ret)
{
	struct et_tlsread *t = f->t;
	if (!record_open(t->suite, k, t->encrypt_then_mac, number, record, record + RECORD_HEAD,
			 size - RECORD_HEAD, ret->data, &ret->size, &ret->type)) {
		return false;
	}
	t->end[from].number = number + 1;
	t->end[from].failed = 0;
	t->end[from].lost = false;
	return true;
}

/* With the keys behind the present ones: application data behind the handshake, or after a
 * KeyUpdate. */
static bool try_next(struct feed *f, int from, const uint8_t *record, size_t size,
		     struct opened *ret)
{
	struct et_tlsread *t = f->t;
	struct end *end = &t->end[from];
	struct keys *now = &keys_of(t)->end[from];
	struct keys next = { .key = { 0 } };
	uint64_t ahead = end->lost ? LOST_MAX : 0;
	bool ok = end->epoch == EPOCH_HANDSHAKE ? take_traffic(f, from, &next)
						: keys_update(t->suite, now, &next);
	bool found = false;
	for (uint64_t i = 0; ok && !found && i <= ahead; i++) {
		found = try_keys(f, from, &next, i, record, size, ret);
	}
	if (found) {
		*now = next;
		end->epoch = EPOCH_DATA;
	}
	OPENSSL_cleanse(&next, sizeof(next));
	return found;
}

static bool open_any(struct feed *f, int from, const uint8_t *record, size_t size,
		     struct opened *ret)
{
	struct et_tlsread *t = f->t;
	struct end *end = &t->end[from];
	const struct keys *now = &keys_of(t)->end[from];
	uint64_t ahead = end->lost ? LOST_MAX : 0;
	for (uint64_t i = 0; i <= ahead; i++) {
		if (try_keys(f, from, now, end->number + i, record, size, ret)) {
			return true;
		}
	}
	return t->suite->is_tls13 && try_next(f, from, record, size, ret);
}

static void read_protected(struct feed *f, int from, const uint8_t *record, size_t size)
{
	struct end *end = &f->t->end[from];
	struct opened opened;
	if (!open_any(f, from, record, size, &opened)) {
		end->lost = true;
		/* Of a handshake whose secrets the log does not have nothing was promised. */
		f->flags |= end->opened ? ET_TLSREAD_FAILED : ET_TLSREAD_HANDSHAKE;
		end->failed++;
		if (end->failed > FAILED_MAX) {
			refuse(f->t);
		}
	} else if (opened.type == TYPE_DATA) {
		end->opened = true;
		f->flags |= ET_TLSREAD_DATA;
		if (opened.size > 0) {
			f->fn(f->arg, from, f->time_us,
			      (struct et_view){ opened.data, opened.size });
		}
	} else {
		f->flags |= ET_TLSREAD_HANDSHAKE;
	}
	OPENSSL_cleanse(&opened, sizeof(opened));
}

static void keep_waiting(struct feed *f, int from, const uint8_t *record, size_t size)
{
	struct et_tlsread *t = f->t;
	struct et_buffer *b = &t->waiting;
	et_buffer_add8(b, (uint8_t)(from | (t->end[from].lost ? WAITING_LOST : 0)));
	et_buffer_add64(b, (uint64_t)f->time_us);
	et_buffer_add(b, record, size);
	t->end[from].waiting += WAITING_HEAD + size;
	t->end[from].lost = false; /* what follows it follows it */
	if (b->failed || b->size > HELD_MAX) {
		f->flags |= ET_TLSREAD_NO_KEY;
		refuse(t);
	}
}

/* One whole record. */
static void read_record(struct feed *f, int from, const uint8_t *record, size_t size)
{
	struct et_tlsread *t = f->t;
	struct end *end = &t->end[from];
	bool tls12 = t->suite != NULL && !t->suite->is_tls13;
	if (record[0] == TYPE_CHANGE) {
		if (tls12) { /* RFC 5246, section 7.1; in TLS 1.3 it means nothing */
			end->epoch = EPOCH_DATA;
			end->number = 0;
		}
		f->flags |= ET_TLSREAD_HANDSHAKE;
		return;
	}
	bool clear =
		record[0] != TYPE_DATA && (t->suite == NULL || !tls12 || end->epoch == EPOCH_CLEAR);
	if (end->lost && tls12 && t->state == STATE_KEYED) {
		clear = false; /* the ChangeCipherSpec may be in the gap */
	}
	if (clear) {
		if (record[0] == TYPE_HANDSHAKE) {
			read_clear(f, from, record + RECORD_HEAD, size - RECORD_HEAD);
		} else {
			f->flags |= ET_TLSREAD_HANDSHAKE;
		}
		return;
	}
	if (t->state == STATE_WAITING && t->waiting.size == 0) { /* else asked at the feed */
		find_keys(f);
	}
	if (t->state == STATE_WAITING) {
		keep_waiting(f, from, record, size);
		return;
	}
	if (t->state == STATE_HELLO) { /* data before a hello: joined in its middle */
		refuse(t);
		f->flags |= ET_TLSREAD_REFUSED;
		return;
	}
	if (t->state == STATE_KEYED) {
		read_protected(f, from, record, size);
	}
}

/* The secrets are there: what waited for them, as it came. */
static void read_waiting(struct feed *f)
{
	struct et_tlsread *t = f->t;
	struct et_buffer b = t->waiting;
	int64_t now_us = f->time_us;
	bool lost[2] = { t->end[0].lost, t->end[1].lost }; /* behind what waits */
	t->waiting = (struct et_buffer){ .data = NULL };
	drop_waiting(t);
	t->end[0].lost = false;
	t->end[1].lost = false;
	for (size_t at = 0; at < b.size && t->state == STATE_KEYED;) {
		const uint8_t *record = b.data + at + WAITING_HEAD;
		size_t n = RECORD_HEAD + et_get16(record + 3);
		int from = b.data[at] & 1;
		t->end[from].lost = t->end[from].lost || (b.data[at] & WAITING_LOST) != 0;
		f->time_us = (int64_t)et_get64(b.data + at + 1);
		read_record(f, from, record, n);
		at += WAITING_HEAD + n;
	}
	t->end[0].lost = t->end[0].lost || lost[0];
	t->end[1].lost = t->end[1].lost || lost[1];
	f->time_us = now_us;
	et_buffer_release(&b);
}

/* As far as records are whole. Returns the bytes that are done with. */
static size_t read_records(struct feed *f, int from, const uint8_t *data, size_t size)
{
	struct et_tlsread *t = f->t;
	size_t at = 0;
	while (t->state != STATE_REFUSED && size - at >= RECORD_HEAD) {
		if (!is_record(data + at)) {
			f->flags |= ET_TLSREAD_FAILED;
			if (t->state == STATE_HELLO) {
				refuse(t);
			}
			t->end[from].lost = true;
			return size; /* a segment begins with a record more often than not */
		}
		size_t n = RECORD_HEAD + et_get16(data + at + 3);
		if (size - at < n) {
			break;
		}
		read_record(f, from, data + at, n);
		at += n;
	}
	return at;
}

static void feed_end(struct feed *f, int from, const uint8_t *data, size_t size)
{
	struct et_tlsread *t = f->t;
	struct et_buffer *b = &t->end[from].bytes;
	bool kept = b->size > 0;
	if (kept) {
		et_buffer_add(b, data, size);
		if (b->failed) {
			et_tlsread_gap(t, from);
			return;
		}
		data = b->data;
		size = b->size;
	}
	size_t at = read_records(f, from, data, size);
	if (t->state == STATE_REFUSED || at == size) {
		et_buffer_release(b);
	} else if (kept) {
		memmove(b->data, b->data + at, size - at);
		b->size = size - at;
	} else {
		et_buffer_add(b, data + at, size - at);
	}
	if (b->failed || b->size > HELD_MAX) {
		f->flags |= ET_TLSREAD_NO_KEY;
		refuse(t);
	}
}

unsigned et_tlsread_feed(struct et_tlsread *t, const struct et_keylog *keylog, int from,
			 int64_t time_us, const uint8_t *data, size_t size, et_tlsread_fn fn,
			 void *arg)
{
	struct feed f = { .t = t, .keylog = keylog, .fn = fn, .arg = arg, .time_us = time_us };
	if (t->state == STATE_REFUSED) {
		return ET_TLSREAD_REFUSED;
	}
	find_keys(&f);
	if (t->state == STATE_KEYED && t->waiting.size > 0) {
		read_waiting(&f);
	}
	if (size > 0 && t->state != STATE_REFUSED) {
		feed_end(&f, from, data, size);
	}
	return f.flags | (t->state == STATE_REFUSED ? (unsigned)ET_TLSREAD_REFUSED : 0);
}
