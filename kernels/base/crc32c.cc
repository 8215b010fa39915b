#include "kernels/base/crc32c.h"
