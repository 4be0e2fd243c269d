# Workloads whose acknowledgements are known, and a preloaded library that ends them at the N-th durability call.
et_program(powerloss cluster-tests/harness/fault
    SOURCES nodes.c commands.c work.c check.c journal.c tail.c
    USES node/base node/io node/crypto node/tls raft/command raft/state raft/journal raft/catalog node/daemon)
# Preloaded libraries. Not et_flags: they must not bring a sanitizer; and dlsym() needs a cast that -Wpedantic forbids.
if(NOT ET_FUZZ)
    foreach(name fault clock keylog)
        string(REPLACE fault shim source "${name}")
        add_library(${name}shim MODULE "${PROJECT_SOURCE_DIR}/cluster-tests/harness/fault/shim/${source}.c")
        target_include_directories(${name}shim PRIVATE "${PROJECT_SOURCE_DIR}")
        target_compile_definitions(${name}shim PRIVATE _GNU_SOURCE)
        target_compile_options(${name}shim PRIVATE -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes
            -fvisibility=hidden)
        target_link_libraries(${name}shim PRIVATE ${CMAKE_DL_LIBS})
        set_target_properties(${name}shim PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
    endforeach()
endif()
