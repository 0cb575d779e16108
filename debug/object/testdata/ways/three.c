volatile int c_sink;

static inline __attribute__((always_inline)) int clamp(int n) {
  if (n > 100) return 100;
  return n;
}

static __attribute__((noinline)) int step(const volatile int* p, int i) { return clamp(p[i]) + c_sink; }

int plain_c(const volatile int* p, int n) {
  int sum = 0;
  for (int i = 0; i < n; i++) sum += step(p, i) * clamp(sum);
  return sum;
}
