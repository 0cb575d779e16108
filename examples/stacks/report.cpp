// Crash reporting for programs of any language that are linked with this object. Their arguments say where to, as
// crashapp's do.
#include <string.h>

#include "../crashapp/handler.h"

// glibc gives main's arguments to constructors too.
__attribute__((constructor)) static void Install(int argc, char** argv) {
  crash::Config config = {};
  for (int i = 1; i < argc; i++) {
    if (strncmp(argv[i], "--handler=", 10) == 0) config.handler = argv[i] + 10;
    if (strncmp(argv[i], "--database=", 11) == 0) config.database = argv[i] + 11;
    if (strncmp(argv[i], "--url=", 6) == 0) config.url = argv[i] + 6;
  }
  crash::Install(config);
}
