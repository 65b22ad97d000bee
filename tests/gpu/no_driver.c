/* Stands for the toolkit's stub when loading_driver.c is linked: the name is needed then, what is in it at
 * run time. */
int no_driver(void);

int no_driver(void) {
    return 0;
}
