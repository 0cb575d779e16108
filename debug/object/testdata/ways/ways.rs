#![no_std]
#![no_main]

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

static mut SINK: i32 = 0;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

trait Area {
    fn area(&self) -> i32;
}

struct Square(i32);

impl Area for Square {
    #[inline(never)]
    fn area(&self) -> i32 {
        unsafe { self.0.wrapping_mul(read_volatile(addr_of!(SINK))) }
    }
}

#[inline(always)]
fn innermost(v: i32) -> i32 {
    v.wrapping_mul(3) ^ 5
}

#[inline(always)]
fn middle(n: i32) -> i32 {
    (0..n).map(innermost).fold(0, i32::wrapping_add)
}

#[inline(never)]
fn largest<T: Ord + Copy>(list: &[T]) -> Option<T> {
    let mut it = list.iter();
    let mut best = *it.next()?;
    for v in it {
        if *v > best {
            best = *v;
        }
    }
    Some(best)
}

#[no_mangle]
pub extern "C" fn _start() -> ! {
    let n = unsafe { read_volatile(addr_of!(SINK)) };
    let list = [n, 2, n ^ 3];
    let sum = middle(n).wrapping_add(Square(n).area()).wrapping_add(largest(&list).unwrap_or(0));
    unsafe { write_volatile(addr_of_mut!(SINK), sum) };
    loop {}
}
