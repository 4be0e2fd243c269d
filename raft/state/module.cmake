et_module(raft/state
    SOURCES apply.c audit.c cluster.c copies.c db.c merge.c overlay.c plans.c read.c recordings.c search.c
            store.c tsan.c window.c
    USES node/base node/io node/crypto raft/command
    LIBRARIES PkgConfig::rocksdb
    TESTS apply replay search property readers)
