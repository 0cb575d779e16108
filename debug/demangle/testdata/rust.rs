#![crate_type="lib"]
#![allow(dead_code, unused)]
pub mod inner { pub struct S<T>(pub T); impl<T: Clone> S<T> { #[inline(never)] pub fn get(&self) -> T { self.0.clone() } pub fn map<U, F: Fn(&T) -> U>(&self, f: F) -> U { f(&self.0) } }
 pub trait Shape { fn area(&self) -> f64; fn name(&self) -> String { String::from("shape") } } impl Shape for S<f64> { fn area(&self) -> f64 { self.0 } } impl<'a> Shape for &'a [u8] { fn area(&self) -> f64 { 1.0 } } impl Shape for dyn Fn(i32) -> u8 + Send { fn area(&self) -> f64 { 2.0 } } impl Shape for (u8, char, [i64; 3], fn(&str, *const u8) -> !) { fn area(&self) -> f64 { 3.0 } } impl Drop for Guard { fn drop(&mut self) { println!("x") } } pub struct Guard; impl Shape for Arr<7, true, 'x'> { fn area(&self) -> f64 { 4.0 } } pub struct Arr<const N: usize, const B: bool, const C: char>; impl<const N: usize> Arr<N, false, '\u{263a}'> { pub fn n(&self) -> usize { N } } impl Shape for unsafe extern "C" fn(i32) { fn area(&self) -> f64 { 5.0 } } }
use inner::*;
pub fn uses(v: &[String]) -> usize { let g = Guard; let c = |x: &u32| { let d = move |y: u32| { println!("{}", y); y + 1 }; d(*x) }; let a = S(3u32).map(c); let z = S("str").get(); let q = S(vec![1u8]).get(); let e: Box<dyn Shape> = Box::new(S(1.0)); e.name(); Arr::<3, false, '\u{263a}'>.n(); v.iter().map(|s| s.len()).sum::<usize>() + a as usize + z.len() + q.len() }
pub fn überraschung() { fn nested<T>(t: T) { println!("") } nested(1i128); nested::<fn(u8)>(f); nested::<&mut dyn Iterator<Item = u8>>(&mut [1u8].iter().copied());  }
fn f(_: u8) {}
pub async fn later(x: u32) -> u32 { other().await + x } async fn other() -> u32 { println!(""); 1 } pub fn start() -> impl std::future::Future<Output = u32> { later(2) } pub static mut COUNTER: u32 = 1; macro_rules! m { ($n:ident) => { pub fn $n() { println!("m") } } } m!(made);

#[inline(never)]
pub fn __underlined<T: Clone>(value: &T) -> T { value.clone() }

pub mod _private {
    #[inline(never)]
    pub fn _f() -> String { super::__underlined(&String::new()) }
}
