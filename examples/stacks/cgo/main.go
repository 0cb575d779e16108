// The Go program among stacks: Go calls C, whose library calls back into C, which crashes.
package main

/*
#include <stdlib.h>

static volatile int sink;
static const volatile int *volatile bad = (const volatile int *)0x10;

__attribute__((always_inline)) static inline int get(const volatile int *p) { return *p; }

static int compare(const void *a, const void *b) {
	return get(bad) + *(const int *)a - *(const int *)b;
}

static void sort(int n) {
	int values[4] = {n, 1, 2, 3};
	qsort(values, 4, sizeof values[0], compare);
	sink = values[0];
}
*/
import "C"

//go:noinline
func sort[T ~int](n T) { C.sort(C.int(n)) }

func main() { sort(len("stack")) }
