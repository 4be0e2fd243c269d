# The peer is PostgreSQL, through libpq: where it is not installed, the benchmark says that it ran
# without a peer.
pkg_check_modules(pq QUIET IMPORTED_TARGET libpq)
if(pq_FOUND)
    set(search_pg SOURCES run.c calls.c evertape.c load.c questions.c stats.c pg.c)
    set(search_libraries LIBRARIES PkgConfig::pq)
else()
    message(WARNING "libpq is not installed: bench-search is built without its peer (ops/packages bench)")
    set(search_pg SOURCES run.c calls.c evertape.c load.c questions.c stats.c pg_none.c)
    set(search_libraries)
endif()
et_program(bench-search cluster-tests/bench/search
    ${search_pg}
    USES node/base node/io node/crypto raft/command raft/state
    ${search_libraries})
