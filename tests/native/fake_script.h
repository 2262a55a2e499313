/* The script of the simulated libnvidia-ml: the file that the variable FAKE_NVML names.
 *
 *     driver 535.183.01           # release of the driver
 *     cuda 12020                  # as nvmlSystemGetCudaDriverVersion gives it
 *     init 18                     # return code of nvmlInit
 *     fail nvmlDeviceGetCount_v2 999
 *
 *     gpu                         # starts a card; what follows is about it
 *     name NVIDIA GeForce RTX 3060
 *     capability 8.6
 *     memory 12288 500 200        # MiB: total, used by programs, reserved by the driver
 *     bus 0000:01:00.0
 *     pci 10de:2504
 *     minor 0
 *     display 1
 *     mig 1 1 2                   # current mode, pending mode, number of instances
 *     compute_mode 3
 *     persistence 0
 *     ecc 2 5                     # uncorrected errors since the driver was loaded, and ever
 *     pages 1                     # memory pages wait to be retired
 *     rows 1 0                    # memory rows: replacement pending, failed
 *     reasons 64                  # for lower clocks, as bits
 *     temperature 91
 *     power 100000 170000         # milliwatts: enforced limit, default limit
 *     link 8 16                   # lanes: now, at the most
 *     recovery 1                  # field 230
 *     fabric 3
 *     process 4711 400            # process id and MiB; -1: the driver does not say
 *     fail nvmlDeviceGetName 15   # one call of this card: a return code, or "hang", or "crash"
 *     fail * 15                   # every call of this card but the one that gives its handle
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HANG = -1, CRASH = -2 }; /* what a call does instead of returning a code */

enum { MOST_GPUS = 16, MOST_FAILURES = 16, MOST_PROCESSES = 16, LONGEST = 128 };

typedef struct {
    char function[LONGEST];
    int code;
} Failure;

typedef struct {
    unsigned pid;
    long long mebibytes;
} Process;

/* The machine, and each card. A field that was not given is -1, or an empty text. */
typedef struct {
    Failure failures[MOST_FAILURES];
    int failure_count;
    char name[LONGEST], uuid[LONGEST];
    int capability_major, capability_minor;
    long long total, used, reserved;
    unsigned domain, bus, device, vendor_id, device_id;
    int has_bus;
    int minor, display;
    int mig_current, mig_pending, mig_instances;
    int compute_mode, persistence, ecc_now, ecc_ever, pages, rows_pending, rows_failed, reasons, temperature;
    int power, power_default, link, link_max, recovery, fabric;
    Process processes[MOST_PROCESSES];
    int process_count;
} Subject;

static Subject machine;
static Subject gpus[MOST_GPUS];
static int gpu_count;
static char driver[LONGEST] = "535.183.01";
static int cuda = 12020;
static int init_code;

static void clear(Subject *subject) {
    memset(subject, 0, sizeof *subject);
    subject->capability_major = subject->minor = subject->display = -1;
    subject->mig_current = subject->mig_pending = subject->mig_instances = -1;
    subject->total = subject->used = subject->reserved = -1;
    subject->compute_mode = subject->persistence = subject->ecc_now = subject->ecc_ever = subject->pages = -1;
    subject->rows_pending = subject->rows_failed = subject->reasons = subject->temperature = subject->power = -1;
    subject->power_default = subject->link = subject->link_max = subject->recovery = subject->fabric = -1;
}

static void complain(const char *line) {
    fprintf(stderr, "fake_nvml: cannot read the line: %s\n", line);
    abort(); /* a script that is not understood must not look like a machine */
}

static void read_failure(Subject *subject, const char *line) {
    char word[LONGEST];
    if (subject->failure_count == MOST_FAILURES) complain(line);
    Failure *failure = &subject->failures[subject->failure_count++];
    if (sscanf(line, "fail %127s %127s", failure->function, word) != 2) complain(line);
    failure->code = !strcmp(word, "hang") ? HANG : !strcmp(word, "crash") ? CRASH : atoi(word);
}

/* Read a line of one or two numbers about a card's state; 0: it is another line. */
static int read_state(Subject *subject, const char *line) {
    struct {
        const char *word;
        int *first, *second;
    } states[] = {
        {"compute_mode", &subject->compute_mode, NULL},
        {"persistence", &subject->persistence, NULL},
        {"ecc", &subject->ecc_now, &subject->ecc_ever},
        {"pages", &subject->pages, NULL},
        {"rows", &subject->rows_pending, &subject->rows_failed},
        {"reasons", &subject->reasons, NULL},
        {"temperature", &subject->temperature, NULL},
        {"power", &subject->power, &subject->power_default},
        {"link", &subject->link, &subject->link_max},
        {"recovery", &subject->recovery, NULL},
        {"fabric", &subject->fabric, NULL},
    };
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        size_t length = strlen(states[i].word);
        if (strncmp(line, states[i].word, length) || line[length] != ' ') continue;
        int second = 0, read = sscanf(line + length, "%d %d", states[i].first, &second);
        if (read != (states[i].second ? 2 : 1)) complain(line);
        if (states[i].second) *states[i].second = second;
        return 1;
    }
    return 0;
}

static void read_line(Subject *subject, const char *line) {
    const char *rest = strchr(line, ' ') ? strchr(line, ' ') + 1 : "";
    if (!strncmp(line, "fail ", 5)) {
        read_failure(subject, line);
    } else if (read_state(subject, line)) {
        return;
    } else if (!strncmp(line, "driver ", 7)) {
        snprintf(driver, sizeof driver, "%s", rest);
    } else if (!strncmp(line, "cuda ", 5)) {
        cuda = atoi(rest);
    } else if (!strncmp(line, "init ", 5)) {
        init_code = atoi(rest);
    } else if (!strncmp(line, "name ", 5)) {
        snprintf(subject->name, sizeof subject->name, "%s", rest);
    } else if (!strncmp(line, "uuid ", 5)) {
        snprintf(subject->uuid, sizeof subject->uuid, "%s", rest);
    } else if (!strncmp(line, "capability ", 11)) {
        if (sscanf(rest, "%d.%d", &subject->capability_major, &subject->capability_minor) != 2) complain(line);
    } else if (!strncmp(line, "memory ", 7)) {
        if (sscanf(rest, "%lld %lld %lld", &subject->total, &subject->used, &subject->reserved) != 3) complain(line);
    } else if (!strncmp(line, "bus ", 4)) {
        if (sscanf(rest, "%x:%x:%x", &subject->domain, &subject->bus, &subject->device) != 3) complain(line);
        subject->has_bus = 1;
    } else if (!strncmp(line, "pci ", 4)) {
        if (sscanf(rest, "%x:%x", &subject->vendor_id, &subject->device_id) != 2) complain(line);
    } else if (!strncmp(line, "minor ", 6)) {
        subject->minor = atoi(rest);
    } else if (!strncmp(line, "display ", 8)) {
        subject->display = atoi(rest);
    } else if (!strncmp(line, "mig ", 4)) {
        if (sscanf(rest, "%d %d %d", &subject->mig_current, &subject->mig_pending, &subject->mig_instances) != 3)
            complain(line);
    } else if (!strncmp(line, "process ", 8) && subject->process_count < MOST_PROCESSES) {
        Process *process = &subject->processes[subject->process_count++];
        if (sscanf(rest, "%u %lld", &process->pid, &process->mebibytes) != 2) complain(line);
    } else {
        complain(line);
    }
}

static void read_script(void) {
    char line[256];
    Subject *subject = &machine;
    const char *path = getenv("FAKE_NVML");
    FILE *script = path ? fopen(path, "r") : NULL;
    clear(&machine);
    gpu_count = 0;
    if (!script) return;
    while (fgets(line, sizeof line, script)) {
        char *text = line + strspn(line, " \t");
        size_t length = strcspn(text, "#\n");
        while (length > 0 && text[length - 1] == ' ') length--;
        text[length] = '\0';
        if (!*text) continue;
        if (strcmp(text, "gpu")) {
            read_line(subject, text);
        } else {
            if (gpu_count == MOST_GPUS) complain(text);
            subject = &gpus[gpu_count++];
            clear(subject);
        }
    }
    fclose(script);
}
