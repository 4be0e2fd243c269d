# Workloads whose acknowledgements are known, and a preloaded library that ends them at the N-th durability call.
et_program(powerloss cluster-tests/harness/fault
    SOURCES nodes.c commands.c work.c check.c journal.c
    USES node/base node/io node/crypto node/tls raft/command raft/state raft/journal raft/catalog node/daemon)
if(NOT ET_FUZZ)
    add_library(faultshim MODULE "${PROJECT_SOURCE_DIR}/cluster-tests/harness/fault/shim/shim.c")
    # Not et_flags: a preloaded library must not bring a sanitizer; and dlsym() needs a cast that -Wpedantic forbids.
    target_include_directories(faultshim PRIVATE "${PROJECT_SOURCE_DIR}")
    target_compile_definitions(faultshim PRIVATE _GNU_SOURCE)
    target_compile_options(faultshim PRIVATE -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -fvisibility=hidden)
    target_link_libraries(faultshim PRIVATE ${CMAKE_DL_LIBS})
    set_target_properties(faultshim PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bin")
endif()
