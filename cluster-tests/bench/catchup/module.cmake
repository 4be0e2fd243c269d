et_program(bench-catchup cluster-tests/bench/catchup
    SOURCES run.c node.c turns.c
    USES node/base node/io node/crypto node/tls raft/command raft/state raft/catalog cluster-tests/bench/commit
    LIBRARIES PkgConfig::uv)
# The small one: what must hold, without looking at the time. With --fill-mib the node that comes back has
# nothing: else, the messages that libraft keeps for it can be enough.
if(NOT ET_FUZZ AND NOT ET_SANITIZE)
    add_test(NAME cluster-tests/bench/catchup COMMAND bench-catchup --commands 50000 --per-s 500 --fill-mib 64)
    set_tests_properties(cluster-tests/bench/catchup PROPERTIES LABELS unit TIMEOUT 300 RUN_SERIAL TRUE)
endif()
