et_module(raft/catalog
    SOURCES catalog.c bootstrap.c status.c transport.c guards.c flow.c cut.c apply.c propose.c snapshot.c serve.c pull.c wire.c
            read.c tick.c member.c operate.c recover.c aio.c crc.c space.c
            digest.c rebuild.c backup.c reindex.c
    USES node/base node/io node/crypto node/tls raft/command raft/state
    LIBRARIES PkgConfig::raft PkgConfig::uv PkgConfig::isal
    TESTS cluster flow tell cut snapshot pull member recover guards defects time digest crash space wire figure8 crc
    FUZZERS wire)
