/* flood BYTES SIZE: write BYTES bytes to stdout, SIZE at a time. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **words) {
    if (count < 3) return 2;
    long long left = atoll(words[1]), size = atoll(words[2]);
    char *line = malloc(size);
    if (!line) return 1;
    memset(line, 'a', size);
    line[size - 1] = '\n';
    while (left > 0) {
        long long sent = write(1, line, left < size ? left : size);
        if (sent <= 0) return 1;
        left -= sent;
    }
    return 0;
}
