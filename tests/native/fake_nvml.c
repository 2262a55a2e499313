/* A libnvidia-ml.so.1 without a GPU, for tests. It reads the file that the variable FAKE_NVML names:
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
 *     process 4711 400            # process id and MiB; -1: the driver does not say
 *     fail nvmlDeviceGetName 15   # one call of this card: a return code, or "hang", or "crash"
 *     fail * 15                   # every call of this card but the one that gives its handle
 *
 * What a card does not mention it does not support (return code 3), as laptops and WSL do with much. Built with
 * -DOLD_DRIVER it lacks the functions that came after driver 450, as an old library does.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    ARGUMENT_VERSION_MISMATCH = 25,
    UNKNOWN = 999,
    HANG = -1,
    CRASH = -2
};

enum { MOST_GPUS = 16, MOST_FAILURES = 16, MOST_PROCESSES = 16, LONGEST = 128 };

typedef int Return;

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
    Process processes[MOST_PROCESSES];
    int process_count;
} Subject;

typedef Subject *Device;

static Subject machine;
static Subject gpus[MOST_GPUS];
static int gpu_count;
static char driver[LONGEST] = "535.183.01";
static int cuda = 12020;
static int init_code = SUCCESS;
static int initialized;

/* ---- the script ------------------------------------------------------------------------------------------------ */

static void clear(Subject *subject) {
    memset(subject, 0, sizeof *subject);
    subject->capability_major = subject->minor = subject->display = -1;
    subject->mig_current = subject->mig_pending = subject->mig_instances = -1;
    subject->total = subject->used = subject->reserved = -1;
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

static void read_line(Subject *subject, const char *line) {
    const char *rest = strchr(line, ' ') ? strchr(line, ' ') + 1 : "";
    if (!strncmp(line, "fail ", 5)) {
        read_failure(subject, line);
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

/* ---- what every call does first -------------------------------------------------------------------------------- */

static Return scripted(const Subject *subject, const char *function) {
    for (int i = 0; i < subject->failure_count; i++) {
        const Failure *failure = &subject->failures[i];
        if (strcmp(failure->function, "*") && strcmp(failure->function, function)) continue;
        if (failure->code == HANG)
            for (;;) pause();
        if (failure->code == CRASH) raise(SIGSEGV);
        return failure->code;
    }
    return SUCCESS;
}

static Return of_machine(const char *function) {
    return initialized ? scripted(&machine, function) : UNINITIALIZED;
}

static Return of_card(Device device, const char *function) {
    if (!initialized) return UNINITIALIZED;
    if (device < gpus || device >= gpus + gpu_count) return INVALID_ARGUMENT;
    return scripted(device, function);
}

#define MACHINE_CALL() do { Return code_ = of_machine(__func__); if (code_) return code_; } while (0)
#define CARD_CALL(device) do { Return code_ = of_card(device, __func__); if (code_) return code_; } while (0)

static Return put(char *target, unsigned length, const char *text) {
    if (!*text) return NOT_SUPPORTED;
    if (strlen(text) >= length) return INSUFFICIENT_SIZE;
    strcpy(target, text);
    return SUCCESS;
}

static Return put_number(unsigned *target, int number) {
    if (number < 0) return NOT_SUPPORTED;
    *target = (unsigned)number;
    return SUCCESS;
}

static unsigned long long bytes(long long mebibytes) {
    return (unsigned long long)mebibytes << 20;
}

/* ---- the machine ----------------------------------------------------------------------------------------------- */

EXPORT Return nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    read_script();
    Return code = scripted(&machine, "nvmlInitWithFlags");
    if (code || init_code) return code ? code : init_code;
    initialized = 1;
    return SUCCESS;
}

EXPORT Return nvmlShutdown(void) {
    MACHINE_CALL();
    initialized = 0;
    return SUCCESS;
}

EXPORT const char *nvmlErrorString(Return code) {
    return code == SUCCESS ? "Success" : "An error of the simulated library";
}

EXPORT Return nvmlSystemGetDriverVersion(char *target, unsigned length) {
    MACHINE_CALL();
    return put(target, length, driver);
}

EXPORT Return nvmlSystemGetCudaDriverVersion(int *target) {
    MACHINE_CALL();
    *target = cuda;
    return SUCCESS;
}

EXPORT Return nvmlDeviceGetCount_v2(unsigned *target) {
    MACHINE_CALL();
    return put_number(target, gpu_count);
}

EXPORT Return nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *target) {
    MACHINE_CALL();
    if (index >= (unsigned)gpu_count) return INVALID_ARGUMENT;
    const Subject *card = &gpus[index];
    for (int i = 0; i < card->failure_count; i++) /* "*" leaves the handle alone, as a GPU that is lost later does */
        if (!strcmp(card->failures[i].function, __func__)) return scripted(card, __func__);
    *target = &gpus[index];
    return SUCCESS;
}

/* ---- a card ---------------------------------------------------------------------------------------------------- */

EXPORT Return nvmlDeviceGetName(Device device, char *target, unsigned length) {
    CARD_CALL(device);
    return put(target, length, device->name);
}

EXPORT Return nvmlDeviceGetUUID(Device device, char *target, unsigned length) {
    CARD_CALL(device);
    return put(target, length, device->uuid);
}

EXPORT Return nvmlDeviceGetMinorNumber(Device device, unsigned *target) {
    CARD_CALL(device);
    return put_number(target, device->minor);
}

EXPORT Return nvmlDeviceGetDisplayActive(Device device, unsigned *target) {
    CARD_CALL(device);
    return put_number(target, device->display);
}

EXPORT Return nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) {
    CARD_CALL(device);
    if (device->capability_major < 0) return NOT_SUPPORTED;
    *major = device->capability_major;
    *minor = device->capability_minor;
    return SUCCESS;
}

typedef struct {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char text[32];
} PciInfo;

EXPORT Return nvmlDeviceGetPciInfo_v3(Device device, PciInfo *target) {
    CARD_CALL(device);
    if (!device->has_bus) return NOT_SUPPORTED;
    memset(target, 0, sizeof *target);
    target->domain = device->domain;
    target->bus = device->bus;
    target->device = device->device;
    target->id = device->device_id << 16 | device->vendor_id;
    snprintf(target->text, sizeof target->text, "%08X:%02X:%02X.0", device->domain, device->bus & 0xFF,
             device->device & 0xFF);
    return SUCCESS;
}

typedef struct {
    unsigned long long total, free, used;
} Memory;

EXPORT Return nvmlDeviceGetMemoryInfo(Device device, Memory *target) {
    CARD_CALL(device);
    if (device->total < 0) return NOT_SUPPORTED;
    target->total = bytes(device->total);
    target->used = bytes(device->used + device->reserved); /* this version counts the driver's part as used */
    target->free = target->total - target->used;
    return SUCCESS;
}

typedef struct {
    unsigned pid;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
} RunningProcess;

static Return running(Device device, unsigned *count, RunningProcess *target) {
    unsigned room = *count;
    *count = (unsigned)device->process_count;
    if (device->process_count == 0) return SUCCESS;
    if (!target || room < *count) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < *count; i++) {
        const Process *process = &device->processes[i];
        target[i].pid = process->pid;
        target[i].memory = process->mebibytes < 0 ? ~0ull : bytes(process->mebibytes);
        target[i].gpu_instance = target[i].compute_instance = ~0u;
    }
    return SUCCESS;
}

EXPORT Return nvmlDeviceGetComputeRunningProcesses_v2(Device device, unsigned *count, RunningProcess *target) {
    CARD_CALL(device);
    return running(device, count, target);
}

#ifndef OLD_DRIVER

EXPORT Return nvmlSystemGetCudaDriverVersion_v2(int *target) {
    MACHINE_CALL();
    *target = cuda;
    return SUCCESS;
}

EXPORT Return nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *count, RunningProcess *target) {
    CARD_CALL(device);
    return running(device, count, target);
}

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} Memory2;

EXPORT Return nvmlDeviceGetMemoryInfo_v2(Device device, Memory2 *target) {
    CARD_CALL(device);
    if (target->version != (sizeof *target | 2u << 24)) return ARGUMENT_VERSION_MISMATCH;
    if (device->total < 0) return NOT_SUPPORTED;
    target->total = bytes(device->total);
    target->reserved = bytes(device->reserved);
    target->used = bytes(device->used);
    target->free = target->total - target->used - target->reserved;
    return SUCCESS;
}

EXPORT Return nvmlDeviceGetMigMode(Device device, unsigned *current, unsigned *pending) {
    CARD_CALL(device);
    if (device->mig_current < 0) return NOT_SUPPORTED;
    *current = (unsigned)device->mig_current;
    *pending = (unsigned)device->mig_pending;
    return SUCCESS;
}

EXPORT Return nvmlDeviceGetMaxMigDeviceCount(Device device, unsigned *target) {
    CARD_CALL(device);
    *target = device->mig_current > 0 ? 7 : 0;
    return SUCCESS;
}

EXPORT Return nvmlDeviceGetMigDeviceHandleByIndex(Device device, unsigned index, Device *target) {
    CARD_CALL(device);
    if ((int)index >= device->mig_instances) return NOT_FOUND;
    *target = device;
    return SUCCESS;
}

#endif
