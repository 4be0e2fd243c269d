/* What is told of a recording, folded together so that the order of telling matters little: an
 * update that was overtaken by the close adds what it alone knows and changes nothing else. */
#include "raft/state/state_internal.h"

/* `replace`: what is told wins; else it only fills what is empty. */
static int text_merge(char **text, const char *told, bool replace)
{
	if (told[0] == '\0' || (!replace && (*text)[0] != '\0') || strcmp(*text, told) == 0) {
		return 0;
	}
	char *copy = strdup(told);
	if (copy == NULL) {
		return -ENOMEM;
	}
	if (*text != protobuf_c_empty_string) {
		free(*text);
	}
	*text = copy;
	return 0;
}

static int bytes_fill(ProtobufCBinaryData *bytes, ProtobufCBinaryData told)
{
	if (bytes->len > 0 || told.len == 0) {
		return 0;
	}
	uint8_t *copy = malloc(told.len);
	if (copy == NULL) {
		return -ENOMEM;
	}
	memcpy(copy, told.data, told.len);
	*bytes = (ProtobufCBinaryData){ told.len, copy };
	return 0;
}

/* A deep copy, through its bytes. */
static void *message_copy(const void *message)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	uint8_t *packed = malloc(size + 1);
	ProtobufCMessage *copy = NULL;

	if (packed != NULL) {
		(void)protobuf_c_message_pack(message, packed);
		copy = protobuf_c_message_unpack(((const ProtobufCMessage *)message)->descriptor,
						 NULL, size, packed);
	}
	free(packed);
	return copy;
}

static int list_add(void ***list, size_t *count, void *element)
{
	void **p = realloc(*list, (*count + 1) * sizeof(*p));

	if (p == NULL) {
		return -ENOMEM;
	}
	p[(*count)++] = element;
	*list = p;
	return 0;
}

/* ---- Streams ---- */

static bool stream_is(const Et__Stream *a, const Et__Stream *b)
{
	return a->ssrc == b->ssrc && a->stream == b->stream && strcmp(a->src, b->src) == 0 &&
	       strcmp(a->dst, b->dst) == 0;
}

/* Of two tellings of one stream: the one that saw more. Counters of a stream only grow, but for
 * `lost`, which late packets heal. */
static bool stream_is_newer(const Et__Stream *told, const Et__Stream *known)
{
	if (told->packets != known->packets) {
		return told->packets > known->packets;
	}
	return told->last_us >= known->last_us;
}

static int stream_merge(Et__Recording *r, const Et__Stream *told)
{
	for (size_t i = 0; i < r->n_streams; i++) {
		if (!stream_is(r->streams[i], told)) {
			continue;
		}
		if (stream_is_newer(told, r->streams[i])) {
			Et__Stream *copy = message_copy(told);
			if (copy == NULL) {
				return -ENOMEM;
			}
			et__stream__free_unpacked(r->streams[i], NULL);
			r->streams[i] = copy;
		}
		return 0;
	}
	if (r->n_streams >= ET_COMMAND_STREAMS_MAX) {
		return text_merge(&r->problem, "more streams than are listed", false);
	}
	Et__Stream *copy = message_copy(told);
	void **list = (void **)r->streams;
	if (copy == NULL || list_add(&list, &r->n_streams, copy) < 0) {
		message_freep(&copy);
		return -ENOMEM;
	}
	r->streams = (Et__Stream **)list;
	return 0;
}

/* ---- Gaps ---- */

static bool gap_is(const Et__Gap *a, const Et__Gap *b)
{
	return a->from_us == b->from_us && strcmp(a->cause, b->cause) == 0;
}

static int gap_merge(Et__Recording *r, const Et__Gap *told)
{
	for (size_t i = 0; i < r->n_gaps; i++) {
		Et__Gap *g = r->gaps[i];
		if (gap_is(g, told)) {
			g->to_us = told->to_us > g->to_us ? told->to_us : g->to_us;
			return 0;
		}
	}
	if (r->n_gaps >= ET_COMMAND_GAPS_MAX) {
		return text_merge(&r->problem, "more gaps than are listed", false);
	}
	Et__Gap *copy = message_copy(told);
	void **list = (void **)r->gaps;
	if (copy == NULL || list_add(&list, &r->n_gaps, copy) < 0) {
		message_freep(&copy);
		return -ENOMEM;
	}
	r->gaps = (Et__Gap **)list;
	return 0;
}

/* ---- Sessions ---- */

/* The newest metadata is what counts. */
static int session_merge(Et__Recording *r, const Et__Session *told)
{
	if (told == NULL || (r->session != NULL && r->session->revision >= told->revision)) {
		return 0;
	}
	Et__Session *copy = message_copy(told);
	if (copy == NULL) {
		return -ENOMEM;
	}
	message_freep(&r->session);
	r->session = copy;
	return 0;
}

static int imported_merge(Et__Recording *r, const Et__Imported *told)
{
	if (told == NULL || r->imported != NULL) {
		return 0;
	}
	r->imported = message_copy(told);
	return r->imported != NULL ? 0 : -ENOMEM;
}

/* ---- Recordings ---- */

static int texts_merge(Et__Recording *r, const Et__Recording *told, bool replace)
{
	const struct {
		char **text;
		const char *told;
		bool replace;
	} rows[] = {
		{ &r->site, told->site, false },
		{ &r->from, told->from, replace },
		{ &r->to, told->to, replace },
		{ &r->from_uri, told->from_uri, replace },
		{ &r->to_uri, told->to_uri, replace },
		{ &r->sip_call_id, told->sip_call_id, replace },
		{ &r->direction, told->direction, replace },
		{ &r->call_state, told->call_state, replace },
		{ &r->rule, told->rule, replace },
		{ &r->problem, told->problem, replace },
		{ &r->joined, told->joined, replace },
		{ &r->kept, told->kept, false },
	};
	int rc = 0;

	for (size_t i = 0; i < ET_ARRAY_SIZE(rows) && rc == 0; i++) {
		rc = text_merge(rows[i].text, rows[i].told, rows[i].replace);
	}
	return rc;
}

static int64_t time_merge(int64_t known, int64_t told, bool replace)
{
	return told != 0 && (replace || known == 0) ? told : known;
}

static Et__RecordingState state_merge(Et__RecordingState known, const Et__Recording *told,
				      enum merge how)
{
	if (how != MERGE_CLOSE || known != ET__RECORDING_STATE__CAPTURING) {
		return known;
	}
	return told->state == ET__RECORDING_STATE__LOST ? ET__RECORDING_STATE__LOST
							: ET__RECORDING_STATE__SEALED;
}

int recording_merge(Et__Recording *r, const Et__Recording *told, enum merge how)
{
	bool replace = how != MERGE_OPEN && r->state == ET__RECORDING_STATE__CAPTURING;

	int rc = texts_merge(r, told, replace);
	if (rc == 0) {
		rc = bytes_fill(&r->call, told->call);
	}
	for (size_t i = 0; i < told->n_streams && rc == 0; i++) {
		rc = stream_merge(r, told->streams[i]);
	}
	for (size_t i = 0; i < told->n_gaps && rc == 0; i++) {
		rc = gap_merge(r, told->gaps[i]);
	}
	if (rc == 0) {
		rc = session_merge(r, told->session);
	}
	rc = rc < 0 ? rc : imported_merge(r, told->imported);
	if (rc < 0) {
		return rc;
	}
	r->start_us = time_merge(r->start_us, told->start_us, false);
	r->answer_us = time_merge(r->answer_us, told->answer_us, replace);
	r->end_us = told->end_us > r->end_us ? told->end_us : r->end_us;
	r->kept_us = time_merge(r->kept_us, told->kept_us, false);
	if (told->capture_drops > r->capture_drops) {
		r->capture_drops = told->capture_drops;
	}
	if (told->keys != 0 && (replace || r->keys == 0)) {
		r->keys = told->keys;
	}
	r->tones = told->tones > r->tones ? told->tones : r->tones; /* never less than once said */
	r->state = state_merge(r->state, told, how);
	return 0;
}

/* Longer lists are not looked through here. */
#define PLAIN_MAX 8

static bool lists_are_plain(const Et__Recording *told)
{
	if (told->n_streams > PLAIN_MAX || told->n_gaps > PLAIN_MAX) {
		return false;
	}
	for (size_t i = 0; i < told->n_streams; i++) {
		for (size_t k = 0; k < i; k++) {
			if (stream_is(told->streams[i], told->streams[k])) {
				return false;
			}
		}
	}
	for (size_t i = 0; i < told->n_gaps; i++) {
		for (size_t k = 0; k < i; k++) {
			if (gap_is(told->gaps[i], told->gaps[k])) {
				return false;
			}
		}
	}
	return true;
}

bool recording_begin(const Et__Recording *told, enum merge how, Et__Recording *ret)
{
	if (!lists_are_plain(told)) {
		return false;
	}
	*ret = *told;
	ret->base.n_unknown_fields = 0;
	ret->base.unknown_fields = NULL;
	ret->end_us = told->end_us > 0 ? told->end_us : 0;
	ret->state = state_merge(ET__RECORDING_STATE__CAPTURING, told, how);
	/* What apply alone sets. */
	ret->opened_index = 0;
	ret->ended_us = 0;
	ret->erased_us = 0;
	ret->erased_index = ret->erased_audit = 0;
	ret->n_redactions = 0;
	ret->redactions = NULL;
	ret->hand = NULL;
	return true;
}
