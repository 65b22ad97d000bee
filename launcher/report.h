/* The banner: what is about to run. */
#ifndef DLTRAIN_LAUNCHER_REPORT_H
#define DLTRAIN_LAUNCHER_REPORT_H

#include "launcher/bootstrap.h"
#include "train/console.h"
#include "train/session.h"

/* Shows ranks, model, data and memory of a session. */
void dl_report_banner(const dl_session *session, const dl_runtime *runtime, dl_console *console);

/* Memory of this rank by kind, at most DL_CONSOLE_MEMORY_ITEMS entries; returns how many. */
int dl_report_memory(const dl_session *session, dl_memory_item out[DL_CONSOLE_MEMORY_ITEMS]);

#endif
