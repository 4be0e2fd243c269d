#include <isa-l/crc.h>

#include "raft/catalog/catalog_internal.h"

/* libraft's checksum of its log, by ISA-L (carry-less multiplication where the machine has it, some
 * 20 GB/s): libraft's own takes a byte at a time (0.4 GB/s), and every node makes it of every
 * entry. It was a fifth of the leader's loop and two fifths of a follower's. The value is the same,
 * so logs stay readable either way.
 *
 * libraft is linked statically for this (ops/cmake/Dependencies.cmake): the linker gives its calls
 * of byteCrc32() to the function below. Polynomial 0x04c11db7, most significant bit first, nothing
 * inverted (ISA-L inverts before and behind); `init` is what the bytes before it gave. */

/* The name is the linker's. */
unsigned __wrap_byteCrc32(const void *buf, size_t size, unsigned init)
{
	return ~crc32_ieee(~init, buf, size);
}
