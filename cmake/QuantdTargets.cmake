# quantd_library(NAME SOURCES... [PUBLIC targets...] [PRIVATE targets...]): one folder, one target, alias quantd::NAME.
# PUBLIC: what its headers include. PRIVATE: what only its sources include.
function(quantd_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(quantd_${name} STATIC ${ARG_SOURCES})
  add_library(quantd::${name} ALIAS quantd_${name})
  target_link_libraries(quantd_${name} PUBLIC quantd_flags ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()

# quantd_test(NAME SOURCES... LINK targets...): one GoogleTest program; every case is a ctest of its own program run.
function(quantd_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT_S" "SOURCES;LINK" ${ARGN})
  if(NOT ARG_TIMEOUT_S)
    set(ARG_TIMEOUT_S 120)
  endif()
  if(QUANTD_SANITIZER)
    math(EXPR ARG_TIMEOUT_S "10 * ${ARG_TIMEOUT_S}")
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINK} GTest::gmock_main)
  # Also where a library has device code.
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_compile_definitions(${name} PRIVATE QUANTD_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT_S})
endfunction()
