#include "CSQLite.h"

#include <sqlite3.h>

int lam_sqlite_keep_log_on_close(struct sqlite3 *database) {
    return sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
}
