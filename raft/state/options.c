/* How RocksDB is set up for each family. */
#include <sys/resource.h>

#include "raft/state/state_internal.h"

/* A flush is of all families, and each of its files is a step towards a compaction; at 20,000
 * commands a second memtables of 16 MB had six of them made twice a second. With 64 MB apply is
 * slower, for caches hold less of it, and others wait longer (ops/doc/benchmarks.md). */
#define MEMTABLES_BYTES (96UL << 20) /* of all families together */
#define MEMTABLE_BYTES (32UL << 20)
#define OPEN_FILES 4096	  /* tables; ids begin with a time, so what is flushed is rarely merged */
#define OPEN_FILES_PART 4 /* of the files that the process may have open, at most */
#define BLOCK_BYTES 8192
#define BLOCK_BYTES_RECORDING 4096
/* Families of many small keys in no order of time: what is flushed of them has a few MB, and meets
 * all that is below. With RocksDB's own numbers (4 files, a first level of 256 MB) each four
 * flushes write all of up to 256 MB again. */
#define SCATTERED_BASE_BYTES (64UL << 20)
#define SCATTERED_FILE_BYTES (16UL << 20)
/* Of every family: few bytes that are written again and again, and rows that go soon (`live`), are
 * worth a compaction when there is something to drop. Recordings are moved, not written again. */
#define FILES_BEFORE_COMPACTION 8 /* RocksDB's own: 4 */
/* Compactions come last (db.c), so under load their files wait; RocksDB holds writers back from
 * this many on (its own: 20 and 36), and stops them. */
#define FILES_BEFORE_SLOWER 40
#define FILES_BEFORE_STOP 64

static int open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
	    limit.rlim_cur / OPEN_FILES_PART >= OPEN_FILES) {
		return OPEN_FILES;
	}
	return limit.rlim_cur / OPEN_FILES_PART > 64 ? (int)(limit.rlim_cur / OPEN_FILES_PART) : 64;
}

static void table_set_up(rocksdb_block_based_table_options_t *t, rocksdb_cache_t *cache,
			 enum state_cf cf)
{
	rocksdb_block_based_options_set_block_cache(t, cache);
	/* A page of hits takes one record here and one there: blocks are small and quick to unpack.
	 */
	rocksdb_block_based_options_set_block_size(t, cf == CF_RECORDING ? BLOCK_BYTES_RECORDING
									 : BLOCK_BYTES);
	if (cf == CF_RECORDING) {
		rocksdb_block_based_options_set_block_restart_interval(t, 2);
	}
	rocksdb_block_based_options_set_format_version(t, 5);
	/* Indexes and filters in parts: a read takes from the disk what it needs of them. */
	rocksdb_block_based_options_set_index_type(
		t, rocksdb_block_based_table_index_type_two_level_index_search);
	rocksdb_block_based_options_set_metadata_block_size(t, 16384);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
	rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
	rocksdb_block_based_options_set_pin_top_level_index_and_filter(t, 1);
	rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
	if (cf != CF_FIND && cf != CF_LIVE) { /* those are only walked */
		rocksdb_block_based_options_set_filter_policy(
			t, rocksdb_filterpolicy_create_bloom(10));
		rocksdb_block_based_options_set_partition_filters(t, 1);
	}
	if (cf == CF_LINK) { /* by all of a key but its end */
		rocksdb_block_based_options_set_whole_key_filtering(t, 0);
	}
}

rocksdb_options_t *family_options(rocksdb_cache_t *cache, enum state_cf cf)
{
	rocksdb_options_t *o = rocksdb_options_create();
	rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();

	rocksdb_options_set_create_if_missing(o, 1);
	rocksdb_options_set_create_missing_column_families(o, 1);
	rocksdb_options_set_atomic_flush(o, 1); /* Raft's log is the write-ahead log */
	rocksdb_options_set_paranoid_checks(o, 1);
	rocksdb_options_set_db_write_buffer_size(o, MEMTABLES_BYTES);
	rocksdb_options_set_write_buffer_size(o, MEMTABLE_BYTES);
	rocksdb_options_set_max_write_buffer_number(o, 3);
	rocksdb_options_set_max_open_files(o, open_files());
	rocksdb_options_set_max_background_jobs(o, 2);
	rocksdb_options_set_bytes_per_sync(o, 1U << 20);
	rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
	rocksdb_options_set_compression(o, rocksdb_lz4_compression);
	rocksdb_options_set_manifest_preallocation_size(o, 64UL << 10);
	rocksdb_options_set_keep_log_file_num(o, 4);
	rocksdb_options_set_max_log_file_size(o, 4UL << 20);
	rocksdb_options_set_info_log_level(o, 2); /* warnings */

	if (cf == CF_SEGMENT || cf == CF_COPY || cf == CF_AUDIT ||
	    cf == CF_TOLD) { /* what most of the disk goes to */
		rocksdb_options_set_bottommost_compression(o, rocksdb_zstd_compression);
	}
	/* Most looks find one, so the lowest level, which is nearly all, needs no filter. */
	if (cf == CF_RECORDING || cf == CF_LINK) {
		rocksdb_options_set_optimize_filters_for_hits(o, 1);
	}
	if (cf == CF_LINK) {
		rocksdb_options_set_prefix_extractor(o, links_filter());
	}
	rocksdb_options_set_level0_slowdown_writes_trigger(o, FILES_BEFORE_SLOWER);
	rocksdb_options_set_level0_stop_writes_trigger(o, FILES_BEFORE_STOP);
	rocksdb_options_set_level0_file_num_compaction_trigger(o, FILES_BEFORE_COMPACTION);
	if (cf == CF_FIND || cf == CF_LINK) {
		rocksdb_options_set_max_bytes_for_level_base(o, SCATTERED_BASE_BYTES);
		rocksdb_options_set_target_file_size_base(o, SCATTERED_FILE_BYTES);
	}
	table_set_up(t, cache, cf);
	rocksdb_options_set_block_based_table_factory(o, t);
	rocksdb_block_based_options_destroy(t);
	return o;
}
