/* Log lines: logfmt on standard error, one write(2) a line.
 *
 *   2026-11-22T14:05:02.123456Z info segment.sealed recording=018f… segment=1 root=… bytes=16384
 *
 * Floors 0 to 3 return errors and do not log; services and programs log, once. The event name is a
 * stable word; ids always; never a phone number above debug, never a secret. Values with spaces or
 * quotes are quoted by the caller with et_log_quote().
 *
 * Threads: any. */
#ifndef ET_NODE_BASE_LOG_H
#define ET_NODE_BASE_LOG_H

#include "node/base/defs.h"

enum et_log_level { ET_LOG_DEBUG, ET_LOG_INFO, ET_LOG_WARN, ET_LOG_ERROR };

/* Lines below `level` are dropped. Default: info. Call before threads start. */
void et_log_set_level(enum et_log_level level);

void et_log(enum et_log_level level, const char *event, const char *fmt, ...) ET_PRINTF(3, 4);

/* "text" with quotes and control characters escaped, into `buffer`; returns `buffer`. Long text is
 * cut. For strings that came from outside. */
const char *et_log_quote(const char *text, char *buffer, size_t size);

#define et_debug(event, ...) et_log(ET_LOG_DEBUG, event, __VA_ARGS__)
#define et_info(event, ...) et_log(ET_LOG_INFO, event, __VA_ARGS__)
#define et_warn(event, ...) et_log(ET_LOG_WARN, event, __VA_ARGS__)
#define et_err(event, ...) et_log(ET_LOG_ERROR, event, __VA_ARGS__)

#endif
