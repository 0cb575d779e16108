#include "handler.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
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
  int status;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
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
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (int s : kSignals) sigaction(s, &action, nullptr);
}

}  // namespace crash
