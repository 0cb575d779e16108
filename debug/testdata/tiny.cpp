// Source of the tiny-*.elf files; see build.sh. Small, yet with what makes debug information hard:
// inlining two deep, a function in two pieces, a namespace, a static function, assembly.

namespace tiny {

inline __attribute__((always_inline)) int inner(const volatile int* p) {
  return *p * 3;
}

struct Widget {
  int size;
  __attribute__((always_inline)) int draw(const volatile int* p) const {
    int sum = size;
    for (int i = 0; i < size; i++) sum += inner(p + i);
    return sum;
  }
};

__attribute__((noinline)) static int helper(int n) { return n ^ 0x55; }

__attribute__((cold, noinline)) void fail(int n);

volatile int sink;

void fail(int n) { sink = n; }

__attribute__((noinline)) int work(const volatile int* p, int n) {
  Widget w{n};
  if (__builtin_expect(n < 0, 0)) {
    fail(n);
    fail(n + 1);
    return -1;
  }
  return w.draw(p) + helper(n);
}

}  // namespace tiny

asm(".text\n.globl plain\n.type plain, @function\nplain:\n  nop\n  ret\n.size plain, .-plain\n");

extern "C" void _start() {
  static volatile int cells[4];
  tiny::sink = tiny::work(cells, 4) + tiny::inner(cells);
  for (;;) {
  }
}
