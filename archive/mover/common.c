#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "archive/mover/mover_internal.h"
#include "node/base/log.h"
#include "node/io/clock.h"

#define PROPOSE_ATTEMPTS 10
#define PROPOSE_PAUSE_MS 500
#define ANSWER_MAX_S 60 /* of a stopping process whose loop will never answer: 5 s */

void mover_place_target(const char *target, char ret[MOVER_PLACE_SIZE])
{
	(void)snprintf(ret, MOVER_PLACE_SIZE, "target:%s", target);
}

const char *mover_target_of(const char *place)
{
	return strncmp(place, "target:", 7) == 0 ? place + 7 : NULL;
}

ProtobufCBinaryData mover_bytes(const void *data, size_t size)
{
	union {
		const void *in;
		uint8_t *out;
	} view = { .in = data };
	return (ProtobufCBinaryData){ .len = size, .data = view.out };
}

void mover_segment_text(const uint8_t recording[16], uint32_t generation, uint32_t segment,
			char ret[MOVER_SEGMENT_TEXT_SIZE])
{
	char id[ET_UUID_TEXT_SIZE];
	et_uuid_format(recording, id);
	(void)snprintf(ret, MOVER_SEGMENT_TEXT_SIZE, "%s-g%u-s%u", id, generation, segment);
}

int mover_path(const char *media, const char *file, char ret[MOVER_PATH_MAX])
{
	size_t size = strlen(file);
	bool out = size == 0 || file[0] == '/' || strcmp(file, "..") == 0 ||
		   strncmp(file, "../", 3) == 0 || strstr(file, "/../") != NULL ||
		   (size >= 3 && strcmp(file + size - 3, "/..") == 0);
	int n = snprintf(ret, MOVER_PATH_MAX, "%s/%s", media, file);
	return out || n < 0 || n >= MOVER_PATH_MAX ? ET_EMALFORMED : 0;
}

/* ---- Copies ---- */

struct copy_search {
	uint32_t generation;
	uint32_t segment;
	const char *place;
	Et__Copy *found;
};

static Et__Copy *copy_dup(const Et__Copy *copy)
{
	size_t size = et__copy__get_packed_size(copy);
	uint8_t *packed = malloc(size + 1);
	if (packed == NULL) {
		return NULL;
	}
	(void)et__copy__pack(copy, packed);
	Et__Copy *ret = et__copy__unpack(NULL, size, packed);
	free(packed);
	return ret;
}

static int copy_search_take(void *arg, const Et__Copy *copy)
{
	struct copy_search *s = arg;
	if (copy->generation != s->generation || copy->segment != s->segment ||
	    copy->state != ET__COPY__STATE__VERIFIED || strcmp(copy->place, s->place) != 0) {
		return 0;
	}
	s->found = copy_dup(copy);
	return s->found == NULL ? -ENOMEM : 1;
}

int mover_copy_get(const struct et_state_view *v, const uint8_t recording[16], uint32_t generation,
		   uint32_t segment, const char *place, Et__Copy **ret)
{
	struct copy_search s = { .generation = generation, .segment = segment, .place = place };
	int rc = et_state_each_copy_of(v, recording, copy_search_take, &s);
	if (rc < 0) {
		return rc;
	}
	if (s.found == NULL) {
		return ET_ENOTFOUND;
	}
	*ret = s.found;
	return 0;
}

/* ---- Propose ---- */

/* Shared by who waits and by the callback; the last of the two frees it. */
struct answer {
	pthread_mutex_t lock;
	pthread_cond_t here;
	bool answered;
	bool abandoned;
	int code;
	char text[256];
};

static void answer_free(struct answer *a)
{
	(void)pthread_mutex_destroy(&a->lock);
	(void)pthread_cond_destroy(&a->here);
	free(a);
}

static void answer_take(void *arg, int code, const Et__Result *result)
{
	struct answer *a = arg;
	(void)pthread_mutex_lock(&a->lock);
	a->answered = true;
	a->code = code;
	if (result != NULL && result->text != NULL) {
		(void)snprintf(a->text, sizeof(a->text), "%s", result->text);
	}
	bool abandoned = a->abandoned;
	(void)pthread_cond_signal(&a->here);
	(void)pthread_mutex_unlock(&a->lock);
	if (abandoned) {
		answer_free(a);
	}
}

static struct answer *answer_new(void)
{
	struct answer *a = calloc(1, sizeof(*a));
	if (a != NULL && pthread_mutex_init(&a->lock, NULL) != 0) {
		free(a);
		return NULL;
	}
	if (a != NULL && pthread_cond_init(&a->here, NULL) != 0) {
		(void)pthread_mutex_destroy(&a->lock);
		free(a);
		return NULL;
	}
	return a;
}

/* Wait for the answer. ET_EUNKNOWN: none came; `a` belongs to the callback then. */
static int answer_wait(struct et_mover *m, struct answer *a, struct et_error *reterr)
{
	int64_t begin = et_clock_mono_us();
	(void)pthread_mutex_lock(&a->lock);
	while (!a->answered) {
		struct timespec until;
		int64_t limit_s = atomic_load(&m->stopping) ? 5 : ANSWER_MAX_S;
		if (et_clock_mono_us() - begin > limit_s * 1000000) {
			a->abandoned = true;
			(void)pthread_mutex_unlock(&a->lock);
			return et_fail(reterr, ET_EUNKNOWN, "propose");
		}
		(void)clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		(void)pthread_cond_timedwait(&a->here, &a->lock, &until);
	}
	int code = a->code;
	(void)pthread_mutex_unlock(&a->lock);
	if (code < 0 && a->text[0] != '\0') {
		(void)et_fail_plain(reterr, code, "%s", a->text);
	} else if (code < 0) {
		(void)et_fail(reterr, code, "propose");
	}
	answer_free(a);
	return code;
}

bool mover_is_unsaid(int code)
{
	return code == ET_ENOQUORUM || code == ET_EUNKNOWN || code == ET_ELIMIT ||
	       code == ET_ENOTLEADER || code == ET_EBUSY;
}

int mover_propose(struct et_mover *m, Et__Command *command, struct et_error *reterr)
{
	int rc = ET_EUNKNOWN;
	command->principal = m->place;
	for (unsigned i = 0; i < PROPOSE_ATTEMPTS; i++) {
		if (atomic_load(&m->stopping)) {
			return et_fail(reterr, ET_ECLOSED, "the mover");
		}
		struct answer *a = answer_new();
		if (a == NULL) {
			return et_fail(reterr, -ENOMEM, "propose");
		}
		rc = m->config.propose(m->config.arg, command, answer_take, a);
		if (rc < 0) {
			answer_free(a);
			(void)et_fail(reterr, rc, "propose");
		} else {
			rc = answer_wait(m, a, reterr);
		}
		if (!mover_is_unsaid(rc)) {
			return rc;
		}
		struct timespec pause = { .tv_nsec = PROPOSE_PAUSE_MS * 1000000L };
		(void)nanosleep(&pause, NULL); /* what is repeated is not known to be lost */
	}
	return rc;
}

void mover_report_bad(struct et_mover *m, const struct mover_segment *s, const char *place,
		      const char *why)
{
	char text[MOVER_SEGMENT_TEXT_SIZE];
	char place_copy[MOVER_PLACE_SIZE];
	char why_copy[256];
	struct et_error e = { 0 };
	Et__Copy copy = ET__COPY__INIT;
	Et__CopyBad bad = ET__COPY_BAD__INIT;
	Et__Command command = ET__COMMAND__INIT;
	mover_segment_text(s->recording, s->generation, s->segment, text);
	(void)snprintf(place_copy, sizeof(place_copy), "%s", place);
	(void)snprintf(why_copy, sizeof(why_copy), "%s", why);
	copy.recording = mover_bytes(s->recording, 16);
	copy.generation = s->generation;
	copy.segment = s->segment;
	copy.place = place_copy;
	copy.state = ET__COPY__STATE__BAD;
	bad.copy = &copy;
	bad.why = why_copy;
	command.body_case = ET__COMMAND__BODY_COPY_BAD;
	command.copy_bad = &bad;
	et_warn("archive.copy_bad", "segment=%s place=%s", text, place);
	if (mover_propose(m, &command, &e) < 0) {
		char quoted[256];
		et_warn("archive.copy_bad_unsaid", "segment=%s place=%s error=%s", text, place,
			et_log_quote(e.text, quoted, sizeof(quoted)));
	}
}

/* ---- Targets ---- */

bool mover_is_passing(int code)
{
	return code == ET_EUNREACHABLE || code == ET_EUNTRUSTED || code == ET_EDENIED ||
	       code == ET_EKEYPERM || code == ET_ENOTFOUND || code == -ENOSPC || code == -EDQUOT ||
	       code == -ENOENT || code == -EACCES || code == -EROFS || code == -ESTALE ||
	       code == -ENOMEM;
}

/* The lock is held. NULL: more targets than a policy has. */
static struct mover_target *target_of(struct et_mover *m, const char *name)
{
	for (size_t i = 0; i < m->target_count; i++) {
		if (strcmp(m->targets[i].name, name) == 0) {
			return &m->targets[i];
		}
	}
	if (m->target_count == ET_ARCHIVE_TARGETS_MAX || strlen(name) > ET_ARCHIVE_NAME_MAX) {
		return NULL;
	}
	struct mover_target *t = &m->targets[m->target_count++];
	*t = (struct mover_target){ 0 };
	(void)snprintf(t->name, sizeof(t->name), "%s", name);
	return t;
}

void mover_target_ok(struct et_mover *m, const char *target)
{
	(void)pthread_mutex_lock(&m->lock);
	struct mover_target *t = target_of(m, target);
	if (t != NULL) {
		t->last_ok_us = et_clock_now_us();
		t->pause_us = 0;
		t->not_before_us = 0;
	}
	(void)pthread_mutex_unlock(&m->lock);
}

void mover_target_failed(struct et_mover *m, const char *target, const struct et_error *e)
{
	char quoted[400];
	et_warn("archive.target_failed", "target=%s error=%s", target,
		et_log_quote(e->text, quoted, sizeof(quoted)));
	(void)pthread_mutex_lock(&m->lock);
	struct mover_target *t = target_of(m, target);
	if (t != NULL) {
		t->last_error_us = et_clock_now_us();
		(void)snprintf(t->last_error, sizeof(t->last_error), "%.255s", e->text);
		t->pause_us = t->pause_us == 0 ? MOVER_PAUSE_MIN_US : t->pause_us * 2;
		if (t->pause_us > MOVER_PAUSE_MAX_US) {
			t->pause_us = MOVER_PAUSE_MAX_US;
		}
		t->not_before_us = et_clock_mono_us() + t->pause_us;
	}
	(void)pthread_mutex_unlock(&m->lock);
}

int64_t mover_target_pause(struct et_mover *m, const char *target)
{
	(void)pthread_mutex_lock(&m->lock);
	struct mover_target *t = target_of(m, target);
	int64_t until = t == NULL ? 0 : t->not_before_us;
	(void)pthread_mutex_unlock(&m->lock);
	return until > et_clock_mono_us() ? until : 0;
}
