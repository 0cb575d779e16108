#include "shared.h"

namespace ways {

int Shape::count;

int Shape::area(const volatile int* p) const {
  count++;
  return middle(p, n_) * middle(p + 1, n_);
}

__attribute__((noinline)) int cross(const volatile int* p, int n) {
  Grid<7> g{{n}};
  Grid<5> h{{n, n}};
  return g.total() + h.total() + h.weighted(p);
}

}  // namespace ways
