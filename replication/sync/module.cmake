et_module(replication/sync
    SOURCES sync.c table.c look.c pull.c pull_disk.c fetch.c serve.c link.c ack.c check.c status.c gate.c queue.c scrub.c repair.c tail.c tail_ask.c tail_serve.c tail_file.c tail_seal.c store.c intake.c wire.c
    USES node/base node/text node/io node/crypto node/tape node/tls raft/command raft/state replication/plan replication/limit
    TESTS wire intake sync queue scrub tail tail_lost tail_liar
    TEST_LIBRARIES PkgConfig::uv
    FUZZERS wire intake tail)
