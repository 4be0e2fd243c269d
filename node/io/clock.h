/* Time and randomness: the seam that a simulation replaces (link node/io/fake instead).
 *
 * Threads: any. */
#ifndef ET_NODE_IO_CLOCK_H
#define ET_NODE_IO_CLOCK_H

#include <stdint.h>

#include "node/base/defs.h"

/* Microseconds since 1970-01-01T00:00:00Z (CLOCK_REALTIME): what users see. May jump. */
int64_t et_clock_now_us(void);

/* Microseconds of a clock that never jumps (CLOCK_MONOTONIC): for intervals. */
int64_t et_clock_mono_us(void);

/* `size` bytes from the kernel's generator. Never fails: aborts if the kernel has none. */
void et_random(void *ret, size_t size);

/* A UUID version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, 74 random bits. */
void et_uuid7(uint8_t ret[16]);

/* "018f2b9c-…" : 36 characters and a NUL. */
#define ET_UUID_TEXT_SIZE 37
void et_uuid_format(const uint8_t uuid[16], char text[ET_UUID_TEXT_SIZE]);

/* Reads the 36-character form (or 32 digits without dashes). false: it is neither. */
_Bool et_uuid_parse(const char *text, uint8_t ret[16]);

/* RFC 3339 in UTC with microseconds, "2026-11-22T14:05:02.123456Z": 27 characters and a NUL. */
#define ET_TIME_TEXT_SIZE 40
void et_time_format(int64_t us, char text[ET_TIME_TEXT_SIZE]);

/* Reads RFC 3339 (with "Z" or an offset, with or without a fraction) or "2026-11-22". false: not
 * that. */
_Bool et_time_parse(const char *text, int64_t *ret_us);

#endif
