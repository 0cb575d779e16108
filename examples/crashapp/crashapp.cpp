// crashapp crashes in the way it is told to, and reports it through Crashpad.
//
//   crashapp MODE [--handler=PATH --database=DIR --url=URL] [--annotation=KEY=VALUE ...]
//
// Modes: inline, thread, overflow, abort, pure, handler; work and none do not crash.

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "handler.h"
#include "shapes.h"

namespace {

volatile int sink;

// The pointer that every crash reads through; volatile, so that no compiler knows it.
const volatile int* volatile bad = reinterpret_cast<const volatile int*>(0x10);

// inline: the crashing instruction belongs to Deref, inlined into a lambda, inlined or not into Sum.
__attribute__((noinline)) void CrashInline() {
  shapes::detail::Grid<shapes::Point> grid(3);
  grid.At(1, 2).x = 7;
  sink = static_cast<int>(grid.Sum([](const shapes::Point& p) { return p.x == 7 ? shapes::Deref(bad) : p.y; }));
  sink = sink + 1;
}

// overflow: needs the alternate stack.
__attribute__((noinline)) int Recurse(int depth) {
  volatile char space[512];
  space[0] = static_cast<char>(depth);
  if (bad == nullptr) return 0;  // never, but the compiler cannot know
  int below = Recurse(depth + 1);
  return below + space[0];
}

// abort: a call that does not return is the last instruction of the function, so the return address
// lies in the next one.
[[noreturn]] __attribute__((noinline)) void GiveUp() { abort(); }

__attribute__((noinline)) int CrashAbort(int n) {
  if (n > 0) GiveUp();
  return n - 1;
}

// pure: the base's destructor calls a function that only the derived class had.
__attribute__((noinline)) void CrashPure() {
  shapes::Square square(3);
  sink = square.Twice();
}

// handler: a crash while another signal is handled; its stack goes through the kernel's frame.
void OnSignal(int) { sink = shapes::Deref(bad); }

__attribute__((noinline)) void CrashInHandler() {
  signal(SIGUSR1, OnSignal);
  raise(SIGUSR1);
  sink = sink + 1;
}

// work: the same functions with a pointer that is good, for tests that follow every instruction.
void Work() {
  static const volatile int good = 5;
  bad = &good;
  CrashInline();
  CrashInHandler();
  auto* square = new shapes::Square(3);  // kept: its destructor is the crash of mode pure
  std::string text = "area " + std::to_string(square->Twice());
  std::vector<std::string> parts;
  for (int i = 0; i < 3; i++) parts.push_back(text + std::to_string(i));
  std::function<int(int)> add = [&](int n) { return n + static_cast<int>(parts.size()); };
  sink = add(sink);
  try {
    if (sink != 0) throw std::runtime_error(parts[0]);
  } catch (const std::exception& e) {
    sink = static_cast<int>(strlen(e.what()));
  }
  printf("%d\n", sink);
}

// Worker waits in a second thread while the first one crashes.
class Worker {
 public:
  Worker() : thread_([this] { Wait(); }) {}
  ~Worker() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      done_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

 private:
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

bool Option(const char* arg, const char* name, const char** value) {
  size_t n = strlen(name);
  if (strncmp(arg, name, n) != 0) return false;
  *value = arg + n;
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: crashapp MODE [--handler=PATH --database=DIR --url=URL] [--annotation=KEY=VALUE ...]\n");
    return 2;
  }
  crash::Config config = {};
  int annotations = 0;
  for (int i = 2; i < argc; i++) {
    const char* annotation;
    if (Option(argv[i], "--annotation=", &annotation)) {
      if (annotations < 15) config.annotations[annotations++] = annotation;
    } else if (!Option(argv[i], "--handler=", &config.handler) && !Option(argv[i], "--database=", &config.database) &&
               !Option(argv[i], "--url=", &config.url)) {
      fprintf(stderr, "crashapp: unknown option %s\n", argv[i]);
      return 2;
    }
  }
  crash::Install(config);

  Worker worker;
  const char* mode = argv[1];
  if (strcmp(mode, "inline") == 0) {
    CrashInline();
  } else if (strcmp(mode, "thread") == 0) {
    std::thread([] {
      crash::UseAlternateStack();
      CrashInline();
    }).join();
  } else if (strcmp(mode, "overflow") == 0) {
    sink = Recurse(0);
  } else if (strcmp(mode, "abort") == 0) {
    sink = CrashAbort(argc);
  } else if (strcmp(mode, "pure") == 0) {
    CrashPure();
  } else if (strcmp(mode, "handler") == 0) {
    CrashInHandler();
  } else if (strcmp(mode, "work") == 0) {
    Work();
  } else if (strcmp(mode, "none") != 0) {
    fprintf(stderr, "crashapp: unknown mode %s\n", mode);
    return 2;
  }
  return 0;
}
