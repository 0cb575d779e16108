#include "shared.h"

namespace ways {

volatile int sink;

namespace {

__attribute__((noinline)) int hidden(int n) { return n * 17 + sink; }

inline __attribute__((always_inline)) int unnamed(int n) { return hidden(n) ^ (n + sink); }

}  // namespace

__attribute__((cold, noinline)) void give_up(int n);
void give_up(int n) {
  sink = n;
  sink = n + 1;
}

// In two pieces where compilers split cold code off.
__attribute__((noinline)) int split(const volatile int* p, int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) {
    if (__builtin_expect(p[i] < 0, 0)) {
      give_up(p[i]);
      sum += middle(p, n - i);
      give_up(sum);
    }
    sum += p[i];
  }
  return sum;
}

// Equal code, which linkers fold.
__attribute__((noinline)) int same_one(int n) { return n * 1237 + 11; }
__attribute__((noinline)) int same_two(int n) { return n * 1237 + 11; }

// Used by nothing: thrown away with --gc-sections.
__attribute__((noinline)) int unused(const volatile int* p) {
  Grid<3> g{{1, 2, 3}};
  return g.weighted(p);
}

// A function in a function.
__attribute__((noinline)) int outer(const volatile int* p, int n) {
  struct Local {
    static __attribute__((noinline)) int twice(int v) { return 2 * v + sink; }
  };
  auto add = [n](int v) { return Local::twice(v) + n; };
  return add(unnamed(p[0])) + add(unnamed(p[1]));
}

}  // namespace ways

extern "C" __attribute__((used)) void _start() {
  static volatile int cells[16];
  ways::Grid<5> g{{1, 2, 3, 4, 5}};
  ways::Shape s(cells[3]);
  ways::sink = ways::split(cells, 9) + ways::outer(cells, cells[1]) + g.weighted(cells) + g.total();
  ways::sink = ways::same_one(cells[1]) + ways::same_two(cells[2]) + s.area(cells) + ways::cross(cells, 4);
  ways::sink = plain_c(cells, 7);
  for (;;) {
  }
}
