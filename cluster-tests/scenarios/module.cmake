# Scenarios: real daemons, real calls, faults; each tells its story and counts. They need root, sipp and nftables,
# and say so (exit 77) where these are missing.
if(NOT ET_FUZZ AND TARGET evertaped AND TARGET evertape)
    find_package(Python3 REQUIRED COMPONENTS Interpreter)
    foreach(name leader_dies site_cut_off recorder_dies bit_rot errors no_secrets memory membership vaults rotate redact compromise stolen stolen_vault recover net_lab power_loss disk_full restore_full siprec erased
            clock pause on_demand late_keys late_keys_anew pause_keys legs tones clients admin asked roots sealed_to foreign_kek pitr_keys rotate_ca short_certificates bad_certificates rule_agent replication imports tails lost_recorder)
        string(REPLACE "_" "-" title "${name}")
        add_test(NAME cluster-tests/scenarios/${title}
            COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/cluster-tests/scenarios/${name}.py")
        set_tests_properties(cluster-tests/scenarios/${title} PROPERTIES LABELS scenario TIMEOUT 300 RUN_SERIAL TRUE
            SKIP_RETURN_CODE 77 ENVIRONMENT "EVERTAPE_BIN=${PROJECT_BINARY_DIR}/bin;PYTHONDONTWRITEBYTECODE=1")
    endforeach()
    # In network namespaces; --long (ET_LONG=1) is the whole of it.
    foreach(name partitions crashes wan churn)
        add_test(NAME cluster-tests/scenarios/${name}
            COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/cluster-tests/scenarios/${name}.py")
        set_tests_properties(cluster-tests/scenarios/${name} PROPERTIES LABELS scenario TIMEOUT 600 RUN_SERIAL TRUE
            SKIP_RETURN_CODE 77 ENVIRONMENT "EVERTAPE_BIN=${PROJECT_BINARY_DIR}/bin;PYTHONDONTWRITEBYTECODE=1")
    endforeach()

    # Two more evertaped that differ from the first in the file of the schema numbers only.
    foreach(build prev:1 next:4)
        string(REPLACE ":" ";" build "${build}")
        list(GET build 0 name)
        list(GET build 1 schema)
        add_library(schema_${name} OBJECT "${PROJECT_SOURCE_DIR}/raft/command/schema.c")
        target_compile_definitions(schema_${name} PRIVATE ET_SCHEMA_BUILD=${schema})
        target_link_libraries(schema_${name} PRIVATE raft_command et_flags)
        add_executable(evertaped-${name} "${PROJECT_SOURCE_DIR}/node/daemon/main.c")
        target_link_libraries(evertaped-${name} PRIVATE schema_${name} node_daemon et_flags)
        set_target_properties(evertaped-${name} PROPERTIES OUTPUT_NAME evertaped
            RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin-${name}")
    endforeach()
    foreach(name diverged upgrade backup)
        add_test(NAME cluster-tests/scenarios/${name}
            COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/cluster-tests/scenarios/${name}.py")
        set_tests_properties(cluster-tests/scenarios/${name} PROPERTIES LABELS scenario TIMEOUT 300 RUN_SERIAL TRUE
            SKIP_RETURN_CODE 77 ENVIRONMENT "EVERTAPE_BIN=${PROJECT_BINARY_DIR}/bin;EVERTAPE_NEXT=${PROJECT_BINARY_DIR}/bin-next;EVERTAPE_PREV=${PROJECT_BINARY_DIR}/bin-prev;PYTHONDONTWRITEBYTECODE=1")
    endforeach()

    # No cluster: real captures, where there are some.
    add_test(NAME cluster-tests/scenarios/captures
        COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/cluster-tests/scenarios/captures.py")
    set_tests_properties(cluster-tests/scenarios/captures PROPERTIES LABELS scenario TIMEOUT 120
        SKIP_RETURN_CODE 77 ENVIRONMENT "EVERTAPE_BIN=${PROJECT_BINARY_DIR}/bin;PYTHONDONTWRITEBYTECODE=1")

    # What is deployed. Fresh machines with systemd: debootstrap's tree is kept in build/package.
    foreach(name operations package deploy_doc)
        string(REPLACE "_" "-" title "${name}")
        add_test(NAME cluster-tests/scenarios/${title}
            COMMAND Python3::Interpreter "${PROJECT_SOURCE_DIR}/cluster-tests/scenarios/${name}.py")
        set_tests_properties(cluster-tests/scenarios/${title} PROPERTIES LABELS scenario TIMEOUT 900 RUN_SERIAL TRUE
            SKIP_RETURN_CODE 77 ENVIRONMENT "EVERTAPE_BIN=${PROJECT_BINARY_DIR}/bin;PYTHONDONTWRITEBYTECODE=1")
    endforeach()
endif()
