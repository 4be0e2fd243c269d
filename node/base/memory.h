/* How the C library keeps memory. */
#ifndef ET_NODE_BASE_MEMORY_H
#define ET_NODE_BASE_MEMORY_H

/* Keep what is freed for the next allocation, instead of giving it back to the kernel at once: up
 * to 64 MiB at the end of each of the C library's heaps. A node takes and frees buffers of 64 KiB
 * to some MiB all the time (entries of the log, RocksDB's memtables); given back, each comes as
 * fresh pages, one fault for every 4 KiB. Measured with bench-commit: 10 to 14 % of a node's CPU
 * time.
 *
 * Once, at the start of a program, before it has threads. It cannot fail: what the C library does
 * not know of it does not do. */
void et_memory_keep(void);

#endif
