// Source of the windows-* files; see build.sh. No header and no library, so that it compiles for Windows
// anywhere. It has what names in a PDB are made of, types of all kinds as arguments, and inlining some
// levels deep, in loops and branches, so that inlined calls have several pieces.

extern "C" int _fltused;
int _fltused;

#define INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))

namespace shapes {

volatile int sink;

enum class Colour { Red, Green };
enum Plain { One, Two };
union Bits {
  int i;
  float f;
};

struct Base {
  virtual int area() const { return 0; }
  virtual ~Base() {}
};

INLINE int square(int n) {
  int r = n * n;
  if (r > 1000) r -= sink;
  return r;
}

template <typename T, int N>
struct Buffer {
  T items[N];
  INLINE T sum() const {
    T s = 0;
    for (int i = 0; i < N; i++) {
      s += square(items[i]);
      if (s > 5000) break;
    }
    return s;
  }
  NOINLINE T longest(const T* from, const T* const to, T (&out)[N]) const volatile {
    T best = 0;
    for (; from != to; from++)
      if (square(*from) > best) best = square(*from);
    out[0] = best;
    return best;
  }
  static NOINLINE Buffer make(T&& seed, const Buffer& other) {
    Buffer b;
    for (int i = 0; i < N; i++) b.items[i] = seed + other.sum();
    return b;
  }
};

struct Rect : Base {
  int w, h;
  Rect(int w, int h) : w(w), h(h) {}
  INLINE int scaled(int by) const { return square(w * by) + square(h * by); }
  NOINLINE int area() const override {
    int total = scaled(2);
    if (total & 1) {
      total += scaled(sink);
    } else {
      total -= square(sink);
    }
    return total;
  }
  int member = 3;
};

}  // namespace shapes

namespace {

NOINLINE int hidden(shapes::Colour c, shapes::Plain p, shapes::Bits b, double d, bool yes, long long wide, unsigned char byte, wchar_t letter) {
  return (int)c + p + b.i + (int)d + yes + (int)wide + byte + letter;
}

}  // namespace

using Callback = int (*)(int, const char*);

NOINLINE int pointers(Callback call, int shapes::Rect::*field, int (shapes::Rect::*method)(int) const, int (*matrix)[3][4], const volatile int* const* p,
                      decltype(nullptr) n, void* any, volatile shapes::Rect& r) {
  if (n == any) return **p;
  r.w = (*matrix)[1][2];
  const shapes::Rect* rect = (const shapes::Rect*)any;
  return call(rect->*field, "x") + (rect->*method)(3);
}

NOINLINE int variadic(const char* format, ...) { return format[0]; }

int plus(int a, const char* b) { return a + b[0]; }

NOINLINE int lambdas(int n) {
  auto twice = [n](int k) { return shapes::square(k) + n; };
  auto outer = [&](int k) __attribute__((noinline)) { return twice(k) + twice(k + n); };
  return outer(n) + outer(shapes::sink);
}

extern "C" NOINLINE int plain_c(void) {
  shapes::Buffer<int, 8> b = shapes::Buffer<int, 8>::make(3, shapes::Buffer<int, 8>{{1, 2, 3, 4, 5, 6, 7, 8}});
  int out[8];
  return b.sum() + b.longest(b.items, b.items + 8, out) + shapes::square(out[0]);
}

void operator delete(void*, decltype(sizeof(0))) noexcept {}
void operator delete(void*) noexcept {}
extern "C" int memcpy_(void);
extern "C" void* memcpy(void* to, const void* from, decltype(sizeof(0)) n) {
  char* t = (char*)to;
  for (const char* f = (const char*)from; n > 0; n--) *t++ = *f++;
  return to;
}
extern "C" void* memset(void* to, int v, decltype(sizeof(0)) n) {
  for (char* t = (char*)to; n > 0; n--) *t++ = (char)v;
  return to;
}

extern "C" int start() {
  shapes::Rect r(shapes::sink, 4);
  int matrix[3][4] = {};
  const volatile int* p = &shapes::sink;
  int n = r.area() + r.scaled(7) + hidden(shapes::Colour::Green, shapes::Two, shapes::Bits{3}, 2.5, true, 1LL << 40, 7, L'x');
  n += pointers(plus, &shapes::Rect::member, &shapes::Rect::scaled, &matrix, &p, nullptr, &r, r);
  n += variadic("format", n) + lambdas(n) + plain_c();
  shapes::sink = n;
  return n;
}
