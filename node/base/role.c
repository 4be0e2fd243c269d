#include "node/base/role.h"

#include <string.h>

bool et_name_is_valid(const char *name)
{
	size_t size = strnlen(name, ET_NAME_MAX + 1);

	if (size == 0 || size > ET_NAME_MAX || name[0] == '-' || name[size - 1] == '-') {
		return false;
	}
	return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}
