/* For the folders of tests: nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) leaves nothing. */
#ifndef ET_NODE_CAPTURE_TEST_REMOVE_H
#define ET_NODE_CAPTURE_TEST_REMOVE_H

#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

#endif
