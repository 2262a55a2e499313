/* A libnvidia-ml.so.1 without a GPU, for tests; it plays the machine that its script describes (fake_script.h).
 *
 * What a card does not mention it does not support (return code 3), as laptops and WSL do with much. Built with
 * -DOLD_DRIVER it lacks the functions that came after driver 450, as an old library does.
 */
#include "fake_script.h"

#include <signal.h>
#include <unistd.h>

enum {
    SUCCESS = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    ARGUMENT_VERSION_MISMATCH = 25
};

#define EXPORT __attribute__((visibility("default")))

typedef int Return;
typedef Subject *Device;

static int initialized;

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

/* ---- how a card is --------------------------------------------------------------------------------------------- */

EXPORT Return nvmlDeviceGetComputeMode(Device device, unsigned *target) {
    CARD_CALL(device);
    return put_number(target, device->compute_mode);
}

EXPORT Return nvmlDeviceGetPersistenceMode(Device device, unsigned *target) {
    CARD_CALL(device);
    return put_number(target, device->persistence);
}

EXPORT Return nvmlDeviceGetTotalEccErrors(Device device, unsigned kind, unsigned counter, unsigned long long *target) {
    CARD_CALL(device);
    int count = counter == 0 ? device->ecc_now : device->ecc_ever;
    if (kind != 1 || count < 0) return NOT_SUPPORTED;
    *target = (unsigned long long)count;
    return SUCCESS;
}

EXPORT Return nvmlDeviceGetRetiredPagesPendingStatus(Device device, unsigned *target) {
    CARD_CALL(device);
    return put_number(target, device->pages);
}

EXPORT Return nvmlDeviceGetCurrentClocksThrottleReasons(Device device, unsigned long long *target) {
    CARD_CALL(device);
    if (device->reasons < 0) return NOT_SUPPORTED;
    *target = (unsigned long long)device->reasons;
    return SUCCESS;
}

EXPORT Return nvmlDeviceGetTemperature(Device device, unsigned sensor, unsigned *target) {
    CARD_CALL(device);
    return sensor ? INVALID_ARGUMENT : put_number(target, device->temperature);
}

EXPORT Return nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned *target) {
    CARD_CALL(device);
    return put_number(target, device->power);
}

EXPORT Return nvmlDeviceGetPowerManagementDefaultLimit(Device device, unsigned *target) {
    CARD_CALL(device);
    return put_number(target, device->power_default);
}

EXPORT Return nvmlDeviceGetCurrPcieLinkWidth(Device device, unsigned *target) {
    CARD_CALL(device);
    return put_number(target, device->link);
}

EXPORT Return nvmlDeviceGetMaxPcieLinkWidth(Device device, unsigned *target) {
    CARD_CALL(device);
    return put_number(target, device->link_max);
}

typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    unsigned type, code;
    unsigned long long value;
} FieldValue;

EXPORT Return nvmlDeviceGetFieldValues(Device device, int count, FieldValue *values) {
    CARD_CALL(device);
    for (int i = 0; i < count; i++) {
        int known = values[i].field == 230 && device->recovery >= 0;
        values[i].code = known ? SUCCESS : NOT_SUPPORTED;
        values[i].type = 1; /* an unsigned int */
        values[i].value = known ? (unsigned long long)device->recovery : 0;
    }
    return SUCCESS;
}

#ifndef OLD_DRIVER

EXPORT Return nvmlDeviceGetCurrentClocksEventReasons(Device device, unsigned long long *target) {
    CARD_CALL(device);
    if (device->reasons < 0) return NOT_SUPPORTED;
    *target = (unsigned long long)device->reasons;
    return SUCCESS;
}

EXPORT Return nvmlDeviceGetRemappedRows(Device device, unsigned *corrected, unsigned *uncorrected, unsigned *pending,
                                        unsigned *failed) {
    CARD_CALL(device);
    if (device->rows_pending < 0) return NOT_SUPPORTED;
    *corrected = *uncorrected = 0;
    *pending = (unsigned)device->rows_pending;
    *failed = (unsigned)device->rows_failed;
    return SUCCESS;
}

typedef struct {
    unsigned char cluster[16];
    Return status;
    unsigned clique;
    unsigned char state;
} FabricInfo;

EXPORT Return nvmlDeviceGetGpuFabricInfo(Device device, FabricInfo *target) {
    CARD_CALL(device);
    if (device->fabric < 0) return NOT_SUPPORTED;
    memset(target, 0, sizeof *target);
    target->state = (unsigned char)device->fabric;
    return SUCCESS;
}

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
