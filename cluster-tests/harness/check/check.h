/* Checkers of what clients saw. A history is what was asked and answered, on one clock; the
 * checkers say whether one copy of the thing, asked by one client at a time, could have answered
 * so.
 *
 * Outcomes: what answered "done" happened between call and return. What answered "refused" did not
 * happen and is left out (so that a read of its value is a read of what nobody wrote). What did not
 * answer is open: it may have happened at any time after its call, or never; its return is ET_OPEN.
 */
#ifndef ET_CLUSTER_TESTS_HARNESS_CHECK_CHECK_H
#define ET_CLUSTER_TESTS_HARNESS_CHECK_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ET_OPEN UINT64_MAX

enum et_op_kind { ET_OP_READ, ET_OP_WRITE, ET_OP_CAS };

/* One operation on one register. */
struct et_op {
	enum et_op_kind kind;
	uint64_t call, ret; /* call < ret */
	int64_t from;	    /* CAS: what was expected */
	int64_t value;	    /* what was read, or written, or is to be set */
	bool swapped;	    /* CAS that returned: it was as expected */
};

enum et_verdict {
	ET_LINEARIZABLE,
	ET_NOT_LINEARIZABLE,
	ET_UNDECIDED, /* the search became too long */
};

/* Is there an order of the operations, each between its call and its return, that a register which
 * began with `initial` would have answered so? Wing and Gong's search with Lowe's memory of states
 * (CCPE 29/4, 2017), on values that are written once: an open operation whose value somebody saw
 * has happened by then; an open write that nobody saw is left out where there is no CAS. At most
 * `states` states are looked at.
 *
 * *ret_last (may be NULL) gets the index of an operation that could not be placed, when the answer
 * is no. */
enum et_verdict et_register_check(const struct et_op *ops, size_t count, int64_t initial,
				  size_t states, size_t *ret_last);

enum et_set_fault {
	ET_SET_SOUND,
	ET_SET_LOST,	/* acknowledged, not in the final read */
	ET_SET_TWICE,	/* in the final read twice */
	ET_SET_REFUSED, /* refused, and there */
	ET_SET_UNKNOWN, /* there, and nobody asked for it */
};

enum et_set_outcome { ET_ADDED, ET_NOT_ADDED, ET_MAYBE };

struct et_set_add {
	const char *id; /* borrowed; each once */
	enum et_set_outcome outcome;
};

/* A set that was only added to, and its final read. *ret_id gets a view of the element at fault.
 * Sorts both. */
enum et_set_fault et_set_check(struct et_set_add *adds, size_t add_count, const char **final,
			       size_t final_count, const char **ret_id);

/* A number that an operation was answered: of an audit event, or the index of a read. */
struct et_numbered {
	uint64_t call, ret, number;
};

/* Whoever was called after another had returned got a number that is not smaller; not equal either
 * when `unique`, and then no number was given twice. On false *ret_a and *ret_b are a pair that
 * does not fit. Sorts. */
bool et_order_check(struct et_numbered *ops, size_t count, bool unique, struct et_numbered *ret_a,
		    struct et_numbered *ret_b);

#endif
