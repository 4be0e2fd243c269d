#include "node/daemon/proposer.h"

#include <stdlib.h>
#include <string.h>

#include "node/crypto/hash.h"
#include "node/daemon/hashmap.h"

/* A lane holds the commands of one recording. It is in one place at a time:
 *
 *   READY ──▶ IN_FLIGHT ──▶ READY (next command)      answered
 *     ▲           │
 *     └── RESTING ◀┘                                  not answered: again in ET_PROPOSER_RETRY_MS
 */
enum lane_state { LANE_READY, LANE_IN_FLIGHT, LANE_RESTING };

struct pending {
	struct pending *next;
	struct et_buffer packed; /* owned */
	Et__Command *command;	 /* owned: the same, read */
};

struct lane {
	UT_hash_handle hh;
	uint8_t key[16];
	struct et_proposer *proposer;
	struct pending *first;
	struct pending *last;
	struct lane *next; /* in the ready or resting list */
	enum lane_state state;
};

struct lane_list {
	struct lane *first;
	struct lane *last;
};

struct et_proposer {
	struct et_proposer_config config;
	uv_timer_t retry;
	struct lane *lanes; /* by key */
	struct lane_list ready;
	struct lane_list resting;
	size_t pending;
	size_t in_flight;
	uint64_t lone; /* makes a lane of its own for a command without a recording */
	bool pumping;
	bool stopping;
	bool timer_closed;
	void (*closed)(void *arg);
	void *closed_arg;
};

static void list_add(struct lane_list *list, struct lane *lane)
{
	lane->next = NULL;
	if (list->first == NULL) {
		list->first = lane;
	} else {
		list->last->next = lane;
	}
	list->last = lane;
}

static struct lane *list_take(struct lane_list *list)
{
	struct lane *lane = list->first;
	if (lane != NULL) {
		list->first = lane->next;
		lane->next = NULL;
	}
	return lane;
}

static void pending_free(struct pending *entry)
{
	et_buffer_release(&entry->packed);
	et_command_free(entry->command);
	free(entry);
}

/* What is told of one thing stays in order: the last telling counts. */
static void key_of_text(char kind, const char *text, uint8_t key[16])
{
	struct et_buffer b = { 0 };
	uint8_t hash[32];

	et_buffer_add8(&b, (uint8_t)kind);
	et_buffer_printf(&b, "%s", text);
	et_sha256(b.data, b.failed ? 0 : b.size, hash);
	memcpy(key, hash, 16);
	et_buffer_release(&b);
}

static void key_of_subject(const Et__Subject *about, uint8_t key[16])
{
	ProtobufCBinaryData id = about->recording.len == 16 ? about->recording : about->call;

	if (id.len == 16) {
		memcpy(key, id.data, 16);
	} else {
		key_of_text('i', about->sip_call_id, key);
	}
}

/* The recording that a command is about, or an empty view. */
static struct et_view command_recording(const Et__Command *command)
{
	ProtobufCBinaryData id = { 0 };

	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_RECORDING_OPEN:
		id = command->recording_open->recording->id;
		break;
	case ET__COMMAND__BODY_RECORDING_UPDATE:
		id = command->recording_update->recording->id;
		break;
	case ET__COMMAND__BODY_RECORDING_CLOSE:
		id = command->recording_close->recording->id;
		break;
	case ET__COMMAND__BODY_SEGMENT_OPEN:
		id = command->segment_open->segment->recording;
		break;
	case ET__COMMAND__BODY_SEGMENT_SEAL:
		id = command->segment_seal->recording;
		break;
	case ET__COMMAND__BODY_RECORDING_IMPORT:
		id = command->recording_import->recording->id;
		break;
	default: /* Any other command stands alone. */
		break;
	}
	return (struct et_view){ .data = id.data, .size = id.len };
}

static void proposer_key(struct et_proposer *p, const Et__Command *command, uint8_t key[16])
{
	struct et_view id = command_recording(command);

	if (id.size == 16) {
		memcpy(key, id.data, 16);
		return;
	}
	switch ((int)command->body_case) {
	case ET__COMMAND__BODY_FACT_ADD:
		key_of_subject(command->fact_add->about, key);
		break;
	case ET__COMMAND__BODY_TAG_SET:
		key_of_subject(command->tag_set->about, key);
		break;
	case ET__COMMAND__BODY_NOTE_ADD:
		key_of_subject(command->note_add->about, key);
		break;
	case ET__COMMAND__BODY_AGENT_SET:
		key_of_text('a', command->agent_set->agent->id, key);
		break;
	default: /* It stands alone. No UUIDv7 begins with 8 zero bytes. */
		memset(key, 0, 16);
		et_put64(key + 8, ++p->lone);
		break;
	}
}

static void lane_drop(struct et_proposer *p, struct lane *lane)
{
	et_assert(lane->first == NULL);
	HASH_DEL(p->lanes, lane);
	free(lane);
}

static void proposer_pump(struct et_proposer *p);

/* Without a result nobody has decided about the command: no quorum, a full disk below the Raft log,
 * anything. It stays in the journal. Only bytes that no catalogue can ever read are given up. */
static bool is_hopeless(int code)
{
	return code == ET_EMALFORMED || code == ET_ECORRUPT;
}

static void proposer_finish_stop(struct et_proposer *p)
{
	if (!p->stopping || !p->timer_closed || p->in_flight > 0) {
		return;
	}
	struct lane *lane;
	struct lane *next;
	HASH_ITER(hh, p->lanes, lane, next)
	{
		while (lane->first != NULL) {
			struct pending *entry = lane->first;
			lane->first = entry->next;
			pending_free(entry);
		}
		lane_drop(p, lane);
	}
	void (*closed)(void *arg) = p->closed;
	void *arg = p->closed_arg;
	free(p);
	if (closed != NULL) {
		closed(arg);
	}
}

static void proposer_on_timer(uv_timer_t *timer)
{
	struct et_proposer *p = ET_CONTAINER_OF(timer, struct et_proposer, retry);
	struct lane *lane;

	while ((lane = list_take(&p->resting)) != NULL) {
		lane->state = LANE_READY;
		list_add(&p->ready, lane);
	}
	proposer_pump(p);
}

static void lane_on_result(void *arg, int code, const Et__Result *result)
{
	struct lane *lane = arg;
	struct et_proposer *p = lane->proposer;

	et_assert(lane->state == LANE_IN_FLIGHT);
	p->in_flight--;
	if (p->stopping) {
		lane->state = LANE_RESTING;
		proposer_finish_stop(p);
		return;
	}
	if (result == NULL && !is_hopeless(code)) {
		lane->state = LANE_RESTING;
		list_add(&p->resting, lane);
		if (!uv_is_active((uv_handle_t *)&p->retry)) {
			(void)uv_timer_start(&p->retry, proposer_on_timer, ET_PROPOSER_RETRY_MS, 0);
		}
		return;
	}

	struct pending *entry = lane->first;
	lane->first = entry->next;
	p->pending--;
	et_journal_committed(p->config.journal, entry->command->op);
	if (p->config.on_done != NULL) {
		p->config.on_done(p->config.arg, entry->command, code, result);
	}
	pending_free(entry);
	if (lane->first == NULL) {
		lane_drop(p, lane);
	} else {
		lane->state = LANE_READY;
		list_add(&p->ready, lane);
	}
	proposer_pump(p);
}

static void proposer_pump(struct et_proposer *p)
{
	if (p->pumping || p->stopping) {
		return;
	}
	p->pumping = true;
	while (p->in_flight < ET_PROPOSER_IN_FLIGHT_MAX && p->ready.first != NULL) {
		struct lane *lane = list_take(&p->ready);
		struct et_view packed = { lane->first->packed.data, lane->first->packed.size };
		lane->state = LANE_IN_FLIGHT;
		p->in_flight++;
		p->config.propose(p->config.arg, packed, 0, lane_on_result, lane);
	}
	p->pumping = false;
}

static struct lane *proposer_lane(struct et_proposer *p, const uint8_t key[16])
{
	struct lane *lane = NULL;

	HASH_FIND(hh, p->lanes, key, 16, lane);
	if (lane != NULL) {
		return lane;
	}
	lane = calloc(1, sizeof(*lane));
	if (lane == NULL) {
		return NULL;
	}
	memcpy(lane->key, key, 16);
	lane->proposer = p;
	lane->state = LANE_READY;
	HASH_ADD(hh, p->lanes, key, 16, lane);
	list_add(&p->ready, lane);
	return lane;
}

static int proposer_take(struct et_proposer *p, struct et_view packed)
{
	struct pending *entry = calloc(1, sizeof(*entry));
	if (entry == NULL) {
		return -ENOMEM;
	}
	et_buffer_add(&entry->packed, packed.data, packed.size);
	int rc = entry->packed.failed
			 ? -ENOMEM
			 : et_command_unpack(packed.data, packed.size, &entry->command, NULL);
	if (rc < 0) {
		pending_free(entry);
		return rc;
	}

	uint8_t key[16];
	proposer_key(p, entry->command, key);
	struct lane *lane = proposer_lane(p, key);
	if (lane == NULL) {
		pending_free(entry);
		return -ENOMEM;
	}
	if (lane->first == NULL) {
		lane->first = entry;
	} else {
		lane->last->next = entry;
	}
	lane->last = entry;
	p->pending++;
	return 0;
}

int et_proposer_add(struct et_proposer *p, struct et_view packed)
{
	int rc = proposer_take(p, packed);
	proposer_pump(p);
	return rc;
}

static int proposer_on_journal(void *arg, const Et__Command *command, struct et_view packed)
{
	(void)command;
	return proposer_take(arg, packed);
}

int et_proposer_start(const struct et_proposer_config *config, struct et_proposer **ret,
		      struct et_error *reterr)
{
	struct et_proposer *p = calloc(1, sizeof(*p));
	if (p == NULL) {
		return et_fail(reterr, -ENOMEM, "start the proposer");
	}
	p->config = *config;
	int rc = uv_timer_init(config->loop, &p->retry);
	et_assert(rc == 0); /* It only links the handle into the loop. */

	rc = et_journal_each_pending(config->journal, proposer_on_journal, p);
	if (rc < 0) {
		et_proposer_stop(p, NULL, NULL);
		return et_fail(reterr, rc, "read what the journal holds");
	}
	*ret = p;
	proposer_pump(p);
	return 0;
}

size_t et_proposer_pending(const struct et_proposer *p)
{
	return p->pending;
}

int et_proposer_each_pending(struct et_proposer *p,
			     int (*fn)(void *arg, const Et__Command *command), void *arg)
{
	struct lane *lane;
	struct lane *next;

	HASH_ITER(hh, p->lanes, lane, next)
	{
		for (struct pending *entry = lane->first; entry != NULL; entry = entry->next) {
			int rc = fn(arg, entry->command);
			if (rc != 0) {
				return rc;
			}
		}
	}
	return 0;
}

static void proposer_on_closed(uv_handle_t *handle)
{
	struct et_proposer *p = ET_CONTAINER_OF((uv_timer_t *)handle, struct et_proposer, retry);
	p->timer_closed = true;
	proposer_finish_stop(p);
}

void et_proposer_stop(struct et_proposer *p, void (*closed)(void *arg), void *arg)
{
	et_assert(!p->stopping);
	p->stopping = true;
	p->closed = closed;
	p->closed_arg = arg;
	uv_close((uv_handle_t *)&p->retry, proposer_on_closed);
}
