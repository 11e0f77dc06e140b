#include "CDeviceMapperLog.h"

#include <libdevmapper.h>
#include <stdarg.h>
#include <stdio.h>

static void (*current_sink)(int level, const char *line);

__attribute__((format(printf, 5, 6))) static void forward(int level, const char *file, int line,
                                                          int dm_errno_or_class, const char *format, ...) {
    (void)file;
    (void)line;
    (void)dm_errno_or_class;
    if (!current_sink) return;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    current_sink(level, text);
}

void lam_dm_set_log_sink(void (*sink)(int level, const char *line)) {
    current_sink = sink;
    dm_log_with_errno_init(forward);
}
