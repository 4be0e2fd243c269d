# The second reader, against tapes of the real writer.
if(NOT ET_FUZZ AND TARGET labtape)
    find_package(Python3 REQUIRED COMPONENTS Interpreter)
    add_test(NAME cluster-tests/reader
        COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/cluster-tests/reader/test_evtm.py")
    set_tests_properties(cluster-tests/reader PROPERTIES LABELS unit TIMEOUT 120
        ENVIRONMENT "LABTAPE=$<TARGET_FILE:labtape>;PYTHONDONTWRITEBYTECODE=1")
endif()
