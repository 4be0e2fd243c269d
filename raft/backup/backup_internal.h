/* Inside raft/backup: numbers of the formats. */
#ifndef ET_RAFT_BACKUP_BACKUP_INTERNAL_H
#define ET_RAFT_BACKUP_BACKUP_INTERNAL_H

#include "raft/backup/backup.h"

#define BACKUP_MAGIC "EVBK"
#define BACKUP_END_MAGIC "EVBE"
#define BACKUP_VERSION 1
#define SEALED_MAX (ET_BACKUP_CHUNK_MAX + 1 + 16)
#define TRAILER_BYTES (4 + 64)
#define WRAP_INFO "evertape backup/1"

#define LEDGER_MAGIC "EVEL"
#define LEDGER_VERSION 1
#define LEDGER_FIXED (4 + 4 + 16 + 8 + 32 + 4) /* up to and with the length of the list */
#define LEDGER_MEMBERS_MAX (1024UL * 1024)
#define LEDGER_SIGNED 33 /* bytes of a record before its signature */
#define LEDGER_RECORD (LEDGER_SIGNED + 64)
enum { LEDGER_ERASURE = 1, LEDGER_MARK = 2 };

static inline bool backup_name_is_plain(const char *name, size_t size)
{
	bool good = size > 0 && size <= ET_BACKUP_NAME_MAX && name[0] != '.';

	for (size_t i = 0; good && i < size; i++) {
		good = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
		       (name[i] >= '0' && name[i] <= '9') || name[i] == '.' || name[i] == '_' ||
		       name[i] == '-';
	}
	return good;
}

/* What wraps the data key is bound to what the head says (all before the key). */
void backup_wrap_aad(const struct et_backup_head *head, uint8_t ret[92]);

#endif
