/* Files that the build put into the program (module.cmake). Static, read-only. */
#ifndef ET_NODE_API_CONSOLE_FILES_H
#define ET_NODE_API_CONSOLE_FILES_H

#include <stddef.h>

struct api_console_file {
	const char *name;
	const unsigned char *data;
	size_t size;
};

extern const struct api_console_file api_console_files[]; /* ends with a NULL name */

#endif
