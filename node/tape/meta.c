#include "node/tape/meta.h"

#include "node/tape/items_internal.h"
#include "node/tape/media.h"

enum { META_VERSION = 1 };

static void text_put(struct et_buffer *b, struct et_view text)
{
	et_buffer_add_varint(b, text.size);
	et_buffer_add(b, text.data, text.size);
}

static struct et_view text_get(struct et_reader *r)
{
	const uint64_t size = et_read_varint(r);
	struct et_view v = { NULL, 0 };

	if (size > ET_META_TEXT_MAX) {
		r->failed = true;
		return v;
	}
	v.data = et_read_bytes(r, (size_t)size);
	v.size = v.data != NULL ? (size_t)size : 0;
	return v;
}

static void stream_put(struct et_buffer *b, const struct et_meta_item *i)
{
	et_buffer_add8(b, (uint8_t)i->stream.stream);
	et_buffer_add32(b, i->stream.ssrc);
	et_buffer_add8(b, i->stream.party);
	et_buffer_add8(b, i->stream.payload_type);
	et_buffer_add8(b, i->stream.channels);
	et_buffer_add32(b, i->stream.clock_rate);
	text_put(b, i->stream.codec);
	text_put(b, i->stream.src);
	text_put(b, i->stream.dst);
	if (i->stream.srtp.size > 0) { /* it came later than the others */
		text_put(b, i->stream.srtp);
	}
}

static void codec_put(struct et_buffer *b, const struct et_meta_item *i)
{
	et_buffer_add8(b, (uint8_t)i->codec.stream);
	et_buffer_add8(b, i->codec.payload_type);
	et_buffer_add8(b, i->codec.channels);
	et_buffer_add32(b, i->codec.clock_rate);
	text_put(b, i->codec.codec);
	text_put(b, i->codec.fmtp);
}

static void sdp_put(struct et_buffer *b, const struct et_meta_item *i)
{
	et_buffer_add64(b, (uint64_t)i->sdp.time_us);
	et_buffer_add8(b, i->sdp.party);
	text_put(b, i->sdp.text);
}

static void sip_put(struct et_buffer *b, const struct et_meta_item *i)
{
	et_buffer_add64(b, (uint64_t)i->sip.time_us);
	text_put(b, i->sip.src);
	text_put(b, i->sip.dst);
	text_put(b, i->sip.text);
}

static void fact_put(struct et_buffer *b, const struct et_meta_item *i)
{
	et_buffer_add64(b, (uint64_t)i->fact.time_us);
	et_buffer_add8(b, i->fact.party);
	text_put(b, i->fact.key);
	text_put(b, i->fact.value);
}

static void mark_put(struct et_buffer *b, const struct et_meta_item *i)
{
	et_buffer_add8(b, i->mark.what);
	et_buffer_add64(b, (uint64_t)i->mark.from_us);
	et_buffer_add64(b, (uint64_t)i->mark.to_us);
	text_put(b, i->mark.cause);
}

static void stream_get(struct et_reader *r, struct et_meta_item *i)
{
	i->stream.stream = et_read8(r);
	i->stream.ssrc = et_read32(r);
	i->stream.party = et_read8(r);
	i->stream.payload_type = et_read8(r);
	i->stream.channels = et_read8(r);
	i->stream.clock_rate = et_read32(r);
	i->stream.codec = text_get(r);
	i->stream.src = text_get(r);
	i->stream.dst = text_get(r);
	i->stream.srtp = (struct et_view){ NULL, 0 };
	if (!r->failed && et_reader_left(r) > 0) {
		i->stream.srtp = text_get(r);
	}
	r->failed = r->failed || i->stream.stream >= ET_MEDIA_STREAMS_MAX;
}

static void codec_get(struct et_reader *r, struct et_meta_item *i)
{
	i->codec.stream = et_read8(r);
	i->codec.payload_type = et_read8(r);
	i->codec.channels = et_read8(r);
	i->codec.clock_rate = et_read32(r);
	i->codec.codec = text_get(r);
	i->codec.fmtp = text_get(r);
	r->failed = r->failed || i->codec.stream >= ET_MEDIA_STREAMS_MAX;
}

static void sdp_get(struct et_reader *r, struct et_meta_item *i)
{
	i->sdp.time_us = (int64_t)et_read64(r);
	i->sdp.party = et_read8(r);
	i->sdp.text = text_get(r);
}

static void sip_get(struct et_reader *r, struct et_meta_item *i)
{
	i->sip.time_us = (int64_t)et_read64(r);
	i->sip.src = text_get(r);
	i->sip.dst = text_get(r);
	i->sip.text = text_get(r);
}

static void fact_get(struct et_reader *r, struct et_meta_item *i)
{
	i->fact.time_us = (int64_t)et_read64(r);
	i->fact.party = et_read8(r);
	i->fact.key = text_get(r);
	i->fact.value = text_get(r);
}

static void mark_get(struct et_reader *r, struct et_meta_item *i)
{
	i->mark.what = et_read8(r);
	i->mark.from_us = (int64_t)et_read64(r);
	i->mark.to_us = (int64_t)et_read64(r);
	i->mark.cause = text_get(r);
}

static const struct {
	void (*put)(struct et_buffer *b, const struct et_meta_item *item);
	void (*get)(struct et_reader *r, struct et_meta_item *item);
} types[] = {
	[ET_META_STREAM] = { stream_put, stream_get }, [ET_META_CODEC] = { codec_put, codec_get },
	[ET_META_SDP] = { sdp_put, sdp_get },	       [ET_META_SIP] = { sip_put, sip_get },
	[ET_META_FACT] = { fact_put, fact_get },       [ET_META_MARK] = { mark_put, mark_get },
};

static bool type_is_known(uint64_t type)
{
	return type < ET_ARRAY_SIZE(types) && types[type].put != NULL;
}

/* Writes and reads back: whatever reads is within its bounds. */
static bool value_is_sound(const struct et_buffer *value, uint32_t type)
{
	struct et_reader r = et_reader_of(value->data, value->size);
	struct et_meta_item item = { .type = type };

	types[type].get(&r, &item);
	return !r.failed && et_reader_left(&r) == 0;
}

int et_meta_add(struct et_buffer *plain, const struct et_meta_item *item)
{
	struct et_buffer value = { 0 };

	if (!type_is_known(item->type) ||
	    (item->type == ET_META_STREAM && item->stream.stream >= ET_MEDIA_STREAMS_MAX) ||
	    (item->type == ET_META_CODEC && item->codec.stream >= ET_MEDIA_STREAMS_MAX)) {
		return -EINVAL;
	}
	types[item->type].put(&value, item);
	bool sound = value.failed || value_is_sound(&value, item->type);
	if (value.failed) {
		plain->failed = true;
	} else if (sound) {
		et_tape_item_begin(plain, META_VERSION, item->type, value.size);
		et_buffer_add(plain, value.data, value.size);
	}
	if (value.data != NULL) {
		explicit_bzero(value.data, value.capacity); /* SDP may carry SRTP keys. */
	}
	et_buffer_release(&value);
	return sound ? 0 : -EINVAL;
}

int et_meta_reader_init(struct et_meta_reader *r, struct et_view plain, struct et_error *reterr)
{
	return et_tape_items_init(&r->reader, plain, META_VERSION, "meta", reterr);
}

int et_meta_reader_next(struct et_meta_reader *r, struct et_meta_item *ret, struct et_error *reterr)
{
	struct et_view value = { NULL, 0 };
	uint32_t type = 0;

	int rc = et_tape_items_next(&r->reader, "meta", &type, &value, reterr);
	if (rc <= 0) {
		return rc;
	}
	*ret = (struct et_meta_item){ .type = type, .raw = value };
	if (type_is_known(type)) {
		struct et_reader inner = et_reader_of(value.data, value.size);
		types[type].get(&inner, ret);
		if (inner.failed) {
			r->reader.failed = true;
			return et_fail(reterr, ET_EMALFORMED, "item of type %u in a meta record",
				       type);
		}
	}
	return 1;
}
