/* Time: a monotonic clock for durations, the wall clock for records. */
#ifndef DLTRAIN_BASE_CLOCK_H
#define DLTRAIN_BASE_CLOCK_H

double dl_clock_seconds(void); /* monotonic, arbitrary origin */
double dl_clock_unix(void);    /* seconds since 1970 */

#endif
