/* Checkers without a search. See check.h. */
#include <stdlib.h>
#include <string.h>

#include "cluster-tests/harness/check/check.h"
#include "node/base/defs.h"

static int add_order(const void *a, const void *b)
{
	const struct et_set_add *x = a, *y = b;
	return strcmp(x->id, y->id);
}

static int text_order(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;
	return strcmp(*x, *y);
}

static enum et_set_fault final_check(const struct et_set_add *adds, size_t add_count,
				     const char *const *final, size_t final_count,
				     const char **ret_id)
{
	for (size_t i = 0; i < final_count; i++) {
		struct et_set_add key = { .id = final[i] };
		*ret_id = final[i];
		if (i > 0 && strcmp(final[i - 1], final[i]) == 0) {
			return ET_SET_TWICE;
		}
		const struct et_set_add *asked =
			bsearch(&key, adds, add_count, sizeof(*adds), add_order);
		if (asked == NULL) {
			return ET_SET_UNKNOWN;
		}
		if (asked->outcome == ET_NOT_ADDED) {
			return ET_SET_REFUSED;
		}
	}
	return ET_SET_SOUND;
}

enum et_set_fault et_set_check(struct et_set_add *adds, size_t add_count, const char **final,
			       size_t final_count, const char **ret_id)
{
	const char *none = NULL;
	if (add_count > 0) {
		qsort(adds, add_count, sizeof(*adds), add_order);
	}
	if (final_count > 0) {
		qsort(final, final_count, sizeof(*final), text_order);
	}
	enum et_set_fault fault = final_check(adds, add_count, final, final_count, ret_id);
	if (fault != ET_SET_SOUND) {
		return fault;
	}
	for (size_t i = 0; i < add_count; i++) {
		*ret_id = adds[i].id;
		if (adds[i].outcome == ET_ADDED &&
		    (final_count == 0 || bsearch(&adds[i].id, final, final_count, sizeof(*final),
						 text_order) == NULL)) {
			return ET_SET_LOST;
		}
	}
	*ret_id = none;
	return ET_SET_SOUND;
}

static int number_order(const void *a, const void *b)
{
	const struct et_numbered *x = a, *y = b;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* In the order of numbers, from the largest: nobody who got a larger one had returned before this
 * one was called... so the smallest return among the larger numbers must not lie before this call.
 */
bool et_order_check(struct et_numbered *ops, size_t count, bool unique, struct et_numbered *ret_a,
		    struct et_numbered *ret_b)
{
	const struct et_numbered *first = NULL; /* of the larger numbers, who returned first */
	if (count > 0) {
		qsort(ops, count, sizeof(*ops), number_order);
	}
	for (size_t end = count; end > 0;) {
		size_t begin = end - 1;
		while (begin > 0 && ops[begin - 1].number == ops[end - 1].number) {
			begin--;
		}
		if (unique && end - begin > 1) {
			*ret_a = ops[begin];
			*ret_b = ops[begin + 1];
			return false;
		}
		for (size_t i = begin; i < end; i++) {
			if (first != NULL && first->ret < ops[i].call) {
				*ret_a = *first;
				*ret_b = ops[i];
				return false;
			}
		}
		for (size_t i = begin; i < end; i++) {
			first = first == NULL || ops[i].ret < first->ret ? &ops[i] : first;
		}
		end = begin;
	}
	return true;
}
