et_program(labtape cluster-tests/harness/tape
    SOURCES made.c call.c damage.c
    USES node/base node/io node/crypto node/tape)
# The small one: every byte of a small tape. The whole: labtape damage --whole
if(NOT ET_FUZZ)
    if(ET_SANITIZE) # Three times as slow: a smaller tape.
        add_test(NAME cluster-tests/harness/tape/damage COMMAND labtape damage --records 4 --bytes 20)
    else()
        add_test(NAME cluster-tests/harness/tape/damage COMMAND labtape damage)
    endif()
    set_tests_properties(cluster-tests/harness/tape/damage PROPERTIES LABELS unit TIMEOUT 120)
endif()
