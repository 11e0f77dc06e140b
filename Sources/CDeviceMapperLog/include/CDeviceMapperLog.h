#pragma once

// libdevmapper logs through a variadic callback, which Swift cannot write. This installs one that formats the
// line and hands it to `sink` (NULL: lines are dropped). Errors themselves come from errno, never from a line.
void lam_dm_set_log_sink(void (*sink)(int level, const char *line));
