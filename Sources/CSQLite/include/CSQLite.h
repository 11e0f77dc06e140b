#pragma once

struct sqlite3;

// sqlite3_db_config is variadic, which Swift cannot call. SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE: the last connection that
// closes leaves the write-ahead log as it is. The result is SQLite's.
int lam_sqlite_keep_log_on_close(struct sqlite3 *database);
