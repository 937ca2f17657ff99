# SPDX-License-Identifier: Apache-2.0
# Which sources a program was made of, for whoever compares two reports: at every build, so that a commit without
# a new configuration is told too. Called by this file itself, as a script, with VERSION, SOURCE and OUTPUT.
if(CMAKE_SCRIPT_MODE_FILE)
  set(text ${VERSION})
  execute_process(COMMAND git -C ${SOURCE} rev-parse --short=9 HEAD
                  OUTPUT_VARIABLE commit ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(commit)
    execute_process(COMMAND git -C ${SOURCE} diff-index --quiet HEAD -- RESULT_VARIABLE changed ERROR_QUIET)
    if(changed)
      string(APPEND commit "+")
    endif()
    string(APPEND text " (${commit})")
  endif()
  file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[
#include "engine/version.h"
const char* ivit::version() { return "@text@"; }
const char* ivit::program_name() { return "ivit @text@"; }
]])  # written only where it differs
  return()
endif()

set(version_cpp ${CMAKE_CURRENT_BINARY_DIR}/version.cpp)
add_custom_target(ivit_version BYPRODUCTS ${version_cpp}
                  COMMAND ${CMAKE_COMMAND} -DVERSION=${PROJECT_VERSION} -DSOURCE=${CMAKE_SOURCE_DIR}
                          -DOUTPUT=${version_cpp} -P ${CMAKE_CURRENT_LIST_FILE})
add_dependencies(ivit_engine ivit_version)
target_sources(ivit_engine PRIVATE ${version_cpp})
