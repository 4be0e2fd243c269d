#include "node/daemon/live.h"

#include <stdlib.h>
#include <string.h>

#include "node/daemon/hashmap.h"

struct et_live_entry {
	UT_hash_handle hh;
	uint8_t recording[16];
	Et__Recording *record; /* owned */
};

/* protobuf-c has no copy: pack and read back. */
static Et__Recording *record_copy(const Et__Recording *record)
{
	struct et_buffer packed = { 0 };
	uint8_t *p = et_buffer_reserve(&packed, et__recording__get_packed_size(record));
	Et__Recording *copy = NULL;

	if (p != NULL) {
		copy = et__recording__unpack(NULL, et__recording__pack(record, p), p);
	}
	et_buffer_release(&packed);
	return copy;
}

static void live_drop(struct et_live *live, struct et_live_entry *entry)
{
	HASH_DEL(live->entries, entry);
	et__recording__free_unpacked(entry->record, NULL);
	free(entry);
	live->count--;
}

void et_live_set(struct et_live *live, const uint8_t recording[16], const Et__Recording *record)
{
	struct et_live_entry *entry = NULL;

	HASH_FIND(hh, live->entries, recording, 16, entry);
	if (record == NULL) {
		if (entry != NULL) {
			live_drop(live, entry);
		}
		return;
	}
	Et__Recording *copy = record_copy(record);
	if (copy == NULL) {
		return; /* What is known stays as it was: it is for display only. */
	}
	if (entry == NULL) {
		entry = calloc(1, sizeof(*entry));
		if (entry == NULL) {
			et__recording__free_unpacked(copy, NULL);
			return;
		}
		memcpy(entry->recording, recording, 16);
		HASH_ADD(hh, live->entries, recording, 16, entry);
		live->count++;
	} else {
		et__recording__free_unpacked(entry->record, NULL);
	}
	entry->record = copy;
}

void et_live_each(const struct et_live *live, void (*fn)(void *arg, const Et__Recording *record),
		  void *arg)
{
	struct et_live_entry *entry;
	struct et_live_entry *next;

	HASH_ITER(hh, live->entries, entry, next)
	{
		fn(arg, entry->record);
	}
}

void et_live_release(struct et_live *live)
{
	struct et_live_entry *entry;
	struct et_live_entry *next;

	HASH_ITER(hh, live->entries, entry, next)
	{
		live_drop(live, entry);
	}
}
