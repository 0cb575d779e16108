// The Rust program among stacks: a callback of libc, the kernel's frame of a signal, a panic that does not return, the
// hook that it calls, and calls inlined into each other.
use std::ffi::{c_int, c_void};

extern "C" {
    fn qsort(base: *mut c_void, n: usize, size: usize, compare: extern "C" fn(*const c_void, *const c_void) -> c_int);
    fn raise(number: c_int) -> c_int;
    fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
}

static mut SINK: i32 = 0;

struct Bad<T>(*const T);

impl<T: Copy> Bad<T> {
    #[inline(always)]
    fn read(&self) -> T {
        unsafe { std::ptr::read_volatile(self.0) }
    }
}

#[inline(always)]
fn total<T: Copy>(all: &[Bad<T>], add: impl Fn(T)) {
    for bad in all {
        add(bad.read());
    }
}

#[inline(never)]
fn checked(n: c_int) -> c_int {
    let values: Vec<c_int> = (0..n).collect();
    values[std::hint::black_box(n) as usize] // at the end of the function the panic is called
}

extern "C" fn on_signal(n: c_int) {
    unsafe { SINK = checked(n) }
}

extern "C" fn compare(a: *const c_void, b: *const c_void) -> c_int {
    unsafe {
        raise(10);
        *(a as *const c_int) - *(b as *const c_int)
    }
}

trait Sort {
    fn sort(&self, values: &mut [c_int]);
}

struct Quick;

impl Sort for Quick {
    #[inline(never)]
    fn sort(&self, values: &mut [c_int]) {
        unsafe { qsort(values.as_mut_ptr() as *mut c_void, values.len(), 4, compare) };
        std::hint::black_box(values);
    }
}

fn main() {
    std::panic::set_hook(Box::new(|_| {
        let all = [Bad(std::hint::black_box(16 as *const i32))];
        total(&all, |n| unsafe { SINK += n });
    }));
    unsafe { signal(10, on_signal) };
    let sorters: Vec<Box<dyn Sort>> = vec![Box::new(Quick)];
    sorters.iter().for_each(|s| s.sort(&mut [3, 1, 2]));
}
