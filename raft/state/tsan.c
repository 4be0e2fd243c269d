/* Debian's librocksdb (and what it compresses with) is not built with the thread sanitizer, which
 * therefore sees what RocksDB reads and writes through memcpy() and the like, but not the locks and
 * atomics that order it. And libuv's threads, not built with it either, open files under numbers
 * that another thread has just given back by closedir(). Linked into every program that uses the
 * state; weak, so that a program may say more. */
#include "raft/state/state_internal.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)

const char *__tsan_default_suppressions(void);

__attribute__((weak, visibility("default"))) const char *__tsan_default_suppressions(void)
{
	return "called_from_lib:librocksdb.so\n"
	       "called_from_lib:liblz4.so\n"
	       "called_from_lib:libzstd.so\n"
	       "called_from_lib:libprotobuf-c.so\n"
	       "race:librocksdb.so\n"
	       "race:closedir\n"
	       "mutex:compactions_give_way\n"; /* RocksDB locks, and jumps to the unlock */
}

#endif

/* Referenced by et_state_open(), so that the linker takes this file in. */
void state_tsan_note(void)
{
}
