# What can be chosen at configure time, and the flags that every target gets.
option(QUANTD_BUILD_TESTS "Build tests and benchmarks" ON)
option(QUANTD_WERROR "Treat warnings as errors" OFF)
option(QUANTD_FUZZERS "Instrument everything for libFuzzer and build the fuzzers: needs Clang" OFF)
set(QUANTD_SANITIZER "" CACHE STRING "address,undefined or thread: instrument everything")
set(QUANTD_GOOGLEAPIS_DIR ${CMAKE_SOURCE_DIR}/.deps/googleapis CACHE PATH "Folder with google/rpc/*.proto, from the PyPI package googleapis-common-protos")

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release or RelWithDebInfo" FORCE)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

find_program(QUANTD_CCACHE ccache)
if(QUANTD_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${QUANTD_CCACHE})
endif()

add_library(quantd_flags INTERFACE)
# The bytes are the contract: no fused multiply-add that the source does not ask for.
target_compile_options(quantd_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off;-Wall;-Wextra;-Wpedantic;-Wno-missing-field-initializers;$<$<BOOL:${QUANTD_WERROR}>:-Werror>>"
  "$<$<COMPILE_LANGUAGE:CUDA>:--fmad=false;--expt-relaxed-constexpr;-Xcompiler=-Wall,-Wextra;$<$<BOOL:${QUANTD_WERROR}>:-Werror=all-warnings>>")
target_include_directories(quantd_flags INTERFACE ${CMAKE_SOURCE_DIR})
if(QUANTD_SANITIZER)
  target_compile_options(quantd_flags INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${QUANTD_SANITIZER};-fno-sanitize-recover=all;-fno-omit-frame-pointer;-g>")
  target_link_options(quantd_flags INTERFACE -fsanitize=${QUANTD_SANITIZER})
endif()
if(QUANTD_SANITIZER STREQUAL "thread")
  # Into every program, those that tests start included.
  add_library(quantd_tsan_mutex OBJECT ${CMAKE_SOURCE_DIR}/tests/support/tsan_mutex.cc)
  target_compile_options(quantd_tsan_mutex PRIVATE -fsanitize=thread -g)
  target_link_libraries(quantd_tsan_mutex PRIVATE absl::status absl::synchronization)
  target_link_libraries(quantd_flags INTERFACE $<TARGET_OBJECTS:quantd_tsan_mutex> absl::status absl::synchronization)
endif()
if(QUANTD_FUZZERS)
  target_compile_options(quantd_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=fuzzer-no-link>)
endif()
