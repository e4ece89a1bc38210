/* pool COUNT AT_ONCE PROGRAM: the minimal cost of running programs, for comparison. */
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

extern char **environ;

int main(int count, char **words) {
    if (count < 4) return 2;
    int left = atoi(words[1]), slots = atoi(words[2]), running = 0;
    char *argv[] = {words[3], NULL};
    while (left || running) {
        while (left && running < slots) {
            pid_t pid;
            if (posix_spawn(&pid, words[3], NULL, NULL, argv, environ)) return 1;
            left--, running++;
        }
        if (wait(NULL) > 0) running--;
    }
    return 0;
}
