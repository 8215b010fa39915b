# quantd_library(NAME SOURCES... [PUBLIC targets...] [PRIVATE targets...]): one folder, one target, alias quantd::NAME.
# PUBLIC: what its headers include. PRIVATE: what only its sources include.
function(quantd_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(quantd_${name} STATIC ${ARG_SOURCES})
  add_library(quantd::${name} ALIAS quantd_${name})
  target_link_libraries(quantd_${name} PUBLIC quantd_flags ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()

# quantd_test_limits(NAME TIMEOUT_S): with a sanitizer ten times as long, and a report fails the test whichever process
# made it: of one that is killed or replaced there is no exit code to look at.
function(quantd_test_limits name timeout_s)
  if(QUANTD_SANITIZER)
    math(EXPR timeout_s "10 * ${timeout_s}")
    set_tests_properties(${name} PROPERTIES
      FAIL_REGULAR_EXPRESSION "ERROR: [A-Za-z]+Sanitizer: ;WARNING: ThreadSanitizer: ;: runtime error: ")
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout_s})
endfunction()

# quantd_test(NAME SOURCES... LINK targets...): one GoogleTest program; every case is a ctest of its own program run.
function(quantd_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT_S" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_TIMEOUT_S)
    set(ARG_TIMEOUT_S 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gmock_main)
  # Also where a library has device code.
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_compile_definitions(${name} PRIVATE QUANTD_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  quantd_test_limits(${name} ${ARG_TIMEOUT_S})
endfunction()
