#include <stdio.h>

int main(void) {
    return puts("dltrain " DLTRAIN_VERSION) < 0;
}
