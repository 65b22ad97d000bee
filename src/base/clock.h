/* Time: a monotonic clock for durations, the wall clock for records, a thread's own. */
#ifndef DLTRAIN_BASE_CLOCK_H
#define DLTRAIN_BASE_CLOCK_H

double dl_clock_seconds(void); /* monotonic, arbitrary origin */
double dl_clock_unix(void);    /* seconds since 1970 */
double dl_clock_on_core(void); /* seconds that the calling thread has run, without its waiting */

#endif
