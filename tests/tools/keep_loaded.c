/* Preloaded (LD_PRELOAD) for the address sanitizer: plugins of the MPI library stay loaded until the end, so
 * that the leak report can name the library that a piece of memory belongs to. */

int dlclose(void *handle);

int dlclose(void *handle) {
    (void)handle;
    return 0;
}
