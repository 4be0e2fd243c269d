#include "node/sip/framer.h"

#include <stdlib.h>
#include <strings.h>

#include "node/sip/framer_internal.h"
#include "node/sip/sip.h"

enum {
	START_LINE_MAX = 2048, /* a line that does not end in so many bytes is no start line */
	UPGRADE_MAX = 8192,    /* HTTP headers */
	PROBE_MIN = 12,
	PROBED_MAX = 512, /* of a frame: a start line */
};

#define SKIP_MAX (16ULL * 1024 * 1024)

/* ---- What bytes begin with ------------------------------------------------------------------- */

enum begins { BEGINS_NO, BEGINS_MAYBE, BEGINS_YES };

static enum begins sip_begins(const uint8_t *data, size_t size)
{
	if (size == 0) {
		return BEGINS_MAYBE;
	}
	if (memchr(data, '\n', size < START_LINE_MAX ? size : START_LINE_MAX) != NULL) {
		return et_sip_probe(data, size) ? BEGINS_YES : BEGINS_NO;
	}
	if (size >= START_LINE_MAX) {
		return BEGINS_NO;
	}
	for (size_t i = 0; i < size; i++) { /* text up to here? */
		if (data[i] < 0x20 && data[i] != '\t' && data[i] != '\r') {
			return BEGINS_NO;
		}
	}
	return data[0] < 0x7F && data[0] != ' ' ? BEGINS_MAYBE : BEGINS_NO;
}

/* `word` in the text, without regard to case. */
static bool has_word(const uint8_t *data, size_t size, const char *word)
{
	size_t n = strlen(word);
	for (size_t i = 0; i + n <= size; i++) {
		if (strncasecmp((const char *)data + i, word, n) == 0) {
			return true;
		}
	}
	return false;
}

/* Where the headers end (behind the empty line), looking from `from`; 0: not here. */
static size_t headers_end(const uint8_t *data, size_t size, size_t from)
{
	size_t at = from;
	while (at < size) {
		const uint8_t *lf = memchr(data + at, '\n', size - at);
		if (lf == NULL) {
			return 0;
		}
		at = (size_t)(lf - data) + 1;
		if (at < size && data[at] == '\n') {
			return at + 1;
		}
		if (at + 1 < size && data[at] == '\r' && data[at + 1] == '\n') {
			return at + 2;
		}
	}
	return 0;
}

static bool http_begins(const uint8_t *data, size_t size)
{
	return size >= PROBE_MIN &&
	       (memcmp(data, "GET ", 4) == 0 || memcmp(data, "HTTP/1.1 101", 12) == 0);
}

/* A whole set of headers that asks for, or grants, SIP over WebSocket (RFC 7118, section 4). */
static bool is_upgrade(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;
	bool sip = false;
	bool websocket = false;
	for (const uint8_t *p = data; p < end;) {
		const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((lf != NULL ? lf : end) - p);
		if (n > 22 && strncasecmp((const char *)p, "Sec-WebSocket-Protocol", 22) == 0) {
			sip = sip || has_word(p + 22, n - 22, "sip");
		} else if (n > 7 && strncasecmp((const char *)p, "Upgrade", 7) == 0) {
			websocket = websocket || has_word(p + 7, n - 7, "websocket");
		}
		p = lf != NULL ? lf + 1 : end;
	}
	return sip && websocket;
}

/* A frame at the front with the start line of SIP in it. Of a control frame, or of the middle of a
 * message, nobody could say what protocol it is. */
static bool frame_begins(const uint8_t *data, size_t size)
{
	struct et_ws_frame frame;
	uint8_t text[PROBED_MAX];
	if (et_ws_frame(data, size, &frame) <= 0 || frame.rsv != 0 || !frame.fin ||
	    (frame.opcode != ET_WS_TEXT && frame.opcode != ET_WS_BINARY)) {
		return false;
	}
	size_t n = size - frame.head < frame.size ? size - frame.head : (size_t)frame.size;
	n = n < sizeof(text) ? n : sizeof(text);
	memcpy(text, data + frame.head, n);
	et_ws_unmask(&frame, text, n);
	return n > 0 && memchr(text, '\n', n) != NULL && et_sip_probe(text, n);
}

bool et_framer_recognise(const uint8_t *data, size_t size)
{
	if (size < PROBE_MIN) {
		return false;
	}
	if ((data[0] & 0x80) != 0) {
		return frame_begins(data, size);
	}
	if (http_begins(data, size)) {
		return is_upgrade(data, size);
	}
	return et_sip_probe(data, size);
}

/* ---- SIP ------------------------------------------------------------------------------------- */

/* One feed. */
struct feed {
	struct et_framer *f;
	et_framer_fn fn;
	void *arg;
	unsigned flags;
};

static void hand_out(struct feed *feed, const uint8_t *data, size_t size)
{
	feed->flags |= ET_FRAMED_MESSAGE;
	feed->f->counts->messages++;
	feed->fn(feed->arg, (struct et_view){ data, size });
}

/* The offset of the first start line behind a line end in [from, size); size: there is none. A line
 * that is not whole counts when it may become one. */
static size_t next_start(const uint8_t *data, size_t size, size_t from, bool whole)
{
	size_t at = from;
	while (at < size) {
		const uint8_t *lf = memchr(data + at, '\n', size - at);
		if (lf == NULL) {
			return size;
		}
		at = (size_t)(lf - data) + 1;
		if (at == size || data[at] == '\r' || data[at] == '\n') {
			continue;
		}
		enum begins begins = sip_begins(data + at, size - at);
		if (begins == BEGINS_YES || (begins == BEGINS_MAYBE && !whole)) {
			return at;
		}
	}
	return size;
}

static void lose(struct feed *feed)
{
	feed->flags |= ET_FRAMED_LOST;
	feed->f->mode = FRAMER_SCAN;
	feed->f->need = 0;
	feed->f->looked = 0;
}

/* Headers are whole and end at `end`: how long is the message? */
static size_t message_size(struct feed *feed, const uint8_t *data, size_t size, size_t end)
{
	struct et_sip m;
	if (et_sip_parse(data, end, &m) == 0 && m.has_content_length) {
		return end + m.content_length;
	}
	feed->f->counts->no_length++;
	return next_start(data, size, end > 0 ? end - 1 : 0, true);
}

/* A message at the front. Returns the bytes that are done with; 0: it needs more. */
static size_t step_message(struct feed *feed, const uint8_t *data, size_t size)
{
	struct et_framer *f = feed->f;
	if (f->need == 0) {
		size_t end = headers_end(data, size, f->looked);
		if (end == 0) {
			f->looked = size > 3 ? size - 3 : 0;
			if (size < f->message_max) {
				return 0;
			}
			f->counts->too_long++;
			lose(feed);
			return size;
		}
		f->need = message_size(feed, data, size, end);
		if (f->need > f->message_max) {
			f->counts->too_long++;
			hand_out(feed, data, end);
			f->skip = f->need - end;
			f->after = FRAMER_SIP;
			f->mode = f->skip <= SKIP_MAX ? FRAMER_SKIP : FRAMER_SCAN;
			f->need = 0;
			f->looked = 0;
			return end;
		}
	}
	if (size < f->need) {
		return 0;
	}
	size_t n = f->need;
	f->need = 0;
	f->looked = 0;
	hand_out(feed, data, n);
	return n;
}

/* Between two messages, or inside of one. */
static size_t step_sip(struct feed *feed, const uint8_t *data, size_t size)
{
	struct et_framer *f = feed->f;
	size_t empty = 0;
	while (f->need == 0 && empty < size && (data[empty] == '\r' || data[empty] == '\n')) {
		empty++;
	}
	if (empty > 0) {
		f->looked = 0;
		feed->flags |= ET_FRAMED_KEEPALIVE;
		return empty;
	}
	if (f->need == 0 && f->looked == 0) {
		switch (sip_begins(data, size)) {
		case BEGINS_MAYBE:
			return 0;
		case BEGINS_YES:
			break;
		case BEGINS_NO:
		default:
			f->mode = FRAMER_START;
			return STEP_AGAIN;
		}
	}
	return step_message(feed, data, size);
}

/* Lost. What is kept (and what is fed when nothing is kept) begins where a line may begin. */
static size_t step_scan(struct feed *feed, const uint8_t *data, size_t size)
{
	struct et_framer *f = feed->f;
	size_t at = 0;
	if (data[0] == '\r' || data[0] == '\n') {
		feed->flags |= ET_FRAMED_KEEPALIVE;
		return 1;
	}
	enum begins begins = sip_begins(data, size);
	if (begins == BEGINS_NO && et_framer_recognise(data, size)) {
		f->mode = FRAMER_START;
		return STEP_AGAIN;
	}
	if (begins == BEGINS_NO) {
		at = next_start(data, size, 0, false);
		begins = at < size ? sip_begins(data + at, size - at) : BEGINS_NO;
		feed->flags |= ET_FRAMED_LOST;
	}
	if (begins == BEGINS_YES) {
		f->counts->resyncs++;
		f->mode = FRAMER_SIP;
		return at > 0 ? at : STEP_AGAIN;
	}
	return at; /* 0: a line that may become one */
}

/* ---- Start ----------------------------------------------------------------------------------- */

static size_t step_start(struct feed *feed, const uint8_t *data, size_t size)
{
	struct et_framer *f = feed->f;
	if (data[0] == '\r' || data[0] == '\n') {
		feed->flags |= ET_FRAMED_KEEPALIVE;
		return 1;
	}
	if (http_begins(data, size)) {
		f->mode = FRAMER_UPGRADE;
		return STEP_AGAIN;
	}
	if (frame_begins(data, size)) {
		f->mode = FRAMER_WEBSOCKET;
		return STEP_AGAIN;
	}
	switch (sip_begins(data, size)) {
	case BEGINS_MAYBE:
		return 0;
	case BEGINS_YES:
		f->mode = FRAMER_SIP;
		return STEP_AGAIN;
	case BEGINS_NO:
	default:
		f->mode = FRAMER_SCAN;
		feed->flags |= ET_FRAMED_LOST;
		return STEP_AGAIN;
	}
}

static size_t step_upgrade(struct feed *feed, const uint8_t *data, size_t size)
{
	struct et_framer *f = feed->f;
	size_t end = headers_end(data, size, 0);
	if (end == 0 && size < UPGRADE_MAX) {
		return 0;
	}
	if (end == 0 || !is_upgrade(data, end)) {
		lose(feed);
		return end == 0 ? size : end;
	}
	f->mode = FRAMER_WEBSOCKET;
	feed->flags |= ET_FRAMED_WEBSOCKET;
	return end;
}

/* ---- WebSocket ------------------------------------------------------------------------------- */

static size_t ws_lose(struct feed *feed, size_t size)
{
	struct et_framer *f = feed->f;
	f->fragments = false;
	f->message.size = 0;
	feed->flags |= ET_FRAMED_LOST;
	f->mode = FRAMER_WEBSOCKET_SCAN;
	return size;
}

/* The payload of a data frame, all of it at `data`. */
static void ws_data(struct feed *feed, const struct et_ws_frame *frame, const uint8_t *data)
{
	struct et_framer *f = feed->f;
	size_t at = f->message.size;
	if (!f->compressed) {
		et_buffer_add(&f->message, data, (size_t)frame->size);
		if (f->message.failed) { /* no memory: this message is lost */
			et_buffer_release(&f->message);
			f->compressed = true;
		} else if (frame->size > 0) {
			et_ws_unmask(frame, f->message.data + at, (size_t)frame->size);
		}
	}
	if (!frame->fin) {
		return;
	}
	struct et_view m = { f->message.data, f->message.size };
	if (f->compressed) {
		feed->flags |= ET_FRAMED_WEBSOCKET;
	} else if (m.size > 0 && et_sip_probe(m.data, m.size)) {
		hand_out(feed, m.data, m.size);
	} else {
		bool empty = true;
		for (size_t i = 0; i < m.size; i++) {
			empty = empty && (m.data[i] == '\r' || m.data[i] == '\n');
		}
		feed->flags |= empty ? ET_FRAMED_KEEPALIVE : ET_FRAMED_LOST;
	}
	f->fragments = false;
	et_buffer_release(&f->message);
}

/* A data frame begins or goes on with a message. false: it cannot stand here. */
static bool ws_admit(struct et_framer *f, const struct et_ws_frame *frame)
{
	if (frame->opcode == ET_WS_CONTINUE) {
		return f->fragments && frame->rsv == 0;
	}
	f->fragments = true;
	f->message.size = 0;
	f->compressed = frame->rsv != 0;
	if (f->compressed) {
		f->counts->compressed++;
	}
	return true;
}

static size_t step_websocket(struct feed *feed, const uint8_t *data, size_t size)
{
	struct et_framer *f = feed->f;
	struct et_ws_frame frame;
	int rc = et_ws_frame(data, size, &frame);
	if (rc == 0) {
		return 0;
	}
	bool control = rc > 0 && frame.opcode >= ET_WS_CLOSE;
	if (rc < 0 || (control && frame.rsv != 0) || (frame.rsv & 3) != 0) {
		f->mode = FRAMER_WEBSOCKET_SCAN;
		return STEP_AGAIN;
	}
	if (control) {
		feed->flags |= ET_FRAMED_WEBSOCKET;
		return size - frame.head < frame.size ? 0 : frame.head + (size_t)frame.size;
	}
	/* Asked once, when its payload is whole or will not be kept. */
	bool whole = size - frame.head >= frame.size;
	bool too_long = f->message.size + frame.size > f->message_max;
	if (!whole && !too_long) {
		return 0;
	}
	if (!ws_admit(f, &frame)) {
		return ws_lose(feed, whole ? frame.head + (size_t)frame.size : size);
	}
	if (!too_long) {
		ws_data(feed, &frame, data + frame.head);
		return frame.head + (size_t)frame.size;
	}
	f->counts->too_long += f->compressed ? 0 : 1;
	f->compressed = true;
	f->fragments = !frame.fin;
	et_buffer_release(&f->message);
	if (frame.size > SKIP_MAX) {
		return ws_lose(feed, size);
	}
	f->skip = frame.size;
	f->after = FRAMER_WEBSOCKET;
	f->mode = FRAMER_SKIP;
	return frame.head;
}

/* Lost inside of a WebSocket: a frame that can only be one, at the front of what is fed. */
static size_t step_websocket_scan(struct feed *feed, const uint8_t *data, size_t size)
{
	if (et_framer_recognise(data, size)) {
		feed->f->counts->resyncs++;
		feed->f->mode = FRAMER_START;
		return STEP_AGAIN;
	}
	feed->flags |= ET_FRAMED_LOST;
	return size;
}

/* ---- Feeding --------------------------------------------------------------------------------- */

static size_t step_skip(struct feed *feed, size_t size)
{
	struct et_framer *f = feed->f;
	size_t n = size < f->skip ? size : (size_t)f->skip;
	f->skip -= n;
	feed->flags |= ET_FRAMED_SKIPPED;
	if (f->skip == 0) {
		f->mode = f->after;
	}
	return n;
}

static size_t step(struct feed *feed, const uint8_t *data, size_t size)
{
	switch (feed->f->mode) {
	case FRAMER_START:
		return step_start(feed, data, size);
	case FRAMER_SIP:
		return step_sip(feed, data, size);
	case FRAMER_SCAN:
		return step_scan(feed, data, size);
	case FRAMER_SKIP:
		return step_skip(feed, size);
	case FRAMER_UPGRADE:
		return step_upgrade(feed, data, size);
	case FRAMER_WEBSOCKET:
		return step_websocket(feed, data, size);
	default:
		return step_websocket_scan(feed, data, size);
	}
}

/* Keep [at, size) of `data`, which is the buffer or what was fed. */
static void keep(struct et_framer *f, const uint8_t *data, size_t size, size_t at)
{
	if (at == size) {
		et_buffer_release(&f->buffer);
	} else if (data == f->buffer.data) {
		memmove(f->buffer.data, f->buffer.data + at, size - at);
		f->buffer.size = size - at;
	} else {
		et_buffer_add(&f->buffer, data + at, size - at);
		if (f->buffer.failed) { /* no memory: as if it had been lost */
			et_framer_gap(f, 0);
		}
	}
}

unsigned et_framer_feed(struct et_framer *f, const uint8_t *data, size_t size, et_framer_fn fn,
			void *arg)
{
	struct feed feed = { .f = f, .fn = fn, .arg = arg };
	if (f->buffer.size > 0) {
		et_buffer_add(&f->buffer, data, size);
		if (f->buffer.failed) {
			et_framer_gap(f, 0);
			return ET_FRAMED_LOST;
		}
		data = f->buffer.data;
		size = f->buffer.size;
	}
	size_t at = 0;
	int turns = 0; /* without a byte done: never twice round the modes */
	while (at < size) {
		size_t n = step(&feed, data + at, size - at);
		if (n == 0) {
			break;
		}
		if (n == STEP_AGAIN) {
			turns++;
			if (turns > FRAMER_MODES) {
				at++;
				turns = 0;
				f->mode = FRAMER_SCAN;
				feed.flags |= ET_FRAMED_LOST;
			}
			continue;
		}
		turns = 0;
		at += n;
	}
	keep(f, data, size, at);
	return feed.flags;
}

void et_framer_gap(struct et_framer *f, uint64_t size)
{
	if (f->mode == FRAMER_SKIP && size > 0 && size <= f->skip) {
		f->skip -= size;
		if (f->skip == 0) {
			f->mode = f->after;
		}
		return;
	}
	bool websocket = f->mode == FRAMER_WEBSOCKET || f->mode == FRAMER_WEBSOCKET_SCAN ||
			 (f->mode == FRAMER_SKIP && f->after == FRAMER_WEBSOCKET);
	f->counts->cut += f->buffer.size > 0 || f->message.size > 0 ? 1 : 0;
	et_framer_release(f);
	f->mode = websocket ? FRAMER_WEBSOCKET_SCAN : FRAMER_SCAN;
}

size_t et_framer_held(const struct et_framer *f)
{
	return f->buffer.capacity + f->message.capacity;
}

void et_framer_release(struct et_framer *f)
{
	et_buffer_release(&f->buffer);
	et_buffer_release(&f->message);
	f->looked = 0;
	f->need = 0;
	f->skip = 0;
	f->fragments = false;
	f->compressed = false;
	f->mode = FRAMER_START;
}
