et_program(bench-fill cluster-tests/bench/restart
    SOURCES fill.c graft.c
    USES node/base raft/state raft/catalog cluster-tests/bench/search
    LIBRARIES PkgConfig::rocksdb)
