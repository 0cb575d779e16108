// What one.cpp and two.cpp share: types, templates and functions that are inlined into both.
#pragma once

extern "C" int plain_c(const volatile int* p, int n);

namespace ways {

extern volatile int sink;

inline __attribute__((always_inline)) int innermost(const volatile int* p) {
  return p[0] * 3 + p[1];
}

inline __attribute__((always_inline)) int middle(const volatile int* p, int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) {
    if (p[i] > 7) {
      sum += innermost(p + i);
    } else {
      sum -= innermost(p + n - i);
    }
  }
  return sum;
}

template <int N>
struct Grid {
  int cells[N];
  __attribute__((noinline)) int total() const {
    int sum = 0;
    for (int c : cells) sum += c ^ N;
    return sum;
  }
  __attribute__((always_inline)) int weighted(const volatile int* p) const {
    return middle(p, N) + cells[0];
  }
};

class Shape {
 public:
  explicit Shape(int n) : n_(n) {}
  int area(const volatile int* p) const;
  static int count;

 private:
  int n_;
};

int cross(const volatile int* p, int n);

}  // namespace ways
