#include <isa-l/igzip_lib.h>

// A macro that sums other macros, which Swift does not import.
static const unsigned LAM_ISAL_LEVEL_1_BUFFER = ISAL_DEF_LVL1_DEFAULT;
