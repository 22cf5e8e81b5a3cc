/* What a program in an image without a shell does, by its first argument. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ORPHANS 50

static void asked(int number)
{
    (void)number;
    _exit(7);
}

static pid_t orphans[ORPHANS];

/* Begins processes whose parents end before them, and counts those that nobody has reaped. */
static void lose_children(void)
{
    int left = ORPHANS;
    for (int at = 0; at < ORPHANS; at++) {
        int ends[2];
        if (pipe(ends))
            exit(1);
        pid_t parent = fork();
        if (parent == 0) {
            pid_t child = fork();
            if (child == 0) {
                usleep(20000);
                _exit(0);
            }
            _exit(write(ends[1], &child, sizeof child) != sizeof child);
        }
        if (read(ends[0], &orphans[at], sizeof orphans[at]) != sizeof orphans[at])
            exit(1);
        close(ends[0]);
        close(ends[1]);
        waitpid(parent, NULL, 0);
    }
    for (int look = 0; look < 500 && left > 0; look++) {
        usleep(20000);
        left = 0;
        /* A process that has ended can be sent a signal for as long as it has not been reaped. */
        for (int at = 0; at < ORPHANS; at++)
            left += kill(orphans[at], 0) == 0;
    }
    printf("%d of %d orphans are left\n", left, ORPHANS);
}

int main(int count, char **words)
{
    const char *what = count > 1 ? words[1] : "";
    if (!strcmp(what, "exit"))
        return count > 2 ? atoi(words[2]) : 1;
    if (!strcmp(what, "orphans")) {
        lose_children();
        return 0;
    }
    if (!strcmp(what, "polite"))
        signal(SIGTERM, asked);
    if (!strcmp(what, "stubborn"))
        signal(SIGTERM, SIG_IGN);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
