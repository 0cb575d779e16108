// Code of the kinds that make stacks hard to read: templates, namespaces, inlined calls in headers,
// virtual functions.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace shapes {

struct Point {
  int x, y;
};

// Deref is inlined into everything that uses it: the frame a debugger shows first is not a function
// of its own.
__attribute__((always_inline)) inline int Deref(const volatile int* p) {
  return *p + 1;
}

namespace detail {

template <typename T>
class Grid {
 public:
  explicit Grid(std::size_t width) : width_(width), cells_(width * width) {}

  __attribute__((always_inline)) T& At(std::size_t x, std::size_t y) {
    return cells_[y * width_ + x];
  }

  template <typename F>
  __attribute__((noinline)) long Sum(F&& each) {
    long sum = 0;
    for (std::size_t y = 0; y < width_; y++) {
      for (std::size_t x = 0; x < width_; x++) sum += each(At(x, y));
    }
    return sum;
  }

 private:
  std::size_t width_;
  std::vector<T> cells_;
};

}  // namespace detail

class Shape {
 public:
  Shape();
  virtual ~Shape();
  virtual int Area() const = 0;
  int Twice() const;
};

class Square : public Shape {
 public:
  explicit Square(int side) : side_(side) {}
  int Area() const override;

 private:
  int side_;
};

}  // namespace shapes
