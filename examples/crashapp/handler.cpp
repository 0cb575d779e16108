#include "handler.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

namespace crash {
namespace {

Config config;

// What --trace-parent-with-exception points to: Crashpad's ExceptionInformation, packed.
struct __attribute__((packed)) ExceptionInformation {
  uint64_t siginfo_address;
  uint64_t context_address;
  int32_t thread_id;
};

constexpr int kSignals[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGTRAP};

// ReadableStack returns sp, or the next page above it that can be read: where a stack has run out, sp
// itself lies in the guard page. A system call says so instead of crashing.
uintptr_t ReadableStack(uintptr_t sp) {
  int probe[2];
  if (pipe(probe) != 0) return sp;
  for (int pages = 0; pages < 64 && write(probe[1], reinterpret_cast<void*>(sp), 1) < 0; pages++) {
    sp = (sp + 4096) & ~uintptr_t{4095};
  }
  close(probe[0]);
  close(probe[1]);
  return sp;
}

// WaitOn waits for a child with the stack pointer at sp. Crashpad saves the stack that a thread is on, and
// this thread is on its alternate one; the stack that matters is the one that crashed. All signals are
// blocked, so nothing writes there. On other processors the handler runs on the stack that crashed, which
// must not have run out.
int WaitOn(uintptr_t sp, pid_t child) {
#if defined(__x86_64__)
  long result;
  static int status;
  do {
    register long options asm("r10") = 0;
    asm volatile(
        "mov %%rsp, %%r12\n"
        "mov %[sp], %%rsp\n"
        "syscall\n"
        "mov %%r12, %%rsp\n"
        : "=a"(result)
        : "a"(SYS_wait4), "D"(static_cast<long>(child)), "S"(&status), "d"(0L), "r"(options), [sp] "r"(sp)
        : "rcx", "r11", "r12", "memory");
  } while (result == -EINTR);
  return static_cast<int>(result);
#else
  (void)sp;
  int status, result;
  while ((result = waitpid(child, &status, 0)) < 0 && errno == EINTR) {
  }
  return result;
#endif
}

uintptr_t StackPointer(void* context) {
#if defined(__x86_64__)
  return static_cast<uintptr_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RSP]);
#else
  return reinterpret_cast<uintptr_t>(context);
#endif
}

// Report runs in a signal handler: nothing here allocates or locks.
void Report(siginfo_t* info, void* context) {
  static ExceptionInformation exception;
  exception.siginfo_address = reinterpret_cast<uintptr_t>(info);
  exception.context_address = reinterpret_cast<uintptr_t>(context);
  exception.thread_id = static_cast<int32_t>(syscall(SYS_gettid));

  static char trace[64], database[4200], url[4200];
  snprintf(trace, sizeof trace, "--trace-parent-with-exception=0x%llx",
           static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(&exception)));
  snprintf(database, sizeof database, "--database=%s", config.database);
  snprintf(url, sizeof url, "--url=%s", config.url);
  static char annotations[16][600];
  const char* argv[24] = {config.handler, trace, database, url, "--no-rate-limit"};
  int argc = 5;
  for (int i = 0; i < 16 && config.annotations[i] != nullptr; i++) {
    snprintf(annotations[i], sizeof annotations[i], "--annotation=%s", config.annotations[i]);
    argv[argc++] = annotations[i];
  }
  argv[argc] = nullptr;

  int ready[2];
  if (pipe(ready) != 0) return;
  pid_t child = fork();
  if (child == 0) {
    // The handler may read this process only after it is allowed to.
    char byte;
    close(ready[1]);
    while (read(ready[0], &byte, 1) < 0 && errno == EINTR) {
    }
    execv(config.handler, const_cast<char* const*>(argv));
    _exit(127);
  }
  if (child < 0) return;
  prctl(PR_SET_PTRACER, child, 0, 0, 0);
  close(ready[0]);
  close(ready[1]);
  WaitOn(ReadableStack(StackPointer(context)), child);
}

void Handle(int number, siginfo_t* info, void* context) {
  for (int s : kSignals) signal(s, SIG_DFL);
  if (config.handler != nullptr) Report(info, context);
  // Back to the instruction, which crashes again, now for good; a signal that was sent is sent again.
  if (info->si_code <= 0) {
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
  }
}

}  // namespace

void UseAlternateStack() {
  static thread_local char stack[256 << 10];
  stack_t alternate = {};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof stack;
  sigaltstack(&alternate, nullptr);
}

void Install(const Config& c) {
  config = c;
  UseAlternateStack();
  struct sigaction action = {};
  action.sa_sigaction = Handle;
  action.sa_flags = SA_SIGINFO;
#if defined(__x86_64__)
  action.sa_flags |= SA_ONSTACK;
#endif
  sigfillset(&action.sa_mask);
  for (int s : kSignals) sigaction(s, &action, nullptr);
}

}  // namespace crash
