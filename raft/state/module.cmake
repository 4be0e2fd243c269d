et_module(raft/state
    SOURCES agents.c apply.c audit.c changes.c cluster.c conditions.c copies.c db.c helpers.c index.c members.c merge.c newest.c overlay.c page.c plans.c preload.c
            read.c recordings.c import.c rows.c search.c sort.c store.c streams.c tail.c told.c tsan.c window.c words.c
            erase.c generations.c holds.c retention.c restore.c ca.c keys.c sites.c legs.c links.c options.c wraps.c
    USES node/base node/io node/crypto raft/command
    LIBRARIES PkgConfig::rocksdb
    TESTS import seal erase ca keys members sites apply generations jobs destruction once epoch replay search plans property readers rows newest sort changes tail told legs
    FUZZERS search)
