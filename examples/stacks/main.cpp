// stacks crashes at the top of a stack that has a frame of each kind that is hard to walk. From the outside in: a frame
// that realigns the stack, a virtual call, a callback of libc, the kernel's frame of a signal, a call at the very end of
// a function, a throw that nobody catches, and calls inlined into each other; between them, return addresses that are
// of no use any more.
#include <signal.h>
#include <stdlib.h>

#include <exception>

namespace stacks {

volatile int sink;

// The pointer that is read through; volatile, so that no compiler knows it.
const volatile int* volatile bad = reinterpret_cast<const volatile int*>(0x10);

// Leaves return addresses where the frames of other functions will lie, which do not write to all of them.
__attribute__((noinline)) int Leave(int depth) {
  volatile char space[24];
  space[0] = static_cast<char>(depth);
  return depth > 0 ? Leave(depth - 1) + space[0] : 0;
}

template <typename T>
__attribute__((always_inline)) inline T Read(const volatile T* p) { return *p; }

template <typename T>
struct Box {
  T value;
  __attribute__((always_inline)) T Get() const { return value + Read<T>(bad); }
};

[[noreturn]] void OnTerminate() {
  Box<int> box{sink};
  sink = box.Get();
  abort();
}

struct Failure {
  int code;
};

// The return address of the call that throws lies behind the function.
[[noreturn]] __attribute__((noinline)) void Throw(int n) { throw Failure{n}; }

__attribute__((noinline)) int Checked(int n) {
  volatile char hole[512];
  hole[0] = 0;
  if (n >= 0) Throw(n);
  return n - 1;
}

void OnSignal(int n) {
  sink = Checked(n);
  sink = sink + 1;
}

template <typename T>
int Compare(const void* a, const void* b) {
  raise(SIGUSR1);
  return *static_cast<const T*>(a) - *static_cast<const T*>(b);
}

struct Sorter {
  virtual ~Sorter() {}
  virtual int Sort(int* values, int n) = 0;
};

template <typename T>
struct QuickSorter : Sorter {
  __attribute__((noinline)) int Sort(int* values, int n) override {
    volatile char hole[512];
    hole[0] = 0;
    qsort(values, n, sizeof(T), Compare<T>);
    return values[0];
  }
};

// The frame's address depends on the stack pointer, and its size on n.
__attribute__((noinline)) int Realigned(Sorter* sorter, int n) {
  alignas(64) volatile char space[64];
  volatile int* values = static_cast<volatile int*>(__builtin_alloca(n * sizeof(int)));
  for (int i = 0; i < n; i++) values[i] = -i;
  space[n] = 1;
  return sorter->Sort(const_cast<int*>(values), n) + space[n];
}

}  // namespace stacks

int main(int argc, char**) {
  std::set_terminate(stacks::OnTerminate);
  signal(SIGUSR1, stacks::OnSignal);
  stacks::sink = stacks::Leave(400);
  stacks::QuickSorter<int> sorter;
  stacks::sink = stacks::Realigned(&sorter, argc > 1 ? 4 : 3);
  return 0;
}
