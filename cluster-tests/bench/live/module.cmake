et_program(bench-live cluster-tests/bench/live
    SOURCES send.c receive.c flood.c
    USES node/base node/io node/crypto node/capture
    LIBRARIES PkgConfig::pcap)
# A small one: every frame is counted and on a sealed tape; it takes seconds, and says nothing of speed.
if(NOT ET_FUZZ AND NOT ET_SANITIZE)
    add_test(NAME cluster-tests/bench/live COMMAND bench-live --calls 50 --seconds 3 --rate 2000)
    # 200 calls beside 50,000 hostile frames a second: none of theirs is lost.
    add_test(NAME cluster-tests/bench/live-flood COMMAND bench-live --calls 200 --seconds 6 --rate 20000 --flood 50000)
    set_tests_properties(cluster-tests/bench/live cluster-tests/bench/live-flood PROPERTIES LABELS unit TIMEOUT 120 RUN_SERIAL TRUE SKIP_RETURN_CODE 77)
endif()
